-- KEYS: the event, the tokens that have ended (16 bytes each). ARGV: token, lease (ms), how long a key is kept after the lease has
-- expired (ms).
-- The value is `c`, token and end of the lease (ms) for a claim; `h` and token for a handled event.
-- Returns 0 if the claim is acquired, -1 if the event is handled, otherwise the rest of the other claim's lease (ms).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local value = redis.call('GET', KEYS[1])
local token = ARGV[1]
local answer = 0
if value then
    local kind = string.sub(value, 1, 1)
    if kind == 'h' then
        return -1
    elseif kind ~= 'c' then
        return redis.error_reply('ERR not an event of this version of medhook')
    end
    local holder = string.sub(value, 2, 17)
    local left = tonumber(string.sub(value, 18)) - now
    if holder ~= token and left > 0 then
        if left <= lease then
            return left
        end
        -- The claim was made before the clock was set back: shorten it to a new lease.
        token = holder
        answer = lease
    end
end
-- Late: the claim of this token has ended. Its caller no longer waits.
local ended = token == ARGV[1] and redis.call('GET', KEYS[2]) or ''
for at = 1, #ended, 16 do
    if string.sub(ended, at, at + 15) == token then
        return lease
    end
end
redis.call('SET', KEYS[1], 'c' .. token .. string.format('%.0f', now + lease), 'PX', lease + tonumber(ARGV[3]))
return answer

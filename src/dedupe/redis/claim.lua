-- KEYS[1] the event. ARGV: token, lease (ms), how much longer its end is kept (ms).
-- The value: `c`, token, end of the lease (ms); or `h`, token. 0 is won, -1 handled, else how long the lease lasts.
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
        -- Made before the clock was set back: it holds no longer than a fresh one.
        token = holder
        answer = lease
    end
end
redis.call('SET', KEYS[1], 'c' .. token .. string.format('%.0f', now + lease), 'PX', lease + tonumber(ARGV[3]))
return answer

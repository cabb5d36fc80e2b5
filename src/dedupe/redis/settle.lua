-- KEYS: the event, the tokens that have ended (16 bytes each, at most 100). ARGV: token, operation, time (ms), how long a key is kept after the
-- lease has expired or the token has ended (ms).
-- Returns 1 if the operation took effect, 0 if another claim has the event or the token has ended. A repeated operation
-- writes again, so that WAIT has a write to wait for.
local ended = redis.call('GET', KEYS[2]) or ''
local has_ended = false
for at = 1, #ended, 16 do
    has_ended = has_ended or string.sub(ended, at, at + 15) == ARGV[1]
end
local function end_token()
    local tokens = has_ended and ended or ARGV[1] .. string.sub(ended, 1, 99 * 16)
    redis.call('SET', KEYS[2], tokens, 'PX', ARGV[4])
end
local value = redis.call('GET', KEYS[1])
local kind = value and string.sub(value, 1, 1)
if value and kind ~= 'c' and kind ~= 'h' then
    return redis.error_reply('ERR not an event of this version of medhook')
end
-- An expired claim of another token is not taken over: its holder may have handled the event, too.
if value and string.sub(value, 2, 17) ~= ARGV[1] then
    if ARGV[2] ~= 'renew' then
        end_token()
    end
    return 0
end
if kind == 'h' then
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
elseif ARGV[2] == 'commit' then
    redis.call('SET', KEYS[1], 'h' .. ARGV[1], 'PX', ARGV[3])
elseif ARGV[2] == 'release' then
    -- In this order: if memory is short, only a script that has already written may run SET.
    redis.call('DEL', KEYS[1])
    end_token()
elseif has_ended then
    return 0
else
    local time = redis.call('TIME')
    local ends = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
    local kept = tonumber(ARGV[3]) + tonumber(ARGV[4])
    redis.call('SET', KEYS[1], 'c' .. ARGV[1] .. string.format('%.0f', ends), 'PX', kept)
end
return 1

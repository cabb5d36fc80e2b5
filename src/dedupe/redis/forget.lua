-- KEYS: the event, the tokens that have ended (16 bytes each, at most 100). ARGV: a token that is not used, the operation, a time that
-- is not used, how long an ended token is kept (ms).
-- Returns 1 if the event was handled and is forgotten, 0 if it was not handled, -1 if it is claimed.
local value = redis.call('GET', KEYS[1])
local kind = value and string.sub(value, 1, 1)
if kind == 'h' then
    local token = string.sub(value, 2, 17)
    local ended = redis.call('GET', KEYS[2]) or ''
    -- In this order: if memory is short, only a script that has already written may run SET.
    redis.call('DEL', KEYS[1])
    redis.call('SET', KEYS[2], token .. string.sub(ended, 1, 99 * 16), 'PX', ARGV[4])
    return 1
elseif value and kind ~= 'c' then
    return redis.error_reply('ERR not an event of this version of medhook')
elseif value then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    return tonumber(string.sub(value, 18)) > now and -1 or 0
end
return 0

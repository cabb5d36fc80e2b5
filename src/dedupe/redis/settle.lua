-- KEYS[1]: the event. ARGV: token, operation, time (ms), how long the key is kept after the lease has expired (ms).
-- Returns 1 if the operation took effect, 0 if another claim has the event. A repeated operation writes again, so that
-- WAIT has a write to wait for.
local value = redis.call('GET', KEYS[1])
local kind = value and string.sub(value, 1, 1)
if value and kind ~= 'c' and kind ~= 'h' then
    return redis.error_reply('ERR not an event of this version of medhook')
end
-- An expired claim of another token is not taken over: its holder may have handled the event, too.
if value and string.sub(value, 2, 17) ~= ARGV[1] then
    return 0
end
if kind == 'h' then
    redis.call('SET', KEYS[1], value, 'KEEPTTL')
elseif ARGV[2] == 'commit' then
    redis.call('SET', KEYS[1], 'h' .. ARGV[1], 'PX', ARGV[3])
elseif ARGV[2] == 'release' then
    redis.call('DEL', KEYS[1])
else
    local time = redis.call('TIME')
    local ends = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
    local kept = tonumber(ARGV[3]) + tonumber(ARGV[4])
    redis.call('SET', KEYS[1], 'c' .. ARGV[1] .. string.format('%.0f', ends), 'PX', kept)
end
return 1

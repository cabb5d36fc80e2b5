-- KEYS[1]: the body. Its delivery no longer counts in the current period, since its handler failed.
-- Returns 1, or 0 if there is no record.
local value = redis.call('GET', KEYS[1])
if not value then
    return 0
end
local rest, in_period = string.match(value, '^(%d+ %d+ %d+) (%d+)$')
if not rest then
    return redis.error_reply('ERR not a record of this version of medhook')
end
local after = string.format('%s %.0f', rest, math.max(0, tonumber(in_period) - 1))
redis.call('SET', KEYS[1], after, 'KEEPTTL')
return 1

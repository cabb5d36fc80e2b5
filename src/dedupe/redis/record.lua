-- KEYS[1]: the body. ARGV: the period (ms), how many deliveries count in it.
-- The value is the number of deliveries, the time of the first one (ms), the time at which the current period began (ms),
-- and the number of deliveries in it whose handler did not fail.
-- Returns the number of earlier deliveries, the time since the first of them (ms), the number of those in the current
-- period, and the time since it began (ms).
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local period = tonumber(ARGV[1])
local value = redis.call('GET', KEYS[1])
local deliveries, first, began, in_period = 0, now, now, 0
if value then
    local found = { string.match(value, '^(%d+) (%d+) (%d+) (%d+)$') }
    if #found ~= 4 then
        return redis.error_reply('ERR not a record of this version of medhook')
    end
    -- A time in the future is from before the clock was set back.
    deliveries, first = tonumber(found[1]), math.min(tonumber(found[2]), now)
    if now - tonumber(found[3]) < period then
        began, in_period = math.min(tonumber(found[3]), now), tonumber(found[4])
    end
end
local counts = in_period < tonumber(ARGV[2]) and 1 or 0
local after = string.format('%.0f %.0f %.0f %.0f', deliveries + counts, first, began, in_period + counts)
redis.call('SET', KEYS[1], after, 'PX', ARGV[1])
return { deliveries, now - first, in_period, now - began }

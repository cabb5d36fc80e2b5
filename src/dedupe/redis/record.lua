-- KEYS[1]: the body. ARGV: the period (ms). The value is the number of deliveries; it expires with the period.
-- Returns the number of earlier deliveries, and the time since the first of them (ms).
local deliveries = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if deliveries == 1 or left < 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return { deliveries - 1, math.max(0, tonumber(ARGV[1]) - left) }

-- KEYS[1]: the body. Removes one delivery from its record.
-- Returns the number of deliveries left.
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
local deliveries = redis.call('DECR', KEYS[1])
if deliveries <= 0 then
    redis.call('DEL', KEYS[1])
end
return deliveries

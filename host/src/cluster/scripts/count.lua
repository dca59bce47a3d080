-- Counts a request by the generic cell rate algorithm. Returns the milliseconds to wait, or 0 if the request is allowed.
-- Key: the theoretical arrival time of the next request. Arguments: milliseconds of one request, and of all requests
-- that are allowed at once.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local window = tonumber(ARGV[2])
local arrival = tonumber(redis.call('GET', KEYS[1]) or now) or now
arrival = math.min(math.max(arrival, now), now + window)
local next_arrival = arrival + tonumber(ARGV[1])
-- Fractions of a millisecond are rounding errors.
local wait = math.floor(next_arrival - window - now)
if wait > 0 then return wait end
redis.call('SET', KEYS[1], string.format('%.3f', next_arrival), 'PX', math.max(1, math.ceil(next_arrival - now)))
return 0

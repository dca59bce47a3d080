-- Stores the newest state of a message for a short time, and publishes it.
-- Key: the newest states. Arguments: channel, event, name of the state, most states, seconds until they expire, states
-- that the event replaces.
if #ARGV > 5 then redis.call('HDEL', KEYS[1], unpack(ARGV, 6)) end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[1], '- ' .. ARGV[2])
return 0

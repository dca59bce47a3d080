-- Adds an event to its user's stream, and publishes it with its id.
-- Keys: the stream, the newest states. Arguments: channel, event, the event as the stream stores it (empty: the
-- same), entries of the stream, seconds until the stream expires, states that the event replaces.
local stored = ARGV[3]
if stored == '' then stored = ARGV[2] end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'e', stored)
redis.call('EXPIRE', KEYS[1], ARGV[5])
if #ARGV > 5 then redis.call('HDEL', KEYS[2], unpack(ARGV, 6)) end
redis.call('PUBLISH', ARGV[1], id .. ' ' .. ARGV[2])
return id

-- Reads a setting of Open WebUI, and what both servers agreed on.
-- Keys: the setting, what was agreed on. Argument: the last byte to read.
return { redis.call('GETRANGE', KEYS[1], 0, ARGV[1]), redis.call('GET', KEYS[2]) }

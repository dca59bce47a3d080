-- Stores a setting as Open WebUI does, and that both servers agree on it, unless it has changed since it was read.
-- Keys: the setting, what was agreed on. Arguments: the last byte that was read, the JSON that was read, the new JSON
-- (empty: the setting is removed), the text that is agreed on.
if redis.call('GETRANGE', KEYS[1], 0, ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1], KEYS[2])
else
  redis.call('SET', KEYS[1], ARGV[3])
  redis.call('SET', KEYS[2], ARGV[4])
end
return 1

-- The dead letters behind ARGV[3], oldest first; ARGV[4] how many.
-- Returns {name, dead letter}...
local after = ARGV[3] == '' and '-' or '(' .. ARGV[3]
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', DEATHS, after, '+', 'LIMIT', 0, ARGV[4])) do
  local letter = redis.call('HGET', DEAD, string.sub(name, 18))
  if letter then found[#found + 1] = { name, letter } end
end
return found

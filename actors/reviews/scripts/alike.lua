-- The newest ended reviews of each of these indexes, each once, and what `move.lua` noted of them.
-- KEYS[1] prefix of the tenant's indexes.
-- ARGV[1] how many of each index; then the indexes, a dozen at most.
-- Returns {{name, its places}...}.
local names, ids, seen = {}, {}, {}
for i = 2, #ARGV do
  local some = redis.call('ZREVRANGEBYLEX', KEYS[1] .. ARGV[i], '+', '-', 'LIMIT', 0, ARGV[1])
  for _, name in ipairs(some) do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
      ids[#ids + 1] = string.sub(name, 18)
    end
  end
end
local found = {}
if #ids == 0 then return found end
local places = redis.call('HMGET', KEYS[1] .. 'likes', unpack(ids))
for i, name in ipairs(names) do
  if places[i] then found[#found + 1] = { name, places[i] } end
end
return found

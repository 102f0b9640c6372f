-- What time asks for: the reviews that are due, the soonest first, and an end to ended ones that
-- were kept long enough, in every place that they have.
-- KEYS[1] prefix of the tenant's indexes, [2] prefix of its reviews.
-- ARGV[1] now in ms, [2] reviews at most, [3] bytes at most, [4] the first name to keep; then the
-- indexes of ended reviews.
-- Returns {how many were forgotten, {id, review}...}.
local DUE, LIKES, room = KEYS[1] .. 'due', KEYS[1] .. 'likes', tonumber(ARGV[3])
local found = { 0 }
for i = 5, #ARGV do
  local index = KEYS[1] .. ARGV[i]
  local old = redis.call('ZRANGEBYLEX', index, '-', '(' .. ARGV[4], 'LIMIT', 0, 64)
  for _, name in ipairs(old) do
    local id = string.sub(name, 18)
    redis.call('DEL', KEYS[2] .. id)
    redis.call('ZREM', index, name)
    local alike = redis.call('HGET', LIKES, id)
    if alike then
      for place in string.gmatch(alike, '%S+') do redis.call('ZREM', KEYS[1] .. place, name) end
      redis.call('HDEL', LIKES, id)
    end
  end
  found[1] = found[1] + #old
end
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(due) do
  local stored = redis.call('GET', KEYS[2] .. id)
  if not stored then
    redis.call('ZREM', DUE, id)
  else
    room = room - #stored
    found[#found + 1] = { id, stored }
    if room <= 0 then break end
  end
end
return found

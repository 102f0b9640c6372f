-- A page of reviews: first the live ones, the oldest first, then the ended ones, the newest first.
-- An index is a zset by name, of names `<16 digits of time>:<review id>`.
-- KEYS[1] prefix of the tenant's indexes, [2] prefix of its reviews.
-- ARGV[1] reviews at most, [2] bytes at most, [3] 'live' or 'ended', where to begin, [4] the name
-- there behind which to begin, or empty, [5] how many of the indexes that follow are live.
-- Returns {1 if there is more, where the page ends, the name there, {id, review}...}.
local want, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local live = tonumber(ARGV[5])

-- By bytes: Lua compares strings by the server's locale, a zset does not.
local function sooner(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local function later(a, b) return sooner(b, a) end

local function names(shelf, after, most)
  local found, from, upto = {}, 6, 5 + live
  if shelf == 'ended' then from, upto = 6 + live, #ARGV end
  for i = from, upto do
    local index, some = KEYS[1] .. ARGV[i], nil
    if shelf == 'live' then
      some = redis.call('ZRANGEBYLEX', index, after == '' and '-' or '(' .. after, '+',
        'LIMIT', 0, most)
    else
      some = redis.call('ZREVRANGEBYLEX', index, after == '' and '+' or '(' .. after, '-',
        'LIMIT', 0, most)
    end
    for _, name in ipairs(some) do found[#found + 1] = name end
  end
  table.sort(found, shelf == 'live' and sooner or later)
  for i = most + 1, #found do found[i] = nil end
  return found
end

local page = { 0, ARGV[3], ARGV[4] }
local reviews = 0
local function fill(shelf, after)
  local most = want - reviews + 1
  local some = names(shelf, after, most)
  for _, name in ipairs(some) do
    local id = string.sub(name, 18)
    local stored = redis.call('GET', KEYS[2] .. id)
    if stored then
      if reviews >= want or (reviews > 0 and #stored > room) then
        page[1] = 1
        return
      end
      room = room - #stored
      reviews = reviews + 1
      page[#page + 1] = { id, stored }
    end
    page[2], page[3] = shelf, name
  end
  if #some == most then page[1] = 1 end -- some of them were forgotten meanwhile
end

if ARGV[3] == 'live' then
  fill('live', ARGV[4])
  if page[1] == 0 then fill('ended', '') end
else
  fill('ended', ARGV[4])
end
return page

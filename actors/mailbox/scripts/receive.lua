-- Lease the next messages. ARGV[4] how many, [5] lease in ms, [6] attempts at most, [7] bytes at
-- most, [8] a tag for lease ids, used if the mailbox has none yet.
-- Returns {tag, ms until something may be there or -1, {entry, attempt, decision, body}...}, or
-- `unregistered`.
local want, ends = tonumber(ARGV[4]), now + ARGV[5]
local attempts_max, room = tonumber(ARGV[6]), tonumber(ARGV[7])

if redis.call('HEXISTS', AGENTS, agent) == 0 then return 'unregistered' end

turn(attempts_max)
local leased = {}
while #leased < want and steps > 0 do
  local id = redis.call('ZRANGE', READY, 0, 0)[1]
  if not id then break end
  local entry = read(id)
  if entry.expires <= now then
    expire(id, entry)
  elseif #leased > 0 and entry.size > room then
    break
  else
    entry.attempts = entry.attempts + 1
    room = room - entry.size
    write(id, entry)
    redis.call('ZREM', READY, id)
    redis.call('ZREM', EXPIRY, id)
    redis.call('ZADD', LEASED, ends, id)
    local letter = fetch(stream(id), id, id)
    leased[#leased + 1] = { id, entry.attempts, letter.d, letter.b }
  end
end

local tag = ARGV[8]
if #leased > 0 then
  wake(ends)
  if redis.call('HSETNX', META, 'tag', tag) == 0 then tag = redis.call('HGET', META, 'tag') end
end
local pause = -1
if redis.call('EXISTS', READY) == 1 or steps <= 0 then
  pause = 0
else
  local soonest = math.min(top(DELAYED) or math.huge, top(LEASED) or math.huge)
  if soonest < math.huge then pause = math.max(0, soonest - now) end
end
return { tag, pause, unpack(leased) }

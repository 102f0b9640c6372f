-- Put a message into a mailbox, once for a decision, and take it out of the outbox.
-- KEYS[4] outbox; KEYS[5] the token: a key that says "done", or for a broadcast the set of agents
-- that have not got theirs yet.
-- ARGV[4] one|fan, [5] decision, [6] message id, [7] conversation, [8] priority, [9] expiry,
-- [10] ms to remember the decision, [11] entries at most, [12] bytes at most, [13] body.
local OUTBOX, TOKEN = KEYS[4], KEYS[5]
local fan, decision = ARGV[4] == 'fan', ARGV[5]
local size = #ARGV[13]
local letter = {
  m = ARGV[6], d = decision, c = redis.sha1hex(ARGV[7]), p = ARGV[8], x = ARGV[9], a = 0,
  b = ARGV[13],
}

local function done()
  if not fan then
    redis.call('SET', TOKEN, '1', 'PX', ARGV[10])
    redis.call('HDEL', OUTBOX, decision)
    return
  end
  redis.call('SREM', TOKEN, agent)
  if redis.call('EXISTS', TOKEN) == 0 then redis.call('HDEL', OUTBOX, decision) end
end

-- Room, if need be in place of the oldest letters whose messages have expired.
local function has_room()
  for _ = 1, 16 do
    local entries = redis.call('HLEN', INFO) + redis.call('XLEN', DEAD)
    local bytes = tonumber(redis.call('HGET', META, 'bytes') or 0)
    if entries < tonumber(ARGV[11]) and bytes + size <= tonumber(ARGV[12]) then return true end
    local id = first(STALE, now)
    if not id then return false end
    local stale = fetch(DEAD, id, id)
    exhume(id, stale)
    weigh(-#stale.b)
  end
  return false
end

if fan then
  if redis.call('SISMEMBER', TOKEN, agent) == 0 then return 'again' end
elseif redis.call('EXISTS', TOKEN) == 1 then
  redis.call('HDEL', OUTBOX, decision)
  return 'again'
end
if not has_room() then return 'full' end
weigh(size)
if redis.call('HEXISTS', AGENTS, agent) == 0 then
  letter.k, letter.r = 'agent.not_found', 'its recipient is not registered'
elseif tonumber(ARGV[9]) <= now then
  letter.k, letter.r = EXPIRED, 'it expired before it was delivered'
end
if letter.k then
  inter(letter)
else
  add(letter.p, letter, size)
end
done()
ring()
return letter.k or 'delivered'

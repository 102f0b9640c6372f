-- Move a message from the outbox into a mailbox. What the outbox does not hold was delivered
-- before, or was never allowed: nothing happens then, so this may follow the record unseen.
-- KEYS[4] outbox; KEYS[5], for a broadcast, the set of agents that have not got theirs yet.
-- ARGV[4] decision, [5] message id, [6] conversation, [7] priority, [8] expiry,
-- [9] entries at most, [10] bytes at most.
local OUTBOX, LACKING, decision = KEYS[4], KEYS[5], ARGV[4]
if LACKING and redis.call('SISMEMBER', LACKING, agent) == 0 then return 'again' end
local body = redis.call('HGET', OUTBOX, decision)
if not body then return 'again' end
local size = #body
local letter = {
  m = ARGV[5], d = decision, c = redis.sha1hex(ARGV[6]), p = ARGV[7], x = ARGV[8], a = 0, b = body,
}

local function done()
  if LACKING then
    redis.call('SREM', LACKING, agent)
    if redis.call('EXISTS', LACKING) == 1 then return end
  end
  redis.call('HDEL', OUTBOX, decision)
end

-- Room, if need be in place of the oldest letters whose messages have expired.
local function has_room()
  for _ = 1, 16 do
    local entries = redis.call('HLEN', INFO) + redis.call('XLEN', DEAD)
    local bytes = tonumber(redis.call('HGET', META, 'bytes') or 0)
    if entries < tonumber(ARGV[9]) and bytes + size <= tonumber(ARGV[10]) then return true end
    local id = first(STALE, now)
    if not id then return false end
    local stale = fetch(DEAD, id, id)
    exhume(id, stale)
    weigh(-#stale.b)
  end
  return false
end

if not has_room() then return 'full' end
weigh(size)
if redis.call('HEXISTS', AGENTS, agent) == 0 then
  letter.k, letter.r = 'agent.not_found', 'its recipient is not registered'
elseif tonumber(ARGV[8]) <= now then
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

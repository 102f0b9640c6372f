-- The parts of one mailbox and how an entry moves between them. Every script starts with this.
--
-- KEYS[1] is the prefix of the mailbox; its parts are named below. They carry the tenant's hash
-- tag, so they share its slot: that is what lets a cluster run this without naming each of them.
-- KEYS[2] is the tenant's hash of registered agents, KEYS[3] its zset agent -> when to sweep.
-- ARGV[1] is the time in ms, ARGV[2] the agent, ARGV[3] the channel that rings for it.
--
-- An entry is named `<arrival>-<priority>`, its id in the stream of its priority. It is in exactly
-- one of READY, DELAYED, LEASED (then it is the head of its conversation) or BLOCKED (it is not).
local now, agent, bell = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local box, AGENTS, DUE = KEYS[1], KEYS[2], KEYS[3]
local META = box .. 'meta' -- hash: seq (last arrival), tag (of lease ids), bytes (of bodies here)
local INFO = box .. 'info' -- hash: entry -> conversation, expiry, size and attempts
local HEADS = box .. 'heads' -- hash: conversation -> its head
local BLOCKED = box .. 'blocked' -- zset by name: conversation:arrival of those behind a head
local READY = box .. 'ready' -- zset: entry -> rank, the next to be received first
local DELAYED = box .. 'delayed' -- zset: entry -> when it may be tried again
local LEASED = box .. 'leased' -- zset: entry -> when its lease ends
local EXPIRY = box .. 'expiry' -- zset: entry -> when its message expires, unless leased
local SETTLED = box .. 'settled' -- zset: what was done lately -> when, so that repeats are no-ops
local DEAD = box .. 'dead' -- stream: the dead letters
local LETTERS = box .. 'letters' -- zset by name: message:letter, to find the letters of a message
local STALE = box .. 'stale' -- zset: letter -> when its message expires

local SETTLED_MAX, SETTLED_MS = 4096, 900000
local KEPT_MS = 7 * 86400000 -- an expired letter is kept for a week
local rung = false
local steps = 512 -- how much one run may move; large bodies count for more, so that none runs long

local function wake(at)
  redis.call('ZADD', DUE, 'LT', at, agent)
end

local function ring()
  if rung then redis.call('PUBLISH', bell, '1') end
end

local function first(zset, upto)
  return redis.call('ZRANGEBYSCORE', zset, '-inf', upto, 'LIMIT', 0, 1)[1]
end

local function top(zset)
  return tonumber(redis.call('ZRANGE', zset, 0, 0, 'WITHSCORES')[2])
end

local function read(id)
  local packed = redis.call('HGET', INFO, id)
  if not packed then return nil end
  local conversation, expires, size, attempts = string.match(packed, '^(%x+) (%d+) (%d+) (%d+)$')
  return {
    conversation = conversation,
    expires = tonumber(expires),
    size = tonumber(size),
    attempts = tonumber(attempts),
  }
end

local function write(id, entry)
  redis.call('HSET', INFO, id, string.format('%s %.0f %.0f %.0f',
    entry.conversation, entry.expires, entry.size, entry.attempts))
end

local function stream(id)
  return box .. 'p' .. string.sub(id, -1)
end

-- The fields of the first entry of a stream from `from` on, and its id.
local function fetch(key, from, upto)
  local found = redis.call('XRANGE', key, from, upto, 'COUNT', 1)[1]
  if not found then return nil end
  local fields = {}
  for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
  return fields, found[1]
end

-- More urgent first, then in order of arrival.
local function offer(id)
  local arrival, priority = string.match(id, '^(%d+)%-(%d)$')
  redis.call('ZADD', READY, (3 - priority) * 2 ^ 50 + arrival, id)
  rung = true
end

-- Names that sort by arrival behind what they belong to.
local function behind(name, id)
  local arrival, rest = string.match(id, '^(%d+)%-(%d+)$')
  return string.format('%s:%016.0f-%s', name, tonumber(arrival), rest)
end

local function foremost(zset, name)
  local found = redis.call('ZRANGEBYLEX', zset, '[' .. name .. ':', '(' .. name .. ';',
    'LIMIT', 0, 1)[1]
  if not found then return nil end
  local arrival, rest = string.match(found, ':(%d+)%-(%d+)$')
  return string.format('%.0f-%s', tonumber(arrival), rest), found
end

local function arrive(suffix)
  return string.format('%.0f-%s', redis.call('HINCRBY', META, 'seq', 1), suffix)
end

-- A new entry, behind all others of its conversation.
local function add(priority, letter, size)
  local id = arrive(priority)
  redis.call('XADD', stream(id), id, 'm', letter.m, 'd', letter.d, 'b', letter.b)
  local entry = { conversation = letter.c, expires = tonumber(letter.x), size = size, attempts = 0 }
  write(id, entry)
  redis.call('ZADD', EXPIRY, entry.expires, id)
  wake(entry.expires)
  if redis.call('HSETNX', HEADS, entry.conversation, id) == 1 then
    offer(id)
  else
    redis.call('ZADD', BLOCKED, 0, behind(entry.conversation, id))
  end
  return id
end

-- Forget an entry. If it was the head of its conversation, the next one is.
local function leave(id, entry)
  redis.call('XDEL', stream(id), id)
  redis.call('HDEL', INFO, id)
  redis.call('ZREM', EXPIRY, id)
  if redis.call('HGET', HEADS, entry.conversation) ~= id then
    redis.call('ZREM', BLOCKED, behind(entry.conversation, id))
    return
  end
  if redis.call('ZREM', LEASED, id) + redis.call('ZREM', READY, id) == 0 then
    redis.call('ZREM', DELAYED, id)
  end
  local heir, place = foremost(BLOCKED, entry.conversation)
  if heir then
    redis.call('ZREM', BLOCKED, place)
    redis.call('HSET', HEADS, entry.conversation, heir)
    offer(heir)
  else
    redis.call('HDEL', HEADS, entry.conversation)
  end
end

-- A dead letter: m message id, d decision id, b body, c conversation, p priority, x expiry,
-- k code, r reason, a attempts, t time of death.
local function inter(letter)
  local id = arrive(0)
  redis.call('XADD', DEAD, id, 'm', letter.m, 'd', letter.d, 'b', letter.b, 'c', letter.c,
    'p', letter.p, 'x', letter.x, 'k', letter.k, 'r', letter.r, 'a', letter.a, 't', now)
  redis.call('ZADD', LETTERS, 0, behind(redis.sha1hex(letter.m), id))
  redis.call('ZADD', STALE, letter.x, id)
  wake(tonumber(letter.x) + KEPT_MS)
end

local function exhume(id, letter)
  redis.call('XDEL', DEAD, id)
  redis.call('ZREM', LETTERS, behind(redis.sha1hex(letter.m), id))
  redis.call('ZREM', STALE, id)
end

local function bury(id, entry, code, reason)
  steps = steps - 1 - math.floor(entry.size / 32768)
  local letter = fetch(stream(id), id, id)
  letter.c, letter.p, letter.x = entry.conversation, string.sub(id, -1), entry.expires
  letter.k, letter.r, letter.a = code, reason, entry.attempts
  inter(letter)
  leave(id, entry)
end

local EXPIRED = 'message.expired'
local function expire(id, entry)
  bury(id, entry, EXPIRED, 'it expired before it was acknowledged')
end

-- An attempt came to nothing: again from `retry_at` on, unless that was the last one.
local function fail(id, entry, attempts_max, reason, retry_at)
  redis.call('ZREM', LEASED, id)
  if entry.attempts >= attempts_max then
    bury(id, entry, 'mailbox.retries_exhausted', reason)
    return 'dead'
  end
  if entry.expires <= now then
    expire(id, entry)
    return 'dead'
  end
  redis.call('ZADD', EXPIRY, entry.expires, id)
  wake(entry.expires)
  if retry_at > now then
    redis.call('ZADD', DELAYED, retry_at, id)
    wake(retry_at)
  else
    offer(id)
  end
  return 'waiting'
end

local LEASE_ENDED = 'the lease ended without an answer'

-- Bring back what is due: leases that ended, delays that are over.
local function turn(attempts_max)
  while steps > 0 do
    local id = first(LEASED, now)
    if not id then break end
    fail(id, read(id), attempts_max, LEASE_ENDED, 0)
    steps = steps - 1
  end
  while steps > 0 do
    local id = first(DELAYED, now)
    if not id then break end
    redis.call('ZREM', DELAYED, id)
    offer(id)
    steps = steps - 1
  end
end

-- The entry that this lease holds now, or nil and why not. The tag tells our leases from others'.
local function holds(id, attempt, tag)
  if redis.call('HGET', META, 'tag') ~= tag then return nil, 'unknown' end
  local entry = read(id)
  if entry and entry.attempts == attempt then
    local ends = tonumber(redis.call('ZSCORE', LEASED, id))
    if ends and ends > now then return entry end
  end
  return nil, 'lost'
end

local function settle(what)
  redis.call('ZADD', SETTLED, now, what)
  redis.call('ZREMRANGEBYSCORE', SETTLED, '-inf', now - SETTLED_MS)
  redis.call('ZREMRANGEBYRANK', SETTLED, 0, -SETTLED_MAX - 1)
  wake(now + SETTLED_MS)
end

local function settled(what)
  local at = tonumber(redis.call('ZSCORE', SETTLED, what))
  return at and at > now - SETTLED_MS
end

local function weigh(bytes)
  redis.call('HINCRBY', META, 'bytes', bytes)
end

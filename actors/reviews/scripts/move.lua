-- One step of a review, if nobody was faster: its record in the ledger's stream, the review, its
-- places in the indexes, its event, what becomes of what it held, and what its agent is told.
-- KEYS[1] the review, [2] prefix of the tenant's indexes, [3] write-ahead stream, [4] halted,
-- [5] held, [6] outbox, [7] agents.
-- ARGV[1] review id, [2] the version that it must have, [3] mark of this step, [4] version, [5]
-- review; [6] record, [7] its MAC; [8] step, [9] state, [10] time, [11] channel, [12] events at
-- most; [13] when it is due, [14] since when it may be let go; [15] what becomes of the held
-- message: keep, drop, or have (drop it, or take no step when it went already), [16] ms until an
-- ended review is forgotten; [17] agent to tell, [18] notice id, [19] notice; [20] now in ms, [21]
-- the mark of the last change of who may decide by which it is taken, [22] how many places it
-- leaves; then, of each place that it leaves or takes, the index and its name
-- there; those that begin with 'like:' are also noted in the hash 'likes'. An absent one is empty.
-- Returns {1, 1 when the agent is told}, {0, review as it is}, {2} when there is none, {3, reason}
-- when the log takes no records, {4} when what it held went already, {5} when who may decide has
-- changed.
local id, DUE, RELEASE = ARGV[1], KEYS[2] .. 'due', KEYS[2] .. 'release'

local function told()
  if ARGV[18] == '' then return 0 end
  return redis.call('HEXISTS', KEYS[6], ARGV[18])
end

local stored = redis.call('GET', KEYS[1])
if not stored then return { 2 } end
-- The version, and the marks of the last steps: a call is made again when its answer was lost,
-- and others may have moved on in between.
local head = string.match(stored, '^[^\n]*')
local version, marks = string.match(head, '^(%d+)(.*)$')
if string.find(marks, ARGV[3], 1, true) then return { 1, told() } end
if version ~= ARGV[2] then return { 0, stored } end
local halted = redis.call('GET', KEYS[4])
if halted then return { 3, halted } end
if ARGV[21] ~= '' then
  -- Nobody votes in the stead of who has taken that back by now.
  local changes = redis.call('GET', KEYS[2] .. 'authority') or '-'
  if string.sub(changes, 1, 16) ~= ARGV[21] then return { 5 } end
end
if ARGV[15] == 'have' and redis.call('HEXISTS', KEYS[5], id) == 0 then
  -- Whoever let it go crashed before saying so here: those who let go look again.
  redis.call('ZADD', RELEASE, 'NX', ARGV[20], id)
  redis.call('ZADD', DUE, 'XX', 'GT', ARGV[20] + 60000, id)
  return { 4 }
end

redis.call('XADD', KEYS[3], '*', 'b', ARGV[6], 'm', ARGV[7])
marks = ' ' .. ARGV[3] .. string.sub(marks, 1, 7 * (#ARGV[3] + 1))
redis.call('SET', KEYS[1], ARGV[4] .. marks .. '\n' .. ARGV[5])
if ARGV[16] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[16]) end

local left, alike = tonumber(ARGV[22]), {}
for i = 23, #ARGV, 2 do
  local index = KEYS[2] .. ARGV[i]
  if i < 23 + 2 * left then
    redis.call('ZREM', index, ARGV[i + 1])
  else
    redis.call('ZADD', index, 0, ARGV[i + 1])
    if string.sub(ARGV[i], 1, 5) == 'like:' then alike[#alike + 1] = ARGV[i] end
  end
end
-- What forgets an ended review must know its places when the review itself is gone already.
if #alike > 0 then redis.call('HSET', KEYS[2] .. 'likes', id, table.concat(alike, ' ')) end
local function place(zset, at)
  if at == '' then
    redis.call('ZREM', zset, id)
  else
    redis.call('ZADD', zset, at, id)
  end
end
place(DUE, ARGV[13])
place(RELEASE, ARGV[14])

if ARGV[15] ~= 'keep' then redis.call('HDEL', KEYS[5], id) end
if ARGV[18] ~= '' and redis.call('HEXISTS', KEYS[7], ARGV[17]) == 1 then
  redis.call('HSET', KEYS[6], ARGV[18], ARGV[19])
end
redis.call('XADD', KEYS[2] .. 'events', 'MAXLEN', '~', ARGV[12], '*',
  'r', id, 's', ARGV[8], 't', ARGV[9], 'v', ARGV[4], 'a', ARGV[10])
redis.call('PUBLISH', ARGV[11], '1')
return { 1, told() }

-- Do what time, not a caller, asks for: ended leases, ended delays, expired messages, letters kept
-- long enough; and for an agent that is gone, dead-letter what waits. ARGV[4] attempts at most.
-- Returns {1 if more is due, what was done}.
local attempts_max, steps_max = tonumber(ARGV[4]), steps
local gone = redis.call('HEXISTS', AGENTS, agent) == 0

-- Dead-letter what waits, in the order of arrival.
local function evict()
  local oldest = {}
  for priority = 0, 3 do
    local _, id = fetch(box .. 'p' .. priority, '-', '+')
    oldest[priority] = id
  end
  while steps > 0 do
    local chosen, soonest = nil, math.huge
    for priority = 0, 3 do
      local arrival = oldest[priority] and tonumber(string.match(oldest[priority], '^%d+'))
      if arrival and arrival < soonest then chosen, soonest = priority, arrival end
    end
    if not chosen then return end
    local id = oldest[chosen]
    bury(id, read(id), 'agent.unregistered', 'its recipient left before it was acknowledged')
    local _, heir = fetch(box .. 'p' .. chosen, '-', '+')
    oldest[chosen] = heir
  end
end

if gone then
  evict()
else
  turn(attempts_max)
  while steps > 0 do
    local id = first(EXPIRY, now)
    if not id then break end
    expire(id, read(id))
  end
end
while steps > 0 do
  local id = first(STALE, now - KEPT_MS)
  if not id then break end
  local stale = fetch(DEAD, id, id)
  exhume(id, stale)
  weigh(-#stale.b)
  steps = steps - 1
end
redis.call('ZREMRANGEBYSCORE', SETTLED, '-inf', now - SETTLED_MS)
ring()

if steps <= 0 then
  redis.call('ZADD', DUE, now, agent)
  return { 1, steps_max - steps }
end
if gone and redis.call('XLEN', DEAD) == 0 then
  redis.call('DEL', META, INFO, HEADS, BLOCKED, READY, DELAYED, LEASED, EXPIRY, SETTLED, DEAD,
    LETTERS, STALE, box .. 'p0', box .. 'p1', box .. 'p2', box .. 'p3')
end
local kept, memory = top(STALE), top(SETTLED)
local due = math.min(
  top(DELAYED) or math.huge, top(LEASED) or math.huge, top(EXPIRY) or math.huge,
  kept and kept + KEPT_MS or math.huge, memory and memory + SETTLED_MS or math.huge)
if due < math.huge then
  redis.call('ZADD', DUE, due, agent)
else
  redis.call('ZREM', DUE, agent)
end
return { 0, steps_max - steps }

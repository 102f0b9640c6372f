-- Fix, once for a decision, who gets a broadcast: every agent registered now but the sender.
-- Returns those who have not got it yet; deliver.lua strikes them off.
-- KEYS[1] agents, [2] outbox, [3] a key that says "fixed", [4] the set.
-- ARGV[1] sender, [2] decision, [3] ms to remember the decision.
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[3])
  for _, agent in ipairs(redis.call('HKEYS', KEYS[1])) do
    if agent ~= ARGV[1] then redis.call('SADD', KEYS[4], agent) end
  end
end
local waiting = redis.call('SMEMBERS', KEYS[4])
if #waiting == 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
return waiting

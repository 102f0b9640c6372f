-- Fix, once for a decision, who gets a broadcast: every agent registered now but the sender.
-- Returns those who have not got it yet; deliver.lua strikes them off, and with the last of them
-- the promise in the outbox.
-- KEYS[1] agents, [2] outbox, [3] the set of those who lack it.
-- ARGV[1] sender, [2] decision.
if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 then return {} end
if redis.call('EXISTS', KEYS[3]) == 0 then
  for _, agent in ipairs(redis.call('HKEYS', KEYS[1])) do
    if agent ~= ARGV[1] then redis.call('SADD', KEYS[3], agent) end
  end
end
local waiting = redis.call('SMEMBERS', KEYS[3])
if #waiting == 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
return waiting

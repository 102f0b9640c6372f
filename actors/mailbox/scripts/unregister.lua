-- Forget an agent; sweep.lua dead-letters what waits for it.
-- KEYS[1] agents, [2] last seen, [3] when to sweep. ARGV[1] agent. Returns 1 if it was there.
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZADD', KEYS[3], 0, ARGV[1])
return 1

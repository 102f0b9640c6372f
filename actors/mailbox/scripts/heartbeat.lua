-- KEYS[1] agents, [2] last seen. ARGV[1] now, [2] agent. Returns 1 if it is registered.
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return 1

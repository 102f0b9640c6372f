-- PUT a registration. KEYS[1] agents, [2] last seen. ARGV[1] now, [2] agent, [3] JSON, [4] agents
-- at most. Returns {created|updated|full, registered at}.
local found = redis.call('HGET', KEYS[1], ARGV[2])
local since = found and string.match(found, '^(%d+) ') or ARGV[1]
if not found and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return { 'full', '0' } end
redis.call('HSET', KEYS[1], ARGV[2], since .. ' ' .. ARGV[3])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return { found and 'updated' or 'created', since }

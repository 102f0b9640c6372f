-- Queue a dead letter again, as if it had just come. ARGV[3] id, [4] its channel, [5...] the
-- channels that hear of the tenant.
-- Returns redriven, again (it is queued already), unknown, or unheard: then it stays where it is.
local id, channel = ARGV[3], ARGV[4]
local letter = redis.call('HGET', DEAD, id)
if not letter then
  return redis.call('HEXISTS', jobs(channel), id) == 1 and 'again' or 'unknown'
end
local died, _, kept, review, _, _, packed =
  string.match(letter, '^(%d+)\n(%d+)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
local is_heard = false
for i = 5, #ARGV do is_heard = is_heard or ARGV[i] == kept end
if not is_heard then return 'unheard' end
exhume(kept, death(died, id))
if redis.call('HEXISTS', jobs(kept), id) == 0 then put(kept, review, id, packed) end
return 'redriven'

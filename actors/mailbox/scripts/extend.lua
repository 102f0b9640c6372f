-- This lease ends ARGV[7] ms from now. ARGV[4] entry, [5] attempt, [6] tag.
local entry, why = holds(ARGV[4], tonumber(ARGV[5]), ARGV[6])
if not entry then return why end
redis.call('ZADD', LEASED, now + ARGV[7], ARGV[4])
wake(now + ARGV[7])
return 'extended'

-- Open a review that follows another, once, together with its record in the ledger's stream.
-- KEYS[1] the review, [2] its index, [3] zset of what is due, [4] events, [5] write-ahead stream,
-- [6] halted.
-- ARGV[1] review id, [2] the review, [3] its place in the index, [4] when it is due, [5] step,
-- [6] state, [7] version, [8] time, [9] channel, [10] events at most; [11] record, [12] its MAC.
-- Returns {2} when it is open now, {1} when it was before, {0, reason} when the log takes no
-- records.
if redis.call('EXISTS', KEYS[1]) == 1 then return { 1 } end
local halted = redis.call('GET', KEYS[6])
if halted then return { 0, halted } end
redis.call('XADD', KEYS[5], '*', 'b', ARGV[11], 'm', ARGV[12])
redis.call('SET', KEYS[1], ARGV[7] .. '\n' .. ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[10], '*',
  'r', ARGV[1], 's', ARGV[5], 't', ARGV[6], 'v', ARGV[7], 'a', ARGV[8])
redis.call('PUBLISH', ARGV[9], '1')
return { 2 }

-- Give a held decision its review, once. What lies beside no held message was opened before, or
-- was never recorded: nothing happens then, so this may follow the record unseen.
-- KEYS[1] held, [2] the review, [3] its index, [4] zset of what is due, [5] events,
-- [6] the index of what is open about the same action.
-- ARGV[1] review id, [2] its place in both indexes, [3] when it is due, [4] step, [5] state,
-- [6] version, [7] time, [8] channel, [9] events at most.
-- Returns 2 when it is open now, 1 when it was before, 0 when there is nothing to open.
local id = ARGV[1]
local packed = redis.call('HGET', KEYS[1], id .. ':review')
local known = redis.call('EXISTS', KEYS[2]) == 1
if not packed then return known and 1 or 0 end
if not known then
  redis.call('SET', KEYS[2], ARGV[6] .. '\n' .. packed)
  redis.call('ZADD', KEYS[3], 0, ARGV[2])
  redis.call('ZADD', KEYS[6], 0, ARGV[2])
  redis.call('ZADD', KEYS[4], ARGV[3], id)
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[9], '*',
    'r', id, 's', ARGV[4], 't', ARGV[5], 'v', ARGV[6], 'a', ARGV[7])
  redis.call('PUBLISH', ARGV[8], '1')
end
redis.call('HDEL', KEYS[1], id .. ':review')
return known and 1 or 2

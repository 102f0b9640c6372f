-- A bounded part of what waits for a channel that does not hear of this tenant becomes dead letters.
-- ARGV[3] channel. Returns {1 if there is more, how many, how many older dead letters had to go}.
local channel, moved, dropped = ARGV[3], 0, 0
for _, review in ipairs(redis.call('ZRANGE', queue(channel), 0, 63)) do
  local id = redis.call('LINDEX', line(channel, review), 0)
  local job = id and redis.call('HGET', jobs(channel), id)
  if job then
    dropped = dropped + bury(id, { attempts = redis.call('HGET', tries(channel), id) or '0',
      channel = channel, review = review, code = 'channel.removed',
      reason = 'no channel of this name hears of this tenant any more', packed = packed_of(job) })
    moved = moved + 1
  end
  shift(channel, review, id or '')
end
if redis.call('ZCARD', queue(channel)) > 0 then return { 1, moved, dropped } end
redis.call('SREM', CHANNELS, channel)
return { 0, moved, dropped }

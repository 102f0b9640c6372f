-- What became of a job that was taken.
-- ARGV[3] channel, [4] review, [5] id, [6] attempt, [7] outcome: done, retry, postpone or dead,
-- [8] when it is due again, [9] code and [10] reason of a dead letter, [11] what the channel must
-- find it by again, or empty, [12] ms to keep that; 0: the review ended, and nothing follows.
-- Returns {1, how many older dead letters had to go}, or {0} when somebody else has it by now.
local channel, review, id = ARGV[3], ARGV[4], ARGV[5]
if redis.call('LINDEX', line(channel, review), 0) ~= id
  or redis.call('HGET', tries(channel), id) ~= ARGV[6] then
  return { 0 }
end
local outcome = ARGV[7]
if outcome == 'retry' or outcome == 'postpone' then
  if outcome == 'postpone' then redis.call('HINCRBY', tries(channel), id, -1) end
  redis.call('ZADD', queue(channel), ARGV[8], review)
  return { 1, 0 }
end
local dropped = 0
if outcome == 'dead' then
  dropped = bury(id, { attempts = ARGV[6], channel = channel, review = review, code = ARGV[9],
    reason = ARGV[10], packed = packed_of(redis.call('HGET', jobs(channel), id)) })
elseif ARGV[12] == '0' then
  redis.call('DEL', thread(channel, review))
elseif ARGV[11] ~= '' then
  redis.call('SET', thread(channel, review), ARGV[11], 'PX', ARGV[12])
end
shift(channel, review, id)
return { 1, dropped }

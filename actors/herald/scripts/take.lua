-- The next jobs of a channel, one of each review, for as long as the lease lasts.
-- ARGV[3] channel, [4] jobs at most, [5] lease in ms, [6] mark of this call: made again because its
-- answer was lost, it gives the same.
-- Returns {how many wait, {review, id, attempt, job, trace}...}.
local channel = ARGV[3]
local TAKEN = box .. 'taken:' .. channel
local before, reviews = redis.call('GET', TAKEN), {}
if before and string.sub(before, 1, #ARGV[6]) == ARGV[6] then
  for review in string.gmatch(string.sub(before, #ARGV[6] + 1), '[^\n]+') do
    reviews[#reviews + 1] = review
  end
else
  local due = redis.call('ZRANGEBYSCORE', queue(channel), '-inf', now, 'LIMIT', 0, ARGV[4])
  for _, review in ipairs(due) do
    local id = redis.call('LINDEX', line(channel, review), 0)
    if id then
      redis.call('ZADD', queue(channel), now + tonumber(ARGV[5]), review)
      redis.call('HINCRBY', tries(channel), id, 1)
      reviews[#reviews + 1] = review
    else
      redis.call('ZREM', queue(channel), review)
    end
  end
  if #reviews > 0 then
    redis.call('SET', TAKEN, ARGV[6] .. '\n' .. table.concat(reviews, '\n'), 'PX', ARGV[5])
  end
end
local found = { redis.call('HLEN', jobs(channel)) }
for _, review in ipairs(reviews) do
  local id = redis.call('LINDEX', line(channel, review), 0)
  local job = id and redis.call('HGET', jobs(channel), id)
  if job then
    found[#found + 1] = { review, id, redis.call('HGET', tries(channel), id) or '0', job,
      redis.call('GET', thread(channel, review)) or '' }
  end
end
return found

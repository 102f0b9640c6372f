-- The parts of a tenant's queues. Every script starts with this.
--
-- KEYS[1] is the prefix of them all. It carries the tenant's hash tag, so they share its slot.
-- ARGV[1] is the time in ms, ARGV[2] how many dead letters of a channel are kept.
--
-- Each channel has a queue of reviews, and each review in it a line of jobs, so that a review is
-- told in order. A job is stored as '<ms when it was queued>\n<notification>'; a dead letter as its
-- facts, a line each, and then the notification.
local now, letters_max, box = tonumber(ARGV[1]), tonumber(ARGV[2]), KEYS[1]
local CURSOR = box .. 'cursor' -- how far the events were read
local TOLD = box .. 'told' -- zset by name: reviews of which something was told, not yet their end
local CHANNELS = box .. 'channels' -- set of channels that have queues
local DEAD = box .. 'dead' -- hash: id -> dead letter
local DEATHS = box .. 'deaths' -- zset by name: <16 digits of ms>:<id>

local function queue(channel) return box .. 'queue:' .. channel end -- zset: review -> when due
local function jobs(channel) return box .. 'jobs:' .. channel end -- hash: id -> job
local function tries(channel) return box .. 'tries:' .. channel end -- hash: id -> attempts
local function line(channel, review) return box .. 'line:' .. channel .. ':' .. review end
local function thread(channel, review) return box .. 'thread:' .. channel .. ':' .. review end

-- The same of one channel: many dead letters of one must not push out those of another.
local function deaths(channel) return box .. 'deaths:' .. channel end

local function death(at, id) return string.format('%016.0f:%s', tonumber(at), id) end

-- Forget a dead letter; `name` is its name in DEATHS.
local function exhume(channel, name)
  redis.call('HDEL', DEAD, string.sub(name, 18))
  redis.call('ZREM', DEATHS, name)
  redis.call('ZREM', deaths(channel), name)
end

-- Keep what is not sent. Returns how many older ones had to go for it.
local function bury(id, letter)
  local before = redis.call('HGET', DEAD, id)
  if before then exhume(letter.channel, death(string.match(before, '^%d+'), id)) end
  redis.call('HSET', DEAD, id, table.concat({ string.format('%.0f', now), letter.attempts,
    letter.channel, letter.review, letter.code, letter.reason, letter.packed }, '\n'))
  redis.call('ZADD', DEATHS, 0, death(now, id))
  redis.call('ZADD', deaths(letter.channel), 0, death(now, id))
  local more = redis.call('ZCARD', deaths(letter.channel)) - letters_max
  if more <= 0 then return 0 end
  local oldest = redis.call('ZRANGE', deaths(letter.channel), 0, more - 1)
  for _, name in ipairs(oldest) do exhume(letter.channel, name) end
  return more
end

-- Put a job behind those of the same review.
local function put(channel, review, id, packed)
  redis.call('SADD', CHANNELS, channel)
  redis.call('HSET', jobs(channel), id, string.format('%.0f\n', now) .. packed)
  redis.call('RPUSH', line(channel, review), id)
  redis.call('ZADD', queue(channel), 'NX', now, review)
end

-- Forget the first job of a review; the next one is due.
local function shift(channel, review, id)
  redis.call('LPOP', line(channel, review))
  redis.call('HDEL', jobs(channel), id)
  redis.call('HDEL', tries(channel), id)
  if redis.call('LLEN', line(channel, review)) == 0 then
    redis.call('ZREM', queue(channel), review)
  else
    redis.call('ZADD', queue(channel), now, review)
  end
end

local function packed_of(job) return string.match(job, '^%d+\n(.*)$') end

-- Queue what a stretch of events asks for, and move the cursor behind it, both or neither.
-- ARGV[3] the cursor that it was read from, [4] the cursor behind it, [5] jobs of a channel at most,
-- [6] how many reviews ended; these; then, of each job: channel, review, id, notification.
-- Returns {1, how many were queued, how many older dead letters had to go, the channel of each
-- that had no room in its queue...}, or {0, the cursor} when it is elsewhere: then somebody else
-- has done it, or is further, or this is the same call again whose answer was lost.
local cursor = redis.call('GET', CURSOR) or ''
if cursor ~= ARGV[3] then return { 0, cursor } end

local most, ended = tonumber(ARGV[5]), tonumber(ARGV[6])
local queued, dropped, fallen = 0, 0, {}
for i = 7 + ended, #ARGV, 4 do
  local channel, review, id, packed = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('HEXISTS', jobs(channel), id) == 0 then
    if redis.call('HLEN', jobs(channel)) >= most then
      fallen[#fallen + 1] = channel
      dropped = dropped + bury(id, { attempts = 0, channel = channel, review = review,
        code = 'channel.queue_full', reason = 'too many others were waiting', packed = packed })
    else
      put(channel, review, id, packed)
      queued = queued + 1
    end
    redis.call('ZADD', TOLD, 0, review)
  end
end
for i = 7, 6 + ended do redis.call('ZREM', TOLD, ARGV[i]) end
redis.call('SET', CURSOR, ARGV[4])
local done = { 1, queued, dropped }
for _, channel in ipairs(fallen) do done[#done + 1] = channel end
return done

-- One change of who may decide, with its record in the ledger's stream. What is over is swept away.
-- A value's first line says when it is over, in ms, or `-`, and whom it is about.
-- KEYS[1] hash of its kind, [2] marks of the last changes, [3] write-ahead stream, [4] halted,
-- [5] agents.
-- ARGV[1] mark of this change, [2] field, [3] its value, empty to take it away, [4] record, [5] its
-- MAC, [6] now in ms, [7] fields at most, [8] the agent that must be registered, or empty,
-- [9] how the names of this giver's fields begin, or empty, [10] how many of those there may be.
-- Returns {1}, {2} when there is none to take away, {3, reason} when the log takes no records,
-- {4} when there are too many, {5} when that agent is not registered.
local marks = redis.call('GET', KEYS[2]) or ''
-- A call is made again when its answer was lost.
if string.find(marks, ARGV[1], 1, true) then return { 1 } end
local halted = redis.call('GET', KEYS[4])
if halted then return { 3, halted } end

local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local ends = tonumber(string.match(flat[i + 1], '^(%d+) '))
  if ends and ends <= tonumber(ARGV[6]) then redis.call('HDEL', KEYS[1], flat[i]) end
end
local is_known = redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1
if ARGV[3] == '' and not is_known then return { 2 } end
if ARGV[8] ~= '' and redis.call('HEXISTS', KEYS[5], ARGV[8]) == 0 then return { 5 } end
if not is_known and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[7]) then return { 4 } end

if not is_known and ARGV[9] ~= '' then
  local given = 0
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, #ARGV[9]) == ARGV[9] then given = given + 1 end
  end
  if given >= tonumber(ARGV[10]) then return { 4 } end
end

redis.call('XADD', KEYS[3], '*', 'b', ARGV[4], 'm', ARGV[5])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[2])
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
end
redis.call('SET', KEYS[2], string.sub(ARGV[1] .. ' ' .. marks, 1, 64 * (#ARGV[1] + 1)))
return { 1 }

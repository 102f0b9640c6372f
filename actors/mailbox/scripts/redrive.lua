-- Put the oldest dead letter of a message back, behind all others, its attempts forgotten.
-- ARGV[4] message id.
if redis.call('HEXISTS', AGENTS, agent) == 0 then return 'unregistered' end
local what = 'redriven ' .. ARGV[4]
local id = foremost(LETTERS, redis.sha1hex(ARGV[4]))
if not id then
  if settled(what) then return 'again' end
  return 'unknown'
end
local letter = fetch(DEAD, id, id)
if tonumber(letter.x) <= now then return 'expired' end
exhume(id, letter)
add(letter.p, letter, #letter.b)
settle(what)
ring()
return 'redriven'

-- The attempt of this lease failed. ARGV[4] entry, [5] attempt, [6] tag, [7] attempts at most,
-- [8] ms until the next attempt, [9] reason.
local id, attempt, tag = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local what = 'nacked ' .. id .. ' ' .. attempt
local entry, why = holds(id, attempt, tag)
if not entry then
  if why == 'lost' and settled(what) then return 'again' end
  return why
end
local state = fail(id, entry, tonumber(ARGV[7]), ARGV[9], now + ARGV[8])
settle(what)
rung = true -- also for those who wait: they learn when the delay is over
ring()
return state

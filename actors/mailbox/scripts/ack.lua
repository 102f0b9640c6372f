-- The message of this lease is done. ARGV[4] entry, [5] attempt, [6] tag.
local id, attempt, tag = ARGV[4], tonumber(ARGV[5]), ARGV[6]
local what = 'acked ' .. id .. ' ' .. attempt
local entry, why = holds(id, attempt, tag)
if not entry then
  if why == 'lost' and settled(what) then return 'again' end
  return why
end
leave(id, entry)
weigh(-entry.size)
settle(what)
ring()
return 'acked'

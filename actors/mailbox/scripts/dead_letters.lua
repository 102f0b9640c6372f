-- The dead letters behind ARGV[4], oldest first. ARGV[5] how many, [6] bytes at most.
local letters, room, after = {}, tonumber(ARGV[6]), '(' .. ARGV[4]
while #letters < tonumber(ARGV[5]) do
  local letter, id = fetch(DEAD, after, '+')
  if not letter or (#letters > 0 and #letter.b > room) then break end
  room = room - #letter.b
  after = '(' .. id
  letters[#letters + 1] = { id, letter.d, letter.k, letter.r, letter.a, letter.t, letter.b }
end
return letters

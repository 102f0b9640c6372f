-- What counts now of the values of these hashes, about somebody, or about all.
-- KEYS[1] marks of the last changes; the others are the hashes. ARGV[1] whom it is about, empty for
-- all, [2] now in ms.
-- Returns {mark of the last change or '-', then for each hash {field, value...}}. What has no sound
-- first line is there too: whoever reads it names it.
local found = { string.sub(redis.call('GET', KEYS[1]) or '-', 1, 16) }
for i = 2, #KEYS do
  local flat, some = redis.call('HGETALL', KEYS[i]), {}
  for j = 1, #flat, 2 do
    local ends, who = string.match(flat[j + 1], '^(%d+) ([^\n]*)\n')
    local is_over = ends and tonumber(ends) <= tonumber(ARGV[2])
    if not is_over and (not who or ARGV[1] == '' or who == ARGV[1]) then
      some[#some + 1] = flat[j]
      some[#some + 1] = flat[j + 1]
    end
  end
  found[i] = some
end
return found

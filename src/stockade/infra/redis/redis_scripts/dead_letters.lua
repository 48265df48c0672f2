-- ARGV: tenant, most, the id to go on after or '', then the names of a record's fields, of which the first is always
-- there. Answers, newest submission first, the fields of dead letters; those whose records are gone are forgotten.
local key, most, before, found = dead_key(ARGV[4]), tonumber(ARGV[5]), ARGV[6], {}
local edge = before == '' and '+' or '(' .. before
while #found < most do
  local ids = call('ZREVRANGEBYLEX', key, edge, '-', 'LIMIT', 0, most - #found)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    edge = '(' .. id
    local values = call('HMGET', record_key(id), unpack(ARGV, 7))
    if values[1] then found[#found + 1] = values else call('ZREM', key, id) end
  end
end
return found

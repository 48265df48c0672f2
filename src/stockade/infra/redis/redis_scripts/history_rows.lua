-- ARGV: how many fields, their names, then ids. Answers each record's values of these fields.
local fields, rows = tonumber(ARGV[4]), {}
for i = 5 + fields, #ARGV do rows[#rows + 1] = call('HMGET', record_key(ARGV[i]), unpack(ARGV, 5, 4 + fields)) end
return rows

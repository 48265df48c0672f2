-- ARGV: '1' to set aside or '', a word on why, then entries. They leave the stream; what is set aside is kept apart, bounded.
local aside, why = ARGV[4] == '1', ARGV[5]
if aside then
  for i = 6, #ARGV do
    local body = call('XRANGE', HISTORY, ARGV[i], ARGV[i])[1]
    if body then call('XADD', P .. 'history:aside', 'MAXLEN', 10000, '*', 'id', body[2][2], 'why', why) end
  end
end
call('XACK', HISTORY, 'recorders', unpack(ARGV, 6))
call('XDEL', HISTORY, unpack(ARGV, 6))
return #ARGV - 5

-- ARGV: '1' to set aside or '', a word on why, then entries. They leave the stream; what is set aside is kept apart, bounded.
local aside, why = ARGV[4] == '1', ARGV[5]
for i = 6, #ARGV do
  local entry = ARGV[i]
  local body = aside and call('XRANGE', HISTORY, entry, entry)[1]
  if body then call('XADD', P .. 'history:aside', 'MAXLEN', 10000, '*', 'id', body[2][2], 'why', why) end
  call('XACK', HISTORY, 'recorders', entry)
  call('XDEL', HISTORY, entry)
end
return #ARGV - 5

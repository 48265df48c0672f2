-- ARGV: this recorder, '1' to give what was set aside another try or ''. Forgets recorders that have nothing and were not heard
-- of for an hour. Answers how many entries were put back.
local self, again, back = ARGV[4], ARGV[5] == '1', 0
-- Without a group, which a loss of data takes away, the answer is an error, and there are no recorders in it.
for _, consumer in ipairs(redis.pcall('XINFO', 'CONSUMERS', HISTORY, 'recorders')) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  if facts.name ~= self and facts.pending == 0 and facts.idle > 3600000 then
    call('XGROUP', 'DELCONSUMER', HISTORY, 'recorders', facts.name)
  end
end
if not again then return 0 end
for _, entry in ipairs(call('XRANGE', P .. 'history:aside', '-', '+')) do
  note(entry[2][2])
  call('XDEL', P .. 'history:aside', entry[1])
  back = back + 1
end
return back

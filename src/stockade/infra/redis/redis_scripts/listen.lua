-- ARGV: id, how long in ms. From now on listeners are woken when the record changes: what wakes them finds the stream there.
local live, state = live_key(ARGV[4]), call('HGET', record_key(ARGV[4]), 'state')
if state and state ~= 'done' and call('EXISTS', live) == 0 then
  call('XADD', live, '*', 'w', '')
  call('PEXPIRE', live, ARGV[5])
end
return 1

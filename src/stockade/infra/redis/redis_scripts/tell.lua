-- ARGV: id, entry, attempt, what was said, how many bytes it is and may be kept, for how many ms. Answers 1 when the claim
-- is held. The oldest goes when there is too much; what is kept of an ended invocation ends with its record (see finish).
local id, entry, token, said = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local key, live = record_key(id), live_key(id)
local r = call('HMGET', key, 'attempt', 'entry', 'state')
if r[1] ~= token or r[2] ~= entry or r[3] == 'done' then return 0 end
if call('EXISTS', live) == 0 then call('HDEL', key, 'live_bytes') end
call('XADD', live, '*', 's', said)
local kept, most = call('HINCRBY', key, 'live_bytes', ARGV[8] + SAID_COST), tonumber(ARGV[9])
while kept > most do
  local oldest = call('XRANGE', live, '-', '+', 'COUNT', 1)[1]
  if not oldest then break end
  call('XDEL', live, oldest[1])
  if oldest[2][1] == 's' then kept = call('HINCRBY', key, 'live_bytes', -#oldest[2][2] - SAID_COST) end
end
call('PEXPIRE', live, ARGV[10])
return 1

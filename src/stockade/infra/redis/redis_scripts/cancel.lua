-- ARGV: id, tenant, now_ms, nonce of this call. Answers 1 done or asked, 0 done already, -1 absent.
local id, tenant, at, nonce = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local key = record_key(id)
local r = call('HMGET', key, 'tenant', 'state', 'done_by', 'entry')
if r[1] ~= tenant then return -1 end
if r[3] == nonce then
  write_again(key)
  return 1
end
if r[2] == 'done' then return 0 end
-- Whoever has it in hand need not wait for the next heartbeat. A hint: it may be lost.
if r[4] then call('XADD', CANCELS, 'MAXLEN', '~', HINTS, '*', 'id', id) end
if r[2] == 'running' then
  call('HSET', key, 'cancel', '1')
else
  finish(id, 'cancelled', at, 'done_by', nonce)
  dispatch(now_ms())
end
return 1

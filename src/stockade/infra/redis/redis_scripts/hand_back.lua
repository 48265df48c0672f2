-- ARGV: id, entry, attempt, '1' when the run had begun or ''. Answers 1 when the claim was still held.
-- The invocation waits again in its old place; nobody died.
local id, entry, token, ran = ARGV[4], ARGV[5], ARGV[6], ARGV[7] == '1'
local key = record_key(id)
local r = call('HMGET', key, 'attempt', 'entry', 'cancel', 'tenant', 'priority', 'slot', 'lane', 'submitted_ms',
  'attempts', 'attempts_count')
if r[1] ~= token or r[2] ~= entry then return 0 end
local now = now_ms()
if ran then
  local stopped = cmsgpack.pack({ number = tonumber(token), outcome = 'lost', code = 'lost', usage = { fuel = 0 },
    ended_ms = now, reason = 'The worker was stopped before the run was over.' })
  call('HSET', key, 'attempt', token + 1, 'attempts', (r[9] or '') .. stopped, 'attempts_count', (r[10] or 0) + 1)
  call('HSETNX', key, 'first_failure_ms', now)
end
if r[3] then
  finish(id, 'cancelled', now)
else
  if ran then note(id) end
  call('HSET', key, 'state', 'queued')
  wake_listeners(id)
  call('HDEL', key, 'entry', 'slot')
  drop_entry(entry)
  leave_slots(id, r[4], r[6], r[7])
  push_backlog(id, r[4], r[8], r[5])
end
dispatch(now)
return 1

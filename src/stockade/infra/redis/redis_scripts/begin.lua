-- ARGV: id, entry, attempt, now_ms. Answers 1 when this attempt may run.
local id, entry, token, at = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local key = record_key(id)
local r = call('HMGET', key, 'state', 'attempt', 'entry', 'cancel', 'deadline_ms', 'started_ms')
if r[2] ~= token or r[3] ~= entry or r[4] then return 0 end
if r[1] == 'running' then return 1 end
local now = now_ms()
if r[5] and tonumber(r[5]) <= now then
  expire(id, now)
  dispatch(now)
  return 0
end
call('HSET', key, 'state', 'running', 'started_ms', r[6] or at)
wake_listeners(id)
return 1

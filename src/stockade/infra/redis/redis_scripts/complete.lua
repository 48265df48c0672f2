-- ARGV: id, entry, attempt, nonce of this call, encoded attempt, its outcome, finished_ms, retry_at_ms or '',
-- started_ms or '' (kept when `begin` told it before), what the next attempt is handed or '', then the result's fields. Answers 1 when recorded (also when this very call was recorded before), else 0.
local KEPT_INPUT_BYTES = 1024 -- queue_settings.py says the same
local id, entry, token, nonce = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local attempt, outcome, finished, retry_at = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local key = record_key(id)
local r = call('HMGET', key, 'state', 'attempt', 'entry', 'done_by', 'attempts', 'attempts_count',
  'deaths', 'cancel', 'tenant', 'priority', 'slot', 'lane', 'started_ms')
if r[4] == nonce then
  write_again(key)
  return 1
end
if not r[1] then drop_entry(entry) end
if r[1] == false or r[1] == 'done' or r[2] ~= token or r[3] ~= entry then return 0 end

local deaths = tonumber(r[7])
if outcome == 'crashed' or outcome == 'lost' then deaths = deaths + 1 end
local told = { 'attempts', (r[5] or '') .. attempt, 'attempts_count', (r[6] or 0) + 1, 'deaths', deaths,
  'done_by', nonce }
if ARGV[12] ~= '' and not r[13] then told[9], told[10] = 'started_ms', ARGV[12] end
local now = now_ms()
if retry_at and r[8] then
  finish(id, 'cancelled', finished, unpack(told))
elseif retry_at and deaths < MAX_DEATHS then
  call('HSET', key, 'state', 'queued', 'attempt', token + 1, unpack(told))
  call('HSETNX', key, 'first_failure_ms', finished)
  call('HDEL', key, 'entry', 'slot', 'carry')
  if ARGV[13] ~= '' then call('HSET', key, 'carry', ARGV[13]) end
  drop_entry(entry)
  note(id)
  wake_listeners(id)
  leave_slots(id, r[9], r[11], r[12])
  -- What follows at once does so even where the worker's clock is a little ahead of this one.
  if retry_at <= tonumber(finished) then retry_at = math.min(retry_at, now) end
  if retry_at > now then push_due(id, r[9], retry_at) else push_backlog(id, r[9], retry_at, r[10]) end
else
  if retry_at then call('HINCRBY', TOTALS, 'quarantined', 1) end
  for i = 14, #ARGV do told[#told + 1] = ARGV[i] end
  finish(id, outcome, finished, unpack(told))
  -- A short input stays: with it the run can be replayed. So does one whose function is recorded.
  if outcome == 'completed' and call('HSTRLEN', key, 'input') > KEPT_INPUT_BYTES
    and call('HEXISTS', key, 'input_kept') == 0 then call('HDEL', key, 'input') end
end
dispatch(now)
return 1

-- ARGV: consumer, lease in ms, count. Answers the rows of the claims taken over.
-- Each row's attempt is the next one, so that whatever the earlier holder still sends is stale.
local consumer, lease, count = ARGV[4], ARGV[5], ARGV[6]
local now, rows = now_ms(), {}

local function lose(id)
  local key = record_key(id)
  local r = call('HMGET', key, 'attempt', 'deaths', 'attempts', 'attempts_count', 'cancel', 'deadline_ms')
  local lost = cmsgpack.pack({ number = tonumber(r[1]), outcome = 'lost', usage = { fuel = 0 },
    reason = 'The worker stopped renewing its lease.' })
  local deaths = r[2] + 1
  call('HSET', key, 'state', 'queued', 'attempt', r[1] + 1, 'deaths', deaths,
    'attempts', (r[3] or '') .. lost, 'attempts_count', (r[4] or 0) + 1)
  call('HSETNX', key, 'first_failure_ms', now)
  if r[5] then
    finish(id, 'cancelled', now)
  elseif deaths >= MAX_DEATHS then
    finish(id, 'lost', now, 'detail', 'Its worker died ' .. deaths .. ' times; it will not be tried again.')
  elseif r[6] and tonumber(r[6]) <= now then
    finish(id, 'expired', now, 'detail', 'The deadline passed after its worker died.')
  else
    return true
  end
end

for _, pending in ipairs(call('XPENDING', READY, GROUP, 'IDLE', lease, '-', '+', count)) do
  local entry = pending[1]
  local taken = call('XCLAIM', READY, GROUP, consumer, 0, entry)[1]
  local id = taken and taken[2][2]
  if not id or call('HGET', record_key(id), 'entry') ~= entry then
    drop_entry(entry)
  elseif lose(id) then
    rows[#rows + 1] = claim_row(entry, id)
  end
end
if room() > 0 then dispatch(now) end
return rows

-- ARGV: consumer, lease in ms, count. Answers the rows of the claims taken over.
-- Each row's attempt is the next one, so that whatever the earlier holder still sends is stale.
local consumer, lease, count = ARGV[4], ARGV[5], ARGV[6]
local now, rows = now_ms(), {}

-- While a server is away nobody can renew a lease. So after a restart or a failover (another `run_id`) leases count
-- again when it has served for as long as one.
local function leases_count()
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
  local known = call('HMGET', SERVING, 'run', 'since')
  if known[1] == run and tonumber(known[2]) <= now then return now - known[2] >= tonumber(lease) end
  call('HSET', SERVING, 'run', run, 'since', now)
  return false
end

local function lose(id)
  local key = record_key(id)
  local r = call('HMGET', key, 'attempt', 'deaths', 'attempts', 'attempts_count', 'cancel', 'deadline_ms')
  local lost = cmsgpack.pack({ number = tonumber(r[1]), outcome = 'lost', code = 'lost', usage = { fuel = 0 },
    ended_ms = now, reason = 'The worker stopped renewing its lease.' })
  local deaths = r[2] + 1
  call('HINCRBY', TOTALS, 'reclaimed', 1)
  call('HSET', key, 'state', 'queued', 'attempt', r[1] + 1, 'deaths', deaths,
    'attempts', (r[3] or '') .. lost, 'attempts_count', (r[4] or 0) + 1)
  call('HSETNX', key, 'first_failure_ms', now)
  wake_listeners(id)
  if r[5] then
    finish(id, 'cancelled', now)
  elseif deaths >= MAX_DEATHS then
    call('HINCRBY', TOTALS, 'quarantined', 1)
    finish(id, 'lost', now, 'detail', 'Its worker died ' .. deaths .. ' times; it will not be tried again.')
  elseif r[6] and tonumber(r[6]) <= now then
    finish(id, 'expired', now, 'detail', 'The deadline passed after its worker died.')
  else
    note(id)
    return true
  end
end

local lapsed = call('XPENDING', READY, GROUP, 'IDLE', lease, '-', '+', count)
if not leases_count() then lapsed = {} end
-- A full server refuses this write, before it lets anyone be taken for dead whose words it refused.
if lapsed[1] then call('HSET', SERVING, 'taken_over', now) end
for _, pending in ipairs(lapsed) do
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

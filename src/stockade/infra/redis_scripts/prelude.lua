-- Stands before every script. KEYS[1] is the partition's prefix; all keys below share its hash tag.
-- ARGV[1..3] are the queue's settings: retention in ms, deaths until quarantine, smallest window.
local call = redis.call
local P = KEYS[1]
local RETENTION_MS, MAX_DEATHS, WINDOW_FLOOR = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local READY, GROUP, ACTIVE, DUE = P .. 'ready', 'workers', P .. 'active', P .. 'due'
local DEADLINES, WORKERS, CAPACITY = P .. 'deadlines', P .. 'workers', P .. 'capacity'
local AGING_MS = 60000       -- how long one step of priority can hold back an older invocation
local HINTS, HINT_MS = 10000, 3600000

local function now_ms()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function record_key(id) return P .. 'inv:' .. id end
local function backlog_key(tenant) return P .. 'backlog:' .. tenant end
local function later_key(tenant) return P .. 'later:' .. tenant end

-- A tenant stands in ACTIVE exactly once while its backlog is not empty.
local function push_backlog(id, tenant, since_ms, rank)
  local backlog = backlog_key(tenant)
  if call('ZADD', backlog, since_ms + rank * AGING_MS, id) == 1 and call('ZCARD', backlog) == 1 then
    call('RPUSH', ACTIVE, tenant)
  end
end

local function drop_backlog(id, tenant)
  local backlog = backlog_key(tenant)
  if call('ZREM', backlog, id) == 1 and call('EXISTS', backlog) == 0 then
    call('LREM', ACTIVE, 0, tenant)
  end
end

local function push_due(id, tenant, at_ms)
  call('ZADD', DUE, at_ms, id)
  call('SADD', later_key(tenant), id)
end

local function drop_due(id, tenant)
  call('ZREM', DUE, id)
  call('SREM', later_key(tenant), id)
end

local function drop_entry(entry)
  call('XACK', READY, GROUP, entry)
  call('XDEL', READY, entry)
end

local function send_hint(id, reply_to)
  if not reply_to then return end
  local stream = P .. 'reply:' .. reply_to
  call('XADD', stream, 'MAXLEN', '~', HINTS, '*', 'id', id)
  if call('PTTL', stream) < HINT_MS / 2 then call('PEXPIRE', stream, HINT_MS) end
end

-- The one way to become done. Takes the invocation out of wherever it waits; `...` are further fields.
local function finish(id, outcome, at_ms, ...)
  local key = record_key(id)
  local r = call('HMGET', key, 'tenant', 'entry', 'reply_to', 'deadline_ms')
  call('HSET', key, 'state', 'done', 'outcome', outcome, 'finished_ms', at_ms, ...)
  call('PEXPIRE', key, RETENTION_MS)
  if r[4] then call('ZREM', DEADLINES, id) end
  if r[2] then
    call('HDEL', key, 'entry')
    drop_entry(r[2])
  else
    drop_backlog(id, r[1])
    drop_due(id, r[1])
  end
  send_hint(id, r[3])
end

local function expire(id, at_ms)
  finish(id, 'expired', at_ms, 'detail', 'The deadline passed before an attempt began.')
end

local function push_ready(id, attempt, deaths, first_failure_ms, spec, input)
  return call('XADD', READY, '*', 'id', id, 'v', '1', 'attempt', attempt, 'deaths', deaths,
    'first_failure_ms', first_failure_ms or '', 'spec', spec, 'input', input)
end

local function make_ready(id, now)
  local key = record_key(id)
  local r = call('HMGET', key, 'state', 'attempt', 'deaths', 'first_failure_ms', 'spec', 'input', 'deadline_ms')
  if r[1] ~= 'queued' then return false end
  if r[7] and tonumber(r[7]) <= now then
    expire(id, now)
    return false
  end
  call('HSET', key, 'entry', push_ready(id, r[2], r[3], r[4], r[5], r[6]))
  return true
end

local function room()
  return tonumber(call('GET', P .. 'window') or WINDOW_FLOOR) - call('XLEN', READY)
end

-- Fills the window from the backlogs, one invocation of each tenant in turn.
local function dispatch(now)
  local left, steps = room(), 0
  while left > 0 and steps < 1000 do
    local tenant = call('LPOP', ACTIVE)
    if not tenant then return end
    local backlog = backlog_key(tenant)
    local id = call('ZPOPMIN', backlog)[1]
    if call('EXISTS', backlog) == 1 then call('RPUSH', ACTIVE, tenant) end
    if id and make_ready(id, now) then left = left - 1 end
    steps = steps + 1
  end
end

local function touch_worker(consumer, ttl_ms, now)
  local expiry = call('ZSCORE', WORKERS, consumer)
  if not expiry or tonumber(expiry) - now < ttl_ms / 2 then
    call('ZADD', WORKERS, now + ttl_ms, consumer)
  end
end

-- What a worker needs to run an entry, as the record stands now.
local function claim_row(entry, id)
  local r = call('HMGET', record_key(id), 'attempt', 'deaths', 'first_failure_ms', 'spec', 'input')
  return { entry, r[1], r[2], r[3] or '', r[4], r[5] }
end

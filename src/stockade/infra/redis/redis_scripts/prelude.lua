-- Stands before every script. KEYS[1] is the partition's prefix; all keys below share its hash tag.
-- ARGV[1..3] are the queue's settings: retention in ms, deaths until quarantine, smallest window.
local call = redis.call
local P = KEYS[1]
local RETENTION_MS, MAX_DEATHS, WINDOW_FLOOR = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local READY, GROUP, ACTIVE, DUE = P .. 'ready', 'workers', P .. 'active', P .. 'due'
local DEADLINES, WORKERS, CAPACITY = P .. 'deadlines', P .. 'workers', P .. 'capacity'
local SHARES, TURNS, PAUSED, LANES = P .. 'shares', P .. 'turns', P .. 'paused', P .. 'lanes'
local CANCELS, WAITS, WAITING, SERVING = P .. 'cancels', P .. 'waits', P .. 'waiting', P .. 'serving'
local TOTALS = P .. 'totals' -- what happened how often, since there is a store (see status)
local HISTORY, MISSED = P .. 'history', P .. 'history:missed'
local HISTORY_MOST = 500000
local AGING_MS = 60000       -- how long one step of priority can hold back an older invocation
local HINTS, HINT_MS = 10000, 3600000
local DEAD = { trapped = true, limit_exceeded = true, crashed = true, lost = true, expired = true }

local function now_us()
  local time = call('TIME')
  return time[1] * 1000000 + time[2]
end

local function now_ms() return math.floor(now_us() / 1000) end

local function record_key(id) return P .. 'inv:' .. id end

-- What an invocation says while it runs (see tell), and that its record changed, for those who listen. There is none for
-- most, and then this costs a look. Whatever stands there instead: nobody who is told stops a transition half-way.
local WAKES, SAID_COST = 8192, 64
local function live_key(id) return P .. 'live:' .. id end
local function wake_listeners(id)
  local woken = redis.pcall('XADD', live_key(id), 'NOMKSTREAM', 'MAXLEN', '~', WAKES, '*', 'w', '')
  return type(woken) == 'string'
end

-- Keeps what an attempt said; the oldest goes when there is more than `most`. Waking trims too, and does not
-- count it: the count begins anew when nothing is there.
local function keep_said(id, said, most)
  local key, live = record_key(id), live_key(id)
  if call('XLEN', live) == 0 then call('HDEL', key, 'live_bytes') end
  call('XADD', live, '*', 's', said)
  local kept = call('HINCRBY', key, 'live_bytes', #said + SAID_COST)
  while kept > most do
    local oldest = call('XRANGE', live, '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    call('XDEL', live, oldest[1])
    if oldest[2][1] == 's' then kept = call('HINCRBY', key, 'live_bytes', -#oldest[2][2] - SAID_COST) end
  end
end

-- Before an answer about what an earlier call wrote: a server confirms what a connection itself wrote, and the earlier
-- call may have come over another one. So this call writes too, behind it.
local function write_again(key) call('HSET', key, 'v', '1') end
local function backlog_key(tenant) return P .. 'backlog:' .. tenant end
local function later_key(tenant) return P .. 'later:' .. tenant end
local function dead_key(tenant) return P .. 'dead:' .. tenant end
local function rate_key(tenant) return P .. 'rate:' .. tenant end

-- How much waits: WAITS has each tenant's figure, WAITING their sum. A figure is only ever read off the tenant's own
-- sets, and the sum moves by what the figure moved, so that what was wrong is right again at the next look (see tick).
local function waiting_of(tenant)
  return call('ZCARD', backlog_key(tenant)) + call('SCARD', later_key(tenant)) + call('SCARD', P .. 'parked:' .. tenant)
end

local function set_sum(sum)
  if sum > 0 then call('SET', WAITING, string.format('%.0f', sum)) else call('DEL', WAITING) end
end

local function recount(tenant)
  local waits, counted = waiting_of(tenant), tonumber(call('HGET', WAITS, tenant) or 0)
  if waits == counted then return end
  if waits == 0 then call('HDEL', WAITS, tenant) else call('HSET', WAITS, tenant, waits) end
  set_sum(tonumber(call('GET', WAITING) or 0) + waits - counted)
end

-- A tenant stands in ACTIVE or, at its cap, in PAUSED exactly once while its backlog is not empty.
local function insert_backlog(id, tenant, score)
  local backlog = backlog_key(tenant)
  if call('ZADD', backlog, score, id) == 1 and call('ZCARD', backlog) == 1 then
    call('RPUSH', ACTIVE, tenant)
  end
end

local function push_backlog(id, tenant, since_ms, rank)
  insert_backlog(id, tenant, since_ms + rank * AGING_MS)
  recount(tenant)
end

local function drop_backlog(id, tenant)
  local backlog = backlog_key(tenant)
  if call('ZREM', backlog, id) == 1 and call('EXISTS', backlog) == 0 then
    call('LREM', ACTIVE, 0, tenant)
    call('SREM', PAUSED, tenant)
  end
end

-- Caps. What is ready or in flight of a capped tenant stands in its `held` set, of a capped function in its `lane`;
-- a full lane's invocations wait aside, in `parked`, so that the tenant's others pass. `slot` and `lane` in a record
-- say where it counts. The sets hold ids, not numbers, so what they hold can be checked (see tick).
local function held_key(tenant) return P .. 'held:' .. tenant end
local function parked_key(tenant) return P .. 'parked:' .. tenant end
local function lane_name(tenant, lane) return #lane .. ':' .. lane .. ':' .. tenant end
local function lane_key(name) return P .. 'lane:' .. name end
local function queue_key(name) return P .. 'aside:' .. name end

local function park(id, tenant, lane, score)
  local name = lane_name(tenant, lane)
  call('ZADD', queue_key(name), score, id)
  call('SADD', parked_key(tenant), id)
  call('HSET', LANES, name, tenant)
end

local function drop_parked(id, tenant, lane)
  local name = lane_name(tenant, lane)
  if call('ZREM', queue_key(name), id) == 0 then return end
  call('SREM', parked_key(tenant), id)
  if call('EXISTS', queue_key(name)) == 0 then call('HDEL', LANES, name) end
end

local function unpark(name, tenant, count)
  if count < 1 or call('HEXISTS', LANES, name) == 0 then return end
  local back = call('ZPOPMIN', queue_key(name), count)
  for i = 1, #back, 2 do
    call('SREM', parked_key(tenant), back[i])
    insert_backlog(back[i], tenant, back[i + 1])
  end
  if call('EXISTS', queue_key(name)) == 0 then call('HDEL', LANES, name) end
end

local function unpause(tenant)
  if call('SREM', PAUSED, tenant) == 1 then call('RPUSH', ACTIVE, tenant) end
end

-- `slot` and `lane` are the record's fields, false when it does not count there.
local function leave_slots(id, tenant, slot, lane)
  if slot then
    call('SREM', held_key(tenant), id)
    unpause(tenant)
  end
  if lane then
    local name = lane_name(tenant, lane)
    call('SREM', lane_key(name), id)
    unpark(name, tenant, 1)
  end
end

local function push_due(id, tenant, at_ms)
  call('ZADD', DUE, at_ms, id)
  call('SADD', later_key(tenant), id)
  recount(tenant)
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

-- Tells the recorder of the history that this record says something new. Entries go when it confirms them; one that finds no
-- room is counted, and then the recorder walks the records.
local function note(id)
  local told = redis.pcall('XLEN', HISTORY)
  if type(told) == 'number' and told < HISTORY_MOST then
    call('XADD', HISTORY, '*', 'id', id)
  else
    redis.pcall('INCR', MISSED)
  end
end

-- The one way to become done. Takes the invocation out of wherever it waits; `...` are further fields.
local function finish(id, outcome, at_ms, ...)
  local key = record_key(id)
  local r = call('HMGET', key, 'tenant', 'entry', 'reply_to', 'deadline_ms', 'slot', 'lane')
  call('HSET', key, 'state', 'done', 'outcome', outcome, 'finished_ms', at_ms, ...)
  call('PEXPIRE', key, RETENTION_MS)
  if outcome ~= 'completed' then call('HINCRBY', TOTALS, outcome, 1) end
  if DEAD[outcome] then
    call('ZADD', dead_key(r[1]), 0, id)
    call('PEXPIRE', dead_key(r[1]), RETENTION_MS)
  end
  if r[4] then call('ZREM', DEADLINES, id) end
  if r[2] then
    call('HDEL', key, 'entry')
    drop_entry(r[2])
    leave_slots(id, r[1], r[5], r[6])
  else
    drop_backlog(id, r[1])
    drop_due(id, r[1])
    if r[6] then drop_parked(id, r[1], r[6]) end
    recount(r[1])
  end
  note(id)
  send_hint(id, r[3])
  if wake_listeners(id) then call('PEXPIRE', live_key(id), RETENTION_MS) end
end

local function expire(id, at_ms)
  finish(id, 'expired', at_ms, 'detail', 'The deadline passed before an attempt began.')
end

local function push_ready(id, attempt, deaths, first_failure_ms, spec, input, carry)
  return call('XADD', READY, '*', 'id', id, 'v', '1', 'attempt', attempt, 'deaths', deaths,
    'first_failure_ms', first_failure_ms or '', 'spec', spec, 'input', input, 'carry', carry or '')
end

-- Makes an invocation ready that was taken from its backlog, or parks or expires it; true when it is ready.
local function make_ready(id, score, tenant, capped, now)
  local key = record_key(id)
  local r = call('HMGET', key, 'state', 'attempt', 'deaths', 'first_failure_ms', 'spec', 'input', 'deadline_ms',
    'lane', 'lane_cap', 'carry')
  if r[1] ~= 'queued' then return false end
  if r[7] and tonumber(r[7]) <= now then
    expire(id, now)
    return false
  end
  if r[8] then
    local name = lane_name(tenant, r[8])
    if call('SCARD', lane_key(name)) >= tonumber(r[9]) then
      park(id, tenant, r[8], score)
      return false
    end
    call('SADD', lane_key(name), id)
  end
  local entry = push_ready(id, r[2], r[3], r[4], r[5], r[6], r[10])
  if capped then
    call('SADD', held_key(tenant), id)
    call('HSET', key, 'entry', entry, 'slot', '1')
  else
    call('HSET', key, 'entry', entry)
  end
  return true
end

local function room()
  return tonumber(call('GET', P .. 'window') or WINDOW_FLOOR) - call('XLEN', READY)
end

-- A tenant's weight, and its cap or nil; most tenants have no entry.
local function share_of(tenant)
  local share = call('HGET', SHARES, tenant)
  if not share then return 1, nil end
  local weight, cap = string.match(share, '(%d+):(%d*)')
  return tonumber(weight), tonumber(cap)
end

-- One tenant's turn: as many as its weight, or as there is room. What is left of a turn that the room cut short is
-- kept in TURNS and goes on first, so that shares are exact however small the window.
local function serve(tenant, left, now)
  local weight, cap = share_of(tenant)
  local turn = weight > 1 and tonumber(call('HGET', TURNS, tenant)) or weight
  local backlog, steps = backlog_key(tenant), 0
  while turn > 0 and left > 0 and steps < 1000 do
    if cap and call('SCARD', held_key(tenant)) >= cap then
      if call('EXISTS', backlog) == 1 then call('SADD', PAUSED, tenant) end
      call('HDEL', TURNS, tenant)
      return left, steps
    end
    local first = call('ZPOPMIN', backlog)
    if not first[1] then break end
    steps = steps + 1
    if make_ready(first[1], first[2], tenant, cap, now) then left, turn = left - 1, turn - 1 end
  end
  local more = call('EXISTS', backlog) == 1
  if more and turn > 0 and weight > 1 then
    call('HSET', TURNS, tenant, turn)
  elseif weight > 1 then
    call('HDEL', TURNS, tenant)
  end
  if more then call(turn > 0 and 'LPUSH' or 'RPUSH', ACTIVE, tenant) end
  return left, steps
end

-- Fills the window from the backlogs by deficit round robin over the active tenants.
-- Source: M. Shreedhar, G. Varghese: Efficient Fair Queueing using Deficit Round Robin, 1995.
local function dispatch(now)
  local left, steps, taken = room(), 0, 0
  while left > 0 and steps < 1000 do
    local tenant = call('LPOP', ACTIVE)
    if not tenant then return end
    left, taken = serve(tenant, left, now)
    recount(tenant)
    steps = steps + taken + 1
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
  local r = call('HMGET', record_key(id), 'attempt', 'deaths', 'first_failure_ms', 'spec', 'input', 'carry')
  return { entry, r[1], r[2], r[3] or '', r[4], r[5], r[6] or '' }
end

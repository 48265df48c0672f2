-- ARGV: id, tenant, idempotency key or '', input digest, its lifetime in ms, backlog limit, run_at_ms or '',
-- deadline_ms or '', reply_to or '', priority, submitted_ms, spec, input, the tenant's weight, its cap or '', the
-- function and its cap or '', the tenant's rate limit as microseconds for a token and for a full bucket, or '', from how
-- much waiting work on this one is refused, also from a tenant of whom few wait, and how many are few.
-- Answers {1, id} for a new one or the same one sent again, {0, earlier id}, {-1} conflict, {-2, id, how many wait} full,
-- {-3} id taken, {-4, id, microseconds until a token} over the rate, {-5, id} shed. A refusal writes nothing.
local id, tenant, idem, digest = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local run_at, deadline, reply_to = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
local rank, submitted, spec, input = ARGV[13], ARGV[14], ARGV[15], ARGV[16]
local weight, cap, lane, lane_cap = ARGV[17], tonumber(ARGV[18]), ARGV[19], tonumber(ARGV[20])
local token_us, bucket_us = tonumber(ARGV[21]), tonumber(ARGV[22])
local key, idem_key = record_key(id), P .. 'idem:' .. tenant .. ':' .. idem
local at_us = now_us()
local now = math.floor(at_us / 1000)

local owner = call('HGET', key, 'tenant')
if owner then
  if owner ~= tenant then return { -3, id } end
  write_again(key)
  return { 1, id }
end
if idem ~= '' then
  local held = call('GET', idem_key)
  local earlier = held and string.sub(held, 65)
  if held and call('EXISTS', record_key(earlier)) == 1 then
    if string.sub(held, 1, 64) ~= digest then return { -1, earlier } end
    write_again(record_key(earlier))
    return { 0, earlier }
  end
end
-- The token bucket as one time, GCRA: when the bucket will be full again. A time that this limit cannot have led to is
-- of another limit, or of a clock that was set back: then the bucket is full. Source: ITU-T I.371, virtual scheduling.
local full_us
if token_us then
  local until_us = tonumber(call('GET', rate_key(tenant)) or 0)
  if until_us < at_us or until_us > at_us + bucket_us then until_us = at_us end
  full_us = until_us + token_us
  if full_us > at_us + bucket_us then return { -4, id, full_us - at_us - bucket_us } end
end
local waiting = waiting_of(tenant)
if waiting >= tonumber(ARGV[9]) then return { -2, id, waiting } end
local few = waiting < tonumber(ARGV[25])
if tonumber(call('GET', WAITING) or 0) >= tonumber(ARGV[few and 24 or 23]) then return { -5, id } end

local share = weight .. ':' .. ARGV[18]
if share == '1:' then
  -- Nothing is written that need not be: a full server refuses a script only at its first write.
  if call('HEXISTS', SHARES, tenant) == 1 then
    call('HDEL', SHARES, tenant)
    unpause(tenant)
  end
elseif call('HGET', SHARES, tenant) ~= share then
  call('HSET', SHARES, tenant, share)
  unpause(tenant)
end

if full_us then
  call('SET', rate_key(tenant), string.format('%.0f', full_us), 'PX', math.ceil((full_us - at_us) / 1000))
end

local fields = { 'v', '1', 'tenant', tenant, 'state', 'queued', 'attempt', '1', 'deaths', '0',
  'priority', rank, 'submitted_ms', submitted, 'spec', spec, 'input', input }
local function add(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if reply_to ~= '' then add('reply_to', reply_to) end
if deadline then add('deadline_ms', deadline) end
if lane_cap then
  add('lane', lane)
  add('lane_cap', lane_cap)
end

local due_later = run_at and run_at > now
local overdue = deadline and deadline <= now
local lane_set = lane_cap and lane_key(lane_name(tenant, lane))
local straight = not due_later and not overdue and call('EXISTS', ACTIVE) == 0 and room() > 0
  and not (cap and call('SCARD', held_key(tenant)) >= cap)
  and not (lane_cap and call('SCARD', lane_set) >= lane_cap)
if straight then
  add('entry', push_ready(id, '1', '0', nil, spec, input))
  if cap then
    add('slot', '1')
    call('SADD', held_key(tenant), id)
  end
  if lane_cap then call('SADD', lane_set, id) end
end
call('HSET', key, unpack(fields))
if idem ~= '' then call('SET', idem_key, digest .. id, 'PX', ARGV[8]) end
if deadline then call('ZADD', DEADLINES, deadline, id) end
if due_later then
  push_due(id, tenant, run_at)
elseif not straight then
  push_backlog(id, tenant, submitted, rank)
  dispatch(now)
end
return { 1, id }

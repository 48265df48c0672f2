-- ARGV: consumer, its lifetime in ms, its capacity, most to move at once. Writes only what changed.
-- Answers how many due invocations became ready to run.
local consumer, ttl, capacity, most = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local now, moved = now_ms(), 0

touch_worker(consumer, ttl, now)
if call('HGET', CAPACITY, consumer) ~= capacity then call('HSET', CAPACITY, consumer, capacity) end

-- A worker that went silent leaves once its entries were taken over.
for _, gone in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now)) do
  if #call('XPENDING', READY, GROUP, '-', '+', 1, gone) == 0 then
    call('XGROUP', 'DELCONSUMER', READY, GROUP, gone)
    call('ZREM', WORKERS, gone)
    call('HDEL', CAPACITY, gone)
  end
end

local total = 0
for _, live in ipairs(call('ZRANGEBYSCORE', WORKERS, '(' .. string.format('%.0f', now), '+inf')) do
  total = total + tonumber(call('HGET', CAPACITY, live) or 0)
end
local window = string.format('%.0f', math.max(2 * total, WINDOW_FLOOR))
if call('GET', P .. 'window') ~= window then call('SET', P .. 'window', window) end

for _, id in ipairs(call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, most)) do
  local state = call('HGET', record_key(id), 'state')
  if state == 'queued' then expire(id, now) else call('ZREM', DEADLINES, id) end
end

local due = call('ZRANGEBYSCORE', DUE, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #due, 2 do
  local id = due[i]
  local r = call('HMGET', record_key(id), 'tenant', 'priority')
  call('ZREM', DUE, id)
  if r[1] then
    call('SREM', later_key(r[1]), id)
    push_backlog(id, r[1], tonumber(due[i + 1]), r[2])
    moved = moved + 1
  end
end
-- Slots follow records, so none can leak; were one to, it is given back here. A few are looked at in each tick.
local function forget_lost(set)
  for _, id in ipairs(call('SRANDMEMBER', set, 20)) do
    if not call('HGET', record_key(id), 'entry') then call('SREM', set, id) end
  end
  return call('SCARD', set)
end
for _, tenant in ipairs(call('SRANDMEMBER', PAUSED, 10)) do
  local _, cap = share_of(tenant)
  if not cap or forget_lost(held_key(tenant)) < cap then unpause(tenant) end
end
local lanes = call('HRANDFIELD', LANES, 10, 'WITHVALUES')
for i = 1, #lanes, 2 do
  local first = call('ZRANGE', queue_key(lanes[i]), 0, 0)[1]
  local cap = first and tonumber(call('HGET', record_key(first), 'lane_cap') or 1)
  if cap then unpark(lanes[i], lanes[i + 1], cap - forget_lost(lane_key(lanes[i]))) end
end
-- Figures of what waits cannot drift; were one to, it is put right here: some are counted again in each tick, and the sum
-- while tenants are few.
for _, some in ipairs({ call('HRANDFIELD', WAITS, 20), call('LRANGE', ACTIVE, 0, 19), call('SRANDMEMBER', PAUSED, 10) }) do
  for _, tenant in ipairs(some) do recount(tenant) end
end
if call('HLEN', WAITS) <= 200 then
  local sum = 0
  for _, waits in ipairs(call('HVALS', WAITS)) do sum = sum + tonumber(waits) end
  if sum ~= tonumber(call('GET', WAITING) or 0) then set_sum(sum) end
end
dispatch(now)
return moved

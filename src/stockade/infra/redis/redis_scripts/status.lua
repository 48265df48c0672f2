-- ARGV: a tenant, or '' for all. Looks only.
-- Answers for a tenant: backlog, later, oldest wait in ms. For all: the same, then ready, in flight, and the totals as
-- name, figure, …
local now, tenant = now_ms(), ARGV[4]
local LOOKED_AT = 200        -- tenants whose first in line is looked at

local function wait_of(one)
  local first = call('ZRANGE', backlog_key(one), 0, 0, 'WITHSCORES')
  if not first[1] then return 0 end
  local rank = call('HGET', record_key(first[1]), 'priority')
  return math.max(0, now - (tonumber(first[2]) - tonumber(rank or 0) * AGING_MS))
end

if tenant ~= '' then
  local later = call('SCARD', later_key(tenant))
  return { waiting_of(tenant) - later, later, wait_of(tenant) }
end

local oldest = 0
for _, one in ipairs(call('LRANGE', ACTIVE, 0, LOOKED_AT - 1)) do oldest = math.max(oldest, wait_of(one)) end

-- What is ready and in no worker's hands has waited since then at least.
local in_flight, taken = 0, '-'
local pending = redis.pcall('XPENDING', READY, GROUP)
if type(pending) == 'table' and not pending.err then
  in_flight = pending[1]
  local groups = call('XINFO', 'GROUPS', READY)
  for i = 1, #groups[1], 2 do
    if groups[1][i] == 'last-delivered-id' then taken = '(' .. groups[1][i + 1] end
  end
end
local first = call('XRANGE', READY, taken, '+', 'COUNT', 1)[1]
if first then oldest = math.max(oldest, now - tonumber(string.match(first[1], '^%d+'))) end

local later = call('ZCARD', DUE)
local waiting = tonumber(call('GET', WAITING) or 0)
local answer = { math.max(0, waiting - later), later, oldest, call('XLEN', READY) - in_flight, in_flight }
for _, part in ipairs(call('HGETALL', TOTALS)) do answer[#answer + 1] = part end
return answer

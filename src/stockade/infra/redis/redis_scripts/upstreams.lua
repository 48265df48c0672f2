-- ARGV: what to do, tenant, upstream, then for `fail`: weight, needed, how many ms ago a call succeeded (or -1), probe, cause, share of a delay in
-- thousandths, the delay that the upstream asked for, and the policy's window, probe and longest delay in ms, most upstreams;
-- for `ask`: lease in ms.
-- A tenant's breakers stand in one hash; each is `1 weight since seen until failed_probes probe serial cause`. The rules
-- are those of `stockade.retry.breakers`. Answers {wait in ms, probe, changed}; `views` answers the time and the hash.
local what, upstream = ARGV[4], ARGV[6]
local breakers = P .. 'upstreams:' .. ARGV[5]
local now = now_ms()
local KEPT_MS, FORGOTTEN_MS = 86400000, 3600000
local FIELDS = { 'weight', 'since', 'seen', 'ends', 'failed', 'probe', 'serial' }

local function read(text)
  local found = { string.match(text or '', '^1 (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S*)$') }
  local breaker = { cause = found[8] or '' }
  for i, name in ipairs(FIELDS) do breaker[name] = tonumber(found[i] or 0) end
  return breaker
end

-- Room for one more: what has been well for long goes first, then what nobody has asked for in long.
local function make_room(most, window)
  if call('HLEN', breakers) < most then return true end
  local oldest, oldest_seen
  local all = call('HGETALL', breakers)
  for i = 1, #all, 2 do
    local one = read(all[i + 1])
    local over = one.ends == 0 and now - one.seen > window or one.ends > 0 and now - one.ends > FORGOTTEN_MS
    if over then
      call('HDEL', breakers, all[i])
    elseif one.ends == 0 and (not oldest_seen or one.seen < oldest_seen) then
      oldest, oldest_seen = all[i], one.seen
    end
  end
  if call('HLEN', breakers) < most then return true end
  return oldest and call('HDEL', breakers, oldest) == 1
end

local function write(breaker)
  local numbers = {}
  for i, name in ipairs(FIELDS) do numbers[i] = string.format('%.0f', breaker[name]) end
  call('HSET', breakers, upstream, '1 ' .. table.concat(numbers, ' ') .. ' ' .. breaker.cause)
  call('PEXPIRE', breakers, KEPT_MS)
end

if what == 'views' then return { now, call('HGETALL', breakers) } end
if what == 'close' or what == 'reset' then
  local text = call('HGET', breakers, upstream)
  call('HDEL', breakers, upstream)
  return { 0, 0, text and (what == 'reset' or read(text).ends > 0) and 1 or 0 }
end

local stored = call('HGET', breakers, upstream)
local it = read(stored)
if what == 'ask' then
  if it.ends == 0 then return { 0, 0, 0 } end
  if now < it.ends then return { it.ends - now, 0, 0 } end
  local lease = tonumber(ARGV[7])
  it.serial, it.ends = it.serial + 1, now + lease
  it.probe = it.serial
  write(it)
  return { lease, it.probe, 0 }
end

local weight, needed, well, probe = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local cause, share, after, window = ARGV[11], tonumber(ARGV[12]) / 1000, tonumber(ARGV[13]), tonumber(ARGV[14])
local first, longest, most = tonumber(ARGV[15]), tonumber(ARGV[16]), tonumber(ARGV[17])

local function delay(failed)
  local own = math.floor(math.min(first * 2 ^ math.min(failed, 20), longest) * share)
  return math.max(1, own, math.min(after, longest))
end

if it.ends > 0 then
  if probe > 0 and probe == it.probe then
    it.failed, it.probe, it.seen, it.cause, it.weight = it.failed + 1, 0, now, cause, it.weight + weight
    it.ends = now + delay(it.failed)
    write(it)
  end
  return { math.max(1, it.ends - now), 0, 0 }
end
if not stored and not make_room(most, window) then return { -1, 0, 0 } end
if well >= 0 and now - well >= it.since or now - it.seen > window or now < it.seen then it.weight = 0 end
if it.weight == 0 then it.since = now end
it.weight, it.seen, it.cause = it.weight + weight, now, cause
local opens = it.weight >= needed
if opens then it.failed, it.ends = 0, now + delay(0) end
write(it)
return { opens and it.ends - now or 0, 0, opens and 1 or 0 }

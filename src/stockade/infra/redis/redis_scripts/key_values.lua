-- ARGV: what to do, tenant, key, then for `set`: value, ttl in ms (0: kept); for `add`: delta; and for both: most keys,
-- most bytes. A tenant's values stand in one hash, each behind the time it ends at; `ends` orders those that end, and
-- `size` counts the bytes of all. Answers {1, value}, {0} absent, {-1} quota, {-2} no number, {-3} overflow.
local what, tenant, key = ARGV[4], ARGV[5], ARGV[6]
local values, ends, size = P .. 'kv:' .. tenant, P .. 'kvends:' .. tenant, P .. 'kvsize:' .. tenant
local now = now_ms()

local function remove(name)
  local old = call('HGET', values, name)
  if not old then return end
  call('HDEL', values, name)
  call('ZREM', ends, name)
  call('DECRBY', size, #name + #old)
  if call('EXISTS', values) == 0 then call('DEL', size) end
end

local function read(name)
  local stored = call('HGET', values, name)
  if not stored then return nil end
  local colon = string.find(stored, ':', 1, true)
  local ends_at = tonumber(string.sub(stored, 1, colon - 1))
  if ends_at > 0 and ends_at <= now then
    remove(name)
    return nil
  end
  return string.sub(stored, colon + 1), ends_at
end

local function write(name, value, ends_at, most_keys, most_bytes)
  for _, over in ipairs(call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do remove(over) end
  local stored = string.format('%.0f', ends_at) .. ':' .. value
  local old = call('HGET', values, name)
  local more = #stored - (old and #old or -#name)
  if not old and call('HLEN', values) >= most_keys then return false end
  if tonumber(call('GET', size) or 0) + more > most_bytes then return false end
  call('HSET', values, name, stored)
  call('INCRBY', size, more)
  if ends_at > 0 then call('ZADD', ends, ends_at, name) else call('ZREM', ends, name) end
  return true
end

if what == 'get' then
  local value = read(key)
  if value then return { 1, value } end
  return { 0 }
elseif what == 'delete' then
  local there = read(key) ~= nil
  remove(key)
  return { there and 1 or 0 }
elseif what == 'clear' then
  call('DEL', values, ends, size)
  return { 1 }
elseif what == 'set' then
  local ttl = tonumber(ARGV[8])
  local ends_at = ttl > 0 and now + ttl or 0
  return { write(key, ARGV[7], ends_at, tonumber(ARGV[9]), tonumber(ARGV[10])) and 1 or -1 }
end

-- Redis adds 64-bit integers exactly, which Lua's numbers cannot: let it add in a key of the script's own.
local value, ends_at = read(key)
local scratch = P .. 'kvadd:' .. tenant
call('SET', scratch, value or '0')
local sum = redis.pcall('INCRBY', scratch, ARGV[7])
local text = call('GET', scratch)
call('DEL', scratch)
if type(sum) == 'table' then return { string.find(sum.err, 'overflow', 1, true) and -3 or -2 } end
if not write(key, text, ends_at or 0, tonumber(ARGV[8]), tonumber(ARGV[9])) then return { -1 } end
return { 1, text }

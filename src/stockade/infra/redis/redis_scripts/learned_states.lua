-- ARGV: what to do, tenant, the scope's name within the tenant (empty: the tenant itself), then for
-- `swap`: revision, state, token, 1 if set aside, ms to keep, most scopes; for `aside`: revision, ms to keep the copy, ms;
-- for `freeze`: 1 or 0, ms to keep. A scope is a hash of v (revision), s (state), t (token), f (frozen), a (set aside);
-- an index orders a tenant's scopes by their last write, frozen ones behind all.
local what, tenant, name = ARGV[4], ARGV[5], ARGV[6]
local index = P .. 'learnedindex:' .. tenant

local function place(kind, scope) return P .. kind .. ':' .. redis.sha1hex(scope) .. ':' .. tenant end
local key = place('learned', name)

-- What is no hash was never written by us: kept for a week, and read as what cannot be read.
local kind = call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then
  call('RENAME', key, place('learnedodd', name))
  call('PEXPIRE', place('learnedodd', name), 604800000)
  call('HSET', key, 'v', 1, 's', string.char(193))
end

-- An index that is none is begun anew: what is written again stands in it.
local kind_of_index = call('TYPE', index).ok
if kind_of_index ~= 'zset' and kind_of_index ~= 'none' then call('DEL', index) end

local function keep(ms)
  if call('HGET', key, 'f') then
    call('PERSIST', key)
    call('ZADD', index, 'inf', name)
  else
    call('PEXPIRE', key, ms)
    call('ZADD', index, now_ms(), name)
  end
  if call('ZCOUNT', index, 'inf', 'inf') > 0 then call('PERSIST', index) else call('PEXPIRE', index, ms) end
end

local function bound(ms, most)
  call('ZREMRANGEBYSCORE', index, '-inf', now_ms() - ms)
  local over = call('ZCARD', index) - most
  if over <= 0 then return end
  local gone = call('ZPOPMIN', index, over)
  for i = 1, #gone, 2 do call('DEL', place('learned', gone[i])) end
end

local function revision() return tonumber(call('HGET', key, 'v') or 0) or 0 end

if what == 'load' then
  local found = call('HMGET', key, 'v', 's', 'f', 'a', 't')
  local frozen = found[3] or (name ~= '' and call('HGET', place('learned', ''), 'f'))
  return { tonumber(found[1] or 0) or 0, found[2] or '', frozen and 1 or 0, found[4] and 1 or 0, found[5] or '' }
elseif what == 'swap' then
  local expected, token = tonumber(ARGV[7]), ARGV[9]
  local now_there = revision()
  if now_there == expected + 1 and call('HGET', key, 't') == token then return { 1 } end
  if now_there ~= expected then return { 0 } end
  call('HSET', key, 'v', expected + 1, 's', ARGV[8], 't', token)
  if ARGV[10] == '1' then call('HSET', key, 'a', '1') else call('HDEL', key, 'a') end
  keep(ARGV[11])
  bound(ARGV[11], tonumber(ARGV[12]))
  return { 1 }
elseif what == 'aside' then
  if revision() ~= tonumber(ARGV[7]) or call('EXISTS', key) == 0 then return { 0 } end
  local aside, frozen, next_revision = place('learnedaside', name), call('HGET', key, 'f'), revision() + 1
  call('RENAME', key, aside)
  call('PEXPIRE', aside, ARGV[8])
  call('HSET', key, 'v', next_revision, 'a', '1')
  if frozen then call('HSET', key, 'f', '1') end
  keep(ARGV[9])
  return { 1 }
elseif what == 'freeze' then
  if ARGV[7] == '1' then call('HSET', key, 'f', '1') else call('HDEL', key, 'f') end
  if call('EXISTS', key) == 1 then keep(ARGV[8]) else call('ZREM', index, name) end
  return { 1 }
end
return redis.error_reply('unknown operation')

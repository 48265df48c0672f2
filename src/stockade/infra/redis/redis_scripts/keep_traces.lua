-- ARGV: bytes of one invocation, bytes of all, milliseconds kept, then for each part its invocation and its bytes.
-- `traces` orders invocations by when the first part came, `trace_sizes` has their bytes, `trace_bytes` the sum. Answers
-- how many parts were dropped because their invocation has its share.
local most_of_one, most, kept_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ORDER, SIZES, SUM = P .. 'traces', P .. 'trace_sizes', P .. 'trace_bytes'
local now, dropped, sum = now_ms(), 0, tonumber(call('GET', SUM) or 0)

-- One look at all sizes, and one write of those that changed.
local ids, held, parts, fresh, sizes = {}, {}, {}, {}, {}
for i = 7, #ARGV, 2 do
  local id = ARGV[i]
  if not parts[id] then
    ids[#ids + 1] = id
    parts[id] = {}
  end
  table.insert(parts[id], ARGV[i + 1])
end
for i, size in ipairs(ids[1] and call('HMGET', SIZES, unpack(ids)) or {}) do held[ids[i]] = tonumber(size or 0) end

for _, id in ipairs(ids) do
  local before, kept = held[id], {}
  for _, part in ipairs(parts[id]) do
    if held[id] + #part <= most_of_one then
      held[id] = held[id] + #part
      kept[#kept + 1] = part
    else
      dropped = dropped + 1
    end
  end
  if kept[1] then
    local key = P .. 'trace:' .. id
    if before == 0 then
      fresh[#fresh + 1] = now
      fresh[#fresh + 1] = id
    end
    sizes[#sizes + 1] = id
    sizes[#sizes + 1] = held[id]
    sum = sum + held[id] - before
    -- What the sets know ends below; its own end is for the key that nothing is written behind.
    if call('RPUSH', key, unpack(kept)) == #kept then call('PEXPIRE', key, kept_ms) end
  end
end
if sizes[1] then call('HSET', SIZES, unpack(sizes)) end
if fresh[1] then call('ZADD', ORDER, unpack(fresh)) end

local function forget(ids)
  local keys = {}
  for i, size in ipairs(call('HMGET', SIZES, unpack(ids))) do
    sum = sum - tonumber(size or 0)
    keys[i] = P .. 'trace:' .. ids[i]
  end
  call('UNLINK', unpack(keys))
  call('HDEL', SIZES, unpack(ids))
  call('ZREM', ORDER, unpack(ids))
end

-- Oldest first: those whose time is over, then as many as the room wants, a few at a time.
local over = call('ZRANGEBYSCORE', ORDER, '-inf', now - kept_ms, 'LIMIT', 0, 100)
if over[1] then forget(over) end
for _ = 1, #ARGV do
  if sum <= most then break end
  local oldest = call('ZRANGE', ORDER, 0, math.min(15, math.floor(call('ZCARD', ORDER) / 64)))
  if not oldest[1] then break end
  forget(oldest)
end
call('SET', SUM, string.format('%.0f', sum))
return dropped

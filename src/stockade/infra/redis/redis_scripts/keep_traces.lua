-- ARGV: bytes of one invocation, bytes of all, milliseconds kept, then for each part its invocation and its bytes.
-- `traces` orders invocations by when the first part came, `trace_sizes` has their bytes, `trace_bytes` the sum. Answers
-- how many parts were dropped because their invocation has its share.
local most_of_one, most, kept_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ORDER, SIZES, SUM = P .. 'traces', P .. 'trace_sizes', P .. 'trace_bytes'
local now, dropped, sum = now_ms(), 0, tonumber(call('GET', SUM) or 0)
local fresh = {}

for i = 7, #ARGV, 2 do
  local id, part = ARGV[i], ARGV[i + 1]
  local size = #part
  local held = call('HINCRBY', SIZES, id, size)
  if held > most_of_one then
    call('HINCRBY', SIZES, id, -size)
    dropped = dropped + 1
  end
  if held == size then
    fresh[#fresh + 1] = now
    fresh[#fresh + 1] = id
  end
  if held <= most_of_one then
    local key = P .. 'trace:' .. id
    sum = sum + size
    -- What the sets know ends below; its own end is for the key that nothing is written behind.
    if call('RPUSH', key, part) == 1 then call('PEXPIRE', key, kept_ms) end
  end
end
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

-- ARGV: bytes of one invocation, bytes of all, milliseconds kept, then for each part its invocation and its bytes.
-- `traces` orders invocations by when the first part came, `trace_sizes` has their bytes, `trace_bytes` the sum. Answers
-- how many parts were dropped because their invocation has its share.
local most_of_one, most, kept_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ORDER, SIZES, SUM = P .. 'traces', P .. 'trace_sizes', P .. 'trace_bytes'
local now, dropped, sum = now_ms(), 0, tonumber(call('GET', P .. 'trace_bytes') or 0)

local function forget(id)
  sum = sum - tonumber(call('HGET', SIZES, id) or 0)
  call('DEL', P .. 'trace:' .. id)
  call('HDEL', SIZES, id)
  call('ZREM', ORDER, id)
end

for i = 7, #ARGV, 2 do
  local id, part = ARGV[i], ARGV[i + 1]
  local key, size = P .. 'trace:' .. id, #part
  local held = tonumber(call('HGET', SIZES, id) or 0)
  if held + size > most_of_one then
    dropped = dropped + 1
  else
    if held == 0 then
      call('ZADD', ORDER, now, id)
      call('DEL', key)
    end
    call('HSET', SIZES, id, held + size)
    sum = sum + size
    call('RPUSH', key, part)
    -- What the sets know ends by the loop below; this is for the key that nothing is written behind.
    call('PEXPIRE', key, kept_ms)
  end
end

-- Oldest first: those whose time is over, then as many as the room wants. A bounded number, so that no call is long.
for _ = 1, #ARGV do
  local oldest = call('ZRANGE', ORDER, 0, 0, 'WITHSCORES')
  if not oldest[1] or (sum <= most and tonumber(oldest[2]) > now - kept_ms) then break end
  forget(oldest[1])
end
call('SET', SUM, string.format('%.0f', sum))
return dropped

-- ARGV: id, tenant, nonce of this call, how many bytes may be kept of what it said. Puts a dead letter back into its tenant's backlog: the next attempt, with all that
-- was attempted still counted. Answers 1 when put back, 0 when it is no dead letter, -1 absent.
local id, tenant, nonce = ARGV[4], ARGV[5], ARGV[6]
local key, now = record_key(id), now_ms()
local r = call('HMGET', key, 'tenant', 'state', 'outcome', 'redriven_by', 'attempt', 'priority')
if r[1] ~= tenant then return -1 end
if r[4] == nonce then
  write_again(key)
  return 1
end
if r[2] ~= 'done' or not DEAD[r[3]] then return 0 end
-- The history is told of each end, however late it looks: what is wiped here is kept there.
local e = call('HMGET', key, 'limit', 'detail', 'finished_ms', 'attempts_count', 'ends', 'ends_count')
local ended = cmsgpack.pack({ outcome = r[3], limit = e[1] or nil, detail = e[2] or nil, finished_ms = tonumber(e[3]),
  attempts_count = tonumber(e[4] or 0), redriven_ms = now })
call('HSET', key, 'ends', (e[5] or '') .. ended, 'ends_count', (e[6] or 0) + 1)
-- What the last attempt logged goes where that of earlier ones is; the record has room for one (`Spoken`, as msgpack).
local logs = call('HGET', key, 'logs')
if logs then
  local pack = cmsgpack.pack
  local said = '\130' .. pack('attempt') .. pack(tonumber(r[5])) .. pack('logs') .. logs
  keep_said(id, said, tonumber(ARGV[7]))
  call('PEXPIRE', live_key(id), RETENTION_MS)
end
call('HDEL', key, 'outcome', 'limit', 'detail', 'finished_ms', 'done_by', 'deadline_ms', 'cancel', 'reply_to', 'logs',
  'logs_truncated', 'events', 'events_truncated', 'progress', 'carry')
call('HSET', key, 'state', 'queued', 'attempt', r[5] + 1, 'deaths', 0, 'redriven_by', nonce)
call('PERSIST', key)
call('ZREM', dead_key(tenant), id)
push_backlog(id, tenant, now, r[6])
dispatch(now)
return 1

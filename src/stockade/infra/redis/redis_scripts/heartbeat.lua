-- ARGV: consumer, its lifetime in ms, then entry, id, attempt of each claim.
-- Answers the places (from 0) of the claims that are no longer held or were cancelled.
local consumer, stale = ARGV[4], {}
for i = 6, #ARGV, 3 do
  local entry, id, token = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = #call('XPENDING', READY, GROUP, entry, entry, 1, consumer) == 1
  local r = call('HMGET', record_key(id), 'attempt', 'entry', 'cancel')
  held = held and r[1] == token and r[2] == entry
  if held then call('XCLAIM', READY, GROUP, consumer, 0, entry, 'JUSTID') end
  if not held or r[3] then stale[#stale + 1] = (i - 6) / 3 end
end
touch_worker(consumer, tonumber(ARGV[5]), now_ms())
return stale

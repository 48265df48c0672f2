-- ARGV: consumer, most to answer, then the entries it knows of. Answers the rows of entries that were delivered to this consumer
-- in a reply that never arrived: nobody began them, so they keep their attempt.
local consumer, most, known, rows = ARGV[4], tonumber(ARGV[5]), {}, {}
for i = 6, #ARGV do known[ARGV[i]] = true end
for _, pending in ipairs(call('XPENDING', READY, GROUP, '-', '+', 10000, consumer)) do
  if #rows == most then break end
  local entry = pending[1]
  local body = not known[entry] and call('XRANGE', READY, entry, entry)[1]
  local id = body and body[2][2]
  local r = id and call('HMGET', record_key(id), 'state', 'entry')
  if r and r[1] == 'queued' and r[2] == entry then
    call('XCLAIM', READY, GROUP, consumer, 0, entry, 'JUSTID')
    rows[#rows + 1] = claim_row(entry, id)
  end
end
return rows

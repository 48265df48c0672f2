-- ARGV: id, entry, attempt, what was said, how many bytes may be kept, for how many ms. Answers 1 when the claim
-- is held. The oldest goes when there is too much; what is kept of an ended invocation ends with its record (see finish).
local id, entry, token, said = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local r = call('HMGET', record_key(id), 'attempt', 'entry', 'state')
if r[1] ~= token or r[2] ~= entry or r[3] == 'done' then return 0 end
keep_said(id, said, tonumber(ARGV[8]))
call('PEXPIRE', live_key(id), ARGV[9])
return 1

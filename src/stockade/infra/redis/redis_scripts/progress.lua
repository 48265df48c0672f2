-- ARGV: id, entry, attempt, encoded progress. A word from a claim that is not held any more is dropped.
local id, entry, token, progress = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local r = call('HMGET', record_key(id), 'attempt', 'entry', 'state')
if r[1] == token and r[2] == entry and r[3] ~= 'done' then
  call('HSET', record_key(id), 'progress', progress)
  wake_listeners(id)
end
return 1

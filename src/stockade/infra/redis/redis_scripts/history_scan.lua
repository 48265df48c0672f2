-- ARGV: the server that made the cursor or '', the cursor, about how many keys to look at. Answers this server, the next cursor
-- ('0' at the end), and ids of records. Another server's cursor means nothing here: then the walk begins again. In a script, since
-- that runs where the partition is, whichever node was asked.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or 'unknown'
local cursor = ARGV[4] == run and ARGV[5] or '0'
local found, begin = call('SCAN', cursor, 'MATCH', record_key('*'), 'COUNT', ARGV[6]), #record_key('') + 1
local answer = { run, found[1] }
for _, key in ipairs(found[2]) do answer[#answer + 1] = string.sub(key, begin) end
return answer

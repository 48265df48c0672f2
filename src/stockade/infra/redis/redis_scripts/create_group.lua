-- Creates the consumer group unless it is there. It begins at 0, not at `$`: what was submitted before the first
-- worker came is waiting there.
if call('EXISTS', READY) == 1 then
  for _, group in ipairs(call('XINFO', 'GROUPS', READY)) do
    if group[2] == GROUP then return 0 end
  end
end
call('XGROUP', 'CREATE', READY, GROUP, '0', 'MKSTREAM')
return 1

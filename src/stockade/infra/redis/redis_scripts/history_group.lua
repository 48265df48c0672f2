-- Creates the recorders' group unless it is there, from the oldest entry on.
if call('EXISTS', HISTORY) == 1 then
  for _, group in ipairs(call('XINFO', 'GROUPS', HISTORY)) do
    if group[2] == 'recorders' then return 0 end
  end
end
call('XGROUP', 'CREATE', HISTORY, 'recorders', '0', 'MKSTREAM')
return 1

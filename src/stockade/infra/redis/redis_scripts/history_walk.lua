-- ARGV: this recorder, for how many ms the walk is its own, and at a walk's end how many entries were missed when it began, or ''.
-- Answers how many were missed when this recorder may walk the records, else 0. What was missed meanwhile asks for another walk.
local self, own_ms, walked = ARGV[4], ARGV[5], ARGV[6]
local walking = P .. 'history:walking'
local holder, missed = call('GET', walking), call('GET', MISSED)
if holder and holder ~= self then return 0 end
if walked ~= '' then
  if missed == walked then call('DEL', MISSED) end
  call('DEL', walking)
  return 0
end
if not missed then return 0 end
call('SET', walking, self, 'PX', own_ms)
return tonumber(missed)

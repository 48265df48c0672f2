-- ARGV: the tally's name behind the prefix, ms to keep, most names, then names and what to add to each.
-- What is no hash, or no number, begins anew; a sum beyond 64 bits too.
local key, most = P .. ARGV[4], tonumber(ARGV[6])
local kind = call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then call('DEL', key) end
local names = call('HLEN', key)
for i = 7, #ARGV, 2 do
  local known = call('HEXISTS', key, ARGV[i])
  if known == 1 or names < most then
    if known == 0 then names = names + 1 end
    local sum = redis.pcall('HINCRBY', key, ARGV[i], ARGV[i + 1])
    if type(sum) == 'table' then call('HSET', key, ARGV[i], ARGV[i + 1]) end
  end
end
call('PEXPIRE', key, ARGV[5])

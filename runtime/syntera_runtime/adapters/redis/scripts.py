"""What Redis does in one step. Scripts keep to the keys that they are given."""

APPEND = """
if ARGV[4] == '0' and redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[5], ARGV[1] .. '-0', 'previous', ARGV[2], 'events', ARGV[3])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller') then
    return 1
  end
  return added
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""
"""Add a batch to a conversation's stream. 0: the stream is gone, and the batch must not be its first."""

HOLD = """
local now = redis.call('TIME')
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[1], ARGV[index])
end
"""
"""Note until when turns are held, by the server's clock: those of pods differ."""

TAKE_DUE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local is_new = redis.call('ZADD', KEYS[1], 'NX', '+inf', '')
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, turn in ipairs(due) do
  redis.call('ZADD', KEYS[1], now + ARGV[1], turn)
end
return {is_new, due}
"""
"""Claim due turns. A member without a name stays for ever and tells a register that was lost from an empty one."""

TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local length = tonumber(ARGV[1])
local window = math.floor(now / length)
local elapsed = now - window * length
local counts, has_room = {}, 1
for index, key in ipairs(KEYS) do
  local kept = redis.call('HMGET', key, 'window', 'previous', 'current')
  local age = kept[1] and window - tonumber(kept[1]) or 2
  local previous, current = 0, 0
  if age <= 0 then
    previous, current = tonumber(kept[2]), tonumber(kept[3])
  elseif age == 1 then
    previous = tonumber(kept[3])
  end
  if previous * (1 - elapsed / length) + current + 1 > tonumber(ARGV[1 + index]) then
    has_room = 0
  end
  counts[index] = {previous, current}
end
if has_room == 1 then
  for index, key in ipairs(KEYS) do
    local count = counts[index]
    count[2] = count[2] + 1
    redis.call('HSET', key, 'window', window, 'previous', count[1], 'current', count[2])
    redis.call('PEXPIRE', key, 2 * length - elapsed)
  end
end
return {has_room, elapsed, counts}
"""
"""Count a request for all keys or for none. Windows begin at multiples of their length, by the server's clock; one that goes
back changes the window that is counted in, never what was counted."""

OPEN_STREAM = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
"""Count a stream, unless there are as many as may be; those whose lease has ended are forgotten first."""

RENEW_STREAMS = """
local time = redis.call('TIME')
local until_when = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for index = 2, #ARGV do
  redis.call('ZADD', KEYS[1], until_when, ARGV[index])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
"""Hold streams for a while longer."""

CHANGE_PRESENCE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local revision = time[1] * 1000000 + time[2]
local found, at = {}, 5
for index, key in ipairs(KEYS) do
  local count, lost = tonumber(ARGV[at]), {}
  for position = at + 1, at + count do
    local member = ARGV[position]
    if ARGV[1] == 'leave' then
      redis.call('ZREM', key, member)
    elseif ARGV[1] == 'enter' or redis.call('ZSCORE', key, member) then
      redis.call('ZADD', key, now + ARGV[2], member)
    else
      lost[#lost + 1] = member
    end
  end
  at = at + count + 1
  local ended = redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('PEXPIRE', key, ARGV[3])
  found[index] = {ended, revision, redis.call('ZRANGE', key, 0, ARGV[4] - 1), lost}
end
return found
"""
"""Let members `enter` conversations or `leave` them, or `renew` those that are there, and forget those whose leases have ended.
Gives for each how many were forgotten, the moment in microseconds, who is there, and who was not there to be renewed."""

"""The Lua scripts of :mod:`media.voicemail.jobs`: each a change of the jobs in Redis as one step."""

from __future__ import annotations

from state import keys

# KEYS: stream, open, due, dead. ARGV: entry, consumer, message, kind.
_MINE = f"""
local held = redis.call('XPENDING', KEYS[1], '{keys.VM_GROUP}', ARGV[1], ARGV[1], 1)[1]
if not held or held[2] ~= ARGV[2] then return 0 end
"""
# The message's other jobs need not wait any longer: due they are now. KEYS from 5: streams; ARGV from 8: their kinds.
_OVER = f"""
redis.call('XACK', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
local job = ARGV[4] .. ':' .. ARGV[3]
"""
_PROMOTE = """
for at = 8, #ARGV do
  local other = ARGV[at] .. ':' .. ARGV[3]
  if redis.call('ZREM', KEYS[3], other) == 1 then redis.call('XADD', KEYS[at - 3], '*', 'id', ARGV[3]) end
end
return 1
"""
RENEW = _MINE + f"redis.call('XCLAIM', KEYS[1], '{keys.VM_GROUP}', ARGV[2], 0, ARGV[1], 'JUSTID')\nreturn 1"
DONE = _MINE + _OVER + "redis.call('HDEL', KEYS[2], job)" + _PROMOTE
DEAD = (
    _MINE
    + _OVER
    + "redis.call('HDEL', KEYS[2], job)\nif ARGV[5] ~= '' then redis.call('HSET', KEYS[4], job, ARGV[5]) end"
    + _PROMOTE
)
AGAIN = (
    _MINE
    + _OVER
    + """
redis.call('HSET', KEYS[2], job, ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[6], job)
return 1
"""
)
# A try counts when it begins: a job that kills its service is given up as well. KEYS: stream, open.
BEGIN = f"""
local job = ARGV[4] .. ':' .. ARGV[3]
local record = redis.call('HGET', KEYS[2], job)
if not record then
  redis.call('XACK', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
  redis.call('XDEL', KEYS[1], ARGV[1])
  return false
end
local fields = cjson.decode(record)
fields['tries'] = fields['tries'] + 1
record = cjson.encode(fields)
redis.call('HSET', KEYS[2], job, record)
return record
"""
# KEYS: open, due, dead, streams. ARGV: message, then kind, record and due time; "force" makes it anew.
ADD = """
local job = ARGV[2] .. ':' .. ARGV[1]
if ARGV[5] == '' and redis.call('HEXISTS', KEYS[3], job) == 1 then return 0 end
if redis.call('HSETNX', KEYS[1], job, ARGV[3]) == 0 then
  if ARGV[5] == '' then return 0 end
  redis.call('HSET', KEYS[1], job, ARGV[3])
  if redis.call('ZREM', KEYS[2], job) == 0 then return 0 end
end
redis.call('HDEL', KEYS[3], job)
if tonumber(ARGV[4]) > tonumber(redis.call('TIME')[1]) then redis.call('ZADD', KEYS[2], ARGV[4], job)
else redis.call('XADD', KEYS[4], '*', 'id', ARGV[1]) end
return 1
"""
# KEYS: due, open, streams; ARGV: how many, then the kinds of the streams.
MOVE = """
local streams = {}
for at = 2, #ARGV do streams[ARGV[at]] = KEYS[at + 1] end
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now), 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
  redis.call('ZREM', KEYS[1], job)
  local kind, id = string.match(job, '^(%w+):(.+)$')
  if redis.call('HEXISTS', KEYS[2], job) == 1 then redis.call('XADD', streams[kind], '*', 'id', id) end
end
return #due
"""
# Not XAUTOCLAIM, which looks at the first few claims only, however fresh they are. KEYS: stream; ARGV: consumer, idle.
TAKE_OVER = f"""
local held = redis.call('XPENDING', KEYS[1], '{keys.VM_GROUP}', 'IDLE', ARGV[2], '-', '+', 1)[1]
if not held then return false end
local taken = redis.call('XCLAIM', KEYS[1], '{keys.VM_GROUP}', ARGV[1], ARGV[2], held[1])[1]
return taken and {{taken[1], taken[2][2]}} or false
"""
# A consumer that is deleted takes what it was given with it: it must have nothing. KEYS: stream; ARGV: consumer.
LEAVE = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if #redis.call('XPENDING', KEYS[1], '{keys.VM_GROUP}', '-', '+', 1, ARGV[1]) > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
"""
# Jobs that are open and in neither place, whoever took them out; an entry that was delivered and nobody holds is none.
# When power fails, Redis may come back with half of a transaction: it cuts its file off within one, and at its
# next start executes what is left of that (seen with 7.0). KEYS: open, due, streams; ARGV: their kinds.
REPAIR = f"""
local there, added = {{}}, 0
for at, kind in ipairs(ARGV) do
  local stream = KEYS[at + 2]
  local groups = redis.call('EXISTS', stream) == 1 and redis.call('XINFO', 'GROUPS', stream) or {{}}
  for _, group in ipairs(groups) do
    for field = 1, #group, 2 do
      if group[field] == 'last-delivered-id' then
        for _, entry in ipairs(redis.call('XRANGE', stream, '-', group[field + 1])) do
          if #redis.call('XPENDING', stream, '{keys.VM_GROUP}', entry[1], entry[1], 1) == 0 then
            redis.call('XDEL', stream, entry[1])
          end
        end
      end
    end
  end
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do there[kind .. ':' .. entry[2][2]] = true end
end
for at, kind in ipairs(ARGV) do
  for _, job in ipairs(redis.call('HKEYS', KEYS[1])) do
    local its, id = string.match(job, '^(%w+):(.+)$')
    if its == kind and not there[job] and not redis.call('ZSCORE', KEYS[2], job) then
      redis.call('XADD', KEYS[at + 2], '*', 'id', id)
      added = added + 1
    end
  end
end
return added
"""
LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

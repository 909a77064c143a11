"""The Lua scripts of :mod:`media.voicemail.index`: each changes a box in Redis, or answers, as one step."""

from __future__ import annotations

from state.keys import EVENTS_KEPT

MWI_KEPT = 10_000
"Changes of lamps that the stream keeps, or a few more; who missed more reads the hash."

# KEYS: numbers of changes, the three folders, lamps, their changes, events. ARGV: box, number expected, phones (JSON).
_COMMON = """
local box, expected, phones = ARGV[1], ARGV[2], ARGV[3]
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
if (redis.call('HGET', KEYS[1], box) or '0') ~= expected then return -1 end
local seq = string.format('%.0f', math.max(tonumber(expected) + 1, now))
local function event(kind, data)
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', EVENTS_KEPT, '*', 'kind', kind,
             'at', string.format('%.3f', now / 1000000), 'data', data)
end
local function lamp()
  redis.call('HSET', KEYS[1], box, seq)
  local body = string.format('"new":%d,"saved":%d,"urgent_new":%d,"urgent_saved":%d,"phones":%s',
    redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
    redis.call('ZCOUNT', KEYS[2], '-inf', '(0'), redis.call('ZCOUNT', KEYS[3], '-inf', '(0'), phones)
  local old = redis.call('HGET', KEYS[5], box)
  if old and string.sub(old, 2, #body + 1) == body then return end
  local value = '{' .. body .. ',"seq":' .. seq .. '}'
  redis.call('HSET', KEYS[5], box, value)
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', MWI_KEPT, '*', 'box', box)
  event('mwi', '{"box":' .. cjson.encode(box) .. ',' .. body .. '}')
end
""".replace("EVENTS_KEPT", str(EVENTS_KEPT)).replace("MWI_KEPT", str(MWI_KEPT))
# KEYS from 8: open jobs, due jobs, the stream of each kind, in the order of KINDS, dead letters, and what the call left
# that the message is of. ARGV from 4: message, its folder (empty: it is gone), score, data of the event that it is new,
# then kind, record and due time of each job.
PLACE = (
    _COMMON
    + """
local id, folder, old = ARGV[4], ARGV[5], ''
for place, name in ipairs({'new', 'saved', 'deleted'}) do
  if name ~= folder then
    if redis.call('ZREM', KEYS[place + 1], id) == 1 then old = name end
  elseif redis.call('ZADD', KEYS[place + 1], ARGV[6], id) == 0 then old = name end
end
local streams = {transcribe = KEYS[10], mail = KEYS[11], webhook = KEYS[12]}
if folder == '' then
  for kind in pairs(streams) do
    redis.call('HDEL', KEYS[8], kind .. ':' .. id)
    redis.call('ZREM', KEYS[9], kind .. ':' .. id)
    redis.call('HDEL', KEYS[13], kind .. ':' .. id)
  end
end
for at = 8, #ARGV, 3 do
  local job = ARGV[at] .. ':' .. id
  if redis.call('HSETNX', KEYS[8], job, ARGV[at + 1]) == 1 then
    if tonumber(ARGV[at + 2]) * 1000000 > now then redis.call('ZADD', KEYS[9], ARGV[at + 2], job)
    else redis.call('XADD', streams[ARGV[at]], '*', 'id', id) end
  end
end
if old ~= folder then
  if old == '' and folder == 'new' then
    event('message.left', ARGV[7])
    if string.sub(KEYS[14], -1) ~= ':' then redis.call('SET', KEYS[14], box .. '/' .. id, 'EX', 86400) end
  elseif old ~= '' then
    local data = cjson.encode({box = box, id = id, from = old, to = folder})
    event(folder == '' and 'message.deleted' or 'message.moved', data)
  end
end
lamp()
return old ~= folder and 1 or 0
"""
)
# ARGV from 4: how many messages each folder has, then each one's score and id.
REPLACE = (
    _COMMON
    + """
local at = 7
for folder = 1, 3 do
  redis.call('DEL', KEYS[folder + 1])
  local stop = at + 2 * ARGV[3 + folder]
  while at < stop do
    local upto = math.min(at + 1000, stop)
    redis.call('ZADD', KEYS[folder + 1], unpack(ARGV, at, upto - 1))
    at = upto
  end
end
lamp()
return 1
"""
)
FORGET = (
    _COMMON
    + """
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], box)
if redis.call('HDEL', KEYS[5], box) == 1 then
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', MWI_KEPT, '*', 'box', box)
end
return 1
""".replace("MWI_KEPT", str(MWI_KEPT))
)
# A Redis that was restarted may have lost its last second: until the disk was read anew it is not asked.
_SOUND = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if redis.call('GET', KEYS[1]) ~= run then return false end
"""
COUNTS = (
    _SOUND
    + """
return {redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('ZCOUNT', KEYS[2], '-inf', '(0'),
        redis.call('ZCOUNT', KEYS[3], '-inf', '(0'), redis.call('ZCARD', KEYS[4])}
"""
)
PAGE = _SOUND + "return redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2])"

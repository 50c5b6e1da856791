"""What Redis does in one step: Lua, so that two machines cannot come between.

An entry of the hash ``answers`` is three moments (fresh, revalidate and stale until; milliseconds of Redis's own
clock, so that the clocks of the machines do not matter) and the encoded answer.  A number's ``generation`` and its
customer's are tokens that change whenever something happens to them; together they are the *stamp*: a search that
began under another stamp is nobody's any more, and what it found is not kept.
"""

from __future__ import annotations

MAX_ENTRIES = 32  # of one number: configurations, sources, numeric ids

_PRELUDE = (
    """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function own(key)
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
end
local function read(key, field)
    own(key)
    local entry = redis.call('HGET', key, field)
    if not entry or #entry < 26 or not string.find(entry, '^1[hpm]', 25) then return nil end
    local fresh, revalidate, stale = struct.unpack('>ddd', entry)
    if not (math.max(fresh, revalidate, stale) > now) then return nil end
    return {fresh - now, revalidate - now, stale - now, string.sub(entry, 25)}
end
local function write(key, field, fresh, revalidate, stale, body)
    own(key)
    local entries, count = redis.call('HGETALL', key), 0
    for i = 1, #entries, 2 do
        local dead = #entries[i + 1] < 26
        if not dead then dead = math.max(struct.unpack('>ddd', entries[i + 1])) <= now end
        if dead then redis.call('HDEL', key, entries[i]) else count = count + 1 end
    end
"""
    f"    if count >= {MAX_ENTRIES} then redis.call('DEL', key) end"
    """
    redis.call('HSET', key, field, struct.pack('>ddd', now + fresh, now + revalidate, now + stale) .. body)
    local left = math.max(fresh, revalidate, stale)
    if redis.call('PTTL', key) < left then redis.call('PEXPIRE', key, left) end
end
local function stamp(number, tenant)
    return (redis.call('GET', number) or '') .. '.' .. (redis.call('GET', tenant) or '')
end
"""
)

GET = _PRELUDE + "return read(KEYS[1], ARGV[1]) or false"

PUT = _PRELUDE + ("write(KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]) return 1")

# KEYS: answers, generations of number and tenant, flight, outcome of the leader seen last
# ARGV: field, token, milliseconds of the lease
ASK = (
    _PRELUDE
    + """
local found = read(KEYS[1], ARGV[1])
if found and found[1] > 0 then return {'answer', unpack(found)} end
local outcome = redis.call('GET', KEYS[5])
if outcome then return {'outcome', outcome} end
local stamp = stamp(KEYS[2], KEYS[3])
local leader = redis.call('GET', KEYS[4])
if leader and string.sub(leader, 34) == stamp then return {'wait', string.sub(leader, 1, 32)} end
redis.call('SET', KEYS[4], ARGV[2] .. '.' .. stamp, 'PX', ARGV[3])
return {'lead', stamp}
"""
)

# KEYS: flights; ARGV: milliseconds of the lease, what each flight must hold
RENEW = """
for i, key in ipairs(KEYS) do
    if redis.call('GET', key) == ARGV[i + 1] then redis.call('PEXPIRE', key, ARGV[1]) end
end
return 1
"""

# KEYS: answers, generations of number and tenant, flight, outcome
# ARGV: field, what the flight must hold, stamp, fresh, revalidate, stale, answer to keep or '',
#       outcome for those who wait or '', its milliseconds
FINISH = (
    _PRELUDE
    + """
if redis.call('GET', KEYS[4]) == ARGV[2] then redis.call('DEL', KEYS[4]) end
local kept = ARGV[7] ~= '' and stamp(KEYS[2], KEYS[3]) == ARGV[3]
local fresh = tonumber(ARGV[4])
if kept then write(KEYS[1], ARGV[1], fresh, tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]) end
if ARGV[8] ~= '' and not (kept and fresh > 0) then redis.call('SET', KEYS[5], ARGV[8], 'PX', ARGV[9]) end
return 1
"""
)

# KEYS: answers, generation of the number; ARGV: new generation, its milliseconds, channel, news
# What exists stays good for the case that the CRM fails, and for nothing else.
CHANGE = (
    _PRELUDE
    + """
own(KEYS[1])
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
    if #entries[i + 1] < 26 then
        redis.call('HDEL', KEYS[1], entries[i])
    else
        local _, _, stale = struct.unpack('>ddd', entries[i + 1])
        local entry = struct.pack('>ddd', 0, 0, stale) .. string.sub(entries[i + 1], 25)
        redis.call('HSET', KEYS[1], entries[i], entry)
    end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""
)

# The same for a number that must not be shown any more.  It deletes first: a full Redis lets a script go on
# that has begun to write.
FORGET = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""

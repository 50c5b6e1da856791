"""What Redis does in one step: Lua, so that two machines cannot come between.

All that is known of a number stands in one hash.  Field ``a…`` is an answer: three moments (fresh, revalidate and
stale until; milliseconds of Redis's own clock, so that those of the machines do not matter) and the encoded result.
Field ``f…`` is the flight of the same question: until when its leader is taken for alive (8 bytes), his token
(:data:`TOKEN` bytes), how far he is, and an encoded result for those who wait.  How far is one byte: ``-`` has
nothing yet, ``p`` has something for those whose deadline comes, ``d`` has decided what those who wait are given and
goes on, ``o`` has ended with something that is not kept.  Whatever happens to the number removes its flights: what
a leader brings who has lost his is nobody's any more, and is not kept.
"""

from __future__ import annotations

MAX_FIELDS = 64  # of one number: configurations, numeric ids
TOKEN = 96  # bytes: 32 random ones, then the id of the leader's trace

_PRELUDE = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local function set(field, value, milliseconds)
    if redis.call('HLEN', KEYS[1]) >= {MAX_FIELDS} then redis.call('DEL', KEYS[1]) end
    redis.call('HSET', KEYS[1], field, value)
    if redis.call('PTTL', KEYS[1]) < milliseconds then redis.call('PEXPIRE', KEYS[1], milliseconds) end
end
local flight = redis.call('HGET', KEYS[1], 'f' .. ARGV[1])
if flight and #flight <= {8 + TOKEN} then flight = nil end
local function part(first, last) return string.sub(flight, first, last) end
local function fly(milliseconds, token, how_far)
    set('f' .. ARGV[1], struct.pack('>d', now + milliseconds) .. token .. how_far, tonumber(milliseconds))
end
local function holds(token)
    return flight and part(9, {8 + TOKEN}) == token and part({9 + TOKEN}, {9 + TOKEN}) ~= 'o'
end
"""

# ARGV: question, token, milliseconds of the lease, 1 when this caller has waited
# What ended while a caller waited is for him; one who comes later asks the CRM himself.
# Answers a word, the leader's token, the encoded result of the flight, and what is known: three spans, encoded result.
ASK = (
    _PRELUDE
    + f"""
local known, has_waited = {{0, 0, 0, ''}}, ARGV[4] == '1'
local answer = redis.call('HGET', KEYS[1], 'a' .. ARGV[1])
if answer and #answer > 24 then
    local fresh, revalidate, stale = struct.unpack('>ddd', answer)
    if fresh > now or not has_waited then
        known = {{fresh - now, revalidate - now, stale - now, string.sub(answer, 25)}}
    end
    if fresh > now then return {{'answer', '', '', unpack(known)}} end
end
if flight and struct.unpack('>d', flight) > now then
    local how_far = part({9 + TOKEN}, {9 + TOKEN})
    local words = {{['-'] = 'wait', p = 'wait', d = 'decided', o = has_waited and 'outcome' or nil}}
    if words[how_far] then
        return {{words[how_far], part(9, {8 + TOKEN}), part({10 + TOKEN}, -1), unpack(known)}}
    end
end
fly(ARGV[3], ARGV[2], '-')
return {{'lead', '', '', unpack(known)}}
"""
)

# ARGV: question, token, milliseconds of the lease, how far and encoded result, or '' when that is as it was
RENEW = (
    _PRELUDE
    + f"""
if not holds(ARGV[2]) then return 0 end
fly(ARGV[3], ARGV[2], ARGV[4] == '' and part({9 + TOKEN}, -1) or ARGV[4])
return 1
"""
)

# ARGV: question, token, fresh, revalidate, stale, encoded result or '', milliseconds for those who wait
FINISH = (
    _PRELUDE
    + """
if not holds(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], 'f' .. ARGV[1])
if ARGV[6] == '' then return 0 end
local fresh, revalidate, stale = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local longest = math.max(fresh, revalidate, stale)
if longest > 0 then
    set('a' .. ARGV[1], struct.pack('>ddd', now + fresh, now + revalidate, now + stale) .. ARGV[6], longest)
end
if fresh <= 0 then fly(ARGV[7], ARGV[2], 'o' .. ARGV[6]) end
return 1
"""
)

# ARGV: channel, news
# What is known stays good for the case that the CRM fails, and for nothing else.
CHANGE = (
    _PRELUDE
    + """
redis.call('HDEL', KEYS[1], '')  -- a full Redis lets a script go on that has begun to write
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == 'a' and #fields[i + 1] > 24 then
        redis.call('HSET', KEYS[1], fields[i], string.rep('\\0', 16) .. string.sub(fields[i + 1], 17))
    else
        redis.call('HDEL', KEYS[1], fields[i])
    end
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
"""
)

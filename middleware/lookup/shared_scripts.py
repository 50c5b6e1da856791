"""What Redis does in one step: Lua, so that two machines cannot come between.

All that is known of a number stands in one hash.  Field ``a…`` is an answer: three moments (fresh, revalidate and
stale until; milliseconds of Redis's own clock, so that those of the machines do not matter) and the encoded result.
Field ``f…`` is the flight of the same question: until when its leader is taken for alive, his token and, when he
has ended with something that is not kept, the encoded result for those who wait.  Whatever happens to the number
removes its flights: what a leader brings who has lost his is nobody's any more, and is not kept.
"""

from __future__ import annotations

MAX_FIELDS = 64  # of one number: configurations, numeric ids

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
local function holds(token)
    local flight = redis.call('HGET', KEYS[1], 'f' .. ARGV[1])
    return flight and #flight == 40 and string.sub(flight, 9) == token
end
"""

# ARGV: question, token, milliseconds of the lease, 1 when this caller has waited
# What ended while a caller waited is for him; one who comes later asks the CRM himself.
ASK = (
    _PRELUDE
    + """
local known, has_waited = {0, 0, 0, ''}, ARGV[4] == '1'
local answer = redis.call('HGET', KEYS[1], 'a' .. ARGV[1])
if answer and #answer > 24 then
    local fresh, revalidate, stale = struct.unpack('>ddd', answer)
    if fresh > now or not has_waited then
        known = {fresh - now, revalidate - now, stale - now, string.sub(answer, 25)}
    end
    if fresh > now then return {'answer', unpack(known)} end
end
local flight = redis.call('HGET', KEYS[1], 'f' .. ARGV[1])
if flight and #flight >= 40 and struct.unpack('>d', flight) > now then
    if #flight == 40 then return {'wait', unpack(known)} end
    if has_waited then return {'outcome', 0, 0, 0, string.sub(flight, 41)} end
end
set('f' .. ARGV[1], struct.pack('>d', now + ARGV[3]) .. ARGV[2], tonumber(ARGV[3]))
return {'lead', unpack(known)}
"""
)

# ARGV: question, token, milliseconds of the lease
RENEW = (
    _PRELUDE
    + """
if not holds(ARGV[2]) then return 0 end
set('f' .. ARGV[1], struct.pack('>d', now + ARGV[3]) .. ARGV[2], tonumber(ARGV[3]))
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
if fresh <= 0 then
    set('f' .. ARGV[1], struct.pack('>d', now + ARGV[7]) .. ARGV[2] .. ARGV[6], tonumber(ARGV[7]))
end
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

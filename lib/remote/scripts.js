'use strict';

/**
 * The scripts on the server. Each is one step there. `format.js` says what keys and entries look like.
 *
 * The first argument of each is the time of the server, in milliseconds, after which it changes nothing and fails with `LATE`: a
 * call that was given up has no effect later. The second begins the names of tags.
 */

const { Script } = require('./clients/port');

const COMMON = `
local time = redis.call('TIME')
if time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[1]) then return redis.error_reply('LATE the time of this call is over') end
-- In microseconds.
local now = time[1] * 1000000 + time[2]
local tags = ARGV[2]
-- Keeps a tag at least as long as an entry that has it.
local function lengthen(tag, px)
  if redis.call('PTTL', tag) < px then redis.call('PEXPIRE', tag, 2 * px + 86400000) end
end
-- The bytes of a key; nothing of a list, say, that others keep there.
local function read(key)
  local bytes = redis.pcall('GET', key)
  return type(bytes) == 'string' and bytes
end
-- Reads an entry: where its value begins; nil where there is none, or a tag of it was invalidated. With px its tags are kept so long.
local function live(entry, px)
  if not entry or #entry < 28 or string.byte(entry, 1) ~= 1 then return nil end
  local at = 29
  for i = 1, string.byte(entry, 27) * 256 + string.byte(entry, 28) do
    if #entry < at + 17 then return nil end
    local last = at + 17 + string.byte(entry, at + 16) * 256 + string.byte(entry, at + 17)
    if #entry < last then return nil end
    local tag = tags .. string.sub(entry, at + 18, last)
    if read(tag) ~= string.sub(entry, at, at + 15) then return nil end
    if px then lengthen(tag, px) end
    at = last + 1
  end
  return at
end
-- Stores an entry, whatever is being loaded for its key.
local function store(key, placeholder, entry, px, keeps)
  if keeps then redis.call('SET', key, entry, 'KEEPTTL') else redis.call('SET', key, entry, 'PX', px) end
  redis.call('UNLINK', placeholder)
end
-- Removes an entry. What is being loaded for its key ends; that is told as a change of the entry, also where there is none.
local function remove(key, placeholder)
  local isLoaded = redis.call('UNLINK', placeholder) == 1
  if redis.call('UNLINK', key) == 0 and isLoaded then
    redis.pcall('SET', key, '', 'PX', 1)
    redis.call('UNLINK', key)
  end
end
-- A head with the age of an entry that is there.
local function carry(head, entry)
  return string.sub(head, 1, 2) .. string.sub(entry, 3, 3) .. string.sub(head, 4, 18) .. string.sub(entry, 19, 26) .. string.sub(head, 27)
end
-- A stamp of a tag: when it was invalidated (7 bytes; 0: it was not), and 9 bytes by chance.
local function stampOf(at, chance)
  local bytes = {}
  for i = 7, 1, -1 do bytes[i] = string.char(at % 256); at = math.floor(at / 256) end
  return table.concat(bytes) .. string.sub(chance, 8, 16)
end
-- An entry with tags: their present stamps are noted in it. A tag that is not there gets a stamp. nil where a tag was invalidated since.
local function tagged(head, list, body, px, chance, since)
  if list == '' then return head .. body end
  local parts = {}
  px = tonumber(px)
  for name in string.gmatch(list, '([^%z]*)%z') do
    local tag = tags .. name
    local stamp = read(tag)
    if not stamp or #stamp ~= 16 then
      stamp = stampOf(0, chance)
      redis.call('SET', tag, stamp, 'PX', 2 * px + 86400000)
    else
      local at = 0
      for i = 1, 7 do at = at * 256 + string.byte(stamp, i) end
      if since and at >= since then return nil end
      lengthen(tag, px)
    end
    parts[#parts + 1] = stamp .. string.char(math.floor(#name / 256), #name % 256) .. name
  end
  return string.sub(head, 1, 26) .. string.char(math.floor(#parts / 256), #parts % 256) .. table.concat(parts) .. body
end
local function text(number)
  if number ~= number then return 'NaN' end
  if number == math.huge then return 'Infinity' end
  if number == -math.huge then return '-Infinity' end
  return string.format('%.17g', number)
end
`;

const script = (text) => new Script(COMMON + text);

/**
 * Stores entries. Keys: that of the entry and of its placeholder in turn. Arguments: 16 bytes by chance; of each entry how long it is
 * kept, `1` where the age of what is there runs on, its tags (each ends with a zero byte), head and value.
 */
const SET = script(`
for k = 1, #KEYS, 2 do
  local a = 4 + (k - 1) / 2 * 5
  local head, keeps = ARGV[a + 3], false
  if ARGV[a + 1] == '1' then
    local entry = read(KEYS[k])
    keeps = live(entry)
    if keeps then head = carry(head, entry) end
  end
  local px = keeps and redis.call('PTTL', KEYS[k]) or ARGV[a]
  store(KEYS[k], KEYS[k + 1], tagged(head, ARGV[a + 2], ARGV[a + 4], px, ARGV[3]), px, keeps)
end
return #KEYS / 2
`);

/** As `SET` of one entry, where there is none. Gives 1 or 0. */
const SET_IF_ABSENT = script(`
if live(read(KEYS[1])) then return 0 end
store(KEYS[1], KEYS[2], tagged(ARGV[7], ARGV[6], ARGV[8], ARGV[4], ARGV[3]), ARGV[4])
return 1
`);

/** As `SET` of one entry, where what is there has a version: the last argument, empty where there must be none. */
const COMPARE_AND_SET = script(`
local entry = read(KEYS[1])
local version = live(entry) and string.sub(entry, 4, 10) or ''
if version ~= ARGV[9] then return 0 end
local head, keeps = ARGV[7], version ~= '' and ARGV[5] == '1'
if keeps then head = carry(head, entry) end
local px = keeps and redis.call('PTTL', KEYS[1]) or ARGV[4]
store(KEYS[1], KEYS[2], tagged(head, ARGV[6], ARGV[8], px, ARGV[3]), px, keeps)
return 1
`);

/** Removes the entry of a version: the third argument. */
const COMPARE_AND_DELETE = script(`
local entry = read(KEYS[1])
local version = live(entry) and string.sub(entry, 4, 10) or ''
if version ~= ARGV[3] then return 0 end
remove(KEYS[1], KEYS[2])
return 1
`);

/** Removes entries. Keys as of `SET`. Gives 1 or 0 of each. */
const DELETE = script(`
local there = {}
for k = 1, #KEYS, 2 do
  there[#there + 1] = live(read(KEYS[k])) and 1 or 0
  remove(KEYS[k], KEYS[k + 1])
end
return there
`);

/** Removes an entry and gives it. */
const GET_AND_DELETE = script(`
local entry = read(KEYS[1])
remove(KEYS[1], KEYS[2])
return live(entry) and entry or false
`);

/** Begins the age of an entry anew: how long it is kept, mark and age as of a head; without, with the age it has. */
const TOUCH = script(`
local entry = read(KEYS[1])
if not live(entry) then return 0 end
if ARGV[3] == '' then
  local age = 0
  for i = 19, 26 do age = age * 256 + string.byte(entry, i) end
  local px = string.byte(entry, 3) == 0 and age or tonumber(ARGV[5])
  live(entry, px)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', px))
else
  live(entry, tonumber(ARGV[3]))
  redis.call('SET', KEYS[1], string.sub(entry, 1, 2) .. string.sub(ARGV[4], 3, 3) .. string.sub(entry, 4, 18) .. string.sub(ARGV[4], 19, 26) .. string.sub(entry, 27), 'PX', ARGV[3])
end
return 1
`);

/** Adds to a counter: the head of the sum, the amount, how long it is kept, `1` where the age of a counter that is there runs on. */
const INCREMENT = script(`
local entry = read(KEYS[1])
local at = live(entry)
local now = at and string.sub(entry, 2, 2) == 'n' and tonumber(string.sub(entry, at)) or nil
local sum = text((now or 0) + tonumber(ARGV[4]))
local keeps = now and ARGV[6] == '1'
local head = ARGV[3]
if keeps then head = carry(head, entry) end
store(KEYS[1], KEYS[2], head .. sum, ARGV[5], keeps)
return sum
`);

/**
 * Counts in a window: head, amount, window (how long it is kept, and the number), `1` for `ifPresent`, the limit or nothing, what
 * happens above it, how long what has no end is kept. Gives the count, the time left (`Infinity` without end), 1 for the first.
 */
const HIT = script(`
local head, amount, window, limit, over, ttl = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
local entry = read(KEYS[1])
local at = live(entry)
local before = at and string.sub(entry, 2, 2) == 'n' and string.byte(entry, 3) ~= 1 and tonumber(string.sub(entry, at)) or nil
if before and (before ~= before or before == math.huge or before == -math.huge) then before = nil end
if not before and ARGV[6] == '1' then return {'0', '0', 0} end
local running = before ~= nil
before = before or 0
local count = before + amount
if ARGV[6] == '1' and count < 0 then count = 0 end
local anew = nil
if not running then anew = window end
if limit and count - limit > 0 then
  if over == 'restart' then anew = window
  elseif over == 'double' then
    anew = window
    if window ~= math.huge then anew = math.max(window, math.min(window * 2 ^ (math.ceil(count - limit) - 1), 9007199254740736)) end
  elseif over ~= '' and before <= limit then anew = tonumber(over) end
end
local left
if anew then
  local endless = anew == math.huge
  local px = endless and ttl or math.min(math.ceil(anew), 315360000000)
  local age, bytes = endless and 0 or px, {}
  for i = 8, 1, -1 do bytes[i] = string.char(age % 256); age = math.floor(age / 256) end
  head = string.sub(head, 1, 2) .. string.char(endless and 2 or 0) .. string.sub(head, 4, 18) .. table.concat(bytes) .. string.sub(head, 27)
  if px > 0 then store(KEYS[1], KEYS[2], head .. text(count), string.format('%.0f', px)) else remove(KEYS[1], KEYS[2]) end
  left = endless and 'Infinity' or text(anew)
else
  head = carry(head, entry)
  left = string.byte(entry, 3) == 2 and 'Infinity' or tostring(redis.call('PTTL', KEYS[1]))
  store(KEYS[1], KEYS[2], head .. text(count), 0, true)
end
return {text(count), left, running and 0 or 1}
`);

/**
 * Ends tags: the keys. Arguments: 16 bytes by chance. For an hour a tag says when that was: what is being loaded meanwhile is not stored. Nor is what
 * has tags and is loaded for longer.
 */
const UNTAG = script(`
for k = 1, #KEYS do redis.call('SET', KEYS[k], stampOf(now, ARGV[3]), 'PX', 3600000) end
return #KEYS
`);

/** Removes the keys, whatever they are. */
const REMOVE = script(`
for k = 1, #KEYS do redis.call('UNLINK', KEYS[k]) end
return #KEYS
`);

/**
 * Looks an entry up; without one, takes the right to load it. Keys: entry, placeholder, owner. Arguments: what begins the names of
 * owners, the owner, its token, how long the right lasts, how long the owner lives without another sign, the token that the caller has waited for,
 * `1` where an entry that is there will not do, `1` where the right is not taken. Gives `{1, entry, time left}`, `{0, time}` for the right, `{2, token}` where another has it,
 * `{3, outcome}` for what the one awaited has left.
 */
const CLAIM = script(`
local entry = ARGV[9] ~= '1' and read(KEYS[1])
if live(entry) then return {1, entry, redis.call('PTTL', KEYS[1])} end
local held = read(KEYS[2])
if held then
  local owner, token = string.sub(held, 2, 37), string.sub(held, 38, 53)
  if string.sub(held, 1, 1) == 'L' then
    if redis.call('EXISTS', ARGV[3] .. owner) == 1 then return {2, token} end
  elseif token == ARGV[8] then
    return {3, string.sub(held, 1, 1) .. string.sub(held, 54)}
  end
end
if ARGV[10] == '1' then return {0} end
redis.call('SET', KEYS[2], 'L' .. ARGV[4] .. ARGV[5], 'PX', ARGV[6])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[7])
return {0, string.format('%.0f', now)}
`);

/**
 * Stores what was loaded, as `SET` of one entry, where the caller still has the right, and no tag was invalidated since: the last arguments are the
 * placeholder and the time that `CLAIM` gave. Gives 1; 0 where the right is gone; 2 where a tag was invalidated.
 */
const SETTLE = script(`
if read(KEYS[2]) ~= ARGV[9] then return 0 end
local since = tonumber(ARGV[10])
local entry = tagged(ARGV[7], ARGV[6], ARGV[8], ARGV[4], ARGV[3], since)
if not entry or (ARGV[6] ~= '' and now - since > 3600000000) then
  redis.call('UNLINK', KEYS[2])
  return 2
end
store(KEYS[1], KEYS[2], entry, ARGV[4])
return 1
`);

/** Gives the right to load up: the placeholder; what is left for those who wait, or nothing; how long. */
const LEAVE = script(`
if read(KEYS[1]) ~= ARGV[3] then return 0 end
if ARGV[4] == '' then
  redis.call('UNLINK', KEYS[1])
else
  redis.call('SET', KEYS[1], string.sub(ARGV[4], 1, 1) .. string.sub(ARGV[3], 2) .. string.sub(ARGV[4], 2), 'PX', ARGV[5])
end
return 1
`);

module.exports = {
  CLAIM,
  COMPARE_AND_DELETE,
  COMPARE_AND_SET,
  DELETE,
  GET_AND_DELETE,
  HIT,
  INCREMENT,
  LEAVE,
  REMOVE,
  SET,
  SETTLE,
  SET_IF_ABSENT,
  TOUCH,
  UNTAG,
};

-- Shared helpers of the library. Conventions for every part:
--   * `register(name, flags, fn)`: fn(P, args) gets the queue prefix P = "<prefix>:{<queue>}" (KEYS[1], every
--     other key is derived from it, so a call stays in one hash slot) and the argument list (all text).
--   * `now` is always an argument: integer epoch milliseconds of the caller's clock.
--   * Replies are arrays whose first element is a status word, e.g. {"ok", id} or {"not_found"}.
--   * Parts share code through the tables declared here: every other part is a block of its own, whose locals end with it
--     (Lua allows 200 at a time).
-- While a library loads, `redis.call` and even `math` are out of reach: bound at the first call.
local call, try, floor, max, min

local GROUP = "workers"
local PRIORITY_STEP = 4398046511104 -- 2^42: score = priority * PRIORITY_STEP + due
local NO_DEADLINE = "9999999999999" -- score in P:suspended of a job without deadline
local EVENTS_CAP = 1000
local RETRY_MS = 60000 -- until what was refused (a start, a promotion, a wake-up) is tried again
local LAST_ID = "18446744073709551615-18446744073709551615" -- a stream that has it can take no entry any more

local util, events, metrics, groups, schedules, jobs, flows, runs, ledger, budgets = {}, {}, {}, {}, {}, {}, {}, {}, {}, {}
local audit, settle, claim, broadcast, steps = {}, {}, {}, {}, {}

-- Errors met beside the main business of this call, to be named in its reply: as texts and as a set, at most so many.
local noted_errors, MOST_ERRORS = {}, 8

local function register(name, flags, fn)
  redis.register_function({
    function_name = "@LIB@_" .. name,
    callback = function(keys, args)
      if not call then call, try, floor, max, min = redis.call, redis.pcall, math.floor, math.max, math.min end
      util.moves_left, util.steps_left, util.entries = 1000, 15000, nil
      if #noted_errors > 0 then noted_errors = {} end
      return fn(keys[1], args)
    end,
    flags = flags,
  })
end

-- What one call may still do beside what it was asked for, so that none holds the server for long: `util.moves_left` jobs to
-- move or remove, `util.steps_left` markers of sequence numbers to step over. The rest waits for another call.

local latest_int, latest_text = nil, nil -- a call asks for its time again and again

-- Decimal text without exponent or fraction, as every number in a hash or score must be.
function util.int(n)
  if n ~= latest_int then latest_int, latest_text = n, string.format("%.0f", n) end
  return latest_text
end

function util.num(text, default)
  return tonumber(text or "") or default or 0
end

-- Shortest decimal text, without exponent, that reads back as the same finite double.
function util.decimal(n)
  local text
  for digits = 15, 17 do
    text = string.format("%." .. digits .. "g", n)
    if tonumber(text) == n then break end
  end
  local sign, whole, part, exponent = text:match("^(-?)(%d)%.?(%d*)e([+-]%d+)$")
  if not sign then return text end
  exponent = tonumber(exponent)
  if exponent < 0 then return sign .. "0." .. ("0"):rep(-exponent - 1) .. whole .. part end
  return sign .. whole .. part .. ("0"):rep(exponent - #part)
end

-- A JSON object or array; nil for anything else.
function util.json(text)
  local ok, value = pcall(cjson.decode, text or "")
  return ok and type(value) == "table" and value or nil
end

-- JSON as Node writes it: slashes stay as they are.
function util.encode(value)
  return (cjson.encode(value):gsub("\\/", "/"))
end

-- A JSON map of category to finite numbers, none below zero; anything else is left out.
function util.amounts(text)
  local out = {}
  for name, n in pairs(util.json(text) or out) do
    if type(name) == "string" and type(n) == "number" and n >= 0 and n < math.huge then out[name] = n end
  end
  return out
end

-- HGETALL's flat reply as a table.
function util.map(flat)
  local out = {}
  for i = 1, #flat, 2 do out[flat[i]] = flat[i + 1] end
  return out
end

-- A script may unpack some 8000 values at most; variadic commands go out in slices.
function util.sliced(command, key, list, first)
  local total, count = 0, #list
  if count == 0 then return 0 end
  if count <= 1000 then
    if first then return call(command, key, first, unpack(list)) end
    return call(command, key, unpack(list))
  end
  for from = 1, count, 1000 do
    local to = min(from + 999, count)
    if first then
      total = total + call(command, key, first, unpack(list, from, to))
    else
      total = total + call(command, key, unpack(list, from, to))
    end
  end
  return total
end

-- How many of these keys there are.
function util.existing(keys)
  if #keys <= 1000 then return call("EXISTS", unpack(keys)) end
  local found = 0
  for from = 1, #keys, 1000 do found = found + call("EXISTS", unpack(keys, from, min(from + 999, #keys))) end
  return found
end

-- End the call with an error. For before anything was changed: what was written stays.
function util.refuse(code, words)
  error({ err = code .. " " .. words })
end

-- Make sure that a write cannot fail: the key is of its type or none, the user may write it, a stream has ids left.
function util.writable(command, key, kind)
  local found = call("TYPE", key).ok
  if found ~= "none" and found ~= kind then
    util.refuse("WRONGTYPE", key .. " is a " .. found .. ", not a " .. kind .. ": nothing was changed")
  end
  if found == "stream" and util.map(call("XINFO", "STREAM", key))["last-generated-id"] == LAST_ID then
    util.refuse("ERR", key .. " can take no further entries: nothing was changed")
  end
  if not redis.acl_check_cmd(command, key, "1", "1", "1") then
    util.refuse("NOPERM", "no permission to run " .. command .. " on " .. key .. ": nothing was changed")
  end
end

-- Note an error, to be named in the reply.
function util.note_error(err)
  local text = type(err) == "table" and err.err or tostring(err)
  if #noted_errors < MOST_ERRORS and not noted_errors[text] then
    noted_errors[#noted_errors + 1], noted_errors[text] = text, true
  end
end

-- Call f and note its error, so that the rest of the call is done all the same. Returns whether it went well, and its first
-- results.
function util.attempt(f, ...)
  local ok, a, b, c = pcall(f, ...)
  if ok then return true, a, b, c end
  util.note_error(a)
  return false
end

-- Fields of a hash, none if the key is no hash. Any other error is raised: it leaves open what is there.
function util.fields(key, ...)
  local f = try("HMGET", key, ...)
  if not f.err then return f end
  if not f.err:find("WRONGTYPE", 1, true) then error(f) end
  return {}
end

-- Text of a plain key; nil if there is none, or something else.
function util.text(key)
  local text = try("GET", key)
  return type(text) == "string" and text or nil
end

-- Whether this call may sweep: of all workers of a queue one does, for most of its interval. `ms`: how long its turn lasts; none
-- for a call that waits for no turn, as it comes at a known time or goes on with a sweep. A turn that goes on for longer than
-- this one would is taken over: its holder sweeps less often than this worker has to. So is a key that does not expire.
function util.take_turn(P, sweep, ms)
  if not ms or ms == "" then return true end
  local key = P .. ":turn:" .. sweep
  if try("SET", key, "1", "NX", "PX", ms) then return true end
  local left = call("PTTL", key)
  if left >= 0 and left <= tonumber(ms) then return false end
  call("SET", key, "1", "PX", ms)
  return true
end

-- Calls that may be repeated after a lost reply name themselves (`op`) and count their parts (`number`, from 1): the reply
-- of the latest part is kept for a while, so that nothing is done twice.
local PART_S = 60

-- The reply of this part, if it was carried out before.
function util.made_before(P, op, number)
  local kept = call("GET", P .. ":part:" .. op)
  local n, reply = (kept or ""):match("^(%d+) (.*)$")
  return n == number and cjson.decode(reply) or nil
end

-- Keep and return the reply of a part.
function util.made(P, op, number, reply)
  call("SET", P .. ":part:" .. op, number .. " " .. cjson.encode(reply), "EX", PART_S)
  return reply
end

-- Put an entry for another queue, or for a record that refuses it now, into the outbox. True if that took it.
function util.post(P, entry)
  return (util.attempt(call, "RPUSH", P .. ":outbox", cjson.encode(entry)))
end

-- Whether this call may touch a key of another queue: on one server always, in a cluster only in its own slot.
function util.reachable(key)
  local reply = try("EXISTS", key)
  return type(reply) ~= "table" or not reply.err
end

-- Events are hints: a stream that refuses one must not fail the call.
function events.emit(P, event, id, ...)
  try("XADD", P .. ":events", "MAXLEN", "~", EVENTS_CAP, "*", "event", event, "jobId", id, ...)
end

-- One of several events of a call: the last one that is emitted shortens the stream.
function events.emit_more(P, event, id, ...)
  try("XADD", P .. ":events", "*", "event", event, "jobId", id, ...)
end

local bucket, bucket_field = nil, nil -- the minute of the latest call, and how its fields begin

-- One update a call however many jobs it settles. Old minutes go when the bucket's count passes a thousand. Figures that
-- cannot be added are left out.
function metrics.add(P, kind, now, count, duration)
  if count <= 0 then return end
  local key, minute = P .. ":metrics:" .. kind, now - now % 60000
  if minute ~= bucket then bucket, bucket_field = minute, "m:" .. util.int(minute) .. ":" end
  local total = try("HINCRBY", key, bucket_field .. "c", count)
  if type(total) ~= "number" then return end
  if duration > 0 then try("HINCRBY", key, bucket_field .. "d", duration - duration % 1) end
  if total % 1000 < count then
    local stale = {}
    for _, field in ipairs(call("HKEYS", key)) do
      local old = tonumber(field:match("^m:(%d+):"))
      if old and old < minute - 86400000 then stale[#stale + 1] = field end
    end
    if #stale > 0 then util.sliced("HDEL", key, stale) end
  end
end

-- What is loaded: the library and which build of it.
register("version", { "no-writes" }, function() return "@LIB@ @BUILD@" end)

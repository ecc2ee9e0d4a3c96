-- What a console asks for every second. Nothing here may depend on the number of jobs, and one key of a wrong
-- type must not spoil the rest: every read is a `try`, a failed one leaves `false` and its key in `bad`.

local USAGE = { "totalTokens", "totalCost", "costUnit" }
local META = { "paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration", "deadLetterQueueName" }
local ROW_CAP = 4096 -- bytes of one field in a row; payloads are never in rows
local COPY_CAP = 131072 -- bytes of a field that is always copied to show the head of it
local COPY_ROOM = 2097152 -- bytes of longer ones that one call copies
local LOOK_CAP = 65536 -- bytes of a payload that is hashed unasked, to see whether it has changed
local SAID = { "name", "suspendReason", "suspendTimeout", "processedOn", "roundFrom" } -- small fields that an approver sees
local LOOKED_AT = 50 -- running jobs whose heartbeat is looked at
local LOCK, LEAST_LOCK = 30000, 1000 -- ms, where a job names no lock of its own, and the shortest that one may name
local HOUR = 3600000
local MANY = 64 -- bands of priorities, groups: beyond this a sum is not cheap any more

local function reader(P)
  local bad = {}
  local function read(command, suffix, ...)
    local reply = try(command, P .. ":" .. suffix, ...)
    if type(reply) == "table" and reply.err then
      bad[#bad + 1] = suffix
      return false
    end
    return reply
  end
  return read, bad
end

-- Pending count and last delivered id of the ordinary workers' group.
local function group_of(P, bad)
  local list = try("XINFO", "GROUPS", P .. ":stream")
  if list.err then
    if not list.err:find("no such key") then bad[#bad + 1] = "stream" end
    list = {}
  end
  for _, flat in ipairs(list) do
    local g = util.map(flat)
    if g.name == GROUP then return g.pending, g["last-delivered-id"] end
  end
  return 0, "0-0"
end

-- Members of P:scheduled that only wait for their turn: due part 0. False when there are too many priorities.
local function prioritized(read)
  local from, count = PRIORITY_STEP, 0
  for _ = 1, MANY do
    local first = read("ZRANGEBYSCORE", "scheduled", util.int(from), "+inf", "WITHSCORES", "LIMIT", 0, 1)
    if not first then return false end
    if #first == 0 then return count end
    local base = floor(tonumber(first[2]) / PRIORITY_STEP) * PRIORITY_STEP
    count = count + (read("ZCOUNT", "scheduled", util.int(base), util.int(base)) or 0)
    from = base + PRIORITY_STEP
  end
  return false
end

local function group_waiting(read)
  local keys = read("HLEN", "ordering")
  if not keys or keys > MANY then return false end
  if keys == 0 then return 0 end
  local count = 0
  for _, key in ipairs(read("HKEYS", "ordering") or {}) do count = count + (read("ZCARD", "groupq:" .. key) or 0) end
  return count
end

-- Creation time of the job that has waited longest, looking at the oldest end of each source.
local function oldest(read, delivered)
  local ids, found = {}, false
  local entry = read("XRANGE", "stream", "(" .. delivered, "+", "COUNT", 1)
  if entry and entry[1] then ids[1] = util.map(entry[1][2]).jobId end
  ids[#ids + 1] = read("LINDEX", "priority", -1) or nil
  ids[#ids + 1] = read("LINDEX", "lifo", 0) or nil
  for _, id in ipairs(ids) do
    local at = tonumber(read("HGET", "job:" .. id, "timestamp") or "")
    if at and (not found or at < found) then found = at end
  end
  return found and util.int(found) or false
end

-- How many of the jobs that have run longest have no heartbeat within their lock.
local function stalled(P, read, delivered, now)
  local ids, count = {}, 0
  for _, entry in ipairs(read("XRANGE", "stream", "-", delivered, "COUNT", LOOKED_AT) or {}) do
    ids[#ids + 1] = util.map(entry[2]).jobId
  end
  for _, id in ipairs(read("ZRANGE", "list-runs", 0, LOOKED_AT - 1) or {}) do ids[#ids + 1] = id end
  for _, id in ipairs(ids) do
    local key = P .. ":job:" .. id
    local f = try("HMGET", key, "state", "lastActive", "processedOn")
    if not f.err and f[1] == "active" then
      local silent = now - max(tonumber(f[2] or "") or 0, tonumber(f[3] or "") or 0)
      if silent > LEAST_LOCK and silent > (runs.own_lock({ opts = try("HGET", key, "opts") or "" }) or LOCK) then count = count + 1 end
    end
  end
  return count
end

-- TPM counters of the windows that published limits (and the given durations) name: {duration, used, ...}.
local function tokens(read, limits, now, known)
  local out, seen = {}, {}
  local function look(duration)
    if not duration or duration <= 0 or seen[duration] or #out >= 16 then return end
    seen[duration] = true
    out[#out + 1], out[#out + 2] = util.int(duration), read("GET", "tpm:" .. util.int(floor(now / duration))) or false
  end
  for i = 2, #limits, 2 do
    local value = util.json(limits[i])
    if value and type(value.tpm) == "table" then look(tonumber(value.tpm.duration)) end
  end
  look(known)
  return out
end

-- args: now, minutes of metrics and usage (full ones, before the running one), TPM duration ("" not known).
-- Reply {"ok", xlen, pending, lifo, priority, list-active, scheduled, prioritized, suspended, completed, failed,
-- group-waiting, oldest, META values, rate, limits (field, value), TPM (duration, used), completed minutes (count,
-- duration), failed minutes, usage minutes (tokens, cost, unit), stalled, bad suffixes, failed in the last hour, parked by
-- budgets, schedulers that missed a run, the suspended job that times out first with its time}; false where it cannot be
-- known.
register("snapshot", { "no-writes" }, function(P, args)
  local now, minutes = tonumber(args[1]), tonumber(args[2])
  local read, bad = reader(P)
  local pending, delivered = group_of(P, bad)
  local limits = read("HLEN", "limits") or 0
  if limits > 0 and limits <= 1000 then limits = read("HGETALL", "limits") or {} else limits = {} end
  local current, fields, usage = now - now % 60000, {}, {}
  for i = 1, minutes do
    local minute = util.int(current - i * 60000)
    fields[#fields + 1], fields[#fields + 2] = "m:" .. minute .. ":c", "m:" .. minute .. ":d"
    for _, value in ipairs(read("HMGET", "usage:" .. minute, unpack(USAGE)) or { false, false, false }) do
      usage[#usage + 1] = value
    end
  end
  return { "ok", read("XLEN", "stream"), pending, read("LLEN", "lifo"), read("LLEN", "priority"),
    read("GET", "list-active"), read("ZCARD", "scheduled"), prioritized(read), read("ZCARD", "suspended"),
    read("ZCARD", "completed"), read("ZCARD", "failed"), group_waiting(read), oldest(read, delivered),
    read("HMGET", "meta", unpack(META)), read("HMGET", "rate", "windowStart", "count"), limits,
    tokens(read, limits, now, tonumber(args[3])), read("HMGET", "metrics:completed", unpack(fields)),
    read("HMGET", "metrics:failed", unpack(fields)), usage, stalled(P, read, delivered, now), bad,
    read("ZCOUNT", "failed", util.int(now - HOUR), "+inf"), read("SCARD", "parked"), schedules.missed(read, now),
    read("ZRANGE", "suspended", 0, 0, "WITHSCORES") }
end)

-- The given fields of many jobs, long values cut: one field may hold a megabyte. A hash gives its values whole only,
-- so a few long reasons are copied and those that would make the call dear stay where they are.
-- args: number of fields, fields..., ids... Reply {"ok", values of each job ({} if it is not a hash)...}.
register("rows", { "no-writes" }, function(P, args)
  local n, fields, out, bulky, room = tonumber(args[1]), {}, { "ok" }, {}, COPY_ROOM
  for i = 1, n do
    fields[i] = args[i + 1]
    if fields[i] == "failedReason" or fields[i] == "progress" or fields[i] == "opts" then bulky[#bulky + 1] = i end
  end
  for i = n + 2, #args do
    local key, wanted, dear = P .. ":job:" .. args[i], fields, {}
    for _, at in ipairs(bulky) do
      local length = try("HSTRLEN", key, fields[at])
      local is_long = type(length) == "number" and length > COPY_CAP
      if is_long and length <= room then
        room = room - length
      elseif is_long then
        if wanted == fields then wanted = { unpack(fields) } end
        wanted[at] = "" -- a field that no job has
        dear[at] = fields[at] == "failedReason" and "(" .. length .. " bytes: open the job to read it)" or nil
      end
    end
    local row = try("HMGET", key, unpack(wanted))
    if row.err then
      row = {}
    else
      for at, value in ipairs(row) do
        if value and #value > ROW_CAP then row[at] = value:sub(1, ROW_CAP) end
        if dear[at] then row[at] = dear[at] end
      end
    end
    out[#out + 1] = row
  end
  return out
end)

-- Marks that change with anything an approver sees of a job: {SHA-1 of data, SHA-1 of progress, facts of its
-- stream, "?" of a foreign key, SHA-1 of its small fields}. A long payload is copied and hashed only on demand, else ""
-- stands for it.
local function look(P, id, length, whole)
  local key = P .. ":job:" .. id
  local data = (whole or length <= LOOK_CAP) and redis.sha1hex(call("HGET", key, "data") or "") or ""
  local progress = ""
  if whole or try("HSTRLEN", key, "progress") <= LOOK_CAP then
    progress = redis.sha1hex(call("HGET", key, "progress") or "")
  end
  local ok, facts = pcall(jobs.stream_facts, P, id)
  local said = {}
  for i, value in ipairs(call("HMGET", key, unpack(SAID))) do
    value = value or ""
    said[i] = #value .. ":" .. value
  end
  return data, progress, ok and facts or "?", redis.sha1hex(table.concat(said))
end

-- Ordering groups of a queue with what holds each back. args: how many are looked at at most, fields of a group...
-- Reply {"ok", how many there are, {key, values, jobs parked, when it is looked at again}...}.
register("groups", { "no-writes" }, function(P, args)
  local most, fields = tonumber(args[1]), { unpack(args, 2) }
  local total = try("HLEN", P .. ":ordering")
  if type(total) == "table" then return { "unreadable" } end
  local out, keys = { "ok", total }, {}
  if total > 0 then keys = call("HSCAN", P .. ":ordering", "0", "COUNT", most)[2] end
  for i = 1, min(#keys, 2 * most), 2 do
    local values, parked = try("HMGET", P .. ":group:" .. keys[i], unpack(fields)), try("ZCARD", P .. ":groupq:" .. keys[i])
    local resume = try("ZSCORE", P .. ":ratelimited", keys[i])
    out[#out + 1] = { keys[i], values.err and {} or values, type(parked) == "number" and parked or 0,
      type(resume) == "string" and resume or false }
  end
  return out
end)

-- Who waits for a person, soonest deadline first. Members whose job is not suspended are left over from an
-- obliterate; a bounded number is stepped over.
-- args: limit, the id that is looked at whatever its size ("*" all, "" none), ids to look at...
-- Reply {"ok", total, {id, deadline score, suspendedAt, bytes of data, (what `look` returns)}...}.
register("suspended", { "no-writes" }, function(P, args)
  local limit, at, gone, looked = tonumber(args[1]), 0, 0, {}
  for i = 3, #args do looked[args[i]] = true end
  local out = { "ok", try("ZCARD", P .. ":suspended") }
  if type(out[2]) == "table" then return { "unreadable" } end
  while #out - 2 < limit and at < limit + 1000 do
    local page = call("ZRANGE", P .. ":suspended", at, at + limit - 1, "WITHSCORES")
    if #page == 0 then break end
    at = at + #page / 2
    for i = 1, #page, 2 do
      local id, key = page[i], P .. ":job:" .. page[i]
      local f = try("HMGET", key, "state", "suspendedAt")
      if f.err or f[1] ~= "suspended" then
        gone = gone + 1
      elseif #out - 2 < limit then
        local length = call("HSTRLEN", key, "data")
        local entry = { id, page[i + 1], f[2] or "", length }
        if looked[id] then
          entry[5], entry[6], entry[7], entry[8] = look(P, id, length, args[2] == "*" or args[2] == id)
        end
        out[#out + 1] = entry
      end
    end
  end
  out[2] = out[2] - gone
  return out
end)

-- What the caller may change here. To be asked with FCALL, which a viewer is refused; changes nothing.
-- Reply {"ok"} | {"denied", command}.
register("may_write", { "no-writes" }, function(P)
  for _, words in ipairs({ { "HSET", "f", "v" }, { "XADD", "*", "f", "v" }, { "ZADD", "1", "m" }, { "UNLINK" } }) do
    if not redis.acl_check_cmd(words[1], P .. ":" .. "probe", unpack(words, 2)) then return { "denied", words[1] } end
  end
  return { "ok" }
end)

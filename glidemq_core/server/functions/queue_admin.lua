-- Switches and sweeping operations of a whole queue. What may touch many jobs works in slices of `limit`, each a
-- complete change by itself with its own event; the caller repeats until nothing is left.

-- args: "1" | "0", audit. Reply {"paused" | "already_paused" | "resumed" | "already_running"}.
register("pause", {}, function(P, args)
  audit.ready(P, args[2])
  local on = args[1] == "1"
  local was = call("HGET", P .. ":meta", "paused") == "1"
  call("HSET", P .. ":meta", "paused", args[1])
  events.emit(P, on and "paused" or "resumed", "0")
  if on == was then return { on and "already_paused" or "already_running" } end
  audit.append(P, args[2], on and "paused" or "resumed")
  return { on and "paused" or "resumed" }
end)

-- args: (field, value) pairs with "" to remove the field, audit. Reply {"set" | "cleared", 1 if changed else 0}.
register("configure", {}, function(P, args)
  audit.ready(P, args[#args])
  local key, changed, outcome = P .. ":meta", 0, "cleared"
  for i = 1, #args - 1, 2 do
    local field, value = args[i], args[i + 1]
    if value ~= "" then outcome = "set" end
    if (call("HGET", key, field) or "") ~= value then
      changed = 1
      if value == "" then call("HDEL", key, field) else call("HSET", key, field, value) end
    end
  end
  if changed == 1 then audit.append(P, args[#args], outcome) end
  return { outcome, changed }
end)

-- Set fields, all or none, if they are what the caller takes them for. args: "1" (they are compared), then field, value and
-- what it is ("" none) each, audit. Reply {"ok", what each was...} | {"changed"}.
register("set_limits", {}, function(P, args)
  audit.ready(P, args[#args])
  local key, was = P .. ":meta", { "ok" }
  for i = 2, #args - 1, 3 do
    local is = call("HGET", key, args[i]) or ""
    if args[1] == "1" and is ~= args[i + 2] then return { "changed" } end
    was[#was + 1] = is
  end
  for i = 2, #args - 1, 3 do
    if args[i + 1] == "" then call("HDEL", key, args[i]) else call("HSET", key, args[i], args[i + 1]) end
  end
  audit.append(P, args[#args], "set")
  return was
end)

-- args: group key, duration, "max"|"replace", now, audit. Reply {"ok", resume time}.
register("limit_group", {}, function(P, args)
  audit.ready(P, args[5])
  local resume = groups.hold(P, args[1], "", tonumber(args[4]), tonumber(args[2]), args[3])
  audit.append(P, args[5], "limited")
  return { "ok", util.int(resume) }
end)

-- Operations in parts -------------------------------------------------------------------------------------------
-- An operation over many jobs is a row of calls, numbered from 1, under a name (`op`) of its own. The reply of the latest
-- part is kept for a while, so that a part whose reply was lost is not made twice. What will be done is found out first;
-- then it is audited, then done: the first part appends an entry without count, the last one another with the count of
-- all; an operation that one part does appends one.

-- `before`: jobs of earlier parts, `count`: of this one, `done`: it is the last.
local function audit_part(P, blob, outcome, number, before, count, done)
  audit.ready(P, blob)
  if not done then
    if number == "1" then audit.append(P, blob, outcome) end
  elseif number ~= "1" or count > 0 then
    audit.append(P, blob, outcome, before + count)
  end
end

-- Entries of the stream after `from` up to `last` that no worker has read. Returns ids of jobs, entries, cursor, done.
local function unread(P, from, last, limit)
  local key, ids, entries, seen = P .. ":stream", {}, {}, 0
  while seen < limit do
    local page = call("XRANGE", key, from, last, "COUNT", min(1000, limit - seen))
    if #page == 0 then return ids, entries, from, true end
    local pending, held = try("XPENDING", key, GROUP, page[1][1], page[#page][1], #page), {}
    if not pending.err then
      for _, item in ipairs(pending) do held[item[1]] = true end
    end
    for _, item in ipairs(page) do
      if not held[item[1]] then
        entries[#entries + 1] = item[1]
        local id = util.map(item[2]).jobId
        if id then ids[#ids + 1] = id end
      end
    end
    seen, from = seen + #page, "(" .. page[#page][1]
  end
  return ids, entries, from, false
end

local DRAINED = { [""] = true, waiting = true, delayed = true, prioritized = true }

-- Of jobs taken out of a queue those that only waited: their ids and what decides about each.
local function only_waiting(P, ids)
  local gone = {}
  for _, id in ipairs(ids) do
    local job = jobs.look(P, id)
    if job and DRAINED[job.state] then gone[#gone + 1] = { id, job } end
  end
  return gone
end

local function discard(P, gone, now)
  local ids, keys = {}, {}
  for i, item in ipairs(gone) do
    ids[i] = item[1]
    if item[2].parked then budgets.unpark(P, item[1]) end
    schedules.ended(P, item[2].scheduler, now)
  end
  jobs.purge(P, ids, true)
  for _, item in ipairs(gone) do
    local key = item[2].groupKey
    if key then
      jobs.leave_group(P, item[1], item[2], now)
      keys[key] = true
    end
  end
  for key in pairs(keys) do groups.dispatch(P, key, now) end
end

-- Remove what waits: stream entries nobody has read, both lists and, if asked, the scheduled jobs.
-- args: now, delayed ("1"), limit, cursor ("-" first), last entry id ("" first), op, number, jobs removed before, audit.
-- Reply {"more" | "done", jobs removed, cursor, last entry id}.
register("drain", {}, function(P, args)
  local earlier = util.made_before(P, args[6], args[7])
  if earlier then return earlier end
  local now, limit, last = tonumber(args[1]), tonumber(args[3]), args[5]
  if last == "" then
    local newest = call("XREVRANGE", P .. ":stream", "+", "-", "COUNT", 1)[1]
    last = newest and newest[1] or "0-0"
  end
  local ids, entries, cursor, done = unread(P, args[4], last, limit)
  local taken = {}
  -- Jobs come out of `lifo` and `priority` at their tails; these lists go from the other end, as they were filled.
  local function take(from, read, size)
    local room = done and limit - #ids or 0
    local found = room > 0 and read(room) or {}
    for _, id in ipairs(found) do ids[#ids + 1] = id end
    taken[from] = found
    if call(size, P .. ":" .. from) > #found then done = false end
  end
  take("lifo", function(n) return call("LRANGE", P .. ":lifo", 0, n - 1) end, "LLEN")
  take("priority", function(n) return call("LRANGE", P .. ":priority", -n, -1) end, "LLEN")
  if args[2] == "1" then
    take("scheduled", function(n) return call("ZRANGE", P .. ":scheduled", 0, n - 1) end, "ZCARD")
  end
  local gone = only_waiting(P, ids)
  audit_part(P, args[9], "drained", args[7], tonumber(args[8]), #gone, done)
  if #entries > 0 then util.sliced("XDEL", P .. ":stream", entries) end
  if #taken.lifo > 0 then call("LPOP", P .. ":lifo", #taken.lifo) end
  if #taken.priority > 0 then call("RPOP", P .. ":priority", #taken.priority) end
  if taken.scheduled and #taken.scheduled > 0 then util.sliced("ZREM", P .. ":scheduled", taken.scheduled) end
  discard(P, gone, now)
  if #gone > 0 then events.emit(P, "drained", util.int(#gone)) end
  return util.made(P, args[6], args[7], { done and "done" or "more", #gone, cursor, last })
end)

-- Delete the oldest results. An id left behind by a job that moved on is only taken out of the set.
-- args: "completed"|"failed", highest score, limit, jobs still wanted, op, number, jobs deleted before, audit.
-- Reply {"more" | "done", ids...}.
register("clean", {}, function(P, args)
  local earlier = util.made_before(P, args[5], args[6])
  if earlier then return earlier end
  local state, wanted = args[1], tonumber(args[4])
  local set, limit = P .. ":" .. state, min(tonumber(args[3]), wanted)
  local old, gone = call("ZRANGEBYSCORE", set, "-inf", args[2], "LIMIT", 0, limit), {}
  for _, id in ipairs(old) do
    local now_state = call("HGET", P .. ":job:" .. id, "state")
    if not now_state or now_state == state then gone[#gone + 1] = id end
  end
  local done = #old < limit or #gone == wanted
  audit_part(P, args[8], "cleaned", args[6], tonumber(args[7]), #gone, done)
  if #old > 0 then util.sliced("ZREM", set, old) end
  jobs.purge(P, gone, true)
  if #gone > 0 then events.emit(P, "cleaned", util.int(#gone)) end
  return util.made(P, args[5], args[6], { done and "done" or "more", unpack(gone) })
end)

-- Retry the oldest failures. args: now, highest score, limit, jobs still wanted ("" all), op, number, jobs retried before,
-- audit. Reply {"more" | "done", jobs retried}. Members without a failed job behind them are dropped.
register("retry_all", {}, function(P, args)
  local earlier = util.made_before(P, args[5], args[6])
  if earlier then return earlier end
  local now, wanted, failed, stale = tonumber(args[1]), tonumber(args[4]), {}, {}
  local limit = min(tonumber(args[3]), wanted or math.huge)
  local old = call("ZRANGEBYSCORE", P .. ":failed", "-inf", args[2], "LIMIT", 0, limit)
  for _, id in ipairs(old) do
    local list = call("HGET", P .. ":job:" .. id, "state") == "failed" and failed or stale
    list[#list + 1] = id
  end
  local done = #old < limit or #failed == wanted
  audit_part(P, args[8], "retried", args[6], tonumber(args[7]), #failed, done)
  if #stale > 0 then util.sliced("ZREM", P .. ":failed", stale) end
  for _, id in ipairs(failed) do jobs.retry(P, id, now) end
  if #failed > 0 then events.emit(P, "retried", util.int(#failed)) end
  return util.made(P, args[5], args[6], { done and "done" or "more", #failed })
end)

local STRUCTURES = { "stream", "scheduled", "completed", "failed", "events", "meta", "dedup", "rate", "schedulers",
  "ratelimited", "lifo", "priority", "list-active", "list-runs", "suspended", "metrics:completed", "metrics:failed",
  "dedup-due", "ordering-due", "early-index", "parked", "limits", "outbox", "budgets", "schedulers:lock:__tick__", "suspended:lock:__sweep__" }

-- First call of an obliteration: everything that leads to a job goes at once, so the queue is empty from here on;
-- the records themselves follow in slices (obliterate_rest). The counter stays until then: a new job must not take
-- the id of an old record. The audit trail goes too, unless the obliteration itself is audited.
-- args: force ("1"), audit. Reply {"ok"} | {"busy", active}.
register("obliterate", {}, function(P, args)
  audit.ready(P, args[2])
  local pending = try("XPENDING", P .. ":stream", GROUP)
  local active = (pending.err and 0 or pending[1]) + max(0, util.num(call("GET", P .. ":list-active")))
  if active > 0 and args[1] ~= "1" then return { "busy", active } end
  -- Of many keys only the list goes at once, without which nothing finds their groups; obliterate_rest takes those.
  if call("HLEN", P .. ":ordering") <= 1000 then
    for _, key in ipairs(call("HKEYS", P .. ":ordering")) do
      call("UNLINK", P .. ":group:" .. key, P .. ":groupq:" .. key, P .. ":orderdone:pending:" .. key)
    end
  end
  call("UNLINK", P .. ":ordering")
  for _, name in ipairs(STRUCTURES) do call("UNLINK", P .. ":" .. name) end
  if args[2] == "" then call("UNLINK", P .. ":audit") end
  audit.append(P, args[2], "obliterated")
  return { "ok" }
end)

-- Records of an obliterated queue. Jobs added since (`timestamp` after `before`) and the structures that lead to
-- them stay; the counter goes at the end, if nothing was added.
-- args: SCAN cursor, pattern "<P>:*" with P escaped, before. Reply {cursor}.
register("obliterate_rest", {}, function(P, args)
  local reply = call("SCAN", args[1], "MATCH", args[2], "COUNT", 300)
  local keep, gone = { [P .. ":id"] = true, [P .. ":audit"] = true }, {}
  for _, name in ipairs(STRUCTURES) do keep[P .. ":" .. name] = true end
  local before, head = tonumber(args[3]), P .. ":"
  for _, key in ipairs(reply[2]) do
    local kind, id = key:sub(#head + 1):match("^([^:]+):(.*)$")
    if not keep[key] and kind then
      local made = kind ~= "w" and id ~= "" and call("TYPE", head .. "job:" .. id).ok == "hash"
        and call("HGET", head .. "job:" .. id, "timestamp")
      local grouped = (kind == "group" or kind == "groupq") and call("HEXISTS", head .. "ordering", id) == 1
      -- An audit that was set aside goes when the audit itself does.
      local audited = kind == "audit-aside" and call("EXISTS", P .. ":audit") == 1
      if not grouped and not audited and not (made and util.num(made) > before) then gone[#gone + 1] = key end
    end
  end
  for from = 1, #gone, 1000 do call("UNLINK", unpack(gone, from, min(from + 999, #gone))) end
  if reply[1] == "0" then
    local newer = call("XLEN", head .. "stream")
    for _, name in ipairs({ "scheduled", "lifo", "priority", "completed", "failed", "suspended" }) do
      newer = newer + call("EXISTS", head .. name)
    end
    if newer == 0 then call("UNLINK", head .. "id") end
  end
  return { reply[1] }
end)

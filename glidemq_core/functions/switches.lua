-- Switches and sweeping operations of a whole queue. What may touch many jobs works in slices of `limit`, each a
-- complete change by itself with its own event and audit entry; the caller repeats until nothing is left.

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

-- args: group key, duration, "max"|"replace", now, audit. Reply {"ok", resume time}.
register("limit_group", {}, function(P, args)
  audit.ready(P, args[5])
  local resume = groups.hold(P, args[1], "", tonumber(args[4]), tonumber(args[2]), args[3])
  audit.append(P, args[5], "limited")
  return { "ok", util.int(resume) }
end)

-- Jobs taken out of a queue by drain: delete those that only waited, leave the rest of the hashes alone.
local function discard(P, ids, now)
  local gone, left = {}, {}
  for _, id in ipairs(ids) do
    local job = jobs.look(P, id)
    if job and (job.state == "" or job.state == "waiting" or job.state == "delayed" or job.state == "prioritized") then
      gone[#gone + 1] = id
      if job.parked then budgets.unpark(P, id) end
      schedules.ended(P, job.scheduler, now)
      if job.groupKey then left[#left + 1] = { id, job } end
    end
  end
  jobs.purge(P, gone, true)
  local keys = {}
  for _, item in ipairs(left) do
    jobs.leave_group(P, item[1], item[2], now)
    keys[item[2].groupKey] = true
  end
  for key in pairs(keys) do groups.dispatch(P, key, now) end
  return #gone
end

-- Entries of the stream after `from` up to `last` that no worker has read. Returns ids of jobs, cursor, done.
local function drain_stream(P, from, last, limit)
  local key, ids = P .. ":stream", {}
  local taken = 0
  while taken < limit do
    local page = call("XRANGE", key, from, last, "COUNT", min(1000, limit - taken))
    if #page == 0 then return ids, from, true end
    local pending, held = try("XPENDING", key, GROUP, page[1][1], page[#page][1], #page), {}
    if not pending.err then
      for _, item in ipairs(pending) do held[item[1]] = true end
    end
    local entries = {}
    for _, item in ipairs(page) do
      if not held[item[1]] then
        entries[#entries + 1] = item[1]
        local fields = util.map(item[2])
        if fields.jobId then ids[#ids + 1] = fields.jobId end
      end
    end
    if #entries > 0 then util.sliced("XDEL", key, entries) end
    taken, from = taken + #page, "(" .. page[#page][1]
  end
  return ids, from, false
end

-- Remove what waits: stream entries nobody has read, both lists and, if asked, the scheduled jobs.
-- args: now, delayed ("1"), limit, cursor ("-" first), last entry id ("" first), audit.
-- Reply {"more" | "done", jobs removed, cursor, last entry id}.
register("drain", {}, function(P, args)
  audit.ready(P, args[6])
  local now, limit, from, last = tonumber(args[1]), tonumber(args[3]), args[4], args[5]
  if last == "" then
    local newest = call("XREVRANGE", P .. ":stream", "+", "-", "COUNT", 1)[1]
    last = newest and newest[1] or "0-0"
  end
  local ids, cursor, done = drain_stream(P, from, last, limit)
  for _, list in ipairs(done and { { "lifo", "LPOP" }, { "priority", "RPOP" } } or {}) do
    if #ids < limit then
      for _, id in ipairs(call(list[2], P .. ":" .. list[1], limit - #ids) or {}) do ids[#ids + 1] = id end
    end
    if call("EXISTS", P .. ":" .. list[1]) == 1 then done = false end
  end
  if done and args[2] == "1" then
    local room = limit - #ids
    local due = room > 0 and call("ZRANGE", P .. ":scheduled", 0, room - 1) or {}
    if #due > 0 then util.sliced("ZREM", P .. ":scheduled", due) end
    for _, id in ipairs(due) do ids[#ids + 1] = id end
    done = call("EXISTS", P .. ":scheduled") == 0
  end
  local count = discard(P, ids, now)
  if count > 0 then
    events.emit(P, "drained", util.int(count))
    audit.append(P, args[6], "drained", count)
  end
  return { done and "done" or "more", count, cursor, last }
end)

-- Delete the oldest results. An id left behind by a job that moved on is only taken out of the set.
-- args: "completed"|"failed", highest score, limit, audit. Reply {"more" | "done", ids...}.
register("clean", {}, function(P, args)
  audit.ready(P, args[4])
  local state, limit = args[1], tonumber(args[3])
  local set = P .. ":" .. state
  local old = call("ZRANGEBYSCORE", set, "-inf", args[2], "LIMIT", 0, limit)
  if #old == 0 then return { "done" } end
  local gone, out = {}, { #old < limit and "done" or "more" }
  for _, id in ipairs(old) do
    local now_state = call("HGET", P .. ":job:" .. id, "state")
    if not now_state or now_state == state then
      gone[#gone + 1] = id
      out[#out + 1] = id
    end
  end
  util.sliced("ZREM", set, old)
  jobs.purge(P, gone, true)
  if #gone > 0 then
    events.emit(P, "cleaned", util.int(#gone))
    audit.append(P, args[4], "cleaned", #gone)
  end
  return out
end)

-- Retry the oldest failures. args: now, highest score, limit, audit. Reply {"more" | "done", jobs retried}.
-- Members without a failed job behind them are dropped.
register("retry_all", {}, function(P, args)
  audit.ready(P, args[4])
  local now, limit, count = tonumber(args[1]), tonumber(args[3]), 0
  local old = call("ZRANGEBYSCORE", P .. ":failed", "-inf", args[2], "LIMIT", 0, limit)
  for _, id in ipairs(old) do
    if jobs.retry(P, id, now) == "retried" then
      count = count + 1
    else
      call("ZREM", P .. ":failed", id)
    end
  end
  if count > 0 then
    events.emit(P, "retried", util.int(count))
    audit.append(P, args[4], "retried", count)
  end
  return { #old < limit and "done" or "more", count }
end)

local STRUCTURES = { "stream", "scheduled", "completed", "failed", "events", "meta", "dedup", "rate", "schedulers",
  "ratelimited", "lifo", "priority", "list-active", "list-runs", "suspended", "metrics:completed", "metrics:failed",
  "early-index", "limits", "outbox", "schedulers:lock:__tick__", "suspended:lock:__sweep__" }

-- First call of an obliteration: everything that leads to a job goes at once, so the queue is empty from here on;
-- the records themselves follow in slices (obliterate_rest). The counter stays until then: a new job must not take
-- the id of an old record. The audit trail goes too, unless the obliteration itself is audited.
-- args: force ("1"), audit. Reply {"ok"} | {"busy", active}.
register("obliterate", {}, function(P, args)
  audit.ready(P, args[2])
  local pending = try("XPENDING", P .. ":stream", GROUP)
  local active = (pending.err and 0 or pending[1]) + max(0, util.num(call("GET", P .. ":list-active")))
  if active > 0 and args[1] ~= "1" then return { "busy", active } end
  for _, key in ipairs(call("HKEYS", P .. ":ordering")) do
    call("UNLINK", P .. ":group:" .. key, P .. ":groupq:" .. key, P .. ":orderdone:pending:" .. key)
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
  local reply = call("SCAN", args[1], "MATCH", args[2], "COUNT", 1000)
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

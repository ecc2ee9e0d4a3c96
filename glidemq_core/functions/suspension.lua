-- Suspended jobs: the call that suspends a run, the signals that resume it, the decision of a person.
-- A signal is JSON {"name","data","receivedAt"} whose `data` is a string holding JSON text. It arrives here as
-- `head`, everything up to the value of receivedAt, so that encoding stays in one place: the caller.

local function stamped(head, now)
  return head .. util.int(now) .. "}"
end

-- Give a suspended job one signal. Peers read the hash field and rebuild it from the list: both are written.
-- A resumed job always joins the tail of the stream, whatever its priority.
local function resume(P, id, name, signal, json)
  local list = P .. ":signals:" .. id
  call("RPUSH", list, json)
  local all = "[" .. table.concat(call("LRANGE", list, 0, -1), ",") .. "]"
  call("HSET", P .. ":job:" .. id, "signals", all, "state", "waiting")
  call("ZREM", P .. ":suspended", id)
  call("XADD", P .. ":stream", "*", "jobId", id, "name", name or "")
  events.emit(P, "resumed", id, "signal", signal)
end

-- Deliver the oldest kept signal of a job that has just been found suspended, as if it arrived now.
local function resume_early(P, id, name, now)
  local key = P .. ":early:" .. id
  local json = call("LPOP", key)
  if not json or call("EXISTS", key) == 0 then call("SREM", P .. ":early-index", id) end
  if not json then return false end
  resume(P, id, name, cjson.decode(json).name, (json:gsub("%d+}$", util.int(now) .. "}")))
  return true
end

-- Forget the signals kept for jobs that ended. One lookup when nothing is kept for anybody.
function jobs.drop_early(P, ids)
  if #ids == 0 or call("EXISTS", P .. ":early-index") == 0 then return end
  for _, id in ipairs(ids) do
    if call("SREM", P .. ":early-index", id) == 1 then call("UNLINK", P .. ":early:" .. id) end
  end
end

-- End a run by suspending its job. The slot of an ordered job is kept, the run counts as nothing.
-- args: id, entry ("" list-sourced), processedOn, now, reason, timeout ms (0 none), ledger head ("" from the hash).
-- Reply {"suspended" | "resumed" (by an early signal), suspendedAt} | {"lost", state} | {"not_found"}.
register("suspend", {}, function(P, args)
  local id, started, now = args[1], args[3], tonumber(args[4])
  local reason, timeout = args[5], tonumber(args[6])
  local key = P .. ":job:" .. id
  local run = runs.take(P, id, args[2], started, "groupKey", "orderingSeq", "name")
  if not run then
    local f = call("HMGET", key, "state", "processedOn", "suspendedAt")
    if not f[1] then return { "not_found" } end
    -- The same call once more, its first reply lost: the answer is the same.
    if f[2] == started and util.num(f[3]) >= util.num(started) then
      if f[1] == "suspended" then return { "suspended", f[3] } end
      if f[1] == "waiting" then return { "resumed", f[3] } end
    end
    return { "lost", f[1] }
  end
  ledger.finish(P, id, args[7], "suspended", "", now)
  local at = util.int(now)
  local fields = { "state", "suspended", "suspendedAt", at,
    "suspendBase", at .. ":" .. call("LLEN", P .. ":signals:" .. id) }
  -- What an earlier suspension left must not describe this one.
  local stale = {}
  if reason ~= "" then
    fields[#fields + 1], fields[#fields + 2] = "suspendReason", reason
  else
    stale[1] = "suspendReason"
  end
  if timeout > 0 then
    fields[#fields + 1], fields[#fields + 2] = "suspendTimeout", args[6]
  else
    stale[#stale + 1] = "suspendTimeout"
  end
  call("HSET", key, unpack(fields))
  if #stale > 0 then call("HDEL", key, unpack(stale)) end
  call("ZADD", P .. ":suspended", timeout > 0 and util.int(now + timeout) or FAR, id)
  if util.num(run[2]) == 0 then groups.release(P, run[1], now) end
  events.emit(P, "suspended", id)
  if resume_early(P, id, run[3], now) then return { "resumed", at } end
  return { "suspended", at }
end)

-- args: id, head, signal name, now, expected suspendedAt ("" any), early: ms to keep ("" refuse), audit.
-- Reply {"resumed" | "kept" | "changed" | "not_suspended" | "not_found", state, "1" if revoked, audit seq}.
register("signal", {}, function(P, args)
  local id, name, now, expected, keep = args[1], args[3], tonumber(args[4]), args[5], args[6]
  local f = call("HMGET", P .. ":job:" .. id, "state", "name", "suspendedAt", "revoked")
  local state, outcome = f[1], "not_suspended"
  if not state then
    outcome = "not_found"
  elseif state == "suspended" then
    if expected ~= "" and f[3] ~= expected then
      outcome = "changed"
    else
      outcome = "resumed"
      resume(P, id, f[2], name, stamped(args[2], now))
    end
  elseif keep ~= "" and expected == "" and state ~= "completed" and state ~= "failed" then
    outcome = "kept"
    local key = P .. ":early:" .. id
    call("RPUSH", key, stamped(args[2], now))
    call("PEXPIRE", key, keep)
    call("SADD", P .. ":early-index", id)
  end
  local seq = (outcome == "resumed" or outcome == "kept") and audit.append(P, args[7], outcome)
  return { outcome, state or "", f[4] == "1" and "1" or "", seq and util.int(seq) or "" }
end)

-- Deliver kept signals to jobs that a peer suspended, and forget those of jobs that ended. Safe at any time.
-- args: now. Reply {"ok", delivered}.
register("deliver_early", {}, function(P, args)
  local now, index, delivered = tonumber(args[1]), P .. ":early-index", 0
  local ids = call("SCARD", index) > 1000 and call("SRANDMEMBER", index, 1000) or call("SMEMBERS", index)
  for _, id in ipairs(ids) do
    local f = call("HMGET", P .. ":job:" .. id, "state", "name")
    if f[1] == "suspended" then
      if resume_early(P, id, f[2], now) then delivered = delivered + 1 end
    elseif not f[1] or f[1] == "completed" or f[1] == "failed" then
      jobs.drop_early(P, { id })
    elseif call("EXISTS", P .. ":early:" .. id) == 0 then
      call("SREM", index, id)
    end
  end
  return { "ok", delivered }
end)

local function last_chunk(P, id)
  local entry = try("XREVRANGE", P .. ":jstream:" .. id, "+", "-", "COUNT", 1)
  return not entry.err and entry[1] and entry[1][1] or ""
end

-- A person decides: the signal goes out only if the job is still suspended and, when bound, still what was shown.
-- args: id, head, signal name, now, audit, bound ("1"/""), and when bound: suspendedAt, reason, last stream id,
-- SHA-1 of data, SHA-1 of progress.
-- Reply {"sent" | "changed" | "not_suspended" | "not_found", state, suspendedAt, latest signal JSON, audit seq}.
register("decide", {}, function(P, args)
  local id, now = args[1], tonumber(args[4])
  local f = call("HMGET", P .. ":job:" .. id, "state", "name", "suspendedAt", "suspendReason", "data", "progress")
  local latest = call("LINDEX", P .. ":signals:" .. id, -1) or ""
  local state, outcome = f[1], "sent"
  if not state then
    outcome = "not_found"
  elseif state ~= "suspended" then
    outcome = "not_suspended"
  elseif args[6] == "1" and not ((f[3] or "") == args[7] and (f[4] or "") == args[8] and last_chunk(P, id) == args[9]
      and redis.sha1hex(f[5] or "") == args[10] and redis.sha1hex(f[6] or "") == args[11]) then
    outcome = "changed"
  else
    resume(P, id, f[2], args[3], stamped(args[2], now))
    state = "waiting"
  end
  local seq = outcome == "sent" and audit.append(P, args[5], outcome)
  return { outcome, state or "", f[3] or "", latest, seq and util.int(seq) or "" }
end)

-- Suspended jobs: the call that suspends a run, the signals that resume it, the decision of a person.
-- A signal is JSON {"name","data","receivedAt"} whose `data` is a string holding JSON text. It arrives here as
-- `head`, everything up to the value of receivedAt, so that encoding stays in one place: the caller.

local function stamped(head, now)
  return head .. util.int(now) .. "}"
end

-- Look at everything that `resume` writes, before anything is written.
local function resumable(P, id)
  util.writable("RPUSH", P .. ":signals:" .. id, "list")
  util.writable("HSET", P .. ":job:" .. id, "hash")
  util.writable("ZREM", P .. ":suspended", "zset")
  util.writable("XADD", P .. ":stream", "stream")
  util.writable("XADD", P .. ":events", "stream")
end

-- Give a suspended job one signal. Peers read the hash field and rebuild it from the list: both are written.
-- A resumed job always joins the tail of the stream, whatever its priority.
local function resume(P, id, name, signal, json)
  local list, key = P .. ":signals:" .. id, P .. ":job:" .. id
  local f = call("HMGET", key, "suspendedAt", "suspendBase")
  local count = call("RPUSH", list, json) - 1
  local all = "[" .. table.concat(call("LRANGE", list, 0, -1), ",") .. "]"
  call("HSET", key, "signals", all, "state", "waiting")
  -- A peer that suspends notes nothing: which signals are new must not depend on the clocks of two machines.
  if f[1] and (f[2] or ""):match("^([^:]*):") ~= f[1] then call("HSET", key, "suspendBase", f[1] .. ":" .. util.int(count)) end
  call("ZREM", P .. ":suspended", id)
  runs.to_stream(P, id, name or "")
  events.emit(P, "resumed", id, "signal", signal)
end

-- Deliver the oldest kept signal of a job that has just been found suspended, as if it arrived now.
local resume_early
function resume_early(P, id, name, now)
  local key = P .. ":early:" .. id
  local json = call("LPOP", key)
  if not json or call("EXISTS", key) == 0 then call("SREM", P .. ":early-index", id) end
  if not json then return false end
  local signal = util.json(json)
  if not signal then return resume_early(P, id, name, now) end -- none that anybody kept
  resume(P, id, name, signal.name, (json:gsub("%d+}$", util.int(now) .. "}")))
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
  local signals = call("LLEN", P .. ":signals:" .. id) -- before anything is changed: it may be no list
  local run = runs.release(P, id, args[2], started, "groupKey", "orderingSeq", "name")
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
  call("HDEL", key, "suspendReason", "suspendTimeout") -- of an earlier suspension
  local fields = { "state", "suspended", "suspendedAt", at, "suspendBase", at .. ":" .. signals }
  if reason ~= "" then fields[#fields + 1], fields[#fields + 2] = "suspendReason", reason end
  if timeout > 0 then fields[#fields + 1], fields[#fields + 2] = "suspendTimeout", args[6] end
  call("HSET", key, unpack(fields))
  call("ZADD", P .. ":suspended", timeout > 0 and util.int(now + timeout) or NO_DEADLINE, id)
  if timeout > 0 then steps.outlast(P, id, now + timeout) end
  if util.num(run[2]) == 0 then groups.release(P, run[1], now) end
  events.emit(P, "suspended", id)
  if resume_early(P, id, run[3], now) then return { "resumed", at } end
  return { "suspended", at }
end)

-- args: id, head, signal name, now, expected suspendedAt ("" any), early: ms to keep ("" refuse), audit.
-- Reply {"resumed" | "kept" | "changed" | "not_suspended" | "not_found", state, "1" if revoked, audit seq}.
register("signal", {}, function(P, args)
  local id, name, now, expected, keep = args[1], args[3], tonumber(args[4]), args[5], args[6]
  audit.ready(P, args[7])
  local f = call("HMGET", P .. ":job:" .. id, "state", "name", "suspendedAt", "revoked")
  local state, outcome, seq = f[1], "not_suspended", nil
  if not state then
    outcome = "not_found"
  elseif state == "suspended" then
    outcome = expected ~= "" and f[3] ~= expected and "changed" or "resumed"
  elseif keep ~= "" and expected == "" and state ~= "completed" and state ~= "failed" then
    outcome = "kept"
  end
  if outcome == "resumed" then
    resumable(P, id)
    seq = audit.append(P, args[7], outcome)
    resume(P, id, f[2], name, stamped(args[2], now))
  elseif outcome == "kept" then
    local key, index = P .. ":early:" .. id, P .. ":early-index"
    util.writable("RPUSH", key, "list")
    util.writable("SADD", index, "set")
    seq = audit.append(P, args[7], outcome)
    call("RPUSH", key, stamped(args[2], now))
    call("PEXPIRE", key, keep)
    call("SADD", index, id)
  end
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

-- Bytes of entries at either end of a round that are looked at, entries of the first page, bytes that the next aim at.
local WINDOW, PAGE, PAGE_BYTES = 1048576, 16, 65536

-- An entry as hashes are taken of it: the number of its words, then each with its length.
local function entry_text(id, words)
  if #words == 2 then
    local name, value = words[1], words[2]
    return "3 " .. #id .. ":" .. id .. #name .. ":" .. name .. #value .. ":" .. value
  end
  local parts = { #words + 1, " ", #id, ":", id }
  for _, word in ipairs(words) do
    local n = #parts
    parts[n + 1], parts[n + 2], parts[n + 3] = #word, ":", word
  end
  return table.concat(parts)
end

-- SHA-1 of `count` entries from one end of a stream's part; "" when there are fewer, or what is there is not what was
-- counted.
local function window(command, key, from, to, count)
  local texts, found, size, step = {}, 0, 0, PAGE
  while found < count do
    local page = call(command, key, from, to, "COUNT", min(step, count - found))
    if #page == 0 then return "" end
    for i = 1, #page do
      local entry = page[i]
      local text = entry_text(entry[1], entry[2])
      if found > 0 and size + #text > WINDOW then return "" end
      found, size = found + 1, size + #text
      texts[found] = text
    end
    from = "(" .. page[#page][1]
    step = max(1, min(500, floor(PAGE_BYTES * found / size)))
  end
  if command == "XREVRANGE" then
    for i = 1, floor(count / 2) do texts[i], texts[count + 1 - i] = texts[count + 1 - i], texts[i] end
  end
  return count > 0 and redis.sha1hex(table.concat(texts)) or ""
end

-- Facts of a stream: newest entry, length, entries ever added, highest id deleted; "" when there is none.
function jobs.stream_facts(P, id)
  local info = try("XINFO", "STREAM", P .. ":jstream:" .. id)
  if info.err then
    if info.err:find("no such key", 1, true) then return "" end
    error(info)
  end
  info = util.map(info)
  local newest = info["last-entry"]
  return table.concat({ newest and newest[1] or "", info.length, info["entries-added"], info["max-deleted-entry-id"] }, " ")
end

-- Whether a text is as long as the id of an entry can be: a longer one is no note of ours.
local function is_id(text)
  local time, number = text:match("^(%d+)%-(%d+)$")
  return #time <= 20 and #number <= 20
end

-- Whether the round of a job is what was shown: where it begins, the facts of the stream, and both ends of it.
local function same_round(P, id, f, start, facts, head, head_sha1, tail, tail_sha1)
  local noted, from = (f.roundFrom or ""):match("^([^:]+):(%d+%-%d+)$")
  if not noted or noted ~= f.processedOn or not is_id(from) then from = "0-0" end
  if from ~= start or jobs.stream_facts(P, id) ~= facts then return false end
  local key, newest = P .. ":jstream:" .. id, facts:match("^%S+")
  if not newest then return true end
  return window("XRANGE", key, "(" .. from, newest, tonumber(head)) == head_sha1
    and window("XREVRANGE", key, newest, "(" .. from, tonumber(tail)) == tail_sha1
end

local DECIDED = { "state", "name", "suspendedAt", "suspendReason", "data", "progress", "processedOn", "roundFrom",
  "suspendBase" }

-- A person decides: the signal goes out only if the job is still suspended and, when bound, still what was shown.
-- args: id, head, signal name, now, audit, expected suspendedAt ("" any), SHA-1 of data, "1" if the payload was edited:
-- what was worked out from the former one (the steps) is then forgotten; and when bound: name,
-- suspendedAt, reason, SHA-1 of progress, id before the round, facts of the stream, entries and SHA-1 of the round's
-- beginning, those of its end.
-- Reply {"sent" | "changed" | "other_data" (than was read, nothing bound) | "not_suspended" | "not_found", state,
-- suspendedAt, latest signal JSON, "1" when that came after the suspension, "0" before, "" unknown, audit seq}.
register("decide", {}, function(P, args)
  local id, now, bound = args[1], tonumber(args[4]), #args > 8
  audit.ready(P, args[5])
  local f = {}
  for i, value in ipairs(call("HMGET", P .. ":job:" .. id, unpack(DECIDED))) do f[DECIDED[i]] = value or nil end
  local outcome, latest, is_new, seq = "sent", "", "", nil
  if not f.state then
    outcome = "not_found"
  elseif f.state ~= "suspended" then
    outcome, latest = "not_suspended", call("LINDEX", P .. ":signals:" .. id, -1) or ""
    local noted, count = (f.suspendBase or ""):match("^([^:]+):(%d+)$")
    if noted and noted == f.suspendedAt then is_new = call("LLEN", P .. ":signals:" .. id) > tonumber(count) and "1" or "0" end
  elseif args[6] ~= "" and util.num(f.suspendedAt) ~= tonumber(args[6]) then
    outcome = "changed"
  elseif redis.sha1hex(f.data or "") ~= args[7] then
    outcome = bound and "changed" or "other_data"
  elseif bound and not ((f.name or "") == args[9] and (f.suspendedAt or "") == args[10] and (f.suspendReason or "") == args[11]
      and redis.sha1hex(f.progress or "") == args[12] and same_round(P, id, f, unpack(args, 13, 18))) then
    outcome = "changed"
  else
    resumable(P, id)
    seq = audit.append(P, args[5], outcome)
    if args[8] == "1" then steps.forget(P, id) end
    resume(P, id, f.name, args[3], stamped(args[2], now))
  end
  local state = outcome == "sent" and "waiting" or f.state or ""
  return { outcome, state, f.suspendedAt or "", latest, is_new, seq and util.int(seq) or "" }
end)

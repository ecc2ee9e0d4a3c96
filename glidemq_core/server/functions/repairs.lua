-- What the doctor mends on request. Each call decides for itself, atomically, whether what was found still holds, so that
-- it may be repeated and may race with workers.

local WALKED = 200000 -- entries of the stream that one call looks at
local SILENT = 60000 -- least silence of a job whose entry nobody could see, ms

-- Of the given ids (a set), those that have an entry in the stream; nil when there are too many entries to look at.
local function with_entry(P, wanted)
  local found, from = {}, "-"
  for _ = 1, WALKED / 1000 do
    local page = call("XRANGE", P .. ":stream", from, "+", "COUNT", 1000)
    for _, item in ipairs(page) do
      local id = util.map(item[2]).jobId
      if id and wanted[id] then found[id] = true end
    end
    if #page < 1000 then return found end
    from = "(" .. page[1000][1]
  end
end

-- A stream that other groups read is a broadcast: its jobs are of no single run.
local function is_broadcast(P)
  local listed = try("XINFO", "GROUPS", P .. ":stream")
  for _, flat in ipairs(listed.err and {} or listed) do
    if util.map(flat).name ~= GROUP then return true end
  end
  return false
end

-- Jobs that came from a list and are not in our index: a Node worker may run them, and any worker's walk over the hashes
-- finds them while the counter knows of more than the index does.
local function may_be_run(P, job, now)
  if not (job.lifo or job.priority > 0) then return false end
  if util.num(call("GET", P .. ":list-active")) > call("ZCARD", P .. ":list-runs") then return true end
  return not runs.is_silent(job, now, SILENT)
end

local function run_again(P, id, job, now)
  local key = P .. ":job:" .. id
  runs.requeue(P, id, job)
  ledger.finish(P, id, "", "lost", "stalled", now)
  budgets.settle(P, id, true, now)
  call("HSET", key, "state", "waiting", "stalledCount", util.int(job.stalls + 1))
  call("HDEL", key, "processedOn", "lastActive")
  events.emit(P, "stalled", id)
end

-- Put active jobs that stand in no stream, list or index back where they wait to be run, with the stall on record.
-- args: now, then id and processedOn as found of each, audit. Reply {"ok", outcome...}: "requeued", "held" (there is an
-- entry, or somebody may run it), "changed" (not active any more, or by a newer run), "not_found"; or {"broadcast"} |
-- {"too_many"} entries to look at.
register("requeue_lost", {}, function(P, args)
  audit.ready(P, args[#args])
  local now, wanted = tonumber(args[1]), {}
  for i = 2, #args - 1, 2 do wanted[args[i]] = true end
  if is_broadcast(P) then return { "broadcast" } end
  local entries = with_entry(P, wanted)
  if not entries then return { "too_many" } end
  local out, changed, lost = { "ok" }, {}, {}
  for i = 2, #args - 1, 2 do
    local id, at = args[i], #out
    local job = runs.read(P, id)
    if not job or job.state == "" then
      out[at + 1] = "not_found"
    elseif job.state ~= "active" or util.int(job.started or 0) ~= args[i + 1] then
      out[at + 1] = "changed"
    elseif entries[id] or call("ZSCORE", P .. ":list-runs", id) or may_be_run(P, job, now) then
      out[at + 1] = "held"
    else
      out[at + 1] = "requeued"
      changed[#changed + 1], lost[#lost + 1] = at, { id, job }
    end
  end
  if #lost > 0 then audit.append(P, args[#args], "requeued", #lost, changed) end
  for _, pair in ipairs(lost) do run_again(P, pair[1], pair[2], now) end
  return out
end)

-- Set the number of slots that a key's jobs hold to what was counted, if no slot was taken or given back since, and let
-- parked jobs follow. args: now, key, `active` and `nextSeq` as they were before the count, holders counted, audit.
-- Reply {"mended", parked jobs sent on} | {"changed"}.
register("mend_slots", {}, function(P, args)
  audit.ready(P, args[6])
  local key, holders = args[2], tonumber(args[5])
  local f = call("HMGET", P .. ":group:" .. key, "active", "nextSeq")
  -- A start moves nextSeq, an end moves `active`.
  if f[1] ~= args[3] or (f[2] or "") ~= args[4] or util.num(f[1]) <= holders then return { "changed" } end
  audit.append(P, args[6], "mended", util.num(f[1]) - holders)
  call("HSET", P .. ":group:" .. key, "active", util.int(holders))
  return { "mended", groups.dispatch(P, key, tonumber(args[1])) }
end)

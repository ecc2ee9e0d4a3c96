-- A *run* is one activation of a job by one worker: stream-sourced, its pending entry; list-sourced, its
-- processedOn. Everything that ends a run goes through here, so that a run that was taken for stalled
-- changes nothing any more.

-- Refuse the call, before it has changed anything, if a key that jobs are put into is of another type.
function runs.check_places(P)
  for _, set in ipairs({ ":scheduled", ":suspended", ":failed" }) do call("ZCARD", P .. set) end
  for _, list in ipairs({ ":lifo", ":priority" }) do call("LLEN", P .. list) end
  call("XLEN", P .. ":stream")
end

-- End the given run's hold on the job: entry acknowledged and deleted, or list count given back. Returns the
-- asked hash fields, or nil when the job is not active any more or a newer run has it.
function runs.release(P, id, entry, processed_on, ...)
  runs.check_places(P)
  local f = call("HMGET", P .. ":job:" .. id, "state", "processedOn", ...)
  local mine = f[1] == "active"
  if entry ~= "" then
    -- Entries of healthy jobs move between consumers; only whether it is pending at all counts. Whoever ends a run
    -- deletes its entry in the same call: one that still exists is ours too if the group was lost meanwhile.
    local pending = call("XACK", P .. ":stream", GROUP, entry)
    local deleted = call("XDEL", P .. ":stream", entry)
    mine = mine and (pending == 1 or deleted == 1 and f[2] == processed_on)
  else
    mine = mine and f[2] == processed_on
    if mine then util.attempt(runs.leave_list, P, { id }) end
  end
  return mine and { unpack(f, 3) } or nil
end

-- Whether a call came too late: after a later try of it, or after a repeat of a later call of its kind. A request may be
-- delayed on a connection that was given up. `number`: "<n>.<try>"; repeats note theirs in `field`, which holds `noted`.
local function is_late(P, id, run, number, field, noted)
  local n, repeats = number:match("^(%d+)%.(%d+)$")
  n, repeats = tonumber(n), tonumber(repeats)
  local noted_run, noted_n, noted_try = (noted or ""):match("^(.*):(%d+)%.(%d+)$")
  if noted_run == run then
    noted_n = tonumber(noted_n)
    if n < noted_n or n == noted_n and repeats < tonumber(noted_try) then return true end
  end
  if repeats > 0 then call("HSET", P .. ":job:" .. id, field, run .. ":" .. number) end
  return false
end

-- Reply to a call of a run that is not carried out: "not_found"; "lost" when another run has the job or it has
-- ended; "late"; nil when it may be. `run`: its processedOn, "" for a call from outside of any run; `number`: nil for a call
-- that is known by a mark of its own, else as above, with the field for its kind.
function runs.refused(P, id, run, number, field)
  local f = call("HMGET", P .. ":job:" .. id, "state", "processedOn", field)
  if not f[1] then return "not_found" end
  if run == "" then return nil end
  if f[1] ~= "active" or f[2] ~= run then return "lost" end
  return number and is_late(P, id, run, number, field, f[3]) and "late" or nil
end

-- Score of a fresh run in P:list-runs: when it was claimed, and in the part of a millisecond that a double has left by
-- whom (12 bits of the worker's name), so that a worker that lost the reply finds its claims.
function runs.claim_score(stamp, consumer)
  return string.format("%.12f", tonumber(stamp) + tonumber(consumer:match("%x%x%x$") or "0", 16) / 4096)
end

-- Raise an error if the index or the counter is of another type: before a job starts.
function runs.check_index(P)
  call("ZCARD", P .. ":list-runs")
  local counted = call("GET", P .. ":list-active")
  if counted and not counted:find("^%-?%d+$") then error({ err = "ERR " .. P .. ":list-active is no number" }) end
end

-- Count jobs that were claimed from a list, and note when and by whom.
function runs.enter_list(P, ids, stamp, consumer)
  local score, scored = runs.claim_score(stamp, consumer), {}
  for _, id in ipairs(ids) do
    scored[#scored + 1], scored[#scored + 2] = score, id
  end
  util.sliced("ZADD", P .. ":list-runs", scored)
  call("INCRBY", P .. ":list-active", #ids)
end

-- Give back the list count of jobs that were active from a list.
function runs.leave_list(P, ids)
  util.sliced("ZREM", P .. ":list-runs", ids)
  local left = util.num(call("GET", P .. ":list-active"))
  if left > 0 then call("DECRBY", P .. ":list-active", min(left, #ids)) end
end

-- Read what decides about a run that may be stalled; nil for a key that is no hash.
function runs.read(P, id)
  local f = util.fields(P .. ":job:" .. id, "state", "lastActive", "opts", "stalledCount", "expireAt", "processedOn",
    "name", "lifo", "priority", "groupKey", "orderingSeq", "finishedOn")
  if f[1] == nil then return nil end
  return { state = f[1] or "", beat = tonumber(f[2] or ""), opts = f[3] or "", stalls = util.num(f[4]),
    expires = tonumber(f[5] or ""), started = tonumber(f[6] or ""), name = f[7] or "", lifo = f[8] == "1",
    priority = util.num(f[9]), groupKey = f[10] or nil, orderingSeq = f[11] or nil, finishedOn = f[12] or nil }
end

-- A job's own lockDuration, ms; nil without a sane one.
function runs.own_lock(job)
  if not job.opts:find('"lockDuration"', 1, true) then return nil end
  local own = tonumber((util.json(job.opts) or {}).lockDuration)
  return own and own >= 1000 and own <= 86400000 and own or nil
end

-- The job's own lock counts, else the sweeper's.
function runs.is_silent(job, now, default)
  return not job.beat or now - job.beat >= (runs.own_lock(job) or default)
end

-- Take entries out of the stream and off their consumers.
function runs.drop_entries(P, entries)
  if #entries == 0 then return end
  util.sliced("XACK", P .. ":stream", entries, GROUP)
  util.sliced("XDEL", P .. ":stream", entries)
end

function runs.to_stream(P, id, name)
  call("XADD", P .. ":stream", "*", "jobId", id, "name", name)
end

-- Queue a job where its fields say that it belongs.
function runs.requeue(P, id, job)
  if job.lifo then
    call("RPUSH", P .. ":lifo", id)
  elseif job.priority > 0 then
    call("LPUSH", P .. ":priority", id)
  else
    runs.to_stream(P, id, job.name)
  end
end

-- Put a claimed job that will not run back where it came from; no stall, no attempt is counted.
-- args: id, entry, processedOn, now. Reply {"ok"} | {"lost"}.
register("hand_back", {}, function(P, args)
  local id, entry = args[1], args[2]
  local run = runs.release(P, id, entry, args[3], "name", "lifo", "priority", "groupKey", "orderingSeq", "finishedOn")
  if not run then return { "lost" } end
  local key = P .. ":job:" .. id
  if entry ~= "" then
    runs.to_stream(P, id, run[1] or "")
  elseif run[2] == "1" then
    call("RPUSH", P .. ":lifo", id)
  else
    call("RPUSH", P .. ":priority", id)
  end
  call("HSET", key, "state", "waiting")
  call("HDEL", key, "processedOn", "lastActive")
  util.attempt(budgets.settle, P, id, true, tonumber(args[4]))
  -- A manual retry (finishedOn emptied) came back without taking a slot.
  if run[4] and run[6] ~= "" then util.attempt(groups.undo_start, P, run[4], util.num(run[5])) end
  return { "ok" }
end)

-- The processor asks to sleep. The slot of an ordered job is kept, no attempt is counted.
-- args: id, entry, processedOn, now, until, data ("" unchanged), ledger header ("" none).
-- Reply {"ok", due} | {"lost"}.
register("delay", {}, function(P, args)
  local id, now = args[1], tonumber(args[4])
  local due = max(now, tonumber(args[5]))
  local run = runs.release(P, id, args[2], args[3], "priority")
  if not run then return { "lost" } end
  call("ZADD", P .. ":scheduled", util.int(util.num(run[1]) * PRIORITY_STEP + due), id)
  local fields = { "state", "delayed", "delay", util.int(due - now) }
  if args[6] ~= "" then
    fields[#fields + 1], fields[#fields + 2] = "data", args[6]
  end
  call("HSET", P .. ":job:" .. id, unpack(fields))
  ledger.finish(P, id, args[7], "delayed", "", now)
  events.emit(P, "delay-changed", id, "delay", util.int(due - now))
  return { "ok", util.int(due) }
end)

-- A processor holds its ordering group.
-- args: id, entry, processedOn, now, duration, "requeue"|"fail", "front"|"back", "max"|"replace", ledger header.
-- Reply {"ok", resumeAt} | {"lost"} | {"no_group"}.
register("limit_group_run", {}, function(P, args)
  local id, now = args[1], tonumber(args[4])
  local key = P .. ":job:" .. id
  local group = call("HGET", key, "groupKey")
  if not group then return { "no_group" } end
  -- Before anything is changed: none of these may be of another type.
  call("HLEN", P .. ":group:" .. group)
  call("ZCARD", P .. ":groupq:" .. group)
  call("ZCARD", P .. ":ratelimited")
  local run = runs.release(P, id, args[2], args[3], "groupKey", "orderingSeq", "processedOn")
  if not run then return { "lost" } end
  local g, q = P .. ":group:" .. run[1], P .. ":groupq:" .. run[1]
  if util.num(call("HGET", g, "active")) > 0 then call("HINCRBY", g, "active", -1) end
  if args[6] == "fail" then
    ledger.finish(P, id, args[9], "failed", "group rate limited", now)
    call("ZADD", P .. ":failed", util.int(now), id)
    call("HSET", key, "state", "failed", "failedReason", "group rate limited", "finishedOn", util.int(now))
    util.attempt(budgets.settle, P, id, true, now, true)
    schedules.job_ended(P, id, now)
    events.emit(P, "failed", id, "failedReason", "group rate limited")
    metrics.add(P, "failed", now, 1, now - util.num(run[3], now))
  else
    ledger.finish(P, id, args[9], "delayed", "", now, true)
    local score = util.num(run[2])
    if args[7] == "back" then
      local last = call("ZRANGE", q, -1, -1, "WITHSCORES")
      if last[2] then score = tonumber(last[2]) + 1 end
    end
    call("ZADD", q, util.int(score), id)
    call("HSET", key, "state", "group-waiting")
  end
  return { "ok", util.int(groups.hold(P, run[1], id, now, tonumber(args[5]), args[8])) }
end)

-- Keep the parked jobs of a group waiting until now + duration; returns when they may go on.
function groups.hold(P, key, id, now, duration, extend)
  local resume = now + duration
  if extend ~= "replace" then
    resume = max(resume, util.num(call("ZSCORE", P .. ":ratelimited", key)))
  end
  call("ZADD", P .. ":ratelimited", util.int(resume), key)
  events.emit(P, "group-rate-limited", id, "groupKey", key, "duration", util.int(duration), "resumeAt", util.int(resume))
  return resume
end

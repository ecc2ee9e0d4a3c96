-- What operators and processors do to single jobs: remove, retry, promote, change, revoke, update. Each call
-- finds the job in whatever structure holds it, so that no entry or list element outlives its job and no job
-- stands in two places. A job that is gone is never brought back.

-- Entries that one call may still look at: walks over a long stream or list must not hold the server for long. Elements
-- of a list, which the server walks itself, cost a part of an entry.
local WALK, walk_left, LISTED, CHEAPER = 4000, 0, 100000, 50

-- Look for the entries of jobs (`wanted`: a set of `count` ids) in a part of the stream, at most `limit` of them, and keep
-- them in `util.entries`. How many were not found.
local function walk(P, command, from, to, limit, wanted, count)
  local step = count > 1 and 1000 or 16
  limit = min(limit, walk_left)
  while limit > 0 and count > 0 do
    step = min(step, limit)
    local page = call(command, P .. ":stream", from, to, "COUNT", step)
    for _, item in ipairs(page) do
      local fields = item[2]
      local id = fields[1] == "jobId" and fields[2] or util.map(fields).jobId
      if id and wanted[id] then
        util.entries = util.entries or {}
        util.entries[id], wanted[id], count = item[1], nil, count - 1
        if count == 0 then break end
      end
    end
    limit, walk_left = limit - #page, walk_left - #page
    if #page < step then break end
    from, step = "(" .. page[#page][1], min(step * 4, 1000)
  end
  return count
end

-- Look for entries where they would be, at most at `most`: fresh ones from the jobs' creation (`made`) on, or up to a second
-- before it, for clocks differ; those that were queued again at the tail. Bounded: not found in a huge backlog.
local function look_for(P, wanted, count, made, most)
  count = walk(P, "XRANGE", util.int(max(0, made)), "+", most / 2, wanted, count)
  if count > 0 then
    count = walk(P, "XRANGE", util.int(max(0, made - 1000)), util.int(max(0, made - 1)), most / 4, wanted, count)
  end
  if count > 0 then walk(P, "XREVRANGE", "+", "-", most / 4, wanted, count) end
end

-- Pending entries (at most 10000) by the job they run.
function jobs.pending(P)
  local out, page = {}, try("XPENDING", P .. ":stream", GROUP, "-", "+", 10000)
  if page.err then return out end
  for _, item in ipairs(page) do
    local entry = call("XRANGE", P .. ":stream", item[1], item[1])[1]
    local id = entry and util.map(entry[2]).jobId
    if id then out[id] = item[1] end
  end
  return out
end

-- What decides about a job: nil when it does not exist.
function jobs.look(P, id)
  local f = call("HMGET", P .. ":job:" .. id, "state", "groupKey", "orderingSeq", "finishedOn", "lifo", "priority",
    "timestamp", "name", "delay", "budgetPausedAt", "schedulerName")
  local job = { state = f[1] or "", groupKey = f[2] or nil, orderingSeq = f[3] or nil, finishedOn = f[4] or nil,
    lifo = f[5] == "1", priority = util.num(f[6]), timestamp = f[7] or nil, name = f[8] or "", delay = util.num(f[9]),
    parked = f[10] and true, scheduler = f[11] or nil }
  if not f[1] and call("EXISTS", P .. ":job:" .. id) == 0 then return nil end
  return job
end

-- Take a job out of a list, looked for at both ends. Bounded as the stream; what is left in a list of a job that is gone
-- is dropped by whoever claims it.
local function unlist(P, list, id)
  local key = P .. ":" .. list
  local left = call("LLEN", key) -- elements that nobody has looked at: a job of a list may well wait in the stream
  for _, from in ipairs({ 1, -1 }) do
    local most = min(LISTED, walk_left * CHEAPER, left)
    if most < 1 then return false end
    local place = call("LPOS", key, id, "RANK", from, "MAXLEN", most)
    walk_left, left = walk_left - math.ceil(most / CHEAPER), left - most
    if place then
      call("LREM", key, from, id)
      return true
    end
  end
  return false
end

-- Take a waiting job out of the list or stream it waits in. Returns "taken"; "pending" when a worker has read
-- its entry and is about to start it (left alone unless `force`); nil when it was found nowhere.
function jobs.unqueue(P, id, job, force)
  if job.lifo and unlist(P, "lifo", id) then return "taken" end
  if job.priority > 0 and unlist(P, "priority", id) then return "taken" end
  if not (util.entries and util.entries[id]) then look_for(P, { [id] = true }, 1, util.num(job.timestamp), WALK) end
  local entry = util.entries and util.entries[id]
  if not entry then return nil end
  local pending = try("XPENDING", P .. ":stream", GROUP, entry, entry, 1)
  if not pending.err and #pending > 0 then
    if not force then return "pending" end
    call("XACK", P .. ":stream", GROUP, entry)
  end
  call("XDEL", P .. ":stream", entry)
  return "taken"
end

-- A job that ends without running gives back its place in its ordering group: its slot if it holds one, else
-- its sequence number. A manual retry (finishedOn emptied) never took its slot again.
function jobs.leave_group(P, id, job, now)
  local key, state = job.groupKey, job.state
  if not key or state == "completed" or state == "failed" then return end
  if state == "group-waiting" then call("ZREM", P .. ":groupq:" .. key, id) end
  local seq, nxt = util.num(job.orderingSeq), util.num(call("HGET", P .. ":group:" .. key, "nextSeq"))
  if state == "active" then
    groups.release(P, key, now)
  elseif seq >= nxt then
    if groups.skip(P, key, seq) then groups.dispatch(P, key, now) end
  elseif seq > 0 and state ~= "group-waiting" and job.finishedOn ~= "" then
    groups.release(P, key, now)
  end
end

-- Run `one(id)` for args[first..#args-1], the audit blob being the last argument. Replies {"ok", outcome...} and
-- keeps one audit entry naming the jobs whose outcome is `wanted`. An error ends it at that job; what was changed until
-- then is audited all the same.
local function each(P, args, first, wanted, one)
  audit.ready(P, args[#args])
  local out, changed, failure = { "ok" }, {}, nil
  for i = first, #args - 1 do
    local ok, outcome = pcall(one, args[i])
    if not ok then
      failure = outcome
      break
    end
    out[#out + 1] = outcome
    if outcome == wanted then changed[#changed + 1] = i - first + 1 end
  end
  if #changed > 0 then audit.append(P, args[#args], wanted, #changed, changed) end
  if failure then error(failure) end
  return out
end

-- Look for the entries of those that wait among many jobs (ids: args[first..last], `step` apart) in one walk, not in one
-- each, for `jobs.unqueue` to find them. It leaves a quarter of what a call may look at.
function jobs.index(P, args, first, last, step)
  local wanted, count, since = {}, 0, nil
  for i = first, last, step do
    local f = try("HMGET", P .. ":job:" .. args[i], "state", "timestamp")
    if not f.err and f[1] == "waiting" and not wanted[args[i]] then
      wanted[args[i]], count = true, count + 1
      since = min(since or util.num(f[2]), util.num(f[2]))
    end
  end
  if count > 1 then look_for(P, wanted, count, since, WALK * 3 / 4) end
end

-- Begin a walk of a call of its own; how much of it is left.
function jobs.begin_walk() walk_left = WALK end
function jobs.walk_left() return walk_left end

function jobs.remove(P, id, now, running)
  local job = jobs.look(P, id)
  if not job then return "not_found" end
  if job.state == "active" then
    if not running then return "active" end
    -- The pending entry shows where an active job came from; without one, its fields are a hint.
    local entry = running()[id]
    if entry then
      runs.drop_entries(P, { entry })
    elseif job.lifo or job.priority > 0 then
      runs.leave_list(P, { id })
    end
  elseif job.state == "waiting" then
    jobs.unqueue(P, id, job, true)
  end
  if job.state ~= "completed" then budgets.settle(P, id, true, now, true) end
  for _, set in ipairs({ "scheduled", "completed", "failed", "suspended" }) do call("ZREM", P .. ":" .. set, id) end
  jobs.purge(P, { id })
  jobs.leave_group(P, id, job, now)
  if job.state ~= "completed" and job.state ~= "failed" then schedules.ended(P, job.scheduler, now) end
  events.emit(P, "removed", id)
  return "removed"
end

-- args: now, force ("1": active ones too), ids..., audit. Reply {"ok", "removed" | "active" | "not_found" ...}.
register("remove", {}, function(P, args)
  local now, pending = tonumber(args[1]), nil
  local function running()
    pending = pending or jobs.pending(P)
    return pending
  end
  walk_left = WALK
  jobs.index(P, args, 3, #args - 1, 1)
  return each(P, args, 3, "removed", function(id) return jobs.remove(P, id, now, args[2] == "1" and running) end)
end)

-- Send a failed job through P:scheduled, due now. stalledCount, revoked and expireAt keep their values.
function jobs.retry(P, id, now, reset_fallback, clear_signals)
  local key = P .. ":job:" .. id
  local f = call("HMGET", key, "state", "priority")
  if f[1] ~= "failed" then
    return (f[1] or call("EXISTS", key) == 1) and "not_failed" or "not_found"
  end
  call("ZREM", P .. ":failed", id)
  call("ZADD", P .. ":scheduled", util.int(util.num(f[2]) * PRIORITY_STEP + now), id)
  call("HSET", key, "state", "delayed", "attemptsMade", "0", "failedReason", "", "finishedOn", "")
  if reset_fallback then call("HDEL", key, "fallbackIndex") end
  if clear_signals then
    call("UNLINK", P .. ":signals:" .. id)
    call("HDEL", key, "signals", "suspendBase")
  end
  return "retried"
end

-- args: now, reset fallback index ("1"), clear signals ("1"), ids..., audit.
-- Reply {"ok", "retried" | "not_failed" | "not_found" ...}.
register("retry", {}, function(P, args)
  local now = tonumber(args[1])
  return each(P, args, 4, "retried", function(id) return jobs.retry(P, id, now, args[2] == "1", args[3] == "1") end)
end)

-- Make a delayed job ready now. Also how parked jobs of a budget are released.
function jobs.promote(P, id)
  local job = jobs.look(P, id)
  if not job then return "not_found" end
  if job.state ~= "delayed" then return "not_delayed" end
  local key = P .. ":job:" .. id
  call("ZREM", P .. ":scheduled", id)
  runs.requeue(P, id, job)
  call("HSET", key, "state", "waiting", "delay", "0")
  budgets.unpark(P, id)
  events.emit(P, "promoted", id)
  return "promoted"
end

-- args: ids..., audit. Reply {"ok", "promoted" | "not_delayed" | "not_found" ...}.
register("promote", {}, function(P, args)
  return each(P, args, 1, "promoted", function(id) return jobs.promote(P, id) end)
end)

-- Score of a scheduled job split in priority and due time; the hash stands in when the member is missing.
function jobs.scheduled(P, id, job, now)
  local score = tonumber(call("ZSCORE", P .. ":scheduled", id) or "")
  if not score then return job.priority, now + job.delay end
  local priority = floor(score / PRIORITY_STEP)
  return priority, score - priority * PRIORITY_STEP
end

-- Put a job that waits where its priority and its due time (nil: it has none) belong; returns its state.
function jobs.put(P, id, job, priority, due)
  if due or priority > 0 then
    call("ZADD", P .. ":scheduled", util.int(priority * PRIORITY_STEP + (due or 0)), id)
    return due and "delayed" or "prioritized"
  end
  call("ZREM", P .. ":scheduled", id)
  runs.to_stream(P, id, job.name)
  return "waiting"
end

local function with_priority(P, id, job, wanted, now)
  if job.state == "waiting" then
    if wanted == 0 and job.priority == 0 then return nil, "unchanged" end
    if wanted == 0 and job.lifo then return "waiting" end
    local taken = jobs.unqueue(P, id, job)
    if taken ~= "taken" then return nil, taken or "not_in_stream" end
  elseif job.state == "delayed" then
    local _, due = jobs.scheduled(P, id, job, now)
    return jobs.put(P, id, job, wanted, due)
  elseif job.state ~= "prioritized" then
    return nil, "invalid_state"
  end
  return jobs.put(P, id, job, wanted)
end

local function with_delay(P, id, job, wanted, now)
  local priority = job.priority
  if job.state == "waiting" then
    if wanted == 0 then return nil, "unchanged" end
    local taken = jobs.unqueue(P, id, job)
    if taken ~= "taken" then return nil, taken or "not_in_stream" end
  elseif job.state == "prioritized" or job.state == "delayed" then
    if wanted == 0 and job.state == "prioritized" then return nil, "unchanged" end
    priority = jobs.scheduled(P, id, job, now)
    if wanted == 0 then budgets.unpark(P, id) end
  else
    return nil, "invalid_state"
  end
  return jobs.put(P, id, job, priority, wanted > 0 and now + wanted or nil)
end

-- args: id, priority or delay, now, audit. Reply {"ok"} | {"unchanged"} | {"not_found"} | {"invalid_state", state} |
-- {"pending"} (a worker is starting it) | {"not_in_stream"} (found nowhere). `move` puts the job into its new place and
-- returns its state, or nil and why it cannot be moved.
local function change(P, args, field, move)
  audit.ready(P, args[4])
  walk_left = WALK
  local id, wanted = args[1], tonumber(args[2])
  local job = jobs.look(P, id)
  if not job then return { "not_found" } end
  local state, refusal = move(P, id, job, wanted, tonumber(args[3]))
  if not state then return { refusal, refusal == "invalid_state" and job.state or nil } end
  call("HSET", P .. ":job:" .. id, field, util.int(wanted), "state", state)
  events.emit(P, field .. "-changed", id, field, util.int(wanted))
  audit.append(P, args[4], "changed")
  return { "ok" }
end

register("change_priority", {}, function(P, args) return change(P, args, "priority", with_priority) end)
register("change_delay", {}, function(P, args) return change(P, args, "delay", with_delay) end)

local QUEUED = { waiting = true, delayed = true, prioritized = true, ["group-waiting"] = true }

-- Not started: failed at once. Otherwise, also when a worker is just starting it: flagged for the next look.
-- args: id, now, audit. Reply {"revoked"} | {"flagged"} | {"not_found"}.
register("revoke", {}, function(P, args)
  audit.ready(P, args[3])
  local id, now = args[1], tonumber(args[2])
  walk_left = WALK
  local job = jobs.look(P, id)
  if not job then return { "not_found" } end
  local key = P .. ":job:" .. id
  local first, outcome = call("HGET", key, "revoked") ~= "1", "flagged"
  call("HSET", key, "revoked", "1")
  if QUEUED[job.state] and not (job.state == "waiting" and jobs.unqueue(P, id, job) == "pending") then
    outcome = "revoked"
    budgets.settle(P, id, true, now, true)
    call("ZREM", P .. ":scheduled", id)
    call("ZADD", P .. ":failed", util.int(now), id)
    call("HSET", key, "state", "failed", "failedReason", "revoked", "finishedOn", util.int(now))
    jobs.leave_group(P, id, job, now)
    schedules.ended(P, job.scheduler, now)
  end
  events.emit(P, "revoked", id)
  if first or outcome == "revoked" then audit.append(P, args[3], outcome) end
  return { outcome }
end)

-- args: id, field ("data" or "progress"), text, processedOn of the run that calls and number of the call ("" none).
-- Reply {"ok"} | {"not_found"} | {"lost"} | {"late"}.
register("update", {}, function(P, args)
  local key = P .. ":job:" .. args[1]
  local refused = runs.refused(P, args[1], args[4], args[5], args[2] .. "Mark")
  if refused then return { refused } end
  call("HSET", key, args[2], args[3])
  if args[2] == "data" then steps.forget(P, args[1]) end
  if args[2] == "progress" then events.emit(P, "progress", args[1], "data", args[3]) end
  return { "ok" }
end)

-- args: id, mark of the call ("<processedOn>:<n>" of the run that logs, "" none), lines...
-- Reply {"ok", number of lines kept} (also when this call was carried out before) | {"not_found"} | {"lost"}.
register("log", {}, function(P, args)
  local job, log, mark = P .. ":job:" .. args[1], P .. ":log:" .. args[1], args[2]
  local run, number = mark:match("^(.*):(%d+)$")
  local refused = runs.refused(P, args[1], run or "", nil, "logMark")
  if refused then return { refused } end
  if mark ~= "" then
    -- A run appends one call after the other: the number of the last one shows what was appended.
    local noted_run, noted = (call("HGET", job, "logMark") or ""):match("^(.*):(%d+)$")
    if noted_run == run and tonumber(noted) >= tonumber(number) then return { "ok", call("LLEN", log) } end
  end
  local kept = call("RPUSH", log, unpack(args, 3))
  if mark ~= "" then call("HSET", job, "logMark", mark) end
  return { "ok", kept }
end)

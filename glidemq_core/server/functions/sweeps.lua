-- What every worker does for the whole queue at its promotion tick and stall interval. Each call is atomic and
-- bounded; any number of workers, Node's included, may sweep the same queue.

-- A due member of P:scheduled goes to where it is fetched from. Members without a live record are dropped.
local function promote_one(P, member, priority, now)
  local id, subscription = member, nil
  local at = member:find("||", 1, true)
  if at and call("EXISTS", P .. ":job:" .. member) == 0 then
    id, subscription = member:sub(1, at - 1), member:sub(at + 2)
  end
  local key = P .. ":job:" .. id
  local f = call("HMGET", key, "state", "name", "lifo", "expireAt", "budgetPausedAt")
  if f[1] == "failed" and not call("ZSCORE", P .. ":failed", id) then
    -- A peer is half-way through a retry, which is three commands there: its state follows.
    call("ZADD", P .. ":scheduled", util.int(priority * PRIORITY_STEP + now + 1000), member)
    return 0
  end
  if not f[1] or not (subscription or f[1] == "delayed" or f[1] == "prioritized") then return 0 end
  if f[4] and now > util.num(f[4], now) then
    jobs.expire(P, id, now)
    return 0
  end
  if subscription then
    call("XADD", P .. ":stream", "*", "jobId", id, "name", f[2] or "", "retryGroup", subscription)
  else
    runs.requeue(P, id, { name = f[2] or "", lifo = f[3] == "1", priority = priority })
  end
  call("HSET", key, "state", "waiting")
  if f[5] then budgets.unpark(P, id) end
  events.emit(P, "promoted", id)
  return 1
end

local function promote(P, now, budget)
  local level, count = jobs.next_level(P, 0), 0
  while level and budget > 0 do
    local base = level * PRIORITY_STEP
    local due = call("ZRANGEBYSCORE", P .. ":scheduled", util.int(base), util.int(base + now), "LIMIT", 0, budget)
    if #due > 0 then util.sliced("ZREM", P .. ":scheduled", due) end
    for _, member in ipairs(due) do
      local well, promoted = util.attempt(promote_one, P, member, level, now)
      if well then
        count = count + promoted
      else
        call("ZADD", P .. ":scheduled", util.int(base + now + RETRY_MS), member)
      end
    end
    budget = budget - #due
    level = jobs.next_level(P, level + 1)
  end
  return count, budget <= 0
end

-- Earliest time at which a tick or the suspend sweep has something to do, over all priorities.
local function next_due(P)
  local due
  local function consider(at)
    if at and (not due or at < due) then due = at end
  end
  local level, first = jobs.next_level(P, 0)
  for _ = 1, 64 do
    if not level then break end
    consider(first)
    level, first = jobs.next_level(P, level + 1)
  end
  consider(tonumber(call("ZRANGE", P .. ":ratelimited", 0, 0, "WITHSCORES")[2] or ""))
  local deadline = tonumber(call("ZRANGE", P .. ":suspended", 0, 0, "WITHSCORES")[2] or "")
  if deadline and deadline < tonumber(NO_DEADLINE) then consider(deadline) end
  return due and util.int(due) or ""
end

-- Promote what is due (at most 300 jobs) and wake rate-limited groups (at most 100).
-- keys scheduled, stream, lifo, priority, ratelimited, groups. args: now, turn and name of the worker for schedules.due, ms of
-- the turn of promotions (as all sweeps have it, see util.take_turn).
-- Reply {"ok" | "more" | "taken" (another worker's turn), jobs promoted, next due time in ms or "", other errors, what schedules.due found}.
-- Keeps: a member leaves P:scheduled in the call that queues its job; the score, not the hash, gives the priority.
register("tick", {}, function(P, args)
  local now = tonumber(args[1])
  if not util.take_turn(P, "promotion", args[4]) then return { "taken", 0, "", {}, {} } end
  local count, more = promote(P, now, 300)
  local waking = call("ZRANGEBYSCORE", P .. ":ratelimited", "-inf", args[1], "LIMIT", 0, 100)
  if #waking > 0 then util.sliced("ZREM", P .. ":ratelimited", waking) end
  for _, key in ipairs(waking) do
    if not util.attempt(groups.dispatch, P, key, now) then
      call("ZADD", P .. ":ratelimited", util.int(now + RETRY_MS), key)
    end
  end
  more = more or #waking == 100 or util.moves_left <= 0
  local _, due = util.attempt(schedules.due, P, now, args[2] or "", args[3])
  return { more and "more" or "ok", count, next_due(P), noted_errors, due or {} }
end)

-- Stalled jobs --------------------------------------------------------------------------------------------------

-- End a stalled run: the job is queued again, by `queue`, or is over. That comes first; what follows from it may fail.
-- The caller then removes the run's entry, or its place in the index.
local function stall(P, id, job, now, max_stalled, queue, again, failed)
  if job.expires and now > job.expires then
    if job.state == "active" then ledger.finish(P, id, "", "lost", "stalled", now) end
    jobs.expire(P, id, now)
    return
  end
  local key, stalls = P .. ":job:" .. id, util.int(job.stalls + 1)
  local is_over = job.stalls + 1 > max_stalled
  if is_over then call("ZADD", P .. ":failed", util.int(now), id) else queue(P, id, job) end
  if job.state == "active" then ledger.finish(P, id, "", "lost", "stalled", now) end
  util.attempt(budgets.settle, P, id, true, now, is_over)
  if not is_over then
    call("HSET", key, "stalledCount", stalls, "state", "waiting")
    call("HDEL", key, "processedOn", "lastActive")
    events.emit(P, "stalled", id)
    again[#again + 1] = id
    return
  end
  local reason = "job stalled more than maxStalledCount"
  call("HSET", key, "stalledCount", stalls, "state", "failed", "failedReason", reason, "finishedOn", util.int(now))
  util.attempt(jobs.leave_group, P, id, job, now)
  util.attempt(jobs.drop_early, P, { id })
  schedules.job_ended(P, id, now)
  events.emit(P, "failed", id, "failedReason", reason)
  metrics.add(P, "failed", now, 1, now - (job.started or now))
  failed[#failed + 1] = id
end

local function queue_streamed(P, id, job)
  runs.to_stream(P, id, job.name)
end

-- End a stalled run of the stream, whose entry the caller removes, or of a list (`listed`: its job goes back to its list, and
-- the count of list-sourced actives down). False if it had to be left as it was.
local function end_stalled(P, id, job, now, max_stalled, again, failed, listed)
  local ended = util.attempt(stall, P, id, job, now, max_stalled, listed and runs.requeue or queue_streamed, again, failed)
  if ended and listed then util.attempt(runs.leave_list, P, { id }) end
  return ended
end

-- One page (100) of entries that have been pending for long. Who they belong to means nothing, only heartbeats do.
-- keys stream, job hashes, failed, groups. args: now, least idle ms, lock ms of jobs without their own, most stalls
-- a job may survive, consumer, cursor ("0-0" first), ms of the turn.
-- Reply {"ok", next cursor ("0-0": done), entries looked at, ids queued again, ids failed, other errors}.
-- Keeps: an entry stays exactly as long as its run lives; a job whose worker beats is never touched, even past its
-- ttl; entries of jobs that are gone or moved on are only cleaned up.
register("stalls", {}, function(P, args)
  local now, stream = tonumber(args[1]), P .. ":stream"
  if not util.take_turn(P, "stalls", args[7]) then return { "ok", "0-0", 0, {}, {}, {} } end
  local page = try("XAUTOCLAIM", stream, GROUP, args[5], args[2], args[6], "COUNT", 100)
  if page.err then
    if not page.err:find("NOGROUP", 1, true) then error(page) end
    return { "ok", "0-0", 0, {}, {}, {} }
  end
  local again, failed, drop = {}, {}, {}
  for _, item in ipairs(page[2]) do
    local id = util.map(item[2]).jobId
    local job = id and runs.read(P, id)
    if not job or (job.state ~= "active" and job.state ~= "waiting") then
      drop[#drop + 1] = item[1]
    elseif runs.is_silent(job, now, tonumber(args[3])) then
      if end_stalled(P, id, job, now, tonumber(args[4]), again, failed) then drop[#drop + 1] = item[1] end
    end
  end
  runs.drop_entries(P, drop)
  return { "ok", page[1], #page[2], again, failed, noted_errors }
end)

-- List-sourced jobs of Python workers, by our index P:list-runs (score = latest heartbeat): the oldest heartbeats first.
-- Returns how many of `limit` have left the index. list-active goes down once for every job that leaves `active` here.
local function sweep_index(P, now, lock, max_stalled, limit, again, failed)
  local index, ended = P .. ":list-runs", 0
  for _, id in ipairs(call("ZRANGEBYSCORE", index, "-inf", "(" .. util.int(now - 999), "LIMIT", 0, limit)) do
    local job = runs.read(P, id)
    if not job or job.state ~= "active" then
      call("ZREM", index, id)
      ended = ended + 1
    elseif runs.is_silent(job, now, lock) then
      if end_stalled(P, id, job, now, max_stalled, again, failed, true) then ended = ended + 1 end
    else
      call("ZADD", index, "XX", "GT", util.int(job.beat), id)
    end
  end
  return ended
end

-- args: now, lock ms of jobs without their own, most stalls, limit, ms of the turn.
-- Reply {"ok" | "more", ids queued again, ids failed, other errors}.
register("list_stalls", {}, function(P, args)
  local again, failed, limit = {}, {}, tonumber(args[4])
  if not util.take_turn(P, "list-stalls", args[5]) then return { "ok", again, failed, {} } end
  local ended = sweep_index(P, tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), limit, again, failed)
  return { ended == limit and "more" or "ok", again, failed, noted_errors }
end)

-- Jobs whose own lock ran out: a short one does so long before a stall interval has passed. Pending entries are only
-- looked at: claiming them would begin their idle time anew, by which peers decide when to look.
-- args: now, most stalls, entry to go on after ("" first), ms of the turn.
-- Reply {"ok", last entry looked at ("": done), shortest own lock of a run that was met, ms (0 none), ids queued again, ids
-- failed, other errors}.
register("lock_stalls", {}, function(P, args)
  local now, max_stalled, stream = tonumber(args[1]), tonumber(args[2]), P .. ":stream"
  local again, failed, drop, shortest = {}, {}, {}, math.huge
  if not util.take_turn(P, "locks", args[4]) then return { "ok", "", "0", again, failed, {} } end
  if args[3] == "" then sweep_index(P, now, math.huge, max_stalled, 100, again, failed) end
  local page = try("XPENDING", stream, GROUP, "IDLE", 1000, args[3] == "" and "-" or "(" .. args[3], "+", 100)
  if page.err then page = {} end
  for _, item in ipairs(page) do
    local entry = call("XRANGE", stream, item[1], item[1])[1]
    local id = entry and util.map(entry[2]).jobId
    local job = id and runs.read(P, id)
    local lock = job and job.state == "active" and runs.own_lock(job)
    if lock then
      shortest = min(shortest, lock)
      if runs.is_silent(job, now, lock) and end_stalled(P, id, job, now, max_stalled, again, failed) then
        drop[#drop + 1] = item[1]
      end
    end
  end
  runs.drop_entries(P, drop)
  local last = #page == 100 and page[100][1] or ""
  return { "ok", last, shortest < math.huge and util.int(shortest) or "0", again, failed, noted_errors }
end)

-- Part of a slow walk over the job hashes for list-sourced jobs of Node workers, which nobody indexes: some 5000
-- keys. Does nothing while our own index accounts for all of list-active.
-- args: SCAN cursor, pattern "<P>:job:*" with P escaped, now, lock ms, most stalls.
-- Reply {"ok", next cursor ("0": round complete), live list-sourced jobs of others seen, surplus of list-active over
-- our index, list-active, 1 if both lists are empty, ids queued again, ids failed}.
-- Keeps: a job with a pending entry is left to the stream sweep, whatever its priority.
register("list_scan", {}, function(P, args)
  local counted = util.num(call("GET", P .. ":list-active"))
  local surplus = counted - call("ZCARD", P .. ":list-runs")
  local quiet = call("EXISTS", P .. ":lifo", P .. ":priority") == 0 and 1 or 0
  local seen, again, failed = 0, {}, {}
  if surplus <= 0 then return { "ok", "0", seen, 0, util.int(counted), quiet, again, failed } end
  local now, pending, cursor = tonumber(args[3]), nil, args[1]
  for _ = 1, 10 do
    local page = call("SCAN", cursor, "MATCH", args[2], "COUNT", 500)
    cursor = page[1]
    for _, key in ipairs(page[2]) do
      local id = key:sub(#P + 6)
      -- One field first: nearly every job of a long queue is not running.
      local job = try("HGET", key, "state") == "active" and runs.read(P, id)
      if job and (job.lifo or job.priority > 0) and not call("ZSCORE", P .. ":list-runs", id) then
        pending = pending or jobs.pending(P)
        if not pending[id] and runs.is_silent(job, now, tonumber(args[4])) then
          end_stalled(P, id, job, now, tonumber(args[5]), again, failed, true)
        elseif not pending[id] then
          seen = seen + 1
        end
      end
    end
    if cursor == "0" then break end
  end
  return { "ok", cursor, seen, util.int(surplus), util.int(counted), quiet, again, failed }
end)

-- Take `excess` off list-active after a walk has shown that so many of the counted jobs do not exist.
-- args: excess, list-active as the walk found it. Reply {"ok", list-active} (unchanged if it moved meanwhile).
register("heal_list", {}, function(P, args)
  local left = util.num(call("GET", P .. ":list-active"))
  if util.int(left) == args[2] then
    left = max(0, left - tonumber(args[1]))
    call("SET", P .. ":list-active", util.int(left))
  end
  return { "ok", util.int(left) }
end)

-- Suspended jobs ------------------------------------------------------------------------------------------------

-- Fail a job whose suspension took too long; how long ago its run began, ms, or nil if it is not suspended.
local function expire_suspension(P, id, now)
  local key, stamp, reason = P .. ":job:" .. id, util.int(now), "Suspend timeout exceeded"
  local f = call("HMGET", key, "state", "groupKey", "orderingSeq", "processedOn")
  if f[1] ~= "suspended" then return nil end
  call("ZADD", P .. ":failed", stamp, id)
  call("HSET", key, "state", "failed", "failedReason", reason, "finishedOn", stamp, "processedOn", stamp)
  util.attempt(budgets.settle, P, id, true, now, true)
  if util.num(f[3]) > 0 then groups.release(P, f[2], now) end
  schedules.job_ended(P, id, now)
  events.emit(P, "failed", id, "failedReason", reason)
  return max(0, now - util.num(f[4], now))
end

-- Fail suspended jobs whose deadline passed, and drop members that describe no suspension (left by an obliterate).
-- keys suspended, failed, job hashes, groups. args: now, limit, rank from which to check for leftovers.
-- Reply {"ok" | "more", jobs failed, next rank to check (0: round complete)}.
-- Keeps: state and set change together; a signal that came first has won.
register("suspend_sweep", {}, function(P, args)
  local now, limit, rank = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  local set = P .. ":suspended"
  local due = call("ZRANGEBYSCORE", set, "-inf", args[1], "LIMIT", 0, limit)
  local count, duration, ended = 0, 0, {}
  -- Before anything of it is changed: a set of another type refuses the sweep.
  if #due > 0 then
    call("ZCARD", P .. ":failed")
    util.sliced("ZREM", set, due)
  end
  for _, id in ipairs(due) do
    local well, ran = util.attempt(expire_suspension, P, id, now)
    if well and ran then
      count, duration = count + 1, duration + ran
      ended[#ended + 1] = id
    end
  end
  metrics.add(P, "failed", now, count, duration)
  util.attempt(jobs.drop_early, P, ended)
  local page = call("ZRANGE", set, rank, rank + 19)
  local stale = {}
  for _, id in ipairs(page) do
    if call("HGET", P .. ":job:" .. id, "state") ~= "suspended" then stale[#stale + 1] = id end
  end
  if #stale > 0 then util.sliced("ZREM", set, stale) end
  return { #due == limit and "more" or "ok", count, #page < 20 and 0 or rank + 20 - #stale }
end)

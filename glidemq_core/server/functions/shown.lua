-- What a person does to many jobs at once. A job is named with what was shown of it, and left alone when that is no
-- longer so. A call does a bounded part; one that is repeated after a lost reply answers what it answered.

local LEAST = 1000 -- entries that a call must still be able to look at to begin with another job

-- Run `one(id, ...)` for the jobs in args[first..#args-2], `step` arguments each; then come `op` and the audit blob. `one`
-- returns its outcome and may return two texts, what was before and what is now. Replies {"ok", outcome, before, now...},
-- of fewer jobs than were named when enough was looked at: the caller goes on behind them. What one job refuses costs the
-- others nothing.
local function each(P, args, first, step, wanted, one)
  local op, blob = args[#args - 1], args[#args]
  local earlier = util.made_before(P, op, "1")
  if earlier then return earlier end
  audit.ready(P, blob)
  util.writable("SET", P .. ":part:" .. op, "string")
  jobs.begin_walk()
  jobs.index(P, args, first, #args - 2, step)
  local out, changed = { "ok" }, {}
  for i = first, #args - 2, step do
    if i > first and jobs.walk_left() < LEAST then break end
    local ok, outcome, before, after = pcall(one, args[i], args[i + 1], args[i + 2])
    if not ok then outcome = "refused" end
    -- It was not looked for long enough: the next call begins with it.
    local is_cut = jobs.walk_left() < 1
    if is_cut and outcome == "out_of_reach" and i > first then break end
    out[#out + 1], out[#out + 2], out[#out + 3] = outcome, before or "", after or ""
    if outcome == wanted then changed[#changed + 1] = (i - first) / step + 1 end
    if is_cut then break end
  end
  if #changed > 0 then audit.append(P, blob, wanted, #changed, changed) end
  return util.made(P, op, "1", out)
end

-- args: now, "retry" | "promote" | "remove", then an id and the state it was shown in each, op, audit.
-- Outcomes "retried" | "promoted" | "removed", else "changed" | "not_found" | "refused".
register("act_on_shown", {}, function(P, args)
  local now, act, pending = tonumber(args[1]), args[2], nil
  local function running()
    pending = pending or jobs.pending(P)
    return pending
  end
  local acts = {
    retry = { "retried", function(id) return jobs.retry(P, id, now) end },
    promote = { "promoted", function(id) return jobs.promote(P, id) end },
    remove = { "removed", function(id) return jobs.remove(P, id, now, running) end },
  }
  local wanted, one = unpack(acts[act])
  return each(P, args, 3, 2, wanted, function(id, shown)
    local key = P .. ":job:" .. id
    local state = call("HGET", key, "state")
    if not state then return call("EXISTS", key) == 0 and "not_found" or "changed" end
    if state ~= shown then return "changed" end
    local outcome = one(id)
    return (outcome == wanted or outcome == "not_found") and outcome or "changed"
  end)
end)

-- When a job runs -------------------------------------------------------------------------------------------------

-- What says when a job runs, as one text: state, priority, delay, start of its latest run, place among the scheduled.
local function timing(P, id, job)
  local f = call("HMGET", P .. ":job:" .. id, "priority", "delay", "processedOn")
  local score = call("ZSCORE", P .. ":scheduled", id)
  return table.concat({ job.state, f[1] or "0", f[2] or "0", f[3] or "0", score or "-" }, " ")
end

-- Put a job that has not started where a priority and a due time (nil: none) place it. Returns nil, or why it stays.
local function move(P, id, job, priority, due, delay)
  if job.state == "waiting" then
    local taken = jobs.unqueue(P, id, job)
    if taken ~= "taken" then return taken == "pending" and "changed" or "out_of_reach" end
  end
  local state = "waiting"
  if job.lifo and not due and priority == 0 then
    call("ZREM", P .. ":scheduled", id)
    call("RPUSH", P .. ":lifo", id)
  else
    state = jobs.put(P, id, job, priority, due)
  end
  call("HSET", P .. ":job:" .. id, "priority", util.int(priority), "delay", delay, "state", state)
  if priority ~= job.priority then events.emit(P, "priority-changed", id, "priority", util.int(priority)) end
  if delay ~= util.int(job.delay) then events.emit(P, "delay-changed", id, "delay", delay) end
end

local NOT_STARTED = { waiting = true, prioritized = true, delayed = true }

-- Change priority and delay. args: now, priority ("": as it is), delay in ms ("": as it is), then an id and the state it was
-- shown in ("": any) each, op, audit. Outcomes "set" (with the timing before and now), else "unchanged" | "changed" | "parked" |
-- "out_of_reach" (deep in the backlog) | "not_found" | "refused".
register("retime", {}, function(P, args)
  local now, wanted, wait = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  return each(P, args, 4, 2, "set", function(id, shown)
    local job = jobs.look(P, id)
    if not job then return "not_found" end
    if shown ~= "" and job.state ~= shown or not NOT_STARTED[job.state] then return "changed" end
    if job.parked then return "parked" end
    local before, priority, due = timing(P, id, job), job.priority, nil
    if job.state == "delayed" then priority, due = jobs.scheduled(P, id, job, now) end
    local same = not wait or wait == 0 and not due
    if wait then due = wait > 0 and now + wait or nil end
    if same and (wanted or priority) == priority then return "unchanged" end
    local delay = util.int(wait or job.delay)
    local why = move(P, id, job, wanted or priority, due, delay)
    if why then return why end
    return "set", before, timing(P, id, jobs.look(P, id))
  end)
end)

-- Take `retime` back. args: now, then each an id, its timing now and the timing before, as `retime` answered them, op, audit.
-- Outcomes "set_back", else "changed" (it has begun or was changed since) | "out_of_reach" | "not_found" | "refused".
register("retime_back", {}, function(P, args)
  return each(P, args, 2, 3, "set_back", function(id, is, was)
    local job = jobs.look(P, id)
    if not job then return "not_found" end
    if timing(P, id, job) ~= is or not NOT_STARTED[job.state] then return "changed" end
    local state, priority, delay, _, score = was:match("^(%S+) (%S+) (%S+) (%S+) (%S+)$")
    if not score or not tonumber(priority) then return "changed" end
    local due
    if state == "delayed" then
      due = tonumber(score)
      due = due and due - floor(due / PRIORITY_STEP) * PRIORITY_STEP or tonumber(args[1])
    end
    local why = move(P, id, job, tonumber(priority), due, delay)
    return why or "set_back"
  end)
end)

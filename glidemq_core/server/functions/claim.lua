-- Claiming jobs: from the priority list, the LIFO list and the stream, as far as limits allow. What cannot be started
-- is reported and put where it is tried again; it never keeps the jobs behind it from being started.

claim.MOST_BYTES = 4000000 -- bytes of payloads that one claim hands out, as far as it can tell before it reads
local FIRST_PAGE = 32 -- entries of the first read

-- A claimed id that must not start: revoked before its start. Fails without retry, counting the attempt.
function claim.fail_revoked(P, id, job, now)
  local stamp, made = util.int(now), util.num(job.attemptsMade)
  call("ZADD", P .. ":failed", stamp, id)
  call("HSET", P .. ":job:" .. id, "state", "failed", "failedReason", "revoked", "finishedOn", stamp, "processedOn", stamp,
    "attemptsMade", util.int(made + 1))
  if job.budgetKey then util.attempt(budgets.settle, P, id, true, now, true, made) end
  util.attempt(jobs.leave_group, P, id, job, now)
  schedules.ended(P, job.schedulerName, now)
  events.emit(P, "failed", id, "failedReason", "revoked")
  metrics.add(P, "failed", now, 1, job.processedOn and now - util.num(job.processedOn, now) or 0)
end

-- Try to start one job. Returns its fields, or nil when it is gone, failed, parked or not waiting: the caller then
-- removes its entry, unless the second is "running": the entry may be the very one that its run holds, delivered
-- again because the consumer group was lost. Else second: what its budget says, "" to run it, "fail", "ask" (the budget
-- is out of reach), or "parked", when that has been done and the fields only identify the job; third, bytes of its
-- payload. `verdicts` remembers budgets asked in this call.
local function start(P, id, now, stamp, verdicts)
  local key = P .. ":job:" .. id
  local flat = try("HGETALL", key)
  if flat.err then
    if not flat.err:find("WRONGTYPE", 1, true) then error(flat) end
    return nil
  end
  if #flat == 0 then return nil end
  local job = util.map(flat)
  if job.state ~= "waiting" then return nil, job.state == "active" and "running" or nil end
  -- What a peer's promotion leaves of a removed job is no job.
  if not (job.name or job.data or job.opts) then return nil end
  if job.revoked == "1" then
    claim.fail_revoked(P, id, job, now)
    return nil
  end
  if job.expireAt and now > util.num(job.expireAt) then
    jobs.expire(P, id, now)
    return nil
  end
  if job.groupKey and groups.try_start(P, id, job, now) then return nil end
  if job.suspendedAt or util.num(job.attemptsMade) > 0 or util.num(job.stalledCount) > 0 then
    -- What it streamed before belongs to earlier runs: an approver is shown what comes now.
    local newest = try("XREVRANGE", P .. ":jstream:" .. id, "+", "-", "COUNT", 1)
    local from = not newest.err and newest[1] and newest[1][1] or "0-0"
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp, "roundFrom", stamp .. ":" .. from)
  else
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp)
  end
  local budget, bytes = job.budgetKey, #(job.data or "")
  if not budget then return flat, "", bytes end
  if job.budgetPausedAt then budgets.unpark(P, id) end
  local verdict = verdicts[budget]
  if not verdict then
    verdict = budgets.verdict(budget) or ""
    verdicts[budget] = verdict
  end
  if verdict ~= "pause" then return flat, verdict, bytes end
  budgets.park(P, id, budget, job.priority, now)
  return flat, "parked", bytes
end

-- A job whose start was refused halfway waits for a while, without an attempt or a stall on record.
local function set_aside(P, id, now, stamp)
  local key = P .. ":job:" .. id
  local f = call("HMGET", key, "state", "processedOn", "priority")
  if f[1] ~= "waiting" and not (f[1] == "active" and f[2] == stamp) then return end
  call("ZADD", P .. ":scheduled", util.int(util.num(f[3]) * PRIORITY_STEP + now + RETRY_MS), id)
  call("HSET", key, "state", "delayed")
end

-- Where even that is refused it goes to the end of what it came from.
local function put_back(P, id, entry, list)
  local key = P .. ":job:" .. id
  local f = call("HMGET", key, "name", "state", "groupKey", "orderingSeq")
  if entry ~= "" then
    runs.to_stream(P, id, f[1] or "")
  else
    call("LPUSH", P .. list, id)
  end
  call("HSET", key, "state", "waiting")
  call("HDEL", key, "processedOn", "lastActive")
  if f[2] == "active" and f[3] then groups.undo_start(P, f[3], util.num(f[4])) end
end

local function charge_window(P, count, now, fresh)
  if fresh then
    call("HSET", P .. ":rate", "windowStart", util.int(now), "count", util.int(count))
  else
    call("HINCRBY", P .. ":rate", "count", count)
  end
end

-- New entries of the stream for a consumer of a group, which is made (from `start` on) where it is missing.
function claim.read_group(P, group, start, consumer, count)
  local stream = P .. ":stream"
  local reply = try("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, ">")
  if reply and reply.err then
    if not reply.err:find("NOGROUP", 1, true) then error(reply) end
    call("XGROUP", "CREATE", stream, group, start, "MKSTREAM")
    reply = call("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, ">")
  end
  return reply and reply[1] and reply[1][2] or {}
end

-- Apply the limits to the claim `c`: lowers `want`, sets why and how long to wait. False when nothing may start.
function claim.apply_limits(P, c, batch, now)
  local meta = call("HMGET", P .. ":meta", "paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration")
  if meta[1] == "1" then
    c.why = "paused"
    return false
  end
  local limit = util.num(meta[2])
  if limit > 0 then
    local pending = try("XPENDING", P .. ":stream", batch.group or GROUP)
    local room = limit - (pending.err and 0 or pending[1]) - max(0, util.num(util.text(P .. ":list-active")))
    if room < c.want then c.want, c.why = max(0, room), "concurrency" end
  end
  local rate_max, duration = util.num(meta[3]), util.num(meta[4])
  if rate_max <= 0 then rate_max, duration = batch.rate_max, batch.rate_duration end
  if rate_max > 0 and duration > 0 then
    local f = call("HMGET", P .. ":rate", "windowStart", "count")
    local left = util.num(f[1]) + duration - now
    c.windowed, c.fresh = true, left <= 0
    local room = c.fresh and rate_max or rate_max - util.num(f[2])
    if room < c.want then c.want, c.why, c.wait = max(0, room), "rate", max(0, left) end
  end
  if batch.count_tokens then
    local window = floor(now / batch.tpm_duration)
    if util.num(util.text(P .. ":tpm:" .. util.int(window))) >= batch.tpm_max then
      c.why, c.wait = "tokens", (window + 1) * batch.tpm_duration - now
      return false
    end
  end
  return true
end

-- Start a job that was popped or read. False when its entry is to be removed.
local function start_popped(P, c, id, entry, list, now)
  local well, flat, verdict, bytes = pcall(start, P, id, now, c.stamp, c.verdicts)
  if not well then
    util.note_error(flat)
    if not util.attempt(set_aside, P, id, now, c.stamp) then
      c.refused = true
      return not util.attempt(put_back, P, id, entry, list)
    end
    return false
  end
  if verdict == "parked" then
    c.parked[#c.parked + 1] = { entry, id, flat, verdict }
    return false
  end
  if not flat then return verdict == "running" end
  c.jobs[#c.jobs + 1] = { entry, id, flat, verdict }
  c.bytes = c.bytes + bytes
  if verdict ~= "fail" then c.allowed = c.allowed + 1 end
  return true
end

local function is_full(c)
  return c.refused or #c.jobs >= c.want or c.bytes >= claim.MOST_BYTES
end

-- Claim from a list; true when there may be more in it.
local function take_listed(P, c, list, consumer, now)
  for _ = 1, 20 do
    if is_full(c) then return true end
    local missing = min(c.want - #c.jobs, FIRST_PAGE)
    local ids = try("RPOP", P .. list, missing) or {}
    if ids.err then
      util.note_error(ids)
      return false
    end
    if #ids > 0 and not util.attempt(runs.check_index, P) then
      for i = #ids, 1, -1 do call("RPUSH", P .. list, ids[i]) end
      return false
    end
    local started, before = {}, #c.jobs
    for _, id in ipairs(ids) do
      start_popped(P, c, id, "", list, now)
      if #c.jobs > before + #started then started[#started + 1] = id end
    end
    -- A job that is not in the index must not run: no sweep would find it.
    if #started > 0 and not util.attempt(runs.enter_list, P, started, c.stamp, consumer) then
      for at = #c.jobs, before + 1, -1 do c.jobs[at] = nil end
      for _, id in ipairs(started) do util.attempt(put_back, P, id, "", list) end
      c.refused = true
    end
    if #ids < missing then return false end
  end
  return true
end

-- Claim from the stream; true when there may be more in it.
local function take_streamed(P, c, consumer, now)
  local drop, more, count = {}, false, FIRST_PAGE
  for round = 1, 20 do
    if is_full(c) then break end
    local missing = min(c.want - #c.jobs, count)
    local entries = claim.read_group(P, GROUP, "0", consumer, missing)
    for _, item in ipairs(entries) do
      local fields = util.map(item[2])
      if not (fields.jobId and start_popped(P, c, fields.jobId, item[1], nil, now)) then drop[#drop + 1] = item[1] end
    end
    if #entries < missing then break end
    more = round == 20
    -- The next payloads are taken to be as large as these.
    if c.bytes > 0 and #c.jobs > 0 then count = max(1, min(1000, floor((claim.MOST_BYTES - c.bytes) * #c.jobs / c.bytes))) end
  end
  runs.drop_entries(P, drop)
  return more
end

local function fill(P, c, batch, now)
  if not claim.apply_limits(P, c, batch, now) then return end
  local ready = false
  for _, list in ipairs({ ":priority", ":lifo" }) do
    ready = take_listed(P, c, list, batch.consumer, now) or ready
  end
  ready = take_streamed(P, c, batch.consumer, now) or ready
  -- Bounded looks that found only jobs which may not start prove nothing about those behind.
  if #c.jobs < c.want then c.why = (ready or c.bytes >= claim.MOST_BYTES) and "more" or "" end
end

-- Claim up to `batch.want` jobs. Returns a table: `jobs` {entry, id, flat hash, what its budget says}, `parked` the same for
-- jobs that their budget has parked, `why` fewer than wanted, `wait` in ms. `other_fill` takes them from elsewhere.
function claim.some(P, batch, now, other_fill)
  local c = { want = batch.want, why = "", wait = 0, jobs = {}, parked = {}, bytes = 0, allowed = 0, verdicts = {},
    stamp = util.int(now) }
  if not util.attempt(other_fill or fill, P, c, batch, now) or c.refused then c.why, c.wait = "trouble", 0 end
  if c.windowed and c.allowed > 0 then util.attempt(charge_window, P, c.allowed, now, c.fresh) end
  return c
end

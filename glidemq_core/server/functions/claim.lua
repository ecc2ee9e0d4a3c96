-- Claiming jobs: from the priority list, the LIFO list and the stream, as far as limits allow. What cannot be started
-- is reported and put where it is tried again; it never keeps the jobs behind it from being started.

claim.MOST_BYTES = 4000000 -- bytes of payloads that one claim hands out, as far as it can tell before it reads
local FIRST_PAGE = 32 -- entries of the first read

-- What a claim looks at in a job.
local LOOKED_AT = {
  state = true, name = true, data = true, opts = true, revoked = true, expireAt = true, groupKey = true, orderingSeq =
  true, cost = true, timestamp = true, suspendedAt = true, attemptsMade = true, stalledCount = true, budgetKey = true,
  budgetPausedAt = true, priority = true, schedulerName = true, processedOn = true, finishedOn = true,
}

-- What a job is that never ran and has the fields of every job, in the order in which it is added: "f" if it has no other,
-- "g" with an ordering key, "p" with a parent, "t" with a parent in a flow that was made in parts; nil for any other job.
local function fresh_kind(flat, id)
  if flat[12] ~= "0" or flat[20] ~= "waiting" or flat[2] ~= id or flat[1] ~= "id" or flat[3] ~= "name"
    or flat[5] ~= "data" or flat[7] ~= "opts" or flat[9] ~= "timestamp" or flat[11] ~= "attemptsMade"
    or flat[13] ~= "delay" or flat[15] ~= "priority" or flat[17] ~= "maxAttempts" or flat[19] ~= "state" then
    return nil
  end
  local words = #flat
  if words == 20 then return "f" end
  if words == 24 and flat[21] == "groupKey" and flat[23] == "orderingSeq" then return "g" end
  if flat[21] ~= "parentId" or flat[23] ~= "parentQueue" then return nil end
  return words == 24 and "p" or words == 26 and flat[25] == "flowToken" and "t" or nil
end

-- What HGETALL answered, as far as a claim looks at it: reading a flat list once costs less than a map of all of it.
local function looked_at(flat)
  local job = { state = nil, name = nil, data = nil, opts = nil, attemptsMade = nil, priority = nil, timestamp = nil,
    at = 0 }
  for i = 1, #flat, 2 do
    local name = flat[i]
    if LOOKED_AT[name] then
      job[name] = flat[i + 1]
      if name == "data" then job.at = i + 1 end
    end
  end
  return job
end
claim.looked_at = looked_at

-- Put a claimed job into a list, as two texts: its fields, id, entry, what its budget says and how many words these are,
-- parted by 0x1f; and its payload apart, which may be large. Where a field holds 0x1f the number is wrong: the worker then
-- reads the job.
local function pack(out, flat, job, id, entry, verdict)
  local n = #out
  if job.at > 0 then flat[job.at] = "" end
  out[n + 1] = table.concat(flat, "\31") .. "\31" .. id .. "\31" .. entry .. "\31" .. verdict .. "\31" .. util.int(#flat + 4)
  out[n + 2] = job.data or ""
end

-- Hand out a job that is fresh, also as two texts: what differs from one such job to another (the fields of its kind if it has
-- such, name, options, timestamp, delay, priority, attempts), id, entry and its kind, which is no number; and its payload.
local function hand_out_fresh(c, flat, entry, kind)
  local out, data = c.out, flat[6]
  local n = #out
  local text = flat[4] .. "\31" .. flat[8] .. "\31" .. flat[10] .. "\31" .. flat[14] .. "\31" .. flat[16] .. "\31" .. flat[18]
    .. "\31" .. flat[2] .. "\31" .. entry .. "\31" .. kind
  if kind == "t" then text = flat[26] .. "\31" .. text end
  if kind ~= "f" then text = flat[22] .. "\31" .. flat[24] .. "\31" .. text end
  out[n + 1] = text
  out[n + 2] = data
  c.count, c.bytes, c.allowed = c.count + 1, c.bytes + #data, c.allowed + 1
end

-- Hand out a claimed job.
function claim.hand_out(c, flat, job, id, entry, verdict)
  pack(c.out, flat, job, id, entry, verdict)
  c.count = c.count + 1
  if job.data then c.bytes = c.bytes + #job.data end
  if verdict ~= "fail" then c.allowed = c.allowed + 1 end
end

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

-- Try to start one job and hand it out. Returns whether it runs; if not, the caller removes its entry: it is gone, failed or
-- not waiting, or was parked for its group or budget (for a budget it is handed out as "parked", to be reported). Second:
-- "running" if the entry may be the very one that its run holds, delivered again because the consumer group was lost.
-- What a budget says goes with the job: "" to run it, "fail", or "ask" (the budget is out of reach).
local function start(P, c, id, entry, now)
  local key = c.job .. id
  local flat = try("HGETALL", key)
  if flat.err then
    if not flat.err:find("WRONGTYPE", 1, true) then error(flat) end
    return false
  end
  if #flat == 0 then return false end
  local stamp = c.stamp
  local kind = fresh_kind(flat, id)
  if kind and (kind ~= "g" or groups.start_next(P, flat[22], flat[24])) then
    if kind == "g" then
      if not c.grouped then c.grouped, c.ordered = {}, {} end
      local n = #c.grouped + 1
      c.grouped[n], c.ordered[n] = flat[22], id
    end
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp)
    hand_out_fresh(c, flat, entry, kind)
    return true
  end
  local job = looked_at(flat)
  if job.state ~= "waiting" then return false, job.state == "active" and "running" or nil end
  -- What a peer's promotion leaves of a removed job is no job.
  if not (job.name or job.data or job.opts) then return false end
  if job.revoked == "1" then
    claim.fail_revoked(P, id, job, now)
    return false
  end
  if job.expireAt and now > util.num(job.expireAt) then
    jobs.expire(P, id, now)
    return false
  end
  if job.groupKey and groups.try_start(P, id, job, now) then return false end
  if job.suspendedAt or job.attemptsMade ~= "0" and util.num(job.attemptsMade) > 0
    or job.stalledCount and util.num(job.stalledCount) > 0 then
    -- What it streamed before belongs to earlier runs: an approver is shown what comes now.
    local newest = try("XREVRANGE", P .. ":jstream:" .. id, "+", "-", "COUNT", 1)
    local from = not newest.err and newest[1] and newest[1][1] or "0-0"
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp, "roundFrom", stamp .. ":" .. from)
  else
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp)
  end
  local budget, verdict = job.budgetKey, ""
  if budget then
    if job.budgetPausedAt then budgets.unpark(P, id) end
    c.verdicts = c.verdicts or {}
    verdict = c.verdicts[budget]
    if not verdict then
      verdict = budgets.verdict(budget) or ""
      c.verdicts[budget] = verdict
    end
    if verdict == "pause" then
      budgets.park(P, id, budget, job.priority, now)
      c.parked = c.parked or {}
      pack(c.parked, flat, job, id, entry, "parked")
      return false
    end
  end
  claim.hand_out(c, flat, job, id, entry, verdict)
  return true
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
  local meta = call("HMGET", P .. ":meta", "paused", "globalConcurrency", "rateLimitMax")
  if meta[1] == "1" then
    c.why = "paused"
    return false
  end
  local limit = meta[2] and util.num(meta[2]) or 0
  if limit > 0 then
    local pending = try("XPENDING", P .. ":stream", batch.group or GROUP)
    local room = limit - (pending.err and 0 or pending[1]) - max(0, util.num(util.text(P .. ":list-active")))
    if room < c.want then c.want, c.why = max(0, room), "concurrency" end
  end
  local rate_max, duration = meta[3] and util.num(meta[3]) or 0, 0
  if rate_max > 0 then
    duration = util.num(call("HGET", P .. ":meta", "rateLimitDuration"))
  else
    rate_max, duration = batch.rate_max, batch.rate_duration
  end
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

-- Start a job that was popped or read. Whether its entry is to stay, and whether the job runs.
local function start_popped(P, c, id, entry, list, now)
  local well, runs_now, why = pcall(start, P, c, id, entry, now)
  if well then return runs_now or why == "running", runs_now end
  util.note_error(runs_now)
  if util.attempt(set_aside, P, id, now, c.stamp) then return false, false end
  c.refused = true
  return not util.attempt(put_back, P, id, entry, list), false
end

local function is_full(c)
  return c.refused or c.count >= c.want or c.bytes >= claim.MOST_BYTES
end

-- Claim from a list; true when there may be more in it.
local function take_listed(P, c, list, consumer, now)
  for _ = 1, 20 do
    if is_full(c) then return true end
    local missing = min(c.want - c.count, FIRST_PAGE)
    local ids = try("RPOP", P .. list, missing) or {}
    if ids.err then
      util.note_error(ids)
      return false
    end
    if #ids > 0 and not util.attempt(runs.check_index, P) then
      for i = #ids, 1, -1 do call("RPUSH", P .. list, ids[i]) end
      return false
    end
    local started, before = {}, c.count
    for _, id in ipairs(ids) do
      local _, runs_now = start_popped(P, c, id, "", list, now)
      if runs_now then started[#started + 1] = id end
    end
    -- A job that is not in the index must not run: no sweep would find it.
    if #started > 0 and not util.attempt(runs.enter_list, P, started, c.stamp, consumer) then
      for at = #c.out, 2 * before + 1, -1 do c.out[at] = nil end
      c.count = before
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
  for round = 1, is_full(c) and 0 or 20 do
    local missing = min(c.want - c.count, count)
    local entries = claim.read_group(P, GROUP, "0", consumer, missing)
    for _, item in ipairs(entries) do
      local fields = item[2]
      local id = fields[1] == "jobId" and fields[2] or util.map(fields).jobId
      if not (id and start_popped(P, c, id, item[1], nil, now)) then drop[#drop + 1] = item[1] end
    end
    if #entries < missing then break end
    if is_full(c) then break end
    more = round == 20
    -- The next payloads are taken to be as large as these.
    if c.bytes > 0 and c.count > 0 then count = max(1, min(1000, floor((claim.MOST_BYTES - c.bytes) * c.count / c.bytes))) end
  end
  runs.drop_entries(P, drop)
  return more
end

local function fill(P, c, batch, now)
  if not claim.apply_limits(P, c, batch, now) then return end
  local ready = false
  if not batch.quiet and try("EXISTS", P .. ":priority", P .. ":lifo") ~= 0 then
    for _, list in ipairs({ ":priority", ":lifo" }) do
      ready = take_listed(P, c, list, batch.consumer, now) or ready
    end
  end
  ready = take_streamed(P, c, batch.consumer, now) or ready
  -- Bounded looks that found only jobs which may not start prove nothing about those behind.
  if c.count < c.want then c.why = (ready or c.bytes >= claim.MOST_BYTES) and "more" or "" end
end

-- Claim up to `batch.want` jobs. Returns a table: `out` what is handed out, `count` how many of it run (behind them are those
-- that their budget has parked), `why` fewer than wanted, `wait` in ms. `other_fill` takes them from elsewhere.
function claim.some(P, batch, now, other_fill)
  local c = { want = batch.want, why = "", wait = 0, out = {}, count = 0, bytes = 0, allowed = 0, stamp = batch.stamp,
    job = P .. ":job:" }
  if not util.attempt(other_fill or fill, P, c, batch, now) or c.refused then c.why, c.wait = "trouble", 0 end
  if c.grouped then groups.leave_rows(P, c.grouped, c.ordered) end
  if c.windowed and c.allowed > 0 then util.attempt(charge_window, P, c.allowed, now, c.fresh) end
  if c.parked then
    for _, text in ipairs(c.parked) do c.out[#c.out + 1] = text end
  end
  return c
end

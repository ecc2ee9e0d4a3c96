-- Group exchange: settle every run that finished since the last call and claim as many jobs as fit, atomically.

local FIRST = 9 -- where the settled runs begin
-- Words of a run's head, in order; its result or reason is an argument of its own.
local ID, ENTRY, STARTED, OUTCOME, ATTEMPTS, BACKOFF, RULE, FALLBACKS, TOKENS, HEAD, VALUE = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

local SETTLE_FIELDS = { "state", "processedOn", "groupKey", "parentId", "parentQueue", "attemptsMade", "priority", "finishedOn",
  "schedulerName" }
local BUDGETED = #SETTLE_FIELDS + 1 -- where budgets.FIELDS begin, the budget's key first
for i = 1, #budgets.FIELDS do SETTLE_FIELDS[#SETTLE_FIELDS + 1] = budgets.FIELDS[i] end

-- Count tokens against the shared window of the queue's token limit; the key lives as long as its window. What cannot be
-- added (a report may name any number, a peer may leave anything there) must not fail the call that settles jobs.
local function count_tokens(P, tokens, duration, now)
  if tokens <= 0 or duration <= 0 then return end
  local key = P .. ":tpm:" .. util.int(floor(now / duration))
  tokens = min(tokens, 2 ^ 53)
  local total = try("INCRBY", key, util.int(tokens))
  if type(total) == "table" then
    local held = try("GET", key)
    tokens = min(tokens + (type(held) == "string" and util.num(held) or 0), 2 ^ 53)
    call("SET", key, util.int(tokens), "PX", util.int(duration))
  elseif total == tokens then
    call("PEXPIRE", key, util.int(duration))
  end
end

-- What became of a run that is not ours any more: the word its settle was answered with before the reply was lost, else
-- "lost". In a repeated call a job that is gone went by its own retention, if it has a rule, for we ran it until then; and
-- an attempt that is counted was ours, even if the next one has begun meanwhile.
local function earlier_answer(f, run, now, repeated)
  local stamp, well = util.int(now), run[OUTCOME] == "c"
  if not f[1] and repeated and run[RULE] ~= "" then return well and "ok" or "failed" end
  if well then return f[1] == "completed" and f[8] == stamp and "ok" or "lost" end
  if f[1] == "failed" and f[8] == stamp then return "failed" end
  if f[1] == "delayed" and f[2] == stamp then return "retrying" end
  local ok, head = pcall(cjson.decode, repeated and run[HEAD] or "")
  return ok and f[1] and util.num(f[6]) > util.num(head.attempt) and "retrying" or "lost"
end

-- Acknowledge all entries at once; returns the set of those that were pending no more (settled or re-dispatched
-- by someone else), which in the usual case costs nothing to know.
local function acknowledge(P, entries)
  local foreign = {}
  if #entries == 0 then return foreign end
  local stream = P .. ":stream"
  if util.sliced("XACK", stream, entries, GROUP) < #entries then
    -- Whoever ends a run deletes its entry in the same call: one that still exists was pending until now.
    for _, entry in ipairs(entries) do
      if #call("XRANGE", stream, entry, entry) == 0 then foreign[entry] = true end
    end
  end
  util.sliced("XDEL", stream, entries)
  return foreign
end

-- Two arguments a run (few long words cost less than many short ones): the head, its words parted by 0x1f, which
-- no id may hold, and the value.
local function read_runs(args)
  local out = {}
  for i = FIRST, #args, 2 do
    local run, n = {}, 0
    for word in (args[i] .. "\31"):gmatch("([^\31]*)\31") do
      n = n + 1
      run[n] = word
    end
    run[VALUE] = args[i + 1]
    out[#out + 1] = run
  end
  return out
end

local function settle_all(P, args, now, batch)
  local answers, entries, settled = {}, {}, read_runs(args)
  for _, run in ipairs(settled) do
    if run[ENTRY] ~= "" then entries[#entries + 1] = run[ENTRY] end
  end
  local foreign = acknowledge(P, entries)
  local has_parents, keys = false, {}
  for i, run in ipairs(settled) do keys[i] = P .. ":parents:" .. run[ID] end
  for from = 1, #keys, 1000 do
    if call("EXISTS", unpack(keys, from, min(from + 999, #keys))) > 0 then has_parents = true end
  end
  local done, done_time, failed_time, failures = {}, 0, 0, 0
  local listed, outbox, tokens = {}, false, 0
  local after, ended = {}, {}
  for _, run in ipairs(settled) do
    local id, entry, outcome = run[ID], run[ENTRY], run[OUTCOME]
    local key = P .. ":job:" .. id
    local f = call("HMGET", key, unpack(SETTLE_FIELDS))
    local mine = f[1] == "active"
    if entry ~= "" then mine = mine and not foreign[entry] else mine = mine and f[2] == run[STARTED] end
    local answer
    if not mine then
      answer = earlier_answer(f, run, now, batch.repeated)
    elseif outcome == "c" then
      answer = "ok"
      done[#done + 1] = util.int(now)
      done[#done + 1] = id
      done_time = done_time + max(0, now - util.num(f[2], now))
      call("HSET", key, "state", "completed", "returnvalue", run[VALUE], "finishedOn", util.int(now))
      if f[3] then groups.release(P, f[3], now) end
      if batch.events then events.emit(P, "completed", id, "returnvalue", run[VALUE]) end
      if f[4] or has_parents then
        outbox = flows.completed(P, id, f[4], f[5], has_parents) or outbox
      end
    else
      local made, limit, stamp = util.num(f[6]) + 1, tonumber(run[ATTEMPTS]), util.int(now)
      local reason = run[VALUE]
      if limit > 0 and made < limit then
        answer = "retrying"
        local backoff = tonumber(run[BACKOFF])
        if run[FALLBACKS] == "1" then call("HINCRBY", key, "fallbackIndex", 1) end
        call("ZADD", P .. ":scheduled", util.int(util.num(f[7]) * STEP + now + backoff), id)
        call("HSET", key, "state", "delayed", "failedReason", reason, "processedOn", stamp, "attemptsMade", util.int(made))
        events.emit(P, "retrying", id, "failedReason", reason, "attemptsMade", util.int(made), "delay", util.int(backoff))
      else
        answer = "failed"
        failures = failures + 1
        failed_time = failed_time + max(0, now - util.num(f[2], now))
        call("ZADD", P .. ":failed", stamp, id)
        call("HSET", key, "state", "failed", "failedReason", reason, "finishedOn", stamp, "processedOn", stamp,
          "attemptsMade", util.int(made))
        if f[3] then groups.release(P, f[3], now) end
        events.emit(P, "failed", id, "failedReason", reason)
      end
    end
    if mine then
      if f[BUDGETED] then
        local known = { unpack(f, BUDGETED, #SETTLE_FIELDS) }
        outbox = budgets.settle(P, id, outcome ~= "c", now, answer ~= "retrying", known, util.num(f[6])) or outbox
      end
      tokens = tokens + util.num(run[TOKENS])
      if entry == "" then listed[#listed + 1] = id end
      if answer ~= "retrying" then
        ended[#ended + 1] = id
        schedules.ended(P, f[9], now)
      end
      if run[HEAD] ~= "" then
        local done_well = outcome == "c"
        ledger.finish(P, id, run[HEAD], done_well and "completed" or "failed", done_well and "" or run[VALUE], now, done_well)
      end
      if run[RULE] ~= "" and answer ~= "retrying" then
        after[#after + 1] = { outcome == "c" and "completed" or "failed", id, run[RULE] }
      end
    end
    answers[#answers + 1] = answer
  end
  if #done > 0 then util.sliced("ZADD", P .. ":completed", done) end
  if batch.metrics then metrics.add(P, "completed", now, #done / 2, done_time) end
  metrics.add(P, "failed", now, failures, failed_time)
  if batch.count_tokens then count_tokens(P, tokens, batch.tpm_duration, now) end
  if #listed > 0 then runs.leave_list(P, listed) end
  jobs.drop_early(P, ended)
  for _, rule in ipairs(after) do jobs.retain(P, rule[1], rule[2], rule[3], now) end
  return answers, outbox
end

-- A claimed id that must not start: revoked before its start. Fails without retry, counting the attempt.
local function fail_revoked(P, id, job, now)
  local stamp = util.int(now)
  if job.budgetKey then budgets.settle(P, id, true, now, true) end
  call("ZADD", P .. ":failed", stamp, id)
  call("HSET", P .. ":job:" .. id, "state", "failed", "failedReason", "revoked", "finishedOn", stamp, "processedOn", stamp,
    "attemptsMade", util.int(util.num(job.attemptsMade) + 1))
  jobs.leave_group(P, id, job, now)
  schedules.ended(P, job.schedulerName, now)
  events.emit(P, "failed", id, "failedReason", "revoked")
  metrics.add(P, "failed", now, 1, job.processedOn and now - util.num(job.processedOn, now) or 0)
end

-- Try to start one job. Returns its fields, or nil when it is gone, failed, parked or not waiting: the caller then
-- removes its entry, unless the second is "running": the entry may be the very one that its run holds, delivered
-- again because the consumer group was lost. Else second: what its budget says, "" to run it, "fail", "ask" (the budget
-- is out of reach), or "parked", when that has been done and the fields only tell which job it was. `verdicts`
-- remembers budgets asked in this call.
local function start(P, id, now, stamp, verdicts)
  local key = P .. ":job:" .. id
  local flat = call("HGETALL", key)
  if #flat == 0 then return nil end
  local job = util.map(flat)
  if job.state ~= "waiting" then return nil, job.state == "active" and "running" or nil end
  -- What a peer's promotion leaves of a removed job is no job.
  if not (job.name or job.data or job.opts) then return nil end
  if job.revoked == "1" then
    fail_revoked(P, id, job, now)
    return nil
  end
  if job.expireAt and now > util.num(job.expireAt) then
    jobs.expire(P, id, now)
    return nil
  end
  if job.groupKey and groups.gate(P, id, job, now) then return nil end
  if job.suspendedAt or util.num(job.attemptsMade) > 0 or util.num(job.stalledCount) > 0 then
    -- What it streamed before belongs to earlier runs: an approver is shown what comes now.
    local newest = try("XREVRANGE", P .. ":jstream:" .. id, "+", "-", "COUNT", 1)
    local from = not newest.err and newest[1] and newest[1][1] or "0-0"
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp, "roundFrom", stamp .. ":" .. from)
  else
    call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp)
  end
  local budget = job.budgetKey
  if not budget then return flat, "" end
  if job.budgetPausedAt then budgets.unpark(P, id) end
  local verdict = verdicts[budget]
  if not verdict then
    verdict = budgets.verdict(budget) or ""
    verdicts[budget] = verdict
  end
  if verdict ~= "pause" then return flat, verdict end
  budgets.park(P, id, budget, job.priority, now)
  return flat, "parked"
end

-- How many starts the queue-wide window still allows, and when it ends.
local function window_room(P, rate_max, duration, now)
  local f = call("HMGET", P .. ":rate", "windowStart", "count")
  local started = util.num(f[1])
  if now - started >= duration then return rate_max, 0, true end
  return rate_max - util.num(f[2]), started + duration - now, false
end

local function charge_window(P, count, now, fresh)
  if fresh then
    call("HSET", P .. ":rate", "windowStart", util.int(now), "count", util.int(count))
  else
    call("HINCRBY", P .. ":rate", "count", count)
  end
end

local function read_group(P, consumer, count)
  local stream = P .. ":stream"
  local reply = try("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", stream, ">")
  if reply and reply.err then
    if not reply.err:find("NOGROUP", 1, true) then error(reply) end
    call("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")
    reply = call("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", stream, ">")
  end
  return reply and reply[1] and reply[1][2] or {}
end

-- Claim up to `want` jobs: priority list, LIFO list, stream. Returns claims, the reason why fewer, wait in ms.
local function claim(P, batch, now)
  local want, why, wait = batch.want, "", 0
  local meta = call("HMGET", P .. ":meta", "paused", "globalConcurrency", "rateLimitMax", "rateLimitDuration")
  if meta[1] == "1" then return {}, "paused", 0 end
  local limit = util.num(meta[2])
  if limit > 0 then
    local pending = try("XPENDING", P .. ":stream", GROUP)
    local room = limit - (pending.err and 0 or pending[1]) - max(0, util.num(call("GET", P .. ":list-active")))
    if room < want then want, why = max(0, room), "concurrency" end
  end
  local rate_max, duration = util.num(meta[3]), util.num(meta[4])
  if rate_max <= 0 then rate_max, duration = batch.rate_max, batch.rate_duration end
  local fresh = false
  if rate_max > 0 and duration > 0 then
    local room, left, new = window_room(P, rate_max, duration, now)
    fresh = new
    if room < want then want, why, wait = max(0, room), "rate", left end
  else
    rate_max = 0
  end
  if batch.count_tokens then
    local window = floor(now / batch.tpm_duration)
    if util.num(call("GET", P .. ":tpm:" .. util.int(window))) >= batch.tpm_max then
      return {}, "tokens", (window + 1) * batch.tpm_duration - now
    end
  end
  local claims, parked, stamp, verdicts, allowed = {}, {}, util.int(now), {}, 0
  local listed, ready = {}, false
  local function take(entry, id)
    local flat, verdict = start(P, id, now, stamp, verdicts)
    if verdict == "parked" then
      parked[#parked + 1] = { entry, id, flat, verdict }
      return false
    end
    if not flat then return verdict == "running" end
    claims[#claims + 1] = { entry, id, flat, verdict }
    if verdict ~= "fail" then allowed = allowed + 1 end
    return true
  end
  for _, list in ipairs({ ":priority", ":lifo" }) do
    local dry = false
    for _ = 1, 20 do
      if dry or #claims >= want then break end
      local ids = call("RPOP", P .. list, want - #claims) or {}
      dry = #ids < want - #claims
      for _, id in ipairs(ids) do
        local before = #claims
        take("", id)
        if #claims > before then listed[#listed + 1] = id end
      end
    end
    ready = ready or not dry
  end
  if #listed > 0 then runs.enter_list(P, listed, stamp, batch.consumer) end
  local drop = {}
  for round = 1, 20 do
    local missing = want - #claims
    if missing <= 0 then break end
    local entries = read_group(P, batch.consumer, missing)
    for _, item in ipairs(entries) do
      local fields = util.map(item[2])
      if not (fields.jobId and take(item[1], fields.jobId)) then drop[#drop + 1] = item[1] end
    end
    if #entries < missing then break end
    ready = ready or round == 20
  end
  if #drop > 0 then
    util.sliced("XACK", P .. ":stream", drop, GROUP)
    util.sliced("XDEL", P .. ":stream", drop)
  end
  if rate_max > 0 and allowed > 0 then charge_window(P, allowed, now, fresh) end
  -- Bounded looks that found only jobs which may not start prove nothing about those behind.
  if #claims < want then why = ready and "more" or "" end
  return claims, why, wait, parked
end

local function newest(stream)
  local last = call("XREVRANGE", stream, "+", "-", "COUNT", 1)[1]
  return last and last[1] or "0-0"
end

-- args: now, consumer, want, flags ("e" events, "m" metrics, "t" token limit shared by the queue, "r" repeated after
-- a lost reply), limiter max, limiter ms, token cap, token window ms, then two a run: its head (id, entry ("" list-sourced), processedOn, "c"|"f",
-- attempts allowed (0 = no retry), backoff ms, retention rule, has fallbacks ("1"/""), tokens it reported ("" none), ledger
-- header JSON ("" none)) and its result or reason.
-- Reply: {answers, claims {entry, id, flat hash, budget}, why fewer claims than wanted, wait ms, outbox waits (1/0)} and, when
-- fewer than wanted were ready, the newest entry ids of stream and events, to wait for what comes after them, and when
-- a limited group is to be looked at again, ms ("" none).
-- Answers: ok retrying failed, or lost when the run does not own the job any more (nothing of it was recorded).
-- Repeating a call with the same `now` gives the same answers and may claim further jobs.
register("exchange", {}, function(P, args)
  local now = tonumber(args[1])
  local batch = {
    consumer = args[2], want = tonumber(args[3]), events = args[4]:find("e", 1, true), metrics = args[4]:find("m", 1, true),
    rate_max = tonumber(args[5]), rate_duration = tonumber(args[6]), tpm_max = tonumber(args[7]), tpm_duration = tonumber(args[8]),
    count_tokens = args[4]:find("t", 1, true), repeated = args[4]:find("r", 1, true),
  }
  local answers, outbox = {}, false
  if #args >= FIRST then answers, outbox = settle_all(P, args, now, batch) end
  local claims, why, wait, parked = {}, "", 0, nil
  if batch.want > 0 then claims, why, wait, parked = claim(P, batch, now) end
  local reply = { answers, claims, why, util.int(max(0, wait)), outbox and 1 or 0 }
  if #claims < batch.want then
    reply[6], reply[7] = newest(P .. ":stream"), newest(P .. ":events")
    reply[8] = call("ZRANGE", P .. ":ratelimited", 0, 0, "WITHSCORES")[2] or ""
  end
  for _, job in ipairs(parked or {}) do claims[#claims + 1] = job end
  return reply
end)

-- Count tokens of a run that ended by a call of its own. args: now, tokens, window ms.
register("count_tokens", {}, function(P, args)
  count_tokens(P, tonumber(args[2]), tonumber(args[3]), tonumber(args[1]))
  return { "ok" }
end)

-- Broadcasts: every subscription is a consumer group of its own on the stream, and gets each message. An entry is
-- acknowledged by each of them and deleted by none. The job hash is shared: it shows what the last of them wrote.
-- Records of ours: P:deliveries:<subscription>, a hash of entry -> "<consumer> <processedOn> <latest heartbeat> <id>" of
-- the runs that go on; and `stalls` in P:job:<id>:sub:<subscription>, beside the attempts `a` that peers count there.

local ID, ENTRY, PROCESSED_ON, OUTCOME, TOKENS, LEDGER, VALUE = 1, 2, 3, 4, 6, 7, 9
local ATTEMPTS, BACKOFF, FALLBACKS = 14, 15, 16

local COUNTERS_S = 86400 -- how long the counters of a subscription outlive the latest failure or stall, s
local PAGE = 32 -- entries of one read
local ROUNDS = 200 -- reads of one claim: a filter may leave out many messages

-- Every function below takes three arguments before those named: subscription, JSON list of patterns ("" every
-- subject), and where the subscription begins if it is new.
function broadcast.subscribed(name, flags, fn)
  register("broadcast_" .. name, flags, function(P, args)
    local patterns = args[2] ~= "" and cjson.decode(args[2]) or nil
    return fn(P, { name = args[1], patterns = patterns, start = args[3] }, { unpack(args, 4) })
  end)
end

local function tokens(text)
  local out = {}
  for token in (text .. "."):gmatch("([^.]*)%.") do out[#out + 1] = token end
  return out
end

-- Whether a pattern matches: "*" is any one token, ">" as the last one or more.
local function matches(pattern, subject)
  local wanted = tokens(pattern)
  for i, token in ipairs(wanted) do
    if token == ">" then return #subject >= i end
    if not subject[i] or token ~= "*" and token ~= subject[i] then return false end
  end
  return #wanted == #subject
end

local function wants(s, fields)
  if fields.retryGroup and fields.retryGroup ~= s.name then return false end
  if not s.patterns then return true end
  local name = fields.name or ""
  if name == "" then return false end
  local subject = tokens(name)
  for _, pattern in ipairs(s.patterns) do
    if matches(pattern, subject) then return true end
  end
  return false
end

function broadcast.deliveries(P, s)
  return P .. ":deliveries:" .. s.name
end

function broadcast.counters(P, s, id)
  return P .. ":job:" .. id .. ":sub:" .. s.name
end

local function count(P, s, id, field)
  local key = broadcast.counters(P, s, id)
  local n = call("HINCRBY", key, field, 1)
  call("EXPIRE", key, COUNTERS_S)
  return n
end

local function note_run(P, s, entry, consumer, stamp, beat, id)
  call("HSET", broadcast.deliveries(P, s), entry, consumer .. " " .. stamp .. " " .. beat .. " " .. id)
end

local function parse_run(text)
  local consumer, stamp, beat, id = (text or ""):match("^(%S+) (%d+) (%d+) (.*)$")
  return consumer and { consumer = consumer, stamp = stamp, beat = tonumber(beat), id = id } or nil
end

local function run_of(P, s, entry)
  return parse_run(call("HGET", broadcast.deliveries(P, s), entry))
end

local function acknowledge(P, s, entry)
  call("HDEL", broadcast.deliveries(P, s), entry)
  return call("XACK", P .. ":stream", s.name, entry) == 1
end

-- End a run's hold on its entry; false when it does not hold it any more.
local function release(P, s, entry, stamp)
  local run = run_of(P, s, entry)
  return run ~= nil and run.stamp == stamp and acknowledge(P, s, entry)
end

-- Deliver a message to this subscription once more: the others acknowledge such an entry unread.
local function deliver_again(P, s, id)
  local key = P .. ":job:" .. id
  call("XADD", P .. ":stream", "*", "jobId", id, "name", call("HGET", key, "name") or "", "retryGroup", s.name)
  call("HSET", key, "state", "waiting")
end

-- Claiming ------------------------------------------------------------------------------------------------------

-- Activate a message. Returns its fields, with the attempts of this subscription, as read and as a table; nil when there is
-- nothing to run.
local function activate(P, s, id, now, stamp)
  local key = P .. ":job:" .. id
  local flat = try("HGETALL", key)
  if flat.err then
    if not flat.err:find("WRONGTYPE", 1, true) then error(flat) end
    return nil
  end
  local job = claim.looked_at(flat)
  if not (job.state and (job.name or job.data or job.opts)) then return nil end
  if job.revoked == "1" then
    claim.fail_revoked(P, id, job, now)
    return nil
  end
  if job.expireAt and now > util.num(job.expireAt) then
    jobs.expire(P, id, now)
    return nil
  end
  call("HSET", key, "state", "active", "processedOn", stamp, "lastActive", stamp)
  local made = call("HGET", broadcast.counters(P, s, id), "a")
  for i = 1, #flat, 2 do
    if flat[i] == "attemptsMade" and made then flat[i + 1] = made end
  end
  return flat, job
end

local function take(P, s, c, entry, fields, consumer, now)
  local id = fields.jobId
  local flat, job
  if wants(s, fields) then flat, job = activate(P, s, id, now, c.stamp) end
  if not flat then
    acknowledge(P, s, entry)
    return
  end
  note_run(P, s, entry, consumer, c.stamp, c.stamp, id)
  claim.hand_out(c, flat, job, id, entry, "")
end

-- Claim messages as far as limits allow. One that cannot be looked at stays pending, until the sweep takes it up.
local function fill(s)
  return function(P, c, batch, now)
    batch.group = s.name
    if not claim.apply_limits(P, c, batch, now) then return end
    local more = true
    for _ = 1, ROUNDS do
      local missing = min(c.want - c.count, PAGE)
      if missing <= 0 or c.bytes >= claim.MOST_BYTES then break end
      local entries = claim.read_group(P, s.name, s.start, batch.consumer, missing)
      for _, item in ipairs(entries) do
        local fields = util.map(item[2])
        if fields.jobId then util.attempt(take, P, s, c, item[1], fields, batch.consumer, now) end
      end
      more = #entries == missing
      if not more then break end
    end
    if c.count < c.want then c.why = more and "more" or "" end
  end
end

-- Settling ------------------------------------------------------------------------------------------------------

-- What a run that holds its entry no more was answered with, if this call repeats one whose reply was lost.
local function earlier_answer(P, s, run, repeated)
  if not repeated or call("EXISTS", P .. ":job:" .. run[ID]) == 0 then return "lost" end
  if run[OUTCOME] == "c" then return "ok" end
  return call("ZSCORE", P .. ":scheduled", run[ID] .. "||" .. s.name) and "retrying" or "failed"
end

local function complete(P, run, f, now, batch)
  local id, outbox = run[ID], false
  call("ZADD", P .. ":completed", util.int(now), id)
  call("HSET", P .. ":job:" .. id, "state", "completed", "returnvalue", run[VALUE], "finishedOn", util.int(now))
  if batch.events then events.emit(P, "completed", id, "returnvalue", run[VALUE]) end
  local has_parents = call("EXISTS", P .. ":parents:" .. id) == 1
  if f[2] or has_parents then outbox = flows.completed(P, id, f[2], f[3], has_parents) end
  return "ok", outbox
end

local function fail(P, s, run, now)
  local id, stamp, key = run[ID], util.int(now), P .. ":job:" .. run[ID]
  local made, limit = count(P, s, id, "a"), tonumber(run[ATTEMPTS])
  if limit == 0 or made >= limit then
    call("ZADD", P .. ":failed", stamp, id)
    call("HSET", key, "state", "failed", "failedReason", run[VALUE], "finishedOn", stamp, "processedOn", stamp)
    events.emit(P, "failed", id, "failedReason", run[VALUE])
    return "failed", settle.send_letter(P, run, now)
  end
  -- Without the priority of the job: peers would promote it to a list that no subscription reads.
  call("ZADD", P .. ":scheduled", util.int(now + tonumber(run[BACKOFF])), id .. "||" .. s.name)
  call("HSET", key, "state", "delayed", "failedReason", run[VALUE], "processedOn", stamp)
  if run[FALLBACKS] == "1" then try("HINCRBY", key, "fallbackIndex", 1) end
  events.emit(P, "retrying", id, "failedReason", run[VALUE], "attemptsMade", util.int(made), "delay",
    util.int(tonumber(run[BACKOFF])))
  return "retrying"
end

-- Settle one run; returns its answer and whether an entry waits in the outbox.
local function settle_run(P, s, run, now, batch)
  local id = run[ID]
  local f = util.fields(P .. ":job:" .. id, "state", "parentId", "parentQueue", "schedulerName")
  if not release(P, s, run[ENTRY], run[PROCESSED_ON]) then return earlier_answer(P, s, run, batch.repeated) end
  if not f[1] then return "lost" end
  local answer, outbox
  if run[OUTCOME] == "c" then answer, outbox = complete(P, run, f, now, batch) else answer, outbox = fail(P, s, run, now) end
  if answer ~= "retrying" then util.attempt(schedules.ended, P, f[4], now) end
  if run[LEDGER] ~= "" then
    local well = answer == "ok"
    util.attempt(ledger.finish, P, id, run[LEDGER], well and "completed" or "failed", well and "" or run[VALUE], now, well)
  end
  return answer, outbox
end

local function settle_all(s)
  return function(P, args, now, batch)
    local answers, outbox, used = {}, false, 0
    local counts, times = { ok = 0, failed = 0 }, { ok = 0, failed = 0 }
    -- Before anything is changed: sets of another type refuse every result.
    runs.check_places(P)
    call("ZCARD", P .. ":completed")
    for i, run in ipairs((settle.read_runs(args))) do
      local well, answer, waits = util.attempt(settle_run, P, s, run, now, batch)
      answers[i] = well and answer or "unrecorded"
      outbox = outbox or waits or false
      if well and answer ~= "lost" then used = used + util.num(run[TOKENS]) end
      if counts[answer] then
        counts[answer] = counts[answer] + 1
        times[answer] = times[answer] + max(0, now - util.num(run[PROCESSED_ON], now))
      end
    end
    if batch.metrics then metrics.add(P, "completed", now, counts.ok, times.ok) end
    metrics.add(P, "failed", now, counts.failed, times.failed)
    if batch.count_tokens then settle.count_tokens(P, used, batch.tpm_duration, now) end
    return answers, outbox
  end
end

-- Settle and claim; arguments and reply as of `exchange`.
broadcast.subscribed("exchange", {}, function(P, s, args)
  return claim.exchange(P, args, settle_all(s), fill(s))
end)

-- A claimed message that will not run is delivered again. args: id, entry, processedOn. Reply {"ok"} | {"lost"}.
broadcast.subscribed("hand_back", {}, function(P, s, args)
  local key = P .. ":job:" .. args[1]
  if not release(P, s, args[2], args[3]) or call("EXISTS", key) == 0 then return { "lost" } end
  call("HINCRBY", broadcast.counters(P, s, args[1]), "stalls", 0) -- tells `trim` that there are several entries
  call("EXPIRE", broadcast.counters(P, s, args[1]), COUNTERS_S)
  deliver_again(P, s, args[1])
  return { "ok" }
end)

-- Liveness ------------------------------------------------------------------------------------------------------

-- Heartbeats; arguments and reply as of `beat`. Peers look at the shared hash.
broadcast.subscribed("beat", {}, function(P, s, args)
  local now, out = args[1], {}
  for i = 2, #args, 3 do
    local id, stamp, entry = args[i], args[i + 1], args[i + 2]
    local run, f = run_of(P, s, entry), util.fields(P .. ":job:" .. id, "state", "revoked")
    if run and run.stamp == stamp and f[1] then
      note_run(P, s, entry, run.consumer, stamp, now, id)
      call("HSET", P .. ":job:" .. id, "lastActive", now)
      out[#out + 1] = f[2] == "1" and "revoked" or ""
    else
      out[#out + 1] = "lost"
    end
  end
  return out
end)

-- What a consumer claimed under a stamp; arguments and reply as of `owned`, in one page.
broadcast.subscribed("owned", { "no-writes" }, function(P, s, args)
  local out, flat = { "", "0" }, call("HGETALL", broadcast.deliveries(P, s))
  for i = 1, #flat, 2 do
    local run = parse_run(flat[i + 1])
    if run and run.consumer == args[1] and run.stamp == args[2] then
      out[#out + 1], out[#out + 2] = flat[i], run.id
    end
  end
  return out
end)

-- End a silent run: the message is delivered again, or has failed for this subscription.
local function stall(P, s, id, entry, job, now, most, again, failed)
  acknowledge(P, s, entry)
  if job.expires and now > job.expires then
    jobs.expire(P, id, now)
    return
  end
  local stalls = count(P, s, id, "stalls")
  call("HSET", P .. ":job:" .. id, "stalledCount", util.int(stalls))
  if stalls <= most then
    deliver_again(P, s, id)
    events.emit(P, "stalled", id)
    again[#again + 1] = id
    return
  end
  local reason = "job stalled more than maxStalledCount"
  call("ZADD", P .. ":failed", util.int(now), id)
  call("HSET", P .. ":job:" .. id, "state", "failed", "failedReason", reason, "finishedOn", util.int(now))
  schedules.job_ended(P, id, now)
  events.emit(P, "failed", id, "failedReason", reason)
  metrics.add(P, "failed", now, 1, now - (job.started or now))
  failed[#failed + 1] = id
end

-- One page of entries that have been pending for long; arguments and reply as of `stalls`. A run of ours counts as silent
-- by its own heartbeats, one of a peer by those of the shared hash.
broadcast.subscribed("stalls", {}, function(P, s, args)
  local now = tonumber(args[1])
  if not util.take_turn(P, "stalls:" .. s.name, args[7]) then return { "ok", "0-0", 0, {}, {}, {} } end
  local page = try("XAUTOCLAIM", P .. ":stream", s.name, args[5], args[2], args[6], "COUNT", 100)
  if page.err then
    if not page.err:find("NOGROUP", 1, true) then error(page) end
    return { "ok", "0-0", 0, {}, {}, {} }
  end
  local again, failed = {}, {}
  for _, item in ipairs(page[2]) do
    local entry, id = item[1], util.map(item[2]).jobId
    local job, run = id and runs.read(P, id), run_of(P, s, entry)
    if not job then
      acknowledge(P, s, entry)
    else
      if run then job.beat = run.beat end
      if runs.is_silent(job, now, tonumber(args[3])) then
        util.attempt(stall, P, s, id, entry, job, now, tonumber(args[4]), again, failed)
      end
    end
  end
  if page[3] and #page[3] > 0 then call("HDEL", broadcast.deliveries(P, s), unpack(page[3])) end -- trimmed
  return { "ok", page[1], #page[2], again, failed, noted_errors }
end)

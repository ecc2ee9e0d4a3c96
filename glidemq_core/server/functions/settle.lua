-- Settling runs that have ended. First what makes a job's end: its place in a result set, its state, its entry. Only then
-- all that follows from it, each part guarded, so that no record can keep another from being settled.

local FIRST = 9 -- argument of an exchange where the settled runs begin
-- Words of a run's head, in order; its result or reason is an argument of its own.
local ID, ENTRY, PROCESSED_ON, OUTCOME, ATTEMPTS, BACKOFF = 1, 2, 3, 4, 5, 6
local RETENTION, FALLBACKS, TOKENS, LEDGER, VALUE = 7, 8, 9, 10, 11

local FIELDS = { "state", "processedOn", "groupKey", "parentId", "parentQueue", "attemptsMade", "priority", "finishedOn",
  "schedulerName", "budgetKey" }
local BUDGET = #FIELDS

-- The set that a job goes to by what became of its run.
local PLACES = { ok = "completed", failed = "failed", retrying = "scheduled" }

-- Count tokens against the shared window of the queue's token limit; the key lives as long as its window. What cannot be
-- added (a report may name any number, a peer may leave anything there) must not fail the call that settles jobs.
function settle.count_tokens(P, tokens, duration, now)
  if tokens <= 0 or duration <= 0 then return end
  local key = P .. ":tpm:" .. util.int(floor(now / duration))
  tokens = min(tokens, 2 ^ 53)
  local total = try("INCRBY", key, util.int(tokens))
  if type(total) == "table" then
    local held = try("GET", key)
    tokens = min(tokens + (type(held) == "string" and util.num(held) or 0), 2 ^ 53)
    try("SET", key, util.int(tokens), "PX", util.int(duration))
  elseif total == tokens then
    try("PEXPIRE", key, util.int(duration))
  end
end

-- What became of a run that is not ours any more: the word its settle was answered with before the reply was lost, else
-- "lost". In a repeated call a job that is gone went by its own retention, if it has a rule, for we ran it until then; and
-- an attempt that is counted was ours, even if the next one has begun meanwhile.
local function earlier_answer(f, run, now, repeated)
  local stamp, well = util.int(now), run[OUTCOME] == "c"
  if not f[1] and repeated and run[RETENTION] ~= "" then return well and "ok" or "failed" end
  if well then return f[1] == "completed" and f[8] == stamp and "ok" or "lost" end
  if f[1] == "failed" and f[8] == stamp then return "failed" end
  if f[1] == "delayed" and f[2] == stamp then return "retrying" end
  local head = repeated and f[1] and util.json(run[LEDGER])
  return head and util.num(f[6]) > util.num(head.attempt) and "retrying" or "lost"
end

-- Two arguments a run (few long words cost less than many short ones): the head, its words parted by 0x1f, which
-- no id may hold, and the value.
function settle.read_runs(args)
  local out, entries = {}, {}
  for i = FIRST, #args, 2 do
    local run, n = {}, 0
    for word in (args[i] .. "\31"):gmatch("([^\31]*)\31") do
      n = n + 1
      run[n] = word
    end
    run[VALUE] = args[i + 1]
    out[#out + 1] = run
    if run[ENTRY] ~= "" then entries[#entries + 1] = run[ENTRY] end
  end
  return out, entries
end

-- Acknowledge all entries at once; returns the set of those that were pending no more (settled or re-dispatched
-- by someone else), which in the usual case costs nothing to know. They stay in the stream until all is recorded.
local function acknowledge(P, entries)
  local foreign, stream = {}, P .. ":stream"
  if #entries > 0 and util.sliced("XACK", stream, entries, GROUP) < #entries then
    -- Whoever ends a run deletes its entry in the same call: one that still exists was pending until now.
    for _, entry in ipairs(entries) do
      if #call("XRANGE", stream, entry, entry) == 0 then foreign[entry] = true end
    end
  end
  return foreign
end

-- Decide what becomes of a run, and note its job for the set that it goes to.
local function decide(run, now, places)
  local f, score = run.fields, now
  run.answer = "ok"
  if run[OUTCOME] ~= "c" then
    local made, limit = util.num(f[6]) + 1, tonumber(run[ATTEMPTS])
    run.made, run.answer = util.int(made), limit > 0 and made < limit and "retrying" or "failed"
    if run.answer == "retrying" then score = util.num(f[7]) * PRIORITY_STEP + now + tonumber(run[BACKOFF]) end
  end
  local members = places[run.answer]
  members[#members + 1], members[#members + 2] = util.int(score), run[ID]
end

-- Write the ends of runs into their jobs.
local function write(P, settled, places, stamp)
  local prefix = P .. ":job:"
  for _, run in ipairs(settled) do
    local answer, key = run.answer, prefix .. run[ID]
    if not run.lost and places[answer] then
      if answer == "ok" then
        call("HSET", key, "state", "completed", "returnvalue", run[VALUE], "finishedOn", stamp)
      elseif answer == "retrying" then
        call("HSET", key, "state", "delayed", "failedReason", run[VALUE], "processedOn", stamp, "attemptsMade", run.made)
        if run[FALLBACKS] == "1" then try("HINCRBY", key, "fallbackIndex", 1) end
      else
        call("HSET", key, "state", "failed", "failedReason", run[VALUE], "finishedOn", stamp, "processedOn", stamp,
          "attemptsMade", run.made)
      end
      run.written = true
    end
  end
end

-- The runs that are recorded, which then have an `answer` of their own; what could not be written is "unrecorded":
-- its job is still running, with its entry or its place in the index, and its end may be sent again.
local function record(P, settled, foreign, now, batch)
  local places, seen, stamp = { ok = {}, failed = {}, retrying = {} }, {}, util.int(now)
  for _, run in ipairs(settled) do
    local id, entry = run[ID], run[ENTRY]
    local f = try("HMGET", P .. ":job:" .. id, unpack(FIELDS))
    local unknown = f.err and not f.err:find("WRONGTYPE", 1, true)
    if unknown then util.note_error(f) end
    if f.err then f = {} end
    run.fields = f
    local mine = f[1] == "active" and not seen[id]
    if entry ~= "" then mine = mine and not foreign[entry] else mine = mine and f[2] == run[PROCESSED_ON] end
    if unknown then
      run.answer, run.lost = "unrecorded", true
    elseif mine then
      seen[id] = true
      decide(run, now, places)
    else
      run.answer, run.lost = earlier_answer(f, run, now, batch.repeated), true
    end
  end
  for answer, members in pairs(places) do
    if #members > 0 and not util.attempt(util.sliced, "ZADD", P .. ":" .. PLACES[answer], members) then
      places[answer] = false
    end
  end
  util.attempt(write, P, settled, places, stamp)
  for _, run in ipairs(settled) do
    if not (run.lost or run.written) then run.answer = "unrecorded" end
  end
end

-- Delete the entries of recorded runs; give those of the others back to their consumer.
local function end_entries(P, settled, consumer)
  local gone, unrecorded = {}, {}
  for _, run in ipairs(settled) do
    local entry = run[ENTRY]
    if entry == "" then -- of a list
    elseif run.answer == "unrecorded" then
      unrecorded[#unrecorded + 1] = entry
    else
      gone[#gone + 1] = entry
    end
  end
  if #gone > 0 then util.attempt(util.sliced, "XDEL", P .. ":stream", gone) end
  for _, entry in ipairs(unrecorded) do
    util.attempt(call, "XCLAIM", P .. ":stream", GROUP, consumer, 0, entry, "FORCE", "JUSTID")
  end
end

-- What follows from a recorded end, in the order in which peers do it. True if an entry waits in the outbox.
local function follow_up(P, run, now, batch, has_parents)
  local id, f, answer = run[ID], run.fields, run.answer
  local outbox, well = false, answer == "ok"
  if f[3] and answer ~= "retrying" then groups.release(P, f[3], now) end
  if well then
    if batch.events then events.emit(P, "completed", id, "returnvalue", run[VALUE]) end
    if f[4] or has_parents then outbox = flows.completed(P, id, f[4], f[5], has_parents) end
  elseif answer == "retrying" then
    events.emit(P, "retrying", id, "failedReason", run[VALUE], "attemptsMade", run.made, "delay",
      util.int(tonumber(run[BACKOFF])))
  else
    events.emit(P, "failed", id, "failedReason", run[VALUE])
  end
  if f[BUDGET] then
    local _, waits = util.attempt(budgets.settle, P, id, not well, now, answer ~= "retrying", util.num(f[6]))
    outbox = waits or outbox
  end
  if answer ~= "retrying" then schedules.ended(P, f[9], now) end
  if run[LEDGER] ~= "" then
    ledger.finish(P, id, run[LEDGER], well and "completed" or "failed", well and "" or run[VALUE], now, well)
  end
  return outbox
end

-- Whether any of the jobs has a set of parents.
local function have_parents(P, settled)
  local keys = {}
  for i, run in ipairs(settled) do keys[i] = P .. ":parents:" .. run[ID] end
  for from = 1, #keys, 1000 do
    if call("EXISTS", unpack(keys, from, min(from + 999, #keys))) > 0 then return true end
  end
  return false
end

-- Settle the runs that an exchange brings; returns the answers in their order, and whether an entry waits in the outbox.
function settle.all(P, args, now, batch)
  if #args < FIRST then return {}, false end
  local settled, entries = settle.read_runs(args)
  record(P, settled, acknowledge(P, entries), now, batch)
  end_entries(P, settled, batch.consumer)
  local has_parents, outbox, tokens = have_parents(P, settled), false, 0
  local counts, times, listed, ended, answers = { ok = 0, failed = 0 }, { ok = 0, failed = 0 }, {}, {}, {}
  for i, run in ipairs(settled) do
    local answer = run.answer
    answers[i] = answer
    if not run.lost and answer ~= "unrecorded" then
      if run[ENTRY] == "" then listed[#listed + 1] = run[ID] end
      tokens = tokens + util.num(run[TOKENS])
      if answer ~= "retrying" then
        ended[#ended + 1] = run[ID]
        counts[answer] = counts[answer] + 1
        times[answer] = times[answer] + max(0, now - util.num(run.fields[2], now))
      end
      outbox = follow_up(P, run, now, batch, has_parents) or outbox
    end
  end
  if batch.metrics then metrics.add(P, "completed", now, counts.ok, times.ok) end
  metrics.add(P, "failed", now, counts.failed, times.failed)
  if batch.count_tokens then settle.count_tokens(P, tokens, batch.tpm_duration, now) end
  if #listed > 0 then util.attempt(runs.leave_list, P, listed) end
  if #ended > 0 then util.attempt(jobs.drop_early, P, ended) end
  local ruled = {}
  for _, run in ipairs(settled) do
    if run[RETENTION] ~= "" and PLACES[run.answer] and not run.lost and run.answer ~= "retrying" then
      ruled[#ruled + 1] = { PLACES[run.answer], run[ID], run[RETENTION] }
    end
  end
  if #ruled > 0 then util.attempt(jobs.retain, P, ruled, now) end
  return answers, outbox
end

-- Settling runs that have ended. First what makes a job's end: its place in a result set, its state, its entry. Only then
-- all that follows from it, each part guarded, so that no record can keep another from being settled.

local HEADS, VALUES = 2, 3 -- arguments of an exchange: heads of settled runs, their results and reasons
-- A run: words of its head, its result or reason, what is found out about it, whether it is a success of which there is
-- nothing more to say (but for an ordering key), then what only one has that failed.
local ID, ENTRY, PROCESSED_ON, OUTCOME, RETENTION, TOKENS, LEDGER, SEEN, VALUE = 1, 2, 3, 4, 5, 6, 7, 8, 9
local ANSWER, FIELDS, LOST, SIMPLE, ATTEMPTS, BACKOFF, FALLBACKS, LETTER, MADE = 10, 11, 12, 13, 14, 15, 16, 17, 18

local HEAD = "([^\31]*)\31([^\31]*)\31([^\31]*)\31(%d+)\31([^\30]*)\30"
local REST = "^" .. ("([^\31]*)\31"):rep(7) .. "(.*)$"

-- What a run's end depends on, read of its job. Parent and budget may be given to a job that runs already, by peers who
-- create flows step by step; the others stand from its beginning, so that the claim has seen whether there are any.
local NAMES = { "state", "processedOn", "budgetKey", "parentId", "parentQueue", "groupKey", "attemptsMade", "priority",
  "finishedOn", "schedulerName" }
local STATE, STARTED, BUDGET, PARENT, PARENT_QUEUE, GROUP_KEY, ATTEMPTS_MADE, PRIORITY, FINISHED, SCHEDULER =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10
-- How many of them a plain success needs, by what its claim saw; and what it saw, by the rest of a head that says no more.
local NEEDED = { [""] = PARENT, k = PARENT, p = PARENT_QUEUE, pk = PARENT_QUEUE, g = GROUP_KEY, gk = GROUP_KEY,
  gp = GROUP_KEY, gpk = GROUP_KEY }
local SAW = { [".k"] = "k", [".p"] = "p", [".pk"] = "pk", [".g"] = "g", [".gk"] = "gk", [".gp"] = "gp", [".gpk"] = "gpk" }

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
local function earlier_answer(f, run, stamp, repeated)
  local state, well = f[STATE], run[OUTCOME] == "c"
  if not state and repeated and run[RETENTION] ~= "" then return well and "ok" or "failed" end
  if well then return state == "completed" and f[FINISHED] == stamp and "ok" or "lost" end
  if state == "failed" and f[FINISHED] == stamp then return "failed" end
  if state == "delayed" and f[STARTED] == stamp then return "retrying" end
  local head = repeated and state and util.json(run[LEDGER])
  return head and util.num(f[ATTEMPTS_MADE]) > util.num(head.attempt) and "retrying" or "lost"
end

-- The runs that an exchange brings, and the entries they hold. Few long arguments cost less than many short ones.
function settle.read_runs(args)
  local out, entries, n, values, at = {}, {}, 0, args[VALUES], 1
  local length, bytes = nil, 0
  for id, entry, processed_on, text, rest in (args[HEADS] or ""):gmatch(HEAD) do
    n = n + 1
    if text ~= length then length, bytes = text, tonumber(text) end -- mostly as long as the one before
    local value = values:sub(at, at + bytes - 1)
    at = at + bytes
    if rest == "" then
      out[n] = { id, entry, processed_on, "c", "", "", "", "", value, false, false, false, entry ~= "" }
    elseif SAW[rest] then
      out[n] = { id, entry, processed_on, "c", "", "", "", SAW[rest], value, false, false, false,
        entry ~= "" and rest == ".g" }
    elseif rest:byte() == 46 then
      out[n] = { id, entry, processed_on, "c", "", "", "", rest:sub(2), value, false, false, false, false }
    elseif not rest:find("\31", 1, true) then
      out[n] = { id, entry, processed_on, "c", rest, "", "", "", value, false, false, false, false }
    else
      local outcome, attempts, backoff, retention, fallbacks, tokens, header, seen = rest:match(REST)
      local letter = outcome ~= "c" and tonumber(seen:match("d(%d+)") or 0) or 0
      out[n] = { id, entry, processed_on, outcome, retention, tokens, header, seen, value, false, false, false, false,
        attempts, backoff, fallbacks, letter > 0 and values:sub(at, at + letter - 1), false }
      at = at + letter
    end
    if entry ~= "" then entries[#entries + 1] = entry end
  end
  return out, entries
end

-- Add keys to a list that tell whether jobs that end have sets of parents, or there are early signals for any job.
function settle.others(P, settled, keys)
  local n, prefix = #keys + 1, P .. ":parents:"
  keys[n] = P .. ":early-index"
  for i, run in ipairs(settled) do keys[n + i] = prefix .. run[ID] end
  return keys
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

-- Decide what becomes of a run that failed, and when it is tried again, as the score of its job.
local function decide(run, now, stamp)
  local f = run[FIELDS]
  local made, limit = util.num(f[ATTEMPTS_MADE]) + 1, tonumber(run[ATTEMPTS])
  run[MADE] = util.int(made)
  if limit <= 0 or made >= limit then return "failed", stamp end
  return "retrying", util.int(util.num(f[PRIORITY]) * PRIORITY_STEP + now + tonumber(run[BACKOFF]))
end

-- Write the ends of runs into their jobs, except of those whose set refused them. `batch.written` counts the runs.
local function write(P, settled, refused, batch)
  local prefix, stamp = P .. ":job:", batch.stamp
  for i, run in ipairs(settled) do
    local answer = run[ANSWER]
    if not run[LOST] then
      local key = prefix .. run[ID]
      if refused and refused[answer] then
        run[ANSWER] = "unrecorded"
      elseif answer == "ok" then
        call("HSET", key, "state", "completed", "returnvalue", run[VALUE], "finishedOn", stamp)
      elseif answer == "retrying" then
        call("HSET", key, "state", "delayed", "failedReason", run[VALUE], "processedOn", stamp, "attemptsMade", run[MADE])
        if run[FALLBACKS] == "1" then try("HINCRBY", key, "fallbackIndex", 1) end
      else
        call("HSET", key, "state", "failed", "failedReason", run[VALUE], "finishedOn", stamp, "processedOn", stamp,
          "attemptsMade", run[MADE])
      end
    end
    batch.written = i
  end
end

-- Read what decides about a run, and whether it could not be read. Of a plain success of the very run that our claim saw
-- most fields need no look.
local function read_fields(key, run)
  local f
  local needed = run[OUTCOME] == "c" and NEEDED[run[SEEN]]
  if needed then
    if needed == PARENT then
      f = try("HMGET", key, "state", "processedOn", "budgetKey", "parentId")
    elseif needed == GROUP_KEY then
      f = try("HMGET", key, "state", "processedOn", "budgetKey", "parentId", "parentQueue", "groupKey")
    else
      f = try("HMGET", key, unpack(NAMES, 1, needed))
    end
    if f[STATE] == "active" and f[STARTED] == run[PROCESSED_ON] and (needed ~= PARENT or not f[PARENT]) then return f, false end
  end
  if not (f and f.err) then f = try("HMGET", key, unpack(NAMES)) end
  if not f.err then return f, false end
  if f.err:find("WRONGTYPE", 1, true) then return {}, false end
  util.note_error(f)
  return {}, true
end

-- The runs that are recorded, which then have an answer of their own; what could not be written is "unrecorded":
-- its job is still running, with its entry or its place in the index, and its end may be sent again. True if there is such.
local function record(P, settled, foreign, now, batch)
  local places, refused, seen, stamp, prefix = { ok = {} }, nil, {}, batch.stamp, P .. ":job:"
  local missed = false
  for _, run in ipairs(settled) do
    local id, entry = run[ID], run[ENTRY]
    local f, unknown = read_fields(prefix .. id, run)
    run[FIELDS] = f
    local mine = f[STATE] == "active" and not seen[id]
    if entry ~= "" then mine = mine and not foreign[entry] else mine = mine and f[STARTED] == run[PROCESSED_ON] end
    if unknown then
      run[ANSWER], run[LOST], missed = "unrecorded", true, true
    elseif mine then
      local answer, score = "ok", stamp
      if run[OUTCOME] ~= "c" then answer, score = decide(run, now, stamp) end
      local members = places[answer] or {}
      local n = #members
      places[answer] = members
      seen[id], run[ANSWER], members[n + 1], members[n + 2] = true, answer, score, id
    else
      run[ANSWER], run[LOST] = earlier_answer(f, run, stamp, batch.repeated), true
    end
  end
  for answer, members in pairs(places) do
    if #members > 0 and not util.attempt(util.sliced, "ZADD", P .. ":" .. PLACES[answer], members) then
      refused, missed = refused or {}, true
      refused[answer] = true
    end
  end
  batch.written = 0
  if util.attempt(write, P, settled, refused, batch) then return missed end
  for i = batch.written + 1, #settled do
    if not settled[i][LOST] then settled[i][ANSWER] = "unrecorded" end
  end
  return true
end

-- Delete the entries of recorded runs; give those of the others, if some were `missed`, back to their consumer.
local function end_entries(P, settled, entries, missed, consumer)
  local gone = entries
  if missed then
    gone = {}
    for _, run in ipairs(settled) do
      local entry = run[ENTRY]
      if entry == "" then -- of a list
      elseif run[ANSWER] == "unrecorded" then
        util.attempt(call, "XCLAIM", P .. ":stream", GROUP, consumer, 0, entry, "FORCE", "JUSTID")
      else
        gone[#gone + 1] = entry
      end
    end
  end
  if #gone > 0 then util.attempt(util.sliced, "XDEL", P .. ":stream", gone) end
end

-- Send the copy of a job that has failed for good to the queue of dead letters: at once where this call reaches it, else by
-- the outbox. Returns whether an entry waits there.
function settle.send_letter(P, run, now)
  local entry = run[LETTER] and util.json(run[LETTER])
  if not entry then return false end
  local T, letter = entry.to, entry.letter
  local function add()
    runs.check_places(T)
    jobs.add_packed(T, now, true, letter.name, letter.data, letter.packed)
  end
  if util.reachable(T .. ":id") and util.attempt(add) then return false end
  return util.post(P, entry)
end

-- What follows from a recorded end, in the order in which peers do it. True if an entry waits in the outbox. `emit`: how
-- a success is announced; `none_parked`: no group of a run that was brought has parked jobs; `sums`: what is done once a call.
local function follow_up(P, run, now, batch, has_parents, emit, none_parked, sums)
  local id, f, answer = run[ID], run[FIELDS], run[ANSWER]
  local outbox, well, group = false, answer == "ok", f[GROUP_KEY]
  if group and answer ~= "retrying" then groups.release(P, group, now, none_parked) end
  if well then
    if batch.events then emit(P, "completed", id, "returnvalue", run[VALUE]) end
    if f[PARENT] and not sums.children then sums.children, sums.queue = {}, P:match("{([^{}]*)}$") end
    if f[PARENT] and not has_parents and f[PARENT_QUEUE] == sums.queue then
      -- Nearly always there is one parent, in this queue: it is told of all its children at once.
      local members = sums.children[f[PARENT]] or {}
      sums.children[f[PARENT]], members[#members + 1] = members, P .. ":" .. id
    elseif f[PARENT] or has_parents then
      outbox = flows.completed(P, id, f[PARENT], f[PARENT_QUEUE], has_parents)
    end
  elseif answer == "retrying" then
    events.emit(P, "retrying", id, "failedReason", run[VALUE], "attemptsMade", run[MADE], "delay",
      util.int(tonumber(run[BACKOFF])))
  else
    events.emit(P, "failed", id, "failedReason", run[VALUE])
    outbox = settle.send_letter(P, run, now)
  end
  if f[BUDGET] then
    local made = f[ATTEMPTS_MADE] and util.num(f[ATTEMPTS_MADE])
    local _, waits = util.attempt(budgets.settle, P, id, not well, now, answer ~= "retrying", made)
    outbox = waits or outbox
  end
  if f[SCHEDULER] and answer ~= "retrying" then schedules.ended(P, f[SCHEDULER], now) end
  if run[LEDGER] ~= "" then
    ledger.finish(P, id, run[LEDGER], well and "completed" or "failed", well and "" or run[VALUE], now, well)
  end
  return outbox
end

-- Whether any of the jobs has a set of parents, and whether there are early signals for any job.
local function have_others(P, settled)
  local found = util.existing(settle.others(P, settled, {}))
  if found == 0 then return false, false end
  local early = call("EXISTS", P .. ":early-index")
  return found > early, early == 1
end

-- Whether no group of these runs has parked jobs.
local function is_none_parked(P, settled)
  local keys = {}
  for _, run in ipairs(settled) do
    local key = run[FIELDS][GROUP_KEY]
    if key then keys[#keys + 1] = key end
  end
  return #keys == 0 or not groups.any_parked(P, keys)
end

-- What ends add up to, for what is done once a call. One that is tried again counts its tokens only.
local function add_up(P, run, answer, sums)
  local id, rule = run[ID], run[RETENTION]
  if run[ENTRY] == "" then
    sums.listed = sums.listed or {}
    table.insert(sums.listed, id)
  end
  if run[TOKENS] ~= "" then sums.tokens = sums.tokens + util.num(run[TOKENS]) end
  if answer == "retrying" then return end
  if answer == "ok" and run[SEEN]:find("k", 1, true) then util.attempt(steps.forget, P, id) end
  if rule ~= "" and (rule == "all" or rule ~= sums.rule or answer ~= sums.answer) then
    sums.ruled, sums.rule, sums.answer = sums.ruled or {}, rule, answer
    table.insert(sums.ruled, { PLACES[answer], id, rule })
  end
end

-- Do once what the ends of a call ask for. Whether an entry waits in the outbox.
local function conclude(P, settled, sums, batch, has_early, now)
  local outbox = sums.children and flows.all_completed(P, sums.children)
  if batch.metrics then metrics.add(P, "completed", now, sums.ok, sums.ok_ms) end
  metrics.add(P, "failed", now, sums.failed, sums.failed_ms)
  if batch.count_tokens then settle.count_tokens(P, sums.tokens, batch.tpm_duration, now) end
  if sums.listed then util.attempt(runs.leave_list, P, sums.listed) end
  if has_early then
    local ids = {}
    for _, run in ipairs(settled) do
      if not run[LOST] and (run[ANSWER] == "ok" or run[ANSWER] == "failed") then ids[#ids + 1] = run[ID] end
    end
    util.attempt(jobs.drop_early, P, ids)
  end
  if sums.ruled then util.attempt(jobs.retain, P, sums.ruled, now) end
  return outbox
end

-- Settle the runs that an exchange brings (`batch.runs`); returns the answers in their order, none if every one is ok, and whether an entry
-- waits in the outbox.
function settle.all(P, _, now, batch)
  local settled, entries = batch.runs, batch.entries
  batch.runs, batch.entries = nil, nil -- they may be large, and a batch outlives its call
  if #settled == 0 then return {}, false end
  local missed = record(P, settled, acknowledge(P, entries), now, batch)
  end_entries(P, settled, entries, missed, batch.consumer)
  local has_parents, has_early = false, false
  if not batch.quiet then has_parents, has_early = have_others(P, settled) end
  local none_parked = is_none_parked(P, settled)
  local outbox, all_ok, last, stream = false, true, #settled, P .. ":events"
  local sums, stamp, started = { tokens = 0, ok = 0, ok_ms = 0, failed = 0, failed_ms = 0 }, nil, 0
  for i, run in ipairs(settled) do
    local answer, f = run[ANSWER], run[FIELDS]
    if answer ~= "ok" then all_ok = false end
    if not run[LOST] and answer ~= "unrecorded" then
      if answer ~= "retrying" then
        -- Those that were claimed together began together.
        if f[STARTED] ~= stamp then stamp, started = f[STARTED], util.num(f[STARTED], now) end
        local ran = started < now and now - started or 0
        if answer == "ok" then
          sums.ok, sums.ok_ms = sums.ok + 1, sums.ok_ms + ran
        else
          sums.failed, sums.failed_ms = sums.failed + 1, sums.failed_ms + ran
        end
      end
      if run[SIMPLE] and #f <= GROUP_KEY and not (f[BUDGET] or f[PARENT] or has_parents) and i < last then
        if f[GROUP_KEY] then groups.release(P, f[GROUP_KEY], now, none_parked) end
        if batch.events then
          try("XADD", stream, "*", "event", "completed", "jobId", run[ID], "returnvalue", run[VALUE])
        end
      else
        add_up(P, run, answer, sums)
        outbox = follow_up(P, run, now, batch, has_parents, i == last and events.emit or events.emit_more, none_parked,
          sums) or outbox
      end
    end
  end
  outbox = conclude(P, settled, sums, batch, has_early, now) or outbox
  return all_ok and {} or settle.answers(settled), outbox
end

-- What became of runs, in their order.
function settle.answers(settled)
  local answers = {}
  for i, run in ipairs(settled) do answers[i] = run[ANSWER] end
  return answers
end

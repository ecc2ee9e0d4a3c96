-- Schedulers: hash P:schedulers, name -> JSON. Callers work out times and texts, for a script knows no time zones; what is
-- written is decided here. Peers change entries under a lock of theirs: while it is held nothing is written, and a call is
-- atomic itself.

local PAGE = 1000 -- schedulers that one look goes through, if there are many
local DUE = 100 -- and returns at most
local LOOKED_AT = 64 -- schedulers among which those are counted whose runs nobody makes
local LONG = 16384 -- bytes of an entry that is not looked at for that
local LATE = 15000 -- ms by which a run is late that nobody makes
local DUE_BYTES = 4000000 -- and bytes of their texts, but for the first
-- An entry whose fields here stay the same keeps its count and its next run when it is set again.
local TIMING = { "pattern", "every", "repeatAfterComplete", "tz", "startDate", "endDate" }

local function is_locked(P)
  return call("EXISTS", P .. ":schedulers:lock:__tick__") == 1
end

-- Ends of jobs ---------------------------------------------------------------------------------------------------
-- The next run of a scheduler that repeats after completion counts from the end of its job: whatever call ends it says when.

-- The text of an entry with another nextRun. Decoding and encoding it whole would spoil what scripts cannot tell apart
-- in the template ({} and [], long numbers), so the number is changed in place and the result checked.
local function with_next_run(text, nxt)
  local from = 1
  while true do
    local a, b = text:find('"nextRun"%s*:%s*0', from)
    if not a then return nil end
    local changed = text:sub(1, b - 1) .. util.int(nxt) .. text:sub(b + 1)
    local ok, entry = pcall(cjson.decode, changed)
    if ok and entry.nextRun == nxt then return changed end
    from = b + 1
  end
end

-- A job of the scheduler `name` ended at `now`, well or not.
function schedules.ended(P, name, now)
  if not name then return end
  local key = P .. ":schedulers"
  local text = try("HGET", key, name)
  if type(text) ~= "string" then return end
  local entry = util.json(text)
  local gap = entry and tonumber(entry.repeatAfterComplete)
  if not gap or gap <= 0 or entry.nextRun ~= 0 then return end
  local nxt, limit, last = now + gap, tonumber(entry.limit), tonumber(entry.endDate)
  local changed = with_next_run(text, nxt)
  if (limit and (tonumber(entry.iterationCount) or 0) >= limit) or (last and nxt > last) then
    call("HDEL", key, name)
  elseif changed then
    call("HSET", key, name, changed)
  end
end

-- The same, for ends that do not know of a scheduler.
function schedules.job_ended(P, id, now)
  schedules.ended(P, call("HGET", P .. ":job:" .. id, "schedulerName"), now)
end

-- Ticks ----------------------------------------------------------------------------------------------------------

local function amount(value)
  return type(value) == "number" and value > 0 and value or nil
end

-- Whether a tick has something to do with an entry, and else when it has. One without any timing is to be deleted.
local function is_due(entry, now)
  if type(entry.pattern) ~= "string" and not amount(entry.every) and not amount(entry.repeatAfterComplete) then return true end
  local at = amount(entry.nextRun)
  return at and at <= now, at
end

-- The next run of a text that names it once: nearly every entry is seen not to be due without being decoded.
local function only_next_run(text)
  local _, stop, digits = text:find('"nextRun":(%d+)')
  return stop and not text:find('"nextRun"', stop, true) and tonumber(digits) or nil
end

-- How many schedulers have a run that nobody made in time; false when there are too many to look at.
function schedules.missed(read, now)
  local many, count = read("HLEN", "schedulers"), 0
  if not many or many > LOOKED_AT then return false end
  for _, name in ipairs(many > 0 and read("HKEYS", "schedulers") or {}) do
    -- A long template is not copied for a number: such a scheduler counts only on the screen of schedules.
    local text = (read("HSTRLEN", "schedulers", name) or 0) <= LONG and read("HGET", "schedulers", name)
    local nxt = text and only_next_run(text)
    if text and (not nxt or nxt < now - LATE) then
      local entry = util.json(text)
      local due, at = is_due(entry or {}, now)
      local limit, last = entry and tonumber(entry.limit), entry and tonumber(entry.endDate)
      local over = limit and (tonumber(entry.iterationCount) or 0) >= limit or last and at and at > last
      if due and at and at < now - LATE and not over then count = count + 1 end
    end
  end
  return count
end

-- The schedulers that are due, of a page of some thousand that a caller walks. A page begins at another place each time:
-- entries that nobody can run must not keep others from being seen.
-- Returns {"looked", next time in ms or "", cursor ("0": done), name, text, name, text...}.
local function look(P, now, cursor)
  local page = call("HSCAN", P .. ":schedulers", cursor, "COUNT", PAGE)
  local entries, found, bytes, soonest = page[2], {}, 0, nil
  local count = #entries / 2
  for i = 0, count - 1 do
    local at = 2 * ((i + now) % count)
    local name, text = entries[at + 1], entries[at + 2]
    local due, later = false, only_next_run(text)
    if not later or later <= now then
      local entry = util.json(text)
      if entry then due, later = is_due(entry, now) else later = nil end
    end
    if due and #found < 2 * DUE and (bytes + #text < DUE_BYTES or #found == 0) then
      found[#found + 1], found[#found + 2] = name, text
      bytes = bytes + #text
    elseif due then
      soonest = now
    elseif later and (not soonest or later < soonest) then
      soonest = later
    end
  end
  return { "looked", soonest and util.int(soonest) or "", page[1], unpack(found) }
end

-- The first page. One worker a turn looks (`turn`: how long a turn lasts, ms; "0" looks whoever has it, "" not at all), so
-- that many do not look for the same. Returns {} (not looked) | {"taken"} | a page.
function schedules.due(P, now, turn, worker)
  if turn == "" or call("EXISTS", P .. ":schedulers") == 0 then return {} end
  if turn ~= "0" then
    local holder = P .. ":turn:scheduler"
    if not call("SET", holder, worker, "NX", "PX", turn) and call("GET", holder) ~= worker then return { "taken" } end
  end
  return look(P, now, "0")
end

-- A further page. args: now, cursor. Reply: the page.
register("schedule_look", { "no-writes" }, function(P, args) return look(P, tonumber(args[1]), args[2]) end)

-- Make what the caller worked out for due schedulers, each only if its entry is still what was read: of many workers one
-- makes a run, and a repeated call changes nothing.
-- args: now, then six an entry: name, text that was read, new text ("": it goes), and name, data and options of its job as
-- `add` takes them (options "": no job).
-- Reply {"locked"} | {"ok", "made" | "changed" | "held" each, other errors}.
register("schedule_tick", {}, function(P, args)
  if is_locked(P) then return { "locked" } end
  local now, key, out = tonumber(args[1]), P .. ":schedulers", { "ok" }
  runs.check_places(P)
  for i = 2, #args, 6 do
    local name, text, changed, packed = args[i], args[i + 1], args[i + 2], args[i + 5]
    local outcome = "changed"
    if call("HGET", key, name) == text then
      local well = packed == "" or util.attempt(jobs.add_packed, P, now, true, args[i + 3], args[i + 4], packed)
      outcome = well and "made" or "held"
      if well and changed == "" then call("HDEL", key, name) elseif well then call("HSET", key, name, changed) end
    end
    out[#out + 1] = outcome
  end
  out[#out + 1] = noted_errors
  return out
end)

-- Edits ----------------------------------------------------------------------------------------------------------

local function with(text, name, value)
  return value and text .. ',"' .. name .. '":' .. value or text
end

-- Set a scheduler. One that is there with the same timing goes on where it is.
-- args: name, first run, timing as JSON, limit ("" none), template as JSON ("" none), op, audit.
-- Reply {"locked"} | {"ok", text of the entry, text that it had ("" it is new)}.
register("schedule_set", {}, function(P, args)
  local key, name, timing = P .. ":schedulers", args[1], cjson.decode(args[3])
  local earlier = util.made_before(P, args[6], "1")
  if earlier then return earlier end
  if is_locked(P) then return { "locked" } end
  audit.ready(P, args[7])
  local before = call("HGET", key, name) or ""
  local entry = util.json(before)
  local same = entry and amount(entry.nextRun)
  for _, field in ipairs(TIMING) do same = same and entry[field] == timing[field] end
  local text = with(args[3]:sub(1, -2), "limit", args[4] ~= "" and args[4])
  text = with(text, "iterationCount", util.int(same and amount(entry.iterationCount) or 0))
  text = with(text, "template", args[5] ~= "" and args[5])
  text = with(text, "lastRun", same and amount(entry.lastRun) and util.int(entry.lastRun))
  text = with(text, "nextRun", same and util.int(entry.nextRun) or args[2]) .. "}"
  call("HSET", key, name, text)
  audit.append(P, args[7], "set")
  return util.made(P, args[6], "1", { "ok", text, before })
end)

-- Remove a scheduler; its jobs stay. args: name, op, audit. Reply {"locked"} | {"removed", its text} | {"not_found"}.
register("schedule_remove", {}, function(P, args)
  local earlier = util.made_before(P, args[2], "1")
  if earlier then return earlier end
  if is_locked(P) then return { "locked" } end
  audit.ready(P, args[3])
  local text = call("HGET", P .. ":schedulers", args[1])
  if call("HDEL", P .. ":schedulers", args[1]) == 0 then return { "not_found" } end
  audit.append(P, args[3], "removed")
  return util.made(P, args[2], "1", { "removed", text })
end)

-- Give a scheduler the text that it had, if it is as it was left. args: name, text that it has ("" there is none), text
-- that it had ("" there was none), op, audit. Reply {"locked"} | {"restored"} | {"changed"}: it ran or was edited since.
register("schedule_restore", {}, function(P, args)
  local earlier = util.made_before(P, args[4], "1")
  if earlier then return earlier end
  if is_locked(P) then return { "locked" } end
  audit.ready(P, args[5])
  local key, name = P .. ":schedulers", args[1]
  if (call("HGET", key, name) or "") ~= args[2] then return { "changed" } end
  if args[3] == "" then call("HDEL", key, name) else call("HSET", key, name, args[3]) end
  audit.append(P, args[5], "restored")
  return util.made(P, args[4], "1", { "restored" })
end)

-- Add a job of a scheduler now, besides its runs, if its entry is still what was read.
-- args: name, text that was read, now, name, data and options of the job as `add` takes them, op, audit.
-- Reply {"ok", id} | {"changed"}.
register("schedule_run", {}, function(P, args)
  local earlier = util.made_before(P, args[7], "1")
  if earlier then return earlier end
  audit.ready(P, args[8])
  if call("HGET", P .. ":schedulers", args[1]) ~= args[2] then return { "changed" } end
  runs.check_places(P)
  local _, id = jobs.add_packed(P, tonumber(args[3]), true, args[4], args[5], args[6])
  audit.append(P, args[8], "added")
  return util.made(P, args[7], "1", { "ok", id })
end)

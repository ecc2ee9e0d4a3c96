-- Schedulers of other libraries whose next run counts from the end of the last one: whoever ends such a job sets the next one.

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
  local ok, entry = pcall(cjson.decode, text)
  local gap = ok and type(entry) == "table" and tonumber(entry.repeatAfterComplete)
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

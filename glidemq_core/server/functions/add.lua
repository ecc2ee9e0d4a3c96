-- Adding jobs. Validation and encoding happen in the caller; ids, sequence numbers, deduplication, placement
-- and the event are decided here, in one call a batch.

local EXACT = 9007199254740992 -- 2^53

-- The counter follows only canonical decimals that a double holds exactly: others would break INCR for good.
function jobs.raise_counter(P, id)
  if id:match("^[1-9]%d*$") and #id <= 16 then
    local n = tonumber(id)
    if n < EXACT and n > util.num(call("GET", P .. ":id")) then call("SET", P .. ":id", id) end
  end
end

-- Take `count` automatic ids; returns the last. A peer may have stored a custom id that INCRBY refuses (leading
-- zeros, too many digits): the counter then goes on behind it, or from the clock, beyond every id that was counted.
function jobs.take_ids(P, count, now)
  local key = P .. ":id"
  local last = try("INCRBY", key, count)
  if type(last) == "number" and last >= count then return last end
  local stored = call("GET", key)
  local n = stored:match("^%d+$") and tonumber(stored) or stored:match("^%-%d+$") and 0 or now
  if n >= EXACT - 1 then n = now end
  call("SET", key, util.int(n))
  return call("INCRBY", key, count)
end

function jobs.next_id(P, now)
  local n = jobs.take_ids(P, 1, now)
  -- Beyond 2^53 a reply is rounded; the text in the key is not.
  return n < EXACT and util.int(n) or call("GET", P .. ":id")
end

local function set_or_drop(g, present, drop, ...)
  if present then call("HSET", g, ...) else call("HDEL", g, unpack(drop)) end
end

-- Take the next sequence number of an ordering key and bring the group's settings up to this add.
function groups.join(P, spec, now)
  local g = P .. ":group:" .. spec.key
  -- The group first: if it is something else no number is taken, which would never start.
  call("HSET", g, "maxConcurrency", util.int(spec.concurrency))
  local seq = call("HINCRBY", P .. ":ordering", spec.key, 1)
  groups.forget_later(P, spec.key, now)
  call("HSETNX", g, "nextSeq", "1")
  local rate, bucket = spec.rate, spec.bucket
  set_or_drop(g, rate, { "rateMax", "rateDuration", "rateWindowStart", "rateCount" },
    "rateMax", rate and util.int(rate[1]), "rateDuration", rate and util.int(rate[2]))
  if bucket then
    if call("HEXISTS", g, "tbCapacity") == 0 then
      call("HSET", g, "tbTokens", util.int(bucket[1]), "tbLastRefill", util.int(now), "tbRefillRemainder", "0")
    end
    call("HSET", g, "tbCapacity", util.int(bucket[1]), "tbRefillRate", util.int(bucket[2]))
  else
    call("HDEL", g, "tbCapacity", "tbRefillRate", "tbTokens", "tbLastRefill", "tbRefillRemainder")
  end
  return seq
end

-- Decide by the record of an earlier job of the same deduplication id. True: skip this add.
local function deduplicated(P, dedup, now, with_events)
  local record = call("HGET", P .. ":dedup", dedup.id)
  if not record then return false end
  local old, at = record:match("^([^:]*):(.*)$")
  if not old then return false end
  if dedup.mode == "throttle" then
    return dedup.ttl > 0 and now - util.num(at) < dedup.ttl
  end
  local job = jobs.look(P, old)
  if not job or job.state == "" or job.state == "completed" or job.state == "failed" then return false end
  if dedup.mode ~= "debounce" or job.state ~= "delayed" and job.state ~= "prioritized" then return true end
  call("ZREM", P .. ":scheduled", old)
  if with_events then events.emit(P, "removed", old) end
  budgets.settle(P, old, true, now, true)
  jobs.purge(P, { old })
  -- It may wait for a retry and hold its slot.
  jobs.leave_group(P, old, job, now)
  return false
end

-- Put a job whose hash is written where its state belongs.
function jobs.place(P, id, name, now, delay, priority, lifo)
  if delay > 0 then
    call("ZADD", P .. ":scheduled", util.int(priority * PRIORITY_STEP + now + delay), id)
  elseif priority > 0 then
    call("ZADD", P .. ":scheduled", util.int(priority * PRIORITY_STEP), id)
  elseif lifo then
    call("RPUSH", P .. ":lifo", id)
  else
    runs.to_stream(P, id, name)
  end
end

-- One job. `extra` carries what few jobs have: ordering, cost, deduplication, parent, ttl, budget, scheduler (whose next
-- run counts from the job's end).
local function add_one(P, now, with_events, id, name, data, opts, delay, priority, attempts, lifo, extra)
  if extra.dedup and deduplicated(P, extra.dedup, now, with_events) then return "skipped" end
  if id ~= "" and call("EXISTS", P .. ":job:" .. id) == 1 then return "duplicate" end
  if extra.ordering and extra.ordering.bucket and (extra.cost or 1000) > extra.ordering.bucket[1] then return "cost" end
  if id == "" then id = jobs.next_id(P, now) else jobs.raise_counter(P, id) end
  local state = delay > 0 and "delayed" or priority > 0 and "prioritized" or "waiting"
  local fields = { "id", id, "name", name, "data", data, "opts", opts, "timestamp", util.int(now), "attemptsMade", "0",
    "delay", util.int(delay), "priority", util.int(priority), "maxAttempts", util.int(attempts), "state", state }
  local function field(k, v)
    fields[#fields + 1], fields[#fields + 2] = k, v
  end
  local parent, budget = extra.parent, extra.budget
  if parent then
    -- Before anything is written: a parent's key may be one that we must not touch, and a number that was taken in an
    -- ordering key and never starts would block it.
    local status, found = flows.adopt(P, id, parent)
    if status ~= "ok" then return status, found end
    budget = budget or found
  end
  if extra.ordering then
    field("groupKey", extra.ordering.key)
    field("orderingSeq", util.int(groups.join(P, extra.ordering, now)))
  end
  if extra.cost then field("cost", util.int(extra.cost)) end
  if extra.ttl then field("expireAt", util.int(now + extra.ttl)) end
  if lifo then field("lifo", "1") end
  if extra.scheduler then field("schedulerName", extra.scheduler) end
  if parent then
    field("parentId", parent.id)
    field("parentQueue", parent.queue)
  end
  if budget then field("budgetKey", budget) end
  call("HSET", P .. ":job:" .. id, unpack(fields))
  if extra.dedup then
    call("HSET", P .. ":dedup", extra.dedup.id, id .. ":" .. util.int(now))
    jobs.forget_dedup_later(P, extra.dedup.id, extra.dedup.ttl, now)
  end
  jobs.place(P, id, name, now, delay, priority, lifo)
  if with_events then events.emit(P, "added", id, "name", name) end
  return "ok", id
end

-- The same, with what `add` is told of a job: `packed` is a JSON array of texts (id, opts, delay, priority, attempts,
-- lifo, extra).
function jobs.add_packed(P, now, with_events, name, data, packed)
  local o = cjson.decode(packed)
  local extra = o[7] ~= "" and cjson.decode(o[7]) or {}
  return add_one(P, now, with_events, o[1], name, data, o[2], tonumber(o[3]), tonumber(o[4]), tonumber(o[5]),
    o[6] == "1", extra)
end

-- A batch of jobs without any options: ids in one step, nothing to decide. Few long words there and back cost less
-- than many.
-- args: now, events ("1"/""), number of jobs, lengths in bytes of each job's name and data, parted by commas, and
-- these texts as one.
-- Reply: the ids in order, parted by commas; fewer than jobs if one was refused, which neither it nor those behind it were
-- added for. An error if it was the first.
register("add_plain", {}, function(P, args)
  local now, with_events, count, lengths, texts = tonumber(args[1]), args[2] == "1", tonumber(args[3]), args[4], args[5]
  local id = jobs.take_ids(P, count, now) - count
  local stream, job, stamp, exact = P .. ":stream", P .. ":job:", util.int(now), id + count < EXACT
  if not exact then call("DECRBY", P .. ":id", count) end
  local ids, at = {}, 1
  for name_bytes, data_bytes in lengths:gmatch("(%d+),(%d+)") do
    local data_at = at + name_bytes
    local name, data = texts:sub(at, data_at - 1), texts:sub(data_at, data_at + data_bytes - 1)
    at, id = data_at + data_bytes, id + 1
    local text = exact and util.int(id) or jobs.next_id(P, now)
    -- The entry first: if the stream refuses it, no record is left that nothing refers to.
    local answer = try("XADD", stream, "*", "jobId", text, "name", name)
    if type(answer) ~= "table" then
      answer = try("HSET", job .. text, "id", text, "name", name, "data", data, "opts", "{}", "timestamp", stamp,
        "attemptsMade", "0", "delay", "0", "priority", "0", "maxAttempts", "0", "state", "waiting")
    end
    if type(answer) == "table" then
      if #ids == 0 then error(answer) end
      break
    end
    if with_events then events.emit(P, "added", text, "name", name) end
    ids[#ids + 1] = text
  end
  return table.concat(ids, ",")
end)

-- args: now, events ("1"/""), then per job: name, data, its options packed.
-- Reply: per job {"ok", id} | {"skipped"} | {"duplicate"} | {"cost"} | {"refused", error at the parent elsewhere} |
-- {"error", text} if there are several (one alone: an error), in order.
-- A refused job leaves nothing behind; the others are stored.
register("add", {}, function(P, args)
  local now, with_events, out = tonumber(args[1]), args[2] == "1", {}
  runs.check_places(P)
  if #args == 5 then return { { jobs.add_packed(P, now, with_events, args[3], args[4], args[5]) } } end
  for i = 3, #args, 3 do
    local well, status, more = pcall(jobs.add_packed, P, now, with_events, args[i], args[i + 1], args[i + 2])
    if well then
      out[#out + 1] = { status, more }
    else
      out[#out + 1] = { "error", type(status) == "table" and status.err or tostring(status) }
    end
  end
  return out
end)

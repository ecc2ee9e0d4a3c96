-- Ordering groups: sequence, concurrency, window and token bucket of `P:group:<key>` and its parked jobs.
-- Invariants shared with every peer: nextSeq only moves forward, by a start or a skip marker; a slot is taken
-- once a job and freed once; all stored numbers are integers.

-- The first number from `from` on that has no marker; `take` removes those before it. Where there are more markers than
-- one call steps over, the group is noted for the next tick, which goes on with it.
local function unmarked(g, from, take)
  local at, page = from, 1
  while util.steps_left > 0 do
    local names, hits = {}, 0
    for i = 1, page do names[i] = "skip:" .. util.int(at + i - 1) end
    local found = call("HMGET", g, unpack(names))
    while hits < page and found[hits + 1] do hits = hits + 1 end
    if hits > 0 and take then call("HDEL", g, unpack(names, 1, hits)) end
    at, util.steps_left = at + hits, util.steps_left - hits
    if hits < page then return at end
    page = 500
  end
  local root, key = g:match("^(.*}):group:(.*)$")
  call("ZADD", root .. ":ratelimited", "0", key)
  return at
end

-- Step over markers of sequence numbers that will never start.
function groups.next_seq(g)
  local from = util.num(call("HGET", g, "nextSeq"))
  if from < 1 then return from end
  local nxt = unmarked(g, from, true)
  if nxt ~= from then call("HSET", g, "nextSeq", util.int(nxt)) end
  return nxt
end

-- Millitokens in the bucket now; writes nothing while it is full, so tbLastRefill may be stale then.
function groups.refill(g, capacity, rate, now)
  local f = call("HMGET", g, "tbTokens", "tbLastRefill", "tbRefillRemainder")
  if not f[1] then return capacity end
  local tokens = util.num(f[1])
  if tokens >= capacity then return capacity end
  local elapsed = now - util.num(f[2], now)
  if elapsed <= 0 or rate <= 0 then return tokens end
  elapsed = min(elapsed, math.ceil(capacity * 1000 / rate))
  local raw = elapsed * rate + util.num(f[3])
  tokens = min(capacity, tokens + floor(raw / 1000))
  call("HSET", g, "tbTokens", util.int(tokens), "tbLastRefill", util.int(now), "tbRefillRemainder", util.int(raw % 1000))
  return tokens
end

function groups.park(P, id, job, seq)
  local score = seq > 0 and seq or tonumber(id) or util.num(job.timestamp)
  call("ZADD", P .. ":groupq:" .. job.groupKey, util.int(score), id)
  call("HSET", P .. ":job:" .. id, "state", "group-waiting")
end

local function retry_at(P, key, at)
  call("ZADD", P .. ":ratelimited", util.int(at), key)
end

function groups.too_expensive(P, id, now, with_metrics)
  local key, reason = P .. ":job:" .. id, "cost exceeds token bucket capacity"
  call("ZADD", P .. ":failed", util.int(now), id)
  call("HSET", key, "state", "failed", "failedReason", reason, "finishedOn", util.int(now))
  schedules.job_ended(P, id, now)
  events.emit(P, "failed", id, "failedReason", reason)
  if with_metrics then
    local started = call("HGET", key, "processedOn")
    metrics.add(P, "failed", now, 1, started and now - util.num(started, now) or 0)
  end
end

-- Whether any of these groups has parked jobs: mostly none has, which one look tells.
function groups.any_parked(P, keys)
  local rows, prefix = {}, P .. ":groupq:"
  for i, key in ipairs(keys) do rows[i] = prefix .. key end
  return util.existing(rows) > 0
end

-- Jobs that have started (their groups and ids) are not parked any more.
function groups.leave_rows(P, keys, ids)
  if not groups.any_parked(P, keys) then return end
  for i, key in ipairs(keys) do try("ZREM", P .. ":groupq:" .. key, ids[i]) end
end

-- Start a job whose turn it is, in a group that limits nothing but how many run at once: nearly always so. False, and nothing
-- is changed, when there is more to decide. The caller takes what was started off the row of parked jobs (`leave_rows`).
function groups.start_next(P, key, number)
  local g = P .. ":group:" .. key
  local f = call("HMGET", g, "nextSeq", "active", "tbCapacity", "rateMax", "skip:" .. number)
  if f[1] ~= number or f[5] or f[3] and f[3] ~= "0" or f[4] and f[4] ~= "0" then return false end
  local active, seq = 0, tonumber(number)
  if not seq or seq < 1 or seq > 2 ^ 53 or seq % 1 ~= 0 then return false end
  if f[2] and f[2] ~= "0" then
    if not f[2]:find("^%d+$") then return false end
    local limit = util.num(call("HGET", g, "maxConcurrency"))
    active = tonumber(f[2])
    if limit > 0 and active >= limit then return false end
  end
  call("HSET", g, "active", active + 1, "nextSeq", seq + 1)
  return true
end

-- Ask whether a job may start. Returns nil and takes slot, window and tokens; or a reason, the job then being
-- parked ("ordered", "full", "limited") or failed ("failed"). The caller removes its stream entry or list count.
function groups.try_start(P, id, job, now)
  local g, seq = P .. ":group:" .. job.groupKey, util.num(job.orderingSeq)
  local f = call("HMGET", g, "maxConcurrency", "active", "tbCapacity", "tbRefillRate", "rateMax", "rateDuration",
    "rateWindowStart", "rateCount", "nextSeq", "skip:" .. (job.orderingSeq or ""))
  -- Mostly it is this job's turn, and its number has no marker: then there is nothing to step over.
  local nxt = seq
  if util.num(f[9]) ~= seq or seq < 1 or f[10] then nxt = groups.next_seq(g) end
  if seq > 0 and nxt > 0 and seq > nxt then
    groups.park(P, id, job, seq)
    return "ordered"
  end
  local returning = nxt > 0 and seq > 0 and seq < nxt
  local limit, active = util.num(f[1]), util.num(f[2])
  if limit > 0 and active >= limit and not returning then
    groups.park(P, id, job, seq)
    return "full"
  end
  local wait, capacity, cost = 0, util.num(f[3]), util.num(job.cost, 1000)
  if capacity > 0 then
    local rate = util.num(f[4])
    local tokens = groups.refill(g, capacity, rate, now)
    if cost > capacity then
      groups.too_expensive(P, id, now, false)
      jobs.leave_group(P, id, job, now)
      return "failed"
    end
    if tokens < cost then wait = math.ceil((cost - tokens) * 1000 / max(rate, 1)) end
  end
  local rate_max, duration, start = util.num(f[5]), util.num(f[6]), util.num(f[7])
  local windowed = rate_max > 0 and duration > 0
  local running = windowed and now - start < duration
  if running and util.num(f[8]) >= rate_max then wait = max(wait, start + duration - now) end
  if wait > 0 and not returning then
    retry_at(P, job.groupKey, now + wait)
    groups.park(P, id, job, seq)
    return "limited"
  end
  if capacity > 0 then
    if call("HEXISTS", g, "tbTokens") == 0 then call("HSET", g, "tbTokens", util.int(capacity)) end
    call("HINCRBY", g, "tbTokens", util.int(-cost))
  end
  if windowed then
    if running then
      call("HINCRBY", g, "rateCount", 1)
    else
      call("HSET", g, "rateWindowStart", util.int(now), "rateCount", "1")
    end
  end
  if not returning then
    if seq > 0 and (f[2] or "0"):find("^%d+$") then
      call("HSET", g, "active", util.int(active + 1), "nextSeq", util.int(seq + 1))
    else
      call("HINCRBY", g, "active", 1)
      if seq > 0 then call("HSET", g, "nextSeq", util.int(seq + 1)) end
    end
  end
  try("ZREM", P .. ":groupq:" .. job.groupKey, id)
  return nil
end

-- A parked job goes to the stream, or fails as its time is over. Returns how many went.
local function send_parked(P, id, job, now)
  if now > 0 and job[4] and now > util.num(job[4]) then
    jobs.expire(P, id, now, true)
    return 0
  end
  runs.to_stream(P, id, job[3] or "")
  call("HSET", P .. ":job:" .. id, "state", "waiting")
  return 1
end

-- Send parked jobs of a group to the stream as far as slots, window and bucket allow. now = 0 skips the limits.
function groups.dispatch(P, key, now)
  local g, q = P .. ":group:" .. key, P .. ":groupq:" .. key
  local parked = call("ZCARD", q)
  if parked == 0 then return 0 end
  local f = call("HMGET", g, "maxConcurrency", "active", "rateMax", "rateDuration", "rateWindowStart", "rateCount",
    "tbCapacity", "tbRefillRate")
  local limit, active = util.num(f[1]), util.num(f[2])
  if limit > 0 and active >= limit then return 0 end
  local room = limit > 0 and min(limit - active, parked) or parked
  if now > 0 then
    local rate_max, duration, start = util.num(f[3]), util.num(f[4]), util.num(f[5])
    if rate_max > 0 and duration > 0 and now - start < duration then
      local left = rate_max - util.num(f[6])
      if left <= 0 then
        retry_at(P, key, start + duration)
        return 0
      end
      room = min(room, left)
    end
    local capacity, rate = util.num(f[7]), util.num(f[8])
    if capacity > 0 then
      local tokens = groups.refill(g, capacity, rate, now)
      for _ = 1, 10 do
        local head = call("ZRANGE", q, 0, 0)[1]
        if not head then return 0 end
        local job = call("HMGET", P .. ":job:" .. head, "state", "cost", "orderingSeq")
        local cost = util.num(job[2], 1000)
        if not job[1] then
          call("ZREM", q, head)
        elseif cost > capacity then
          call("ZREM", q, head)
          groups.too_expensive(P, head, now, true)
          groups.skip(P, key, job[3])
        elseif tokens < cost then
          retry_at(P, key, now + math.ceil((cost - tokens) * 1000 / max(rate, 1)))
          return 0
        else
          break
        end
      end
    end
  end
  local wanted = room
  room = min(room, util.moves_left)
  local expected, released, looks = groups.next_seq(g), 0, 0
  while released < room do
    looks = looks + 1
    if looks > room + 100 then -- a long row of expired jobs: the next tick goes on
      retry_at(P, key, now)
      break
    end
    local popped = call("ZPOPMIN", q)
    local id = popped[1]
    if not id then break end
    local job = util.fields(P .. ":job:" .. id, "state", "orderingSeq", "name", "expireAt")
    if job[1] == "group-waiting" then
      local seq = util.num(job[2])
      if seq > 0 and expected > 0 and seq > expected then
        call("ZADD", q, popped[2], id)
        break
      end
      local well, sent = util.attempt(send_parked, P, id, job, now)
      if not well then
        call("ZADD", q, popped[2], id)
        retry_at(P, key, now + RETRY_MS)
        break
      end
      released = released + sent
      if seq > 0 and seq == expected then
        expected = unmarked(g, expected + 1, false)
      end
    end
  end
  util.moves_left = util.moves_left - released
  if released == room and room < wanted then retry_at(P, key, now) end
  return released
end

-- Take back the start of a job that did not run: its number becomes next again unless a later one started meanwhile.
function groups.undo_start(P, key, seq)
  local g = P .. ":group:" .. key
  local f = call("HMGET", g, "nextSeq", "active")
  if seq > 0 and util.num(f[1]) == seq + 1 then
    call("HSET", g, "nextSeq", util.int(seq))
    if util.num(f[2]) > 0 then call("HINCRBY", g, "active", -1) end
  end
end

-- Take one off the running jobs of a group, not below zero and without making a group that is gone. Returns an error that
-- shows that it is no group or out of reach.
local function free_slot(g)
  local active = try("HINCRBY", g, "active", -1)
  if type(active) == "table" then return not active.err:find("integer", 1, true) and active or nil end
  if active >= 0 then return nil end
  if active == -1 and try("HLEN", g) == 1 then try("UNLINK", g) else try("HINCRBY", g, "active", 1) end
  return nil
end

-- Free the slot of a job that ended (not of one that only sleeps) and let parked jobs follow, unless the caller knows that
-- there are `none`. Never fails: the job has ended in any case.
function groups.release(P, key, now, none)
  if not key or key == "" then return end
  local problem = free_slot(P .. ":group:" .. key)
  if problem then
    util.note_error(problem)
    return
  end
  if none then return end
  if not util.attempt(groups.dispatch, P, key, now) then try("ZADD", P .. ":ratelimited", util.int(now + RETRY_MS), key) end
end

-- A job that never started will never start: mark its sequence number, or it would block its key for ever.
-- A job whose number was passed already keeps no one waiting: false, nothing happens then.
function groups.skip(P, key, seq)
  seq = util.num(seq)
  if not key or key == "" or seq < 1 then return false end
  local g = P .. ":group:" .. key
  if seq < util.num(call("HGET", g, "nextSeq")) then return false end
  call("HSET", g, "skip:" .. util.int(seq), "1")
  -- Peers step over 128 markers a look, and do not wake jobs that are parked behind more.
  if call("HLEN", g) > 100 then groups.next_seq(g) end
  return true
end

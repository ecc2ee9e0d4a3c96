-- Records of deduplication ids and ordering keys go once nothing can need them: whoever adds with one notes when to look.

local DAY = 86400000
local PAGE = 100 -- ids or keys looked at in one call
local HELD = 5000 -- jobs that may be looked through for the keys they hold

-- Note when the record of a deduplication id may go, at the earliest; a longer throttle wins.
function jobs.forget_dedup_later(P, id, ttl, now)
  call("ZADD", P .. ":dedup-due", "GT", util.int(now + max(ttl or 0, DAY)), id)
end

-- Note when the records of an ordering key may go, at the earliest.
function groups.forget_later(P, key, now)
  call("ZADD", P .. ":ordering-due", util.int(now + DAY), key)
end

local function due(P, index, now)
  return call("ZRANGEBYSCORE", P .. index, "-inf", util.int(now), "LIMIT", 0, PAGE)
end

-- The job of a record that still says something keeps it; so does an add by a peer within a day.
local function forget_dedups(P, now)
  local ids = due(P, ":dedup-due", now)
  for _, id in ipairs(ids) do
    local job, at = (call("HGET", P .. ":dedup", id) or ""):match("^([^:]*):(.*)$")
    local state = job and call("HGET", P .. ":job:" .. job, "state")
    local fresh = job and now - util.num(at) < DAY
    if fresh or state and state ~= "completed" and state ~= "failed" then
      call("ZADD", P .. ":dedup-due", util.int(now + DAY), id)
    else
      call("HDEL", P .. ":dedup", id)
      call("ZREM", P .. ":dedup-due", id)
    end
  end
  return #ids
end

-- Keys of jobs that may start once more without holding a slot: failed ones, which somebody may retry, and retried ones
-- on their way back. Nil when there are too many to look at.
local function keys_in_use(P)
  local ids = {}
  local function take(list)
    for _, id in ipairs(list) do ids[#ids + 1] = id end
  end
  if call("ZCARD", P .. ":failed") + call("ZCARD", P .. ":scheduled") + call("XLEN", P .. ":stream")
      + call("LLEN", P .. ":lifo") + call("LLEN", P .. ":priority") > HELD then return nil end
  take(call("ZRANGE", P .. ":failed", 0, -1))
  take(call("ZRANGE", P .. ":scheduled", 0, -1))
  take(call("LRANGE", P .. ":lifo", 0, -1))
  take(call("LRANGE", P .. ":priority", 0, -1))
  for _, entry in ipairs(call("XRANGE", P .. ":stream", "-", "+")) do
    local id = util.map(entry[2]).jobId
    if id then ids[#ids + 1] = id end
  end
  local used = {}
  for _, id in ipairs(ids) do
    local key = call("HGET", P .. ":job:" .. id, "groupKey")
    if key then used[key] = true end
  end
  return used
end

-- Whether nothing of a key is under way: every number has started or was skipped, no slot is held, nobody is parked,
-- and neither window nor bucket remembers anything.
local function is_done(P, key, now)
  local g = P .. ":group:" .. key
  if groups.next_seq(g) <= util.num(call("HGET", P .. ":ordering", key)) then return false end
  if call("EXISTS", P .. ":groupq:" .. key) == 1 or call("ZSCORE", P .. ":ratelimited", key) then return false end
  local f = call("HMGET", g, "active", "rateWindowStart", "rateDuration", "tbCapacity", "tbRefillRate")
  if util.num(f[1]) > 0 or now < util.num(f[2]) + util.num(f[3]) then return false end
  local capacity = util.num(f[4])
  return capacity <= 0 or groups.refill(g, capacity, util.num(f[5]), now) >= capacity
end

local function forget_keys(P, now)
  local keys = due(P, ":ordering-due", now)
  local used = #keys > 0 and keys_in_use(P)
  for _, key in ipairs(keys) do
    if used and not used[key] and is_done(P, key, now) then
      call("UNLINK", P .. ":group:" .. key)
      call("HDEL", P .. ":ordering", key)
      call("ZREM", P .. ":ordering-due", key)
    else
      groups.forget_later(P, key, now)
    end
  end
  return #keys
end

-- Forget what is due, at most 100 ids and 100 keys. args: now, ms of the turn. Reply {"ok" | "more"}.
register("forget", {}, function(P, args)
  local now = tonumber(args[1])
  if not util.take_turn(P, "forgetting", args[2]) then return { "ok" } end
  local most = max(forget_dedups(P, now), forget_keys(P, now))
  return { most == PAGE and "more" or "ok" }
end)

-- What more than one concern does to a job: expiry, removal of its keys, retention of result sets.

-- Keys of a job; that of its record comes first.
local OWN_KEYS = { "job", "log", "parents", "jstream", "signals", "ledger", "early", "vec", "steps" }

-- What a flow's figures need of a child that reported usage, kept when its record goes: a hash of the same fields.
local KEPT = { "parentId", "parentIds", "usage:tokens", "usage:totalTokens", "usage:costs", "usage:totalCost", "usage:model",
  "usage:provider", "usage:costUnit", "usage:bucketTs", "name", "state", "timestamp", "processedOn", "finishedOn",
  "attemptsMade", "fallbackIndex", "parentQueue", "parentQueues", "budgetKey" }
local KEPT_S = 604800 -- 7 days

local LINKS, SPENT = 2, 6 -- the first of KEPT name its parents, those up to here say that something was spent

local function keep_spend(P, id, key)
  local f = try("HMGET", key, "parentId", "parentIds")
  if f.err or not (f[1] or f[2]) then return end
  f = call("HMGET", key, unpack(KEPT))
  local spent = false
  for i = LINKS + 1, SPENT do spent = spent or f[i] end
  if not spent then return end
  local fields = {}
  for i, name in ipairs(KEPT) do
    if f[i] then fields[#fields + 1], fields[#fields + 2] = name, f[i] end
  end
  local kept = P .. ":kept:" .. id
  call("UNLINK", kept)
  call("HSET", kept, unpack(fields))
  call("EXPIRE", kept, KEPT_S)
end

-- What a parent waited for outlives it for a while: its flow's figures are read from there.
local function let_deps_expire(P, ids)
  for from = 1, #ids, 1000 do
    local keys = {}
    for i = from, min(from + 999, #ids) do keys[#keys + 1] = P .. ":deps:" .. ids[i] end
    if #keys == 1 or call("EXISTS", unpack(keys)) > 0 then
      for _, key in ipairs(keys) do call("EXPIRE", key, KEPT_S) end
    end
  end
end

-- Delete everything that describes the given jobs; without `with_deps`, what they waited for stays for some days. The
-- caller takes them out of sets and streams.
function jobs.purge(P, ids, with_deps)
  local keys, prefixes, n, kinds = {}, {}, 0, #OWN_KEYS
  for k = 1, kinds do prefixes[k] = P .. ":" .. OWN_KEYS[k] .. ":" end
  for _, id in ipairs(ids) do
    for k = 1, kinds do keys[n + k] = prefixes[k] .. id end
    keep_spend(P, id, keys[n + 1])
    n = n + kinds
    if with_deps then
      n = n + 1
      keys[n] = P .. ":deps:" .. id
    end
    if n > 4000 then
      call("UNLINK", unpack(keys))
      keys, n = {}, 0
    end
  end
  if n > 0 then call("UNLINK", unpack(keys)) end
  if not with_deps then let_deps_expire(P, ids) end
  jobs.drop_early(P, ids)
end

-- A job looked at after its expireAt fails with reason "expired". Takes care of hash, result set, group, event
-- and metrics; the caller removes the entry or list element it came from. Already failed: nothing. `parked`: called
-- by the dispatch of its group, which lets the others follow itself.
function jobs.expire(P, id, now, parked)
  local key = P .. ":job:" .. id
  local f = call("HMGET", key, "state", "groupKey", "orderingSeq", "processedOn", "finishedOn")
  if f[1] == "failed" then return end
  call("ZADD", P .. ":failed", util.int(now), id)
  call("HSET", key, "state", "failed", "failedReason", "expired", "finishedOn", util.int(now))
  util.attempt(budgets.settle, P, id, true, now, true)
  if parked then
    groups.skip(P, f[2], f[3])
  else
    util.attempt(jobs.leave_group, P, id,
      { state = f[1] or "", groupKey = f[2] or nil, orderingSeq = f[3] or nil, finishedOn = f[5] or nil }, now)
  end
  schedules.job_ended(P, id, now)
  events.emit(P, "expired", id)
  metrics.add(P, "failed", now, 1, f[4] and now - util.num(f[4], now) or 0)
end

-- Lowest priority number at or above `from` that has members, with the due time of its first one.
function jobs.next_level(P, from)
  local head = call("ZRANGEBYSCORE", P .. ":scheduled", util.int(from * PRIORITY_STEP), "+inf", "WITHSCORES", "LIMIT", 0, 1)
  if not head[1] then return nil end
  local score = tonumber(head[2])
  local priority = floor(score / PRIORITY_STEP)
  return priority, score - priority * PRIORITY_STEP
end

-- Take the given jobs out of a result set and delete them.
local function drop(P, set, ids)
  if #ids == 0 then return end
  util.sliced("ZREM", P .. ":" .. set, ids)
  jobs.purge(P, ids)
end

-- Apply "n:<count>" or "a:<age s>:<count>" to a result set. At most 1000 jobs for each of the two and call.
local function trim(P, set, rule, now)
  local key = P .. ":" .. set
  local count, age = rule:match("^n:(%d+)$"), nil
  if not count then age, count = rule:match("^a:([%d%.]+):(%d+)$") end
  age, count = util.num(age), util.num(count)
  if age > 0 then drop(P, set, call("ZRANGEBYSCORE", key, "-inf", util.int(now - age * 1000), "LIMIT", 0, 1000)) end
  if count > 0 then
    local surplus = call("ZCARD", key) - count
    if surplus > 0 then drop(P, set, call("ZRANGE", key, 0, min(surplus, 1000) - 1)) end
  end
end

-- Retention after jobs settled. `settled`: {result set, id, rule} each; rules: "" keep, "all" drop this job, or as above.
-- What several jobs ask for is done once.
function jobs.retain(P, settled, now)
  local gone, asked = {}, {}
  for _, item in ipairs(settled) do
    local set, rule = item[1], item[3]
    if rule == "all" then
      gone[set] = gone[set] or {}
      table.insert(gone[set], item[2])
    elseif rule ~= "" then
      asked[set .. " " .. rule] = item
    end
  end
  for set, ids in pairs(gone) do drop(P, set, ids) end
  for _, item in pairs(asked) do trim(P, item[1], item[3], now) end
end

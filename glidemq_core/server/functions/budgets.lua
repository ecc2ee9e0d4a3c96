-- Budgets of flows: the hash P:budget:<flow> of the root's queue, checked when a job starts and booked when an
-- attempt ends. A budget may live in another queue: on one server it is reached directly; in a cluster a foreign
-- slot is out of reach for a call, the worker then asks there, and bookings are sent through the outbox.

local DAY = 86400000
local KEEP_S = 2592000 -- 30 days: what is left of a flow that ended
local PARKED_S = 90000 -- a day and an hour: what counts parked jobs
local SPENT = "Budget exceeded"
local MOST_OPEN = 10000
local MOST = 1.7976931348623157e308 -- sums of finite amounts need not be finite

local CATEGORIES = { { "maxTokens", "usedTokens:" }, { "maxCosts", "usedCost:" } } -- caps, and what is used of each

-- Root of the queue and flow id that a budget key names.
local function budget_place(key)
  return key:match("^(.*):budget:([^:]*)$")
end

-- Note a budget that is made or drawn on in P:budgets (flow ids by the time), so that who adds up the open ones of a
-- queue need not search for them. It is a hint: the newest MOST_OPEN, until their flow ends. Only for its queue's slot.
function budgets.note(key, now)
  local root, flow = budget_place(key)
  if not root then return end
  local index = root .. ":budgets"
  if try("ZADD", index, "NX", util.int(now), flow) == 1 then try("ZREMRANGEBYRANK", index, 0, -MOST_OPEN - 1) end
  try("EXPIRE", index, KEEP_S)
end

-- The budget is gone, or its flow has ended.
function budgets.forget(key)
  local root, flow = budget_place(key)
  if root then try("ZREM", root .. ":budgets", flow) end
end

-- Caps that a budget (its hash as a table) is over: names of the wire, "maxTokens:<category>" for categories.
local function over(f)
  local hits = {}
  local function test(cap, used, name)
    if cap > 0 and used > cap then hits[#hits + 1] = name end
  end
  test(util.num(f.maxTotalTokens), util.num(f.usedTokens), "maxTotalTokens")
  test(util.num(f.maxTotalCost), util.num(f.usedCost), "maxTotalCost")
  for _, kind in ipairs(CATEGORIES) do
    for category, cap in pairs(util.amounts(f[kind[1]])) do
      test(cap, util.num(f[kind[2] .. category]), kind[1] .. ":" .. category)
    end
  end
  return hits
end

-- Read the caps and the use of a budget that exists: a few fields, however much else its hash holds.
local function caps_and_use(key)
  local names, f = { "maxTotalTokens", "usedTokens", "maxTotalCost", "usedCost", "maxTokens", "maxCosts" }, {}
  local function read(wanted)
    for i, value in ipairs(call("HMGET", key, unpack(wanted))) do f[wanted[i]] = value or nil end
  end
  read(names)
  local used = {}
  for _, kind in ipairs(CATEGORIES) do
    for category in pairs(util.amounts(f[kind[1]])) do used[#used + 1] = kind[2] .. category end
  end
  for from = 1, #used, 1000 do read({ unpack(used, from, min(from + 999, #used)) }) end
  return f
end

-- May a job that draws on this budget start? nil yes, "fail" or "pause" what to do with it, "ask" out of reach.
-- A flag counts whoever set it. Once the caps were raised (ours notes when), a peer may have set it from caps that it
-- had read before: such a flag is taken back.
function budgets.verdict(key)
  local f = try("HMGET", key, "exceeded", "onExceeded", "capsRaisedAt")
  if f.err then return not util.reachable(key) and "ask" or nil end
  if f[1] ~= "1" then return nil end
  if f[3] and #over(caps_and_use(key)) == 0 then
    try("HSET", key, "exceeded", "0")
    return nil
  end
  return f[2] == "pause" and "pause" or "fail"
end

-- Park a job that has just been activated: delayed for a day, so that Node looks at it again by itself. The
-- slot of an ordered job is kept.
function budgets.park(P, id, key, priority, now)
  call("ZADD", P .. ":scheduled", util.int(util.num(priority) * PRIORITY_STEP + now + DAY), id)
  call("HSET", P .. ":job:" .. id, "state", "delayed", "delay", util.int(DAY), "budgetPausedAt", util.int(now))
  local root, flow = budget_place(key)
  if root then try("SADD", root .. ":budget-parked:" .. flow, P .. ":" .. id) end
  -- Only counted: what is there was parked within a day, for a job that stays parked is parked again by then.
  if type(try("SADD", P .. ":parked", id)) == "number" then try("EXPIRE", P .. ":parked", PARKED_S) end
  events.emit(P, "delay-changed", id, "delay", util.int(DAY))
end

-- A parked job goes on: forget that it was.
function budgets.unpark(P, id)
  local key = P .. ":job:" .. id
  local root, flow = budget_place(call("HGET", key, "budgetKey") or "")
  call("HDEL", key, "budgetPausedAt")
  try("SREM", P .. ":parked", id)
  if root then try("SREM", root .. ":budget-parked:" .. flow, P .. ":" .. id) end
end

local function add_float(key, field, n)
  if n and n > 0 then try("HINCRBYFLOAT", key, field, util.decimal(min(n, MOST))) end
end

-- Add what an attempt spent: `u` has tokens and costs (JSON maps), totalTokens and totalCost as the job has them.
-- Returns "ok", "missing", or "refused": out of reach, forbidden, or something else of that name.
local function book_spend(key, u)
  local f = try("HMGET", key, "tokenWeights", "exceeded")
  if f.err or not redis.acl_check_cmd("HINCRBYFLOAT", key, "usedTokens", "1") then return "refused" end
  if call("EXISTS", key) == 0 then return "missing" end
  local weights, tokens, costs = util.amounts(f[1]), util.amounts(u.tokens), util.amounts(u.costs)
  local weighted, cost = 0, util.num(u.totalCost)
  for category, n in pairs(tokens) do
    weighted = weighted + n * (weights[category] or 1)
    add_float(key, "usedTokens:" .. category, n)
  end
  if weighted == 0 then weighted = util.num(u.totalTokens) end
  add_float(key, "usedTokens", weighted)
  local summed = 0
  for category, n in pairs(costs) do
    summed = summed + n
    add_float(key, "usedCost:" .. category, n)
  end
  add_float(key, "usedCost", u.totalCost and cost or summed)
  if f[2] ~= "1" and #over(caps_and_use(key)) > 0 then try("HSET", key, "exceeded", "1") end
  return "ok"
end

-- The root of a flow ended: what describes its budget goes 30 days later, unless jobs are still parked.
local function rest(P, id, key)
  if key == P .. ":budget:" .. id and call("EXISTS", P .. ":budget-parked:" .. id) == 0 then
    call("EXPIRE", key, KEEP_S)
    budgets.forget(key)
  end
end

local FIELDS = { "budgetKey", "budgetBooked", "usage:tokens", "usage:totalTokens", "usage:costs", "usage:totalCost",
  "budgetPausedAt" }

-- Whether the note on a job that its latest report is booked still holds. A peer that has run it since may have
-- reported without taking the note away: then what stands there is booked, at worst twice, never not at all.
-- `made`: failed attempts when the one that ends began, nil to look them up.
local function is_booked(P, id, made)
  local last = ledger.last_attempt(P, id)
  made = made or util.num(call("HGET", P .. ":job:" .. id, "attemptsMade"))
  return last ~= nil and last >= made - 1
end

-- An attempt ended, and with `ended` the job: book its latest report once. `again`: it was no success, so the job may
-- run again; note that this report is booked, our next one takes the note away. True when the booking waits in the
-- outbox. `made` as above.
function budgets.settle(P, id, again, now, ended, made)
  local job = P .. ":job:" .. id
  local f = call("HMGET", job, unpack(FIELDS))
  if not f[1] then return false end
  if ended and f[7] then util.attempt(budgets.unpark, P, id) end
  if ended then rest(P, id, f[1]) end
  if not (f[3] or f[4] or f[5] or f[6]) or f[2] == "1" and is_booked(P, id, made) then return false end
  local spend = { tokens = f[3] or nil, totalTokens = f[4] or nil, costs = f[5] or nil, totalCost = f[6] or nil }
  if again then call("HSET", job, "budgetBooked", "1") end
  local booked = book_spend(f[1], spend)
  if booked == "ok" and not (ended and f[1] == P .. ":budget:" .. id) then budgets.note(f[1], now) end
  if booked ~= "refused" then return false end
  local root, flow = budget_place(f[1])
  if not root then return false end
  local mark = P .. ":" .. id .. ":" .. util.int(now)
  return util.post(P, { to = root, budget = flow, spend = spend, mark = mark })
end

-- args: flow id. Reply {"go" | "fail" | "pause"}: the check for a job whose slot cannot see the budget.
register("budget_check", {}, function(P, args)
  return { budgets.verdict(P .. ":budget:" .. args[1]) or "go" }
end)

-- args: flow id, spend as JSON, mark ("<member>:<ms>"). A booking that comes twice counts once: the marks of the latest
-- 30 days are kept apart from the budget, which is read often. Reply {"ok" | "known" | "missing"}; an error if nothing
-- can be booked, with nothing written.
register("budget_book", {}, function(P, args)
  local key, marks = P .. ":budget:" .. args[1], P .. ":budget-booked:" .. args[1]
  if call("HLEN", key) == 0 then return { "missing" } end
  if not redis.acl_check_cmd("HINCRBYFLOAT", key, "usedTokens", "1") then
    return redis.error_reply("NOPERM may not book in this budget")
  end
  local at = util.num(args[3]:match(":(%d+)$"))
  if call("ZADD", marks, "NX", util.int(at), args[3]) == 0 then return { "known" } end
  local newest = util.num(call("ZRANGE", marks, -1, -1, "WITHSCORES")[2])
  local old = call("ZRANGEBYSCORE", marks, "-inf", util.int(newest - 1000 * KEEP_S), "LIMIT", 0, 100)
  if #old > 0 then call("ZREM", marks, unpack(old)) end
  call("EXPIRE", marks, KEEP_S)
  budgets.note(key, at)
  return { book_spend(key, cjson.decode(args[2])) }
end)

-- Park an active job for a budget of another slot. args: id, entry, processedOn, now. Reply {"ok"} | {"lost"}.
register("budget_park", {}, function(P, args)
  local run = runs.release(P, args[1], args[2], args[3], "priority", "budgetKey")
  if not run then return { "lost" } end
  budgets.park(P, args[1], run[2] or "", run[1], tonumber(args[4]))
  return { "ok" }
end)

-- Topping up ----------------------------------------------------------------------------------------------------

local function same_caps(f, shown)
  if util.num(f.maxTotalTokens) ~= shown.maxTotalTokens or util.num(f.maxTotalCost) ~= shown.maxTotalCost then return false end
  for _, kind in ipairs({ "maxTokens", "maxCosts" }) do
    local caps, left = util.amounts(f[kind]), 0
    for category, cap in pairs(caps) do
      if cap ~= (shown[kind][category] or 0) then return false end
      left = left + 1
    end
    for category, cap in pairs(shown[kind]) do
      if cap ~= 0 and caps[category] ~= cap then return false end
    end
  end
  return true
end

-- Raise the categories that have a cap; the new map as JSON text, nil when nothing changes.
local function raised_map(text, add)
  local caps, changed, out = util.amounts(text), false, {}
  for category, more in pairs(add) do
    if (caps[category] or 0) > 0 and more > 0 then
      caps[category], changed = min(caps[category] + more, MOST), true
    end
  end
  if not changed then return nil end
  for category, cap in pairs(caps) do out[#out + 1] = util.encode(category) .. ":" .. util.decimal(cap) end
  return "{" .. table.concat(out, ",") .. "}"
end

-- args: flow id, increments JSON {maxTotalTokens, maxTotalCost, maxTokens, maxCosts}, caps as shown JSON or "", now,
-- audit. Reply {"not_found"} | {"changed", hash} | {"ok", hash before, changes, caps still exceeded}.
local function top_up(P, args, write)
  if write then audit.ready(P, args[5]) end
  local key = P .. ":budget:" .. args[1]
  local flat = call("HGETALL", key)
  if #flat == 0 then return { "not_found" } end
  local f, add = util.map(flat), cjson.decode(args[2])
  if args[3] ~= "" and not same_caps(f, cjson.decode(args[3])) then return { "changed", flat } end
  local changes = {}
  local function change(field, value)
    f[field] = value
    changes[#changes + 1], changes[#changes + 2] = field, value
  end
  for _, cap in ipairs({ "maxTotalTokens", "maxTotalCost" }) do
    local now = util.num(f[cap])
    if now > 0 and add[cap] > 0 then change(cap, util.decimal(min(now + add[cap], MOST))) end
  end
  for _, kind in ipairs({ "maxTokens", "maxCosts" }) do
    local text = raised_map(f[kind], add[kind])
    if text then change(kind, text) end
  end
  if #changes > 0 then change("capsRaisedAt", args[4]) end
  local hits = over(f)
  if #hits == 0 and f.exceeded == "1" then change("exceeded", "0") end
  if write then
    if #changes > 0 then call("HSET", key, unpack(changes)) end
    local root = call("HGET", P .. ":job:" .. args[1], "state")
    if not root or root == "completed" or root == "failed" then call("EXPIRE", key, KEEP_S) end
    audit.append(P, args[5], #hits == 0 and "topped_up" or "still_exceeded")
  end
  return { "ok", flat, changes, hits }
end

register("budget_top_up", {}, function(P, args) return top_up(P, args, true) end)
register("budget_preview", { "no-writes" }, function(P, args) return top_up(P, args, false) end)

-- What a budget stopped this job with: "parked", "failed" or nil.
local function stopped(P, id, key)
  local f = call("HMGET", P .. ":job:" .. id, "state", "budgetKey", "budgetPausedAt", "processedOn", "delay", "failedReason")
  if f[2] ~= key then return nil end
  if f[1] == "failed" then return f[6] == SPENT and "failed" or nil end
  if f[1] ~= "delayed" then return nil end
  local score = tonumber(call("ZSCORE", P .. ":scheduled", id) or "")
  if not score then return nil end
  local started, delay = tonumber(f[4] or ""), util.num(f[5])
  -- A mark from before the latest start is left over: Node's workers do not take it away.
  if f[3] and (started or 0) <= util.num(f[3]) then return "parked" end
  -- Node leaves no mark but these: the start, the delay of a day, and when it is due.
  if not started or delay < DAY - 1000 or delay > DAY then return nil end
  return math.abs(score % PRIORITY_STEP - started - DAY) <= 60000 and "parked" or nil
end

-- args: budget key, ids... Reply: a word per id, "parked" | "failed" | "".
register("budget_stopped", { "no-writes" }, function(P, args)
  local out = {}
  for i = 2, #args do out[i - 1] = stopped(P, args[i], args[1]) or "" end
  return out
end)

-- Let stopped jobs go on, each only if it still is what it was found to be. args: budget key, now, "parked" or
-- "failed", ids... Reply: ids that go on because of this call.
register("budget_release", {}, function(P, args)
  local out = {}
  for i = 4, #args do
    if stopped(P, args[i], args[1]) == args[3] then
      if args[3] == "parked" then
        jobs.promote(P, args[i])
      else
        jobs.retry(P, args[i], tonumber(args[2]), false, false)
      end
      out[#out + 1] = args[i]
    end
  end
  if args[3] == "failed" and #out > 0 then events.emit(P, "retried", util.int(#out)) end
  return out
end)

-- Take back a flag that stale caps have set after a top-up. args: flow id. Reply {"cleared" | "kept"}.
register("budget_recheck", {}, function(P, args)
  local key = P .. ":budget:" .. args[1]
  if call("HGET", key, "exceeded") ~= "1" or budgets.verdict(key) then return { "kept" } end
  return { "cleared" }
end)

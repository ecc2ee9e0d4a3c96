-- Creating flows. A job stands with all its links, and every parent with all it waits for, before the first job
-- that can run is placed; so a call creates everything or nothing.

local JOB = 10 -- arguments a job

-- Group of an inner node or a leaf under one: settings are added or kept, never taken away.
function flows.join_group(P, spec, now, inner)
  local g, limit = P .. ":group:" .. spec.key, util.int(spec.concurrency)
  local seq = call("HINCRBY", P .. ":ordering", spec.key, 1)
  groups.forget_later(P, spec.key, now)
  call(inner and "HSET" or "HSETNX", g, "maxConcurrency", limit)
  call("HSETNX", g, "active", "0")
  call("HSETNX", g, "nextSeq", "1")
  if spec.rate then call("HSET", g, "rateMax", util.int(spec.rate[1]), "rateDuration", util.int(spec.rate[2])) end
  if spec.bucket then
    call("HSET", g, "tbCapacity", util.int(spec.bucket[1]), "tbRefillRate", util.int(spec.bucket[2]))
    call("HSETNX", g, "tbTokens", util.int(spec.bucket[1]))
    call("HSETNX", g, "tbLastRefill", util.int(now))
    call("HSETNX", g, "tbRefillRemainder", "0")
  end
  return seq
end

-- Give every node {root, id} its id: custom ones ("" is none) must be free, automatic ones come from the counter.
-- Returns nil, or a refusal with the number of the node; nothing but counters has changed then.
local function assign_ids(nodes, now)
  local taken = {}
  for n, node in ipairs(nodes) do
    if node.id ~= "" then
      local key = node.root .. ":job:" .. node.id
      if taken[key] or call("EXISTS", key) == 1 then return { "duplicate", n } end
      taken[key] = true
    end
  end
  for _, node in ipairs(nodes) do
    if node.id ~= "" then jobs.raise_counter(node.root, node.id) end
  end
  for n, node in ipairs(nodes) do
    for _ = 1, node.id == "" and 1000 or 0 do
      local id = jobs.next_id(node.root, now)
      if call("EXISTS", node.root .. ":job:" .. id) == 0 then
        node.id = id
        break
      end
    end
    if node.id == "" then return { "exhausted", n } end
  end
  return nil
end

local function ids_of(nodes)
  local out = { "ok" }
  for n, node in ipairs(nodes) do out[n + 1] = node.id end
  return out
end

-- Hash of one node; its parents' `deps` are gathered in `waiting` (key -> members).
local function write_node(nodes, node, args, now, budget_key, waiting)
  local at, links, root, id = node.at, node.links, node.root, node.id
  local delay, priority, inner = tonumber(args[at + 5]), tonumber(args[at + 6]), node.links.k == "inner"
  local state = inner and "waiting-children" or delay > 0 and "delayed" or priority > 0 and "prioritized" or "waiting"
  local fields = { "id", id, "name", args[at + 2], "data", args[at + 3], "opts", args[at + 4], "timestamp", util.int(now),
    "attemptsMade", "0", "delay", args[at + 5], "priority", args[at + 6], "maxAttempts", args[at + 7], "state", state }
  local function field(name, value)
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  local function wait(parent)
    local key = parent.root .. ":deps:" .. parent.id
    waiting[key] = waiting[key] or {}
    table.insert(waiting[key], root .. ":" .. id)
  end
  if links.o then
    local seq = links.k == "plain" and groups.join(root, links.o, now) or flows.join_group(root, links.o, now, inner)
    field("groupKey", links.o.key)
    field("orderingSeq", util.int(seq))
  end
  if links.c then field("cost", util.int(links.c)) end
  if links.t then field("expireAt", util.int(now + links.t)) end
  if args[at + 8] == "1" and not inner then field("lifo", "1") end
  if links.r then
    field("parentId", (links.r:match("([^:]*)$")))
    field("parentQueue", links.q)
  elseif links.p then
    field("parentId", nodes[links.p].id)
    field("parentQueue", links.q)
    wait(nodes[links.p])
  end
  if links.d then
    local parents, members = {}, {}
    for n, number in ipairs(links.d) do
      local parent = nodes[number]
      parents[n], members[n] = parent.id, parent.root .. ":" .. parent.id
      wait(parent)
    end
    field("parentIds", util.encode(parents))
    field("parentQueues", util.encode(links.e))
    util.sliced("SADD", root .. ":parents:" .. id, members)
  end
  if budget_key ~= "" then field("budgetKey", budget_key) end
  call("HSET", root .. ":job:" .. id, unpack(fields))
end

-- Create a flow, in any queues that this call can reach. args: now, budget JSON or "" ({root: number of the node it is
-- named after, fields: flat hash}, or {key} when it exists already), order of placing and announcing as
-- JSON list of numbers, then a job: queue prefix, id or "", name, data, opts, delay, priority, attempts, lifo,
-- links JSON: k kind (inner: waits for children; leaf: below an inner node; plain: as by add), o ordering, c cost,
-- t ttl, p and q the parent (number of a job) and its queue, r a parent outside the flow as member, d and e dependents
-- (numbers) and their queues.
-- Reply {"ok", ids...} | {"duplicate", number} | {"exhausted", number} | {"refused", error at the parent elsewhere}.
register("add_flow", {}, function(P, args)
  local now, nodes = tonumber(args[1]), {}
  for at = 4, #args, JOB do
    nodes[#nodes + 1] = { at = at, root = args[at], id = args[at + 1], links = cjson.decode(args[at + 9]) }
  end
  local refused = assign_ids(nodes, now)
  if refused then return refused end
  for _, node in ipairs(nodes) do
    if node.links.r then
      local root, parent = node.links.r:match("^(.*):([^:]*)$")
      local problem = flows.try_register(root, parent, node.root .. ":" .. node.id)
      if problem then return { "refused", problem } end
    end
  end
  local budget, budget_key = args[2] ~= "" and cjson.decode(args[2]), ""
  if budget then
    local root = budget.root and nodes[budget.root]
    budget_key = budget.key or root.root .. ":budget:" .. root.id
    if root then
      -- What an earlier flow of the same id left must not count.
      call("UNLINK", budget_key, root.root .. ":budget-parked:" .. root.id)
      call("HSET", budget_key, unpack(budget.fields))
      budgets.note(budget_key, now)
    end
  end
  local waiting = {}
  for _, node in ipairs(nodes) do write_node(nodes, node, args, now, budget_key, waiting) end
  for key, members in pairs(waiting) do
    call("UNLINK", key) -- of an earlier job of the same id
    util.sliced("SADD", key, members)
  end
  for _, n in ipairs(cjson.decode(args[3])) do
    local node = nodes[n]
    local at, name = node.at, args[node.at + 2]
    if node.links.k ~= "inner" then
      jobs.place(node.root, node.id, name, now, tonumber(args[at + 5]), tonumber(args[at + 6]), args[at + 8] == "1")
    end
    events.emit(node.root, "added", node.id, "name", name)
  end
  return ids_of(nodes)
end)

-- Ids for jobs that several calls will create. args: now, then queue prefix, id or "" a job. Reply as add_flow.
register("reserve_flow", {}, function(P, args)
  local nodes = {}
  for i = 2, #args, 2 do nodes[#nodes + 1] = { root = args[i], id = args[i + 1] } end
  return assign_ids(nodes, tonumber(args[1])) or ids_of(nodes)
end)

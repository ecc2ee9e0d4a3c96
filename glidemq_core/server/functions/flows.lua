-- Links between parents and children. `deps` never shrinks; what is done is marked on the parent's hash.

local DEPS_S = 604800 -- 7 days: members of `deps` without a parent

-- What a parent waits for goes with it. It may stand beside no parent, or be left of an earlier one of the same id.
local function own_deps(P, parent)
  local key = P .. ":deps:" .. parent
  if call("EXISTS", P .. ":job:" .. parent) == 1 then call("PERSIST", key) else call("EXPIRE", key, DEPS_S) end
end

-- Make `member` something the parent waits for. A marker left by an earlier job of the same id would count it
-- as done before it has run.
function flows.register(P, parent, member)
  local key = P .. ":job:" .. parent
  call("SADD", P .. ":deps:" .. parent, member)
  own_deps(P, parent)
  if call("HDEL", key, "depdone:" .. member) == 1 then call("HINCRBY", key, "depsCompleted", -1) end
end

-- The same for a parent whose keys may be out of reach or of another kind: an error as text then, nothing changed.
function flows.try_register(P, parent, member)
  local key, deps = P .. ":job:" .. parent, P .. ":deps:" .. parent
  local counted = try("HEXISTS", key, "depdone:" .. member)
  if type(counted) == "table" then return counted.err end
  local added = try("SADD", deps, member)
  if type(added) == "table" then return added.err end
  own_deps(P, parent)
  if counted == 0 then return nil end
  local taken = try("HDEL", key, "depdone:" .. member)
  if type(taken) == "table" then
    if added == 1 then call("SREM", deps, member) end
    return taken.err
  end
  call("HINCRBY", key, "depsCompleted", -1)
  return nil
end

-- Release a parent in `waiting-children`: always the tail of the stream, whatever its priority. `...`: what else its
-- record says from then on. The entry comes first: if the stream refuses it, the parent stays waiting.
local function resume_parent(P, parent, name, ...)
  runs.to_stream(P, parent, name or "")
  call("HSET", P .. ":job:" .. parent, "state", "waiting", ...)
  events.emit(P, "active", parent)
end

-- Let a waiting parent go on if all it waits for is counted; true when it does.
local function resume_if_done(P, parent)
  local f = call("HMGET", P .. ":job:" .. parent, "state", "depsCompleted", "name")
  if f[1] ~= "waiting-children" or util.num(f[2]) < call("SCARD", P .. ":deps:" .. parent) then return false end
  resume_parent(P, parent, f[3])
  return true
end

-- Take back a registration whose job was not added after all.
function flows.unregister(P, parent, member)
  if call("SREM", P .. ":deps:" .. parent, member) == 1 then resume_if_done(P, parent) end
end

-- Children of one parent completed, at most a thousand. Each counts once; the last one releases a waiting parent. A parent
-- without `state` was removed and is not brought back. Reply: "released", "counted", "known" (all were) or "missing". An
-- error leaves all as it was.
function flows.children_done(P, parent, members)
  local key, marks, fields, n = P .. ":job:" .. parent, {}, {}, 0
  for i, member in ipairs(members) do marks[i] = "depdone:" .. member end
  local f = call("HMGET", key, "state", "name", "depsCompleted", unpack(marks))
  if not f[1] then return "missing" end
  for i, mark in ipairs(marks) do
    if not f[i + 3] then
      fields[n + 1], fields[n + 2] = mark, "1"
      n = n + 2
    end
  end
  if n == 0 then return "known" end
  local done = util.num(f[3]) + n / 2
  fields[n + 1], fields[n + 2] = "depsCompleted", util.int(done)
  if done >= call("SCARD", P .. ":deps:" .. parent) and f[1] == "waiting-children" then
    resume_parent(P, parent, f[2], unpack(fields))
    return "released"
  end
  call("HSET", key, unpack(fields))
  return "counted"
end

function flows.child_done(P, parent, member)
  return flows.children_done(P, parent, { member })
end

-- Tell parents in this queue of children that completed, those that refuse through the outbox. `children`: parent -> members.
-- True if something was put there.
function flows.all_completed(P, children)
  local sent = false
  for parent, members in pairs(children) do
    if not pcall(flows.children_done, P, parent, members) then
      for _, member in ipairs(members) do sent = util.post(P, { to = P, parent = parent, member = member }) or sent end
    end
  end
  return sent
end

local AT_ONCE = 200 -- parents that the call which completes a child tells itself

-- Tell every parent of a completed child: those within reach at once, the others, those that refuse, and those of very
-- many through the outbox, which the worker empties queue by queue (child_done may repeat). `in_dag`: a parents set exists.
-- True if something was put into the outbox.
function flows.completed(P, id, parent_id, parent_queue, in_dag)
  local member = P .. ":" .. id
  local seen, sent, told = {}, false, 0
  local prefix, queue = P:match("^(.*):{([^{}]*)}$")
  local function tell(parent_root, parent)
    local ref = parent_root .. ":" .. parent
    if seen[ref] then return end
    seen[ref], told = true, told + 1
    local near = told <= AT_ONCE and (parent_root == P or util.reachable(parent_root .. ":job:" .. parent))
    if near and pcall(flows.child_done, parent_root, parent, member) then return end
    sent = util.post(P, { to = parent_root, parent = parent, member = member }) or sent
  end
  if parent_id and parent_queue then tell(parent_queue == queue and P or prefix .. ":{" .. parent_queue .. "}", parent_id) end
  if in_dag then
    local refs = try("SMEMBERS", P .. ":parents:" .. id)
    if refs.err then util.note_error(refs) end
    for _, ref in ipairs(refs) do
      local root, parent = ref:match("^(.*):([^:]*)$")
      if root then tell(root, parent) end
    end
  end
  return sent
end

-- Let a waiting parent go on without children that will not complete. args: parent id, audit, members... Members
-- that it does not wait for count for nothing. Reply {"ok" | "not_found" | "not_waiting", counted..., "released" last
-- if it goes on}.
register("release_parent", {}, function(P, args)
  audit.ready(P, args[2])
  local id, out = args[1], { "ok" }
  local state = call("HGET", P .. ":job:" .. id, "state")
  if not state then return { "not_found" } end
  if state ~= "waiting-children" then return { "not_waiting", state } end
  local released = false
  for i = 3, #args do
    if call("SISMEMBER", P .. ":deps:" .. id, args[i]) == 1 then
      local status = flows.child_done(P, id, args[i])
      if status ~= "known" then out[#out + 1] = args[i] end
      released = released or status == "released"
    end
  end
  -- All were counted, but the parent was not released.
  if not released and call("EXISTS", P .. ":deps:" .. id) == 1 then released = resume_if_done(P, id) end
  if released then out[#out + 1] = "released" end
  if #out > 1 then audit.append(P, args[2], released and "released" or "counted", #out - (released and 2 or 1)) end
  return out
end)

-- args: parent id, member. Reply {status}.
register("child_done", {}, function(P, args)
  return { flows.child_done(P, args[1], args[2]) }
end)

-- An active job waits for its children.
-- args: id, entry ("" list-sourced), processedOn, now, ledger header. Reply {"ok"} | {"completed"} | {"lost"}.
register("wait_children", {}, function(P, args)
  local id, entry, now = args[1], args[2], tonumber(args[4])
  local total = call("SCARD", P .. ":deps:" .. id) -- before anything is changed: it may be no set
  local run = runs.release(P, id, entry, args[3], "groupKey", "orderingSeq", "name", "depsCompleted")
  if not run then return { "lost" } end
  local key = P .. ":job:" .. id
  ledger.finish(P, id, args[5], "delayed", "", now, true)
  call("HSET", key, "state", "waiting-children")
  if util.num(run[2]) == 0 then groups.release(P, run[1], now) end
  if total > 0 and util.num(run[4]) >= total then
    resume_parent(P, id, run[3])
    return { "completed" }
  end
  events.emit(P, "waiting-children", id)
  return { "ok" }
end)

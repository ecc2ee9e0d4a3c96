-- Parents in other slots. Such a parent is made to wait for a child before that can run, by another call than the one
-- that adds the child, and whoever makes these calls may die between two of them. So the child's id is reserved first
-- (P:reserved:<id> of its queue names the parent: "open", and "used" once it was added), and the parent's queue notes
-- the link (P:linking, "<parent>:<member>" -> since when) until it is known to be whole.

local RESERVED_S = 86400 -- a child that comes later than this is not added

-- A job is about to be added as a child. `parent`: id, queue, root where its keys are within reach, reserved where it
-- was made to wait by a call of its own. Returns "ok" and the budget that the parent draws on, "duplicate" when the reservation
-- has lapsed, or "refused" and the server's error.
function flows.adopt(P, id, parent)
  if parent.root then
    -- What a budgeted job starts draws on the same budget.
    local budget = try("HGET", parent.root .. ":job:" .. parent.id, "budgetKey")
    local problem = type(budget) == "table" and budget.err or flows.try_register(parent.root, parent.id, P .. ":" .. id)
    if problem then return "refused", problem end
    return "ok", budget or nil
  end
  if parent.reserved then
    local key = P .. ":reserved:" .. id
    if call("GET", key) ~= "open " .. parent.reserved then return "duplicate" end
    call("SET", key, "used " .. parent.reserved, "KEEPTTL")
  end
  return "ok"
end

-- Reserve the id of a child. args: id or "" for the next, now, parent as member. Reply {"ok", id} | {"duplicate"}.
register("reserve_child", {}, function(P, args)
  local id = args[1]
  if id == "" then
    id = jobs.next_id(P, tonumber(args[2]))
  elseif call("EXISTS", P .. ":job:" .. id) == 1 then
    return { "duplicate" }
  end
  call("SET", P .. ":reserved:" .. id, "open " .. args[3], "EX", RESERVED_S)
  return { "ok", id }
end)

-- Make a parent wait for a child of another slot. args: parent id, member, now.
-- Reply {"ok", budget key of the parent or ""}.
register("register_child", {}, function(P, args)
  call("HSET", P .. ":linking", args[1] .. ":" .. args[2], args[3])
  flows.register(P, args[1], args[2])
  return { "ok", call("HGET", P .. ":job:" .. args[1], "budgetKey") or "" }
end)

-- Find out whether a reserved child was added; if not, it cannot be added any more. args: id, parent as member.
-- Reply {"came"} | {"gone"} | {"wait"} (its flow is still being made).
register("withdraw_child", {}, function(P, args)
  local id, parent, key = args[1], args[2], P .. ":reserved:" .. args[1]
  local f = call("HMGET", P .. ":job:" .. id, "parentId", "parentQueue", "flowToken")
  local root, parent_id = parent:match("^(.*):([^:]*)$")
  if f[1] == parent_id and f[2] == root:match("{(.*)}$") then
    return { f[3] and flows.is_being_made(P, f[3]) and "wait" or "came" }
  end
  local reserved = call("GET", key)
  if reserved == "used " .. parent then return { "came" } end
  if reserved == "open " .. parent then call("UNLINK", key) end
  return { "gone" }
end)

-- What became of a link. args: parent id, member, "came" | "gone": its parent waits for it no longer, unless it was
-- counted. After that the audit of whoever mends it. Reply {"ok"}.
register("settle_link", {}, function(P, args)
  if args[3] == "gone" then
    audit.ready(P, args[4])
    audit.append(P, args[4], "unlinked")
  end
  call("HDEL", P .. ":linking", args[1] .. ":" .. args[2])
  if args[3] == "gone" and call("HEXISTS", P .. ":job:" .. args[1], "depdone:" .. args[2]) == 0 then
    flows.unregister(P, args[1], args[2])
  end
  return { "ok" }
end)

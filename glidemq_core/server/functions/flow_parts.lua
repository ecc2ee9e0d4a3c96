-- Flows that are too large for one call. Their jobs are written with all links, but in `waiting-children` and in no
-- structure, so that nothing of them can run; only when all stand is what can run placed, part by part. Until then the
-- list P:flow-jobs:<token> holds them ("<kind><member>", kind i: waits for children, l and p: can run), and the hash
-- P:flow-parts the flow: in its home queue {"state": "making" | "releasing", "at": ms, "others": queue prefixes in other
-- slots, "budget": key if it has one}, in the others {"home": queue prefix, "at": ms}. Each job has the token as
-- `flowToken`, so that a part that comes twice finds its own jobs. Who finds an old entry can finish or remove the flow: everything it needs is here.

local function entry_of(P, token)
  local text = call("HGET", P .. ":flow-parts", token)
  return text and cjson.decode(text)
end

local function note(P, token, entry, now)
  entry.at = now
  call("HSET", P .. ":flow-parts", token, cjson.encode(entry))
end

-- Whether the flow that a token names is still being made in its home queue.
function flows.is_being_made(P, token)
  local entry = entry_of(P, token)
  return entry and entry.state == "making"
end

-- Write jobs of a flow. args: now, token, entry JSON for the first part or "", budget JSON ({key, fields}) or "", then a
-- job: queue prefix, id, kind, ordering JSON or "", number of strings that follow, fields and values in turn.
-- Reply {"ok"} | {"duplicate", number of the job} | {"over"}: somebody has finished or removed the flow.
register("make_flow", {}, function(P, args)
  local now, token = tonumber(args[1]), args[2]
  local entry = entry_of(P, token) or args[3] ~= "" and cjson.decode(args[3])
  if not entry or entry.state == "releasing" then return { "over" } end
  if args[4] ~= "" then
    local budget = cjson.decode(args[4])
    entry.budget = budget.key
    call("UNLINK", budget.key, (budget.key:gsub(":budget:([^:]*)$", ":budget-parked:%1")))
    call("HSET", budget.key, unpack(budget.fields))
    budgets.note(budget.key, now)
  end
  note(P, token, entry, now)
  local made, at, number = {}, 5, 0
  while at <= #args do
    local root, id, kind, n = args[at], args[at + 1], args[at + 2], tonumber(args[at + 4])
    local key = root .. ":job:" .. id
    number = number + 1
    local owner = call("HGET", key, "flowToken")
    if not owner and call("EXISTS", key) == 1 or owner and owner ~= token then
      if #made > 0 then call("RPUSH", P .. ":flow-jobs:" .. token, unpack(made)) end
      return { "duplicate", number }
    end
    if not owner then
      local fields = { unpack(args, at + 5, at + 4 + n) }
      fields[n + 1], fields[n + 2] = "flowToken", token
      call("HSET", key, unpack(fields))
      if args[at + 3] ~= "" then
        local spec = cjson.decode(args[at + 3])
        local seq = kind == "p" and groups.join(root, spec, now) or flows.join_group(root, spec, now, kind == "i")
        call("HSET", key, "orderingSeq", util.int(seq))
      end
      made[#made + 1] = kind .. root .. ":" .. id
    end
    at = at + 5 + n
  end
  if #made > 0 then call("RPUSH", P .. ":flow-jobs:" .. token, unpack(made)) end
  return { "ok" }
end)

-- Write links of jobs that stand. args: now, token, then "deps" | "parents", queue prefix, id, number of members,
-- members... in turn. Reply {"ok"} | {"over"}.
register("link_flow", {}, function(P, args)
  local entry, at = entry_of(P, args[2]), 3
  if not entry or entry.state == "releasing" then return { "over" } end
  note(P, args[2], entry, tonumber(args[1]))
  while at <= #args do
    local n, members = tonumber(args[at + 3]), {}
    for i = 1, n do members[i] = args[at + 3 + i] end
    local key = args[at + 1] .. ":" .. args[at] .. ":" .. args[at + 2]
    util.sliced("SADD", key, members)
    call("PERSIST", key) -- an earlier job of the same id may have left it to expire
    at = at + 4 + n
  end
  return { "ok" }
end)

-- All jobs and links of a flow stand, in every slot: from here on it can only be finished. To be asked in its home
-- queue. args: now, token. Reply {"ok"} | {"over"}.
register("begin_flow", {}, function(P, args)
  local entry = entry_of(P, args[2])
  if not entry then return { "over" } end
  entry.state = "releasing"
  note(P, args[2], entry, tonumber(args[1]))
  return { "ok" }
end)

-- Place what can run. args: now, token, how many at most, audit of whoever mends it.
-- Reply {"more" | "done", jobs placed or announced}.
register("release_flow", {}, function(P, args)
  local now, token, list = tonumber(args[1]), args[2], P .. ":flow-jobs:" .. args[2]
  local entry = entry_of(P, token)
  if not entry then return { "done", 0 } end
  audit.ready(P, args[4])
  audit.append(P, args[4], "finished")
  local taken = call("LPOP", list, args[3]) or {}
  for _, item in ipairs(taken) do
    local kind, root, id = item:match("^(.)(.*):([^:]*)$")
    local key = root .. ":job:" .. id
    local f = call("HMGET", key, "flowToken", "state", "name", "delay", "priority", "lifo")
    if f[1] == token and f[2] == "waiting-children" then
      if kind ~= "i" then
        local delay, priority = util.num(f[4]), util.num(f[5])
        call("HSET", key, "state", delay > 0 and "delayed" or priority > 0 and "prioritized" or "waiting")
        jobs.place(root, id, f[3] or "", now, delay, priority, f[6] == "1")
      end
      events.emit(root, "added", id, "name", f[3] or "")
    end
  end
  if call("EXISTS", list) == 1 then
    note(P, token, entry, now)
    return { "more", #taken }
  end
  call("HDEL", P .. ":flow-parts", token)
  return { "done", #taken }
end)

-- Remove a flow of which nothing can run yet. args: now, token, how many jobs at most, audit of whoever mends it.
-- Reply {"more" | "done"} | {"releasing"}.
register("undo_flow", {}, function(P, args)
  local now, token, list = tonumber(args[1]), args[2], P .. ":flow-jobs:" .. args[2]
  local entry = entry_of(P, token)
  if not entry then return { "done" } end
  if entry.state == "releasing" then return { "releasing" } end
  audit.ready(P, args[4])
  audit.append(P, args[4], "removed")
  for _, item in ipairs(call("RPOP", list, args[3]) or {}) do
    local root, id = item:match("^.(.*):([^:]*)$")
    local job, key = jobs.look(root, id), root .. ":job:" .. id
    if call("HGET", key, "flowToken") == token then
      jobs.purge(root, { id }, true)
      jobs.leave_group(root, id, job, now)
    end
  end
  if call("EXISTS", list) == 1 then return { "more" } end
  if entry.budget then
    call("UNLINK", entry.budget)
    budgets.forget(entry.budget)
  end
  call("HDEL", P .. ":flow-parts", token)
  return { "done" }
end)

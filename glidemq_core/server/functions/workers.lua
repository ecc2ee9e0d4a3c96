-- Registration, heartbeats, claims and limits of workers.

-- Only consoles need the list: a key of another type must not keep the worker from starting.
local function list_worker(crew, consumer, lives, now)
  call("ZREMRANGEBYSCORE", crew, "-inf", "(" .. util.int(now))
  call("ZADD", crew, util.int(now + lives), consumer)
  -- Lives as long as the worker that is seen the most rarely; GT alone leaves a key without expiry as it is.
  if call("PEXPIRE", crew, lives, "NX") == 0 then call("PEXPIRE", crew, lives, "GT") end
end

-- Only worth a warning: a user who may not ask must be able to work.
local function is_mixed(P)
  local listed, own = try("XINFO", "GROUPS", P .. ":stream"), false
  if listed.err then return false end
  for _, flat in ipairs(listed) do own = own or util.map(flat).name == GROUP end
  return own and #listed > 1
end

-- Worker registration, listed in P:crew (score: until when), as finding it by its key would need a walk over all keys.
-- args: consumer, JSON, ms to live, DLQ name ("" none), now, subscription and where a new one begins (none: the queue's own
-- group, from its first job). Reply {"ok" | "mixed"}: mixed when the stream has groups of queue workers and of subscriptions.
register("register_worker", {}, function(P, args)
  call("SET", P .. ":w:" .. args[1], args[2], "PX", args[3])
  util.attempt(list_worker, P .. ":crew", args[1], args[3], tonumber(args[5]))
  local made = try("XGROUP", "CREATE", P .. ":stream", args[6] or GROUP, args[7] or "0", "MKSTREAM")
  if made.err and not made.err:find("BUSYGROUP", 1, true) then error(made) end
  if args[4] ~= "" then call("HSET", P .. ":meta", "deadLetterQueueName", args[4]) end
  return { is_mixed(P) and "mixed" or "ok" }
end)

-- args: consumer.
register("unregister_worker", {}, function(P, args)
  call("DEL", P .. ":w:" .. args[1])
  try("ZREM", P .. ":crew", args[1])
  return { "ok" }
end)

-- Heartbeat of all running jobs. args: now, then id, processedOn, entry a run.
-- Reply: per run "" | "revoked" | "lost" (the job is gone, not active or has a newer run). The entry of a job that is
-- not active goes: a peer's stall sweep would make a job of it again.
register("beat", {}, function(P, args)
  local now, out, listed = args[1], {}, {}
  for i = 2, #args, 3 do
    local id = args[i]
    local f = util.fields(P .. ":job:" .. id, "state", "processedOn", "revoked")
    if f[1] == "active" and f[2] == args[i + 1] then
      call("HSET", P .. ":job:" .. id, "lastActive", now)
      if args[i + 2] == "" then
        listed[#listed + 1], listed[#listed + 2] = now, id
      end
      out[#out + 1] = f[3] == "1" and "revoked" or ""
    else
      out[#out + 1] = "lost"
      if f[1] ~= "active" and args[i + 2] ~= "" then
        runs.drop_entries(P, { args[i + 2] })
      elseif f[1] ~= "active" then
        try("ZREM", P .. ":list-runs", id)
      end
    end
  end
  if #listed > 0 then util.attempt(util.sliced, "ZADD", P .. ":list-runs", listed, "XX") end
  return out
end)

local OWNED = 1000 -- entries, or members of the index, that one call looks at

-- What this consumer has claimed according to the server, for a worker that lost a reply: ids only, page by page.
-- args: consumer, activation stamp of the lost call, entry to go on after ("" first, "list" for those from the lists),
-- members of the lists' index seen so far.
-- Reply {where to go on ("" when all was seen), members seen, entry and id in turn...}.
register("owned", { "no-writes" }, function(P, args)
  local consumer, stamp, from = args[1], args[2], args[3]
  local out = { "", "0" }
  local function look(entry, id)
    local f = try("HMGET", P .. ":job:" .. id, "state", "processedOn")
    if f[1] == "active" and f[2] == stamp then
      out[#out + 1], out[#out + 2] = entry, id
    end
  end
  if from ~= "list" then
    local first = from == "" and "-" or "(" .. from
    local pending = try("XPENDING", P .. ":stream", GROUP, first, "+", OWNED, consumer)
    for _, item in ipairs(pending.err and {} or pending) do
      local entry = call("XRANGE", P .. ":stream", item[1], item[1])[1]
      local id = entry and util.map(entry[2]).jobId
      if id then look(item[1], id) end
    end
    out[1] = not pending.err and #pending == OWNED and pending[OWNED][1] or "list"
    return out
  end
  local score, seen = runs.claim_score(stamp, consumer), tonumber(args[4])
  local listed = try("ZRANGEBYSCORE", P .. ":list-runs", score, score, "LIMIT", seen, OWNED)
  if listed.err then listed = {} end
  for _, id in ipairs(listed) do look("", id) end
  if #listed == OWNED then out[1], out[2] = "list", util.int(seen + OWNED) end
  return out
end)

-- Publish what limits this worker, for consoles. args: consumer, JSON ("" withdraws it), ms the whole hash lives.
register("publish_limits", {}, function(P, args)
  local key = P .. ":limits"
  if args[2] == "" then
    call("HDEL", key, args[1])
  else
    call("HSET", key, args[1], args[2])
    -- The hash lives as long as the slowest heartbeat needs; GT alone leaves a key without expiry as it is.
    if call("PEXPIRE", key, args[3], "NX") == 0 then call("PEXPIRE", key, args[3], "GT") end
  end
  return { "ok" }
end)

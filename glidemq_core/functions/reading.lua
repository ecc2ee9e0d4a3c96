-- Lists that have no structure of their own on the wire, and bounded walks over the keys of one queue.

-- Members of P:scheduled that only wait for their turn (due part 0), first priorities first.
-- args: how many at most. Reply {"ok", ids...}.
register("list_prioritized", { "no-writes" }, function(P, args)
  local out, from, limit = { "ok" }, STEP, tonumber(args[1])
  while #out <= limit do
    local first = call("ZRANGEBYSCORE", P .. ":scheduled", util.int(from), "+inf", "WITHSCORES", "LIMIT", 0, 1)
    if not first[1] then break end
    local base = floor(tonumber(first[2]) / STEP) * STEP
    local ids = call("ZRANGEBYSCORE", P .. ":scheduled", util.int(base), util.int(base), "LIMIT", 0, limit + 1 - #out)
    for _, id in ipairs(ids) do out[#out + 1] = id end
    from = base + STEP
  end
  return out
end)

-- Parked jobs of all ordering keys, each key's in their order. args: how many at most. Reply {"ok", ids...}.
register("list_group_waiting", { "no-writes" }, function(P, args)
  local out, limit = { "ok" }, tonumber(args[1])
  local keys = call("HKEYS", P .. ":ordering")
  table.sort(keys)
  for _, key in ipairs(keys) do
    if #out > limit then break end
    local ids = call("ZRANGE", P .. ":groupq:" .. key, 0, limit - #out)
    for _, id in ipairs(ids) do out[#out + 1] = id end
  end
  return out
end)

-- One step of a SCAN on the node that holds this queue. args: cursor, pattern, COUNT, type. Reply {cursor, keys...}.
register("scan", { "no-writes" }, function(_, args)
  local reply = call("SCAN", args[1], "MATCH", args[2], "COUNT", args[3], "TYPE", args[4])
  return { reply[1], unpack(reply[2]) }
end)

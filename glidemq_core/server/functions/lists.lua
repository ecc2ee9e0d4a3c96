-- Lists that have no structure of their own on the wire, and bounded walks over the keys of one queue.

-- Members of P:scheduled that only wait for their turn (due part 0), first priorities first.
-- args: how many at most. Reply {"ok", ids...}.
register("list_prioritized", { "no-writes" }, function(P, args)
  local out, limit, level = { "ok" }, tonumber(args[1]), jobs.next_level(P, 1)
  while level and #out <= limit do
    local base = util.int(level * PRIORITY_STEP)
    local ids = call("ZRANGEBYSCORE", P .. ":scheduled", base, base, "LIMIT", 0, limit + 1 - #out)
    for _, id in ipairs(ids) do out[#out + 1] = id end
    level = jobs.next_level(P, level + 1)
  end
  return out
end)

local SORTED = 1000 -- ordering keys that are listed by name; more come in the order of the hash, a page a call

-- Parked jobs of ordering keys, each key's in their order. args: how many at most, cursor ("0" first).
-- Reply {cursor of the next page ("0" these were the last keys), ids...}.
register("list_group_waiting", { "no-writes" }, function(P, args)
  local limit, ordering, keys = tonumber(args[1]), P .. ":ordering", {}
  local out = { "0" }
  if call("HLEN", ordering) <= SORTED then
    keys = call("HKEYS", ordering)
    table.sort(keys)
  else
    local page = call("HSCAN", ordering, args[2], "COUNT", SORTED)
    out[1] = page[1]
    for i = 1, #page[2], 2 do keys[#keys + 1] = page[2][i] end
  end
  for _, key in ipairs(keys) do
    if #out > limit then break end
    local ids = call("ZRANGE", P .. ":groupq:" .. key, 0, limit - #out)
    for _, id in ipairs(ids) do out[#out + 1] = id end
  end
  return out
end)

-- One step of a SCAN on the node that holds this queue. args: cursor, pattern, COUNT, type. Reply {cursor, keys}.
register("scan", { "no-writes" }, function(_, args)
  return call("SCAN", args[1], "MATCH", args[2], "COUNT", args[3], "TYPE", args[4])
end)

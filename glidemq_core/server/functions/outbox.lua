-- The outbox: a list of JSON entries for records of other queues, in the order in which they were written. An entry is
-- removed after it was delivered, never before, so it may arrive twice. One that its target has refused too often is set
-- aside in P:outbox-failed, a sorted set by the time of the latest try.

-- An entry with other notes; text that is no entry stays as it is.
local function noted(text, refused, since, reason)
  local entry = util.json(text)
  if not entry then return text end
  entry.refused, entry.since, entry.reason = refused, since or entry.since, reason
  return cjson.encode(entry)
end

-- args: entries that were delivered. Reply: number removed.
register("outbox_clear", {}, function(P, args)
  local removed = 0
  for _, entry in ipairs(args) do removed = removed + call("LREM", P .. ":outbox", 1, entry) end
  return removed
end)

-- A target refused an entry: count it, in its place; at the last time set the entry aside with the reason. An entry that
-- another worker has dealt with meanwhile stays as that left it.
-- args: now, entry, most refusals, reason. Reply {"kept" | "set_aside" | "gone"}.
register("outbox_refused", {}, function(P, args)
  local key, entry = P .. ":outbox", args[2]
  local notes = util.json(entry) or {}
  local count = (tonumber(notes.refused) or 0) + 1
  local place = call("LPOS", key, entry)
  if not place then return { "gone" } end
  if count < tonumber(args[3]) then
    call("LSET", key, place, noted(entry, count))
    return { "kept" }
  end
  local aside = noted(entry, nil, notes.since or tonumber(args[1]), args[4])
  call("ZADD", P .. ":outbox-failed", args[1], aside)
  call("LREM", key, 1, entry)
  return { "set_aside" }
end)

-- Put entries that were set aside back into the outbox, for one more try each, those tried longest ago first.
-- args: latest try (ms) of those that go, most at once, refusals they count as, audit. Reply {"ok", entries that went}.
register("outbox_retry", {}, function(P, args)
  local key = P .. ":outbox-failed"
  local entries = call("ZRANGEBYSCORE", key, "-inf", args[1], "LIMIT", 0, args[2])
  if #entries == 0 then return { "ok", 0 } end
  call("LLEN", P .. ":outbox") -- before anything is changed: it may be no list
  audit.ready(P, args[4])
  audit.append(P, args[4], "retried", #entries)
  for _, entry in ipairs(entries) do
    call("RPUSH", P .. ":outbox", noted(entry, tonumber(args[3])))
    call("ZREM", key, entry)
  end
  return { "ok", #entries }
end)

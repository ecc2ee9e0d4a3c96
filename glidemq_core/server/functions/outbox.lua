-- The outbox: news for records of other queues, a list of JSON letters in the order in which they were written. A letter
-- goes after it was delivered, never before, so it may arrive twice. One that its target has refused too often is set
-- aside in P:outbox-failed, a sorted set by the time of the latest try.

-- A letter with some of what is noted in it changed; text that is no letter stays as it is.
local function noted(text, notes)
  local ok, letter = pcall(cjson.decode, text)
  if not ok or type(letter) ~= "table" then return text end
  for _, name in ipairs({ "refused", "since", "reason" }) do letter[name] = notes[name] end
  return cjson.encode(letter)
end

local function note_of(text, name)
  local ok, letter = pcall(cjson.decode, text)
  return ok and type(letter) == "table" and letter[name] or nil
end

-- args: letters that were delivered. Reply: number removed.
register("outbox_clear", {}, function(P, args)
  local removed = 0
  for _, letter in ipairs(args) do removed = removed + call("LREM", P .. ":outbox", 1, letter) end
  return removed
end)

-- A target refused a letter: count it, in its place; at the last time set the letter aside with the reason. A letter that
-- another worker has dealt with meanwhile stays as that left it.
-- args: now, letter, most refusals, reason. Reply {"kept" | "set_aside" | "gone"}.
register("outbox_refused", {}, function(P, args)
  local key, letter = P .. ":outbox", args[2]
  local since, count = note_of(letter, "since"), (tonumber(note_of(letter, "refused")) or 0) + 1
  local place = call("LPOS", key, letter)
  if not place then return { "gone" } end
  if count < tonumber(args[3]) then
    call("LSET", key, place, noted(letter, { refused = count, since = since }))
    return { "kept" }
  end
  local aside = noted(letter, { since = since or tonumber(args[1]), reason = args[4] })
  call("ZADD", P .. ":outbox-failed", args[1], aside)
  call("LREM", key, 1, letter)
  return { "set_aside" }
end)

-- Put letters that were set aside back into the outbox, for one more try each, those tried longest ago first.
-- args: latest try (ms) of those that go, most at once, refusals they count as, audit. Reply {"ok", letters that went}.
register("outbox_retry", {}, function(P, args)
  local key = P .. ":outbox-failed"
  local letters = call("ZRANGEBYSCORE", key, "-inf", args[1], "LIMIT", 0, args[2])
  if #letters == 0 then return { "ok", 0 } end
  call("LLEN", P .. ":outbox") -- before anything is changed: it may be no list
  audit.ready(P, args[4])
  audit.append(P, args[4], "retried", #letters)
  for _, letter in ipairs(letters) do
    call("RPUSH", P .. ":outbox", noted(letter, { refused = tonumber(args[3]), since = note_of(letter, "since") }))
    call("ZREM", key, letter)
  end
  return { "ok", #letters }
end)

-- What stays of a broadcast: trimming, counts and removal of subscriptions.

local TRIMMED = 500 -- entries that one call trims at most
local WALKED = 20000 -- entries that are looked through for messages that were delivered again
local SEEN = 10000 -- scheduled members, and unread entries, that one call looks at

local function subscriptions(P)
  local out, listed = {}, try("XINFO", "GROUPS", P .. ":stream")
  for _, flat in ipairs(listed.err and {} or listed) do
    local group = util.map(flat)
    if group.name ~= GROUP then out[#out + 1] = group end
  end
  return out
end

-- Whether a message is to be delivered again later, and whether it may have been before.
local function prospects(P, id, groups_of)
  local waits, repeated = call("ZSCORE", P .. ":scheduled", id) ~= false, false
  for _, s in ipairs(groups_of) do
    waits = waits or call("ZSCORE", P .. ":scheduled", id .. "||" .. s.name) ~= false
    repeated = repeated or call("EXISTS", broadcast.counters(P, s, id)) == 1
  end
  return waits, repeated
end

-- Take out of `gone` (a set: id -> whether it was delivered again) what a later entry still names; where there are too many
-- entries to look at, all that were delivered again.
local function spare_delivered_again(P, gone)
  local after = "-"
  for _ = 1, WALKED / 1000 do
    local page = call("XRANGE", P .. ":stream", after, "+", "COUNT", 1000)
    for _, item in ipairs(page) do gone[util.map(item[2]).jobId or ""] = nil end
    if #page < 1000 then return end
    after = "(" .. page[1000][1]
  end
  for id, repeated in pairs(gone) do
    if repeated then gone[id] = nil end
  end
end

-- How many of the oldest entries go: those beyond `keep` (0: any number stays), and those from before `since` (epoch ms).
local function surplus_of(stream, length, keep, since)
  local surplus = keep > 0 and min(length - keep, TRIMMED) or 0
  if since > 0 and surplus < TRIMMED then
    surplus = max(surplus, #call("XRANGE", stream, "-", "(" .. util.int(since) .. "-0", "COUNT", TRIMMED))
  end
  return surplus
end

-- Trim the stream to its newest entries, and delete the messages behind those that go. At most 500 entries; the rest
-- waits for the next call. args: entries to keep (0: all), instant before which entries go (epoch ms, "" none). Reply {"ok",
-- entries trimmed, messages deleted}.
register("broadcast_trim", {}, function(P, args)
  local stream = P .. ":stream"
  local length = call("XLEN", stream)
  local surplus = surplus_of(stream, length, tonumber(args[1]), util.num(args[2]))
  if surplus <= 0 then return { "ok", 0, 0 } end
  local groups_of, gone, walk = subscriptions(P), {}, false
  for _, item in ipairs(call("XRANGE", stream, "-", "+", "COUNT", surplus)) do
    local id = util.map(item[2]).jobId
    local waits, repeated = true, false
    if id then waits, repeated = prospects(P, id, groups_of) end
    if not waits then gone[id], walk = repeated, walk or repeated end
  end
  call("XTRIM", stream, "MAXLEN", "=", util.int(length - surplus))
  if walk then spare_delivered_again(P, gone) end
  local ids, keys = {}, {}
  for id in pairs(gone) do
    ids[#ids + 1] = id
    for _, s in ipairs(groups_of) do keys[#keys + 1] = broadcast.counters(P, s, id) end
  end
  if #ids > 0 then
    for _, set in ipairs({ ":completed", ":failed" }) do util.attempt(util.sliced, "ZREM", P .. set, ids) end
    jobs.purge(P, ids, true)
    for from = 1, #keys, 1000 do call("UNLINK", unpack(keys, from, min(from + 999, #keys))) end
  end
  return { "ok", surplus, #ids }
end)

-- Entries that a subscription has not read. After a trimming the server may not know: then at most 10,000 are counted.
local function unread(P, group)
  if group.lag then return group.lag end
  return #call("XRANGE", P .. ":stream", "(" .. group["last-delivered-id"], "+", "COUNT", SEEN)
end

-- How each subscription stands. Reply: name, entries delivered and not ended, entries not read yet, retries that wait for
-- their time (among the first 10,000 scheduled); in turn.
register("broadcast_counts", { "no-writes" }, function(P)
  local out, delayed = {}, {}
  for _, member in ipairs(call("ZRANGE", P .. ":scheduled", 0, SEEN - 1)) do
    local split = member:find("||", 1, true)
    local name = split and member:sub(split + 2)
    if name then delayed[name] = (delayed[name] or 0) + 1 end
  end
  for _, group in ipairs(subscriptions(P)) do
    out[#out + 1], out[#out + 2] = group.name, util.int(group.pending)
    out[#out + 1], out[#out + 2] = util.int(unread(P, group)), util.int(delayed[group.name] or 0)
  end
  return out
end)

-- Remove a subscription with its retries. Reply {"ok" | "not_found"}.
broadcast.subscribed("remove", {}, function(P, s)
  local found = false
  for _, group in ipairs(subscriptions(P)) do found = found or group.name == s.name end
  if not found then return { "not_found" } end
  local retries, ending = {}, "||" .. s.name
  for _, member in ipairs(call("ZRANGE", P .. ":scheduled", 0, SEEN - 1)) do
    if member:sub(-#ending) == ending then retries[#retries + 1] = member end
  end
  if #retries > 0 then util.sliced("ZREM", P .. ":scheduled", retries) end
  call("XGROUP", "DESTROY", P .. ":stream", s.name)
  call("UNLINK", broadcast.deliveries(P, s))
  return { "ok" }
end)

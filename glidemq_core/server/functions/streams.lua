-- Token streams of jobs.

-- Whether the entry (flat names and values) is the chunk at args[at..]: a number of strings, then these.
local function is_chunk(entry, args, at)
  local pairs_of = entry[2]
  if #pairs_of ~= tonumber(args[at]) then return false end
  for i = 1, #pairs_of do
    if pairs_of[i] ~= args[at + i] then return false end
  end
  return true
end

-- Ids of the chunks from args[5] on if an earlier try of the same call has appended them, nil otherwise. They are looked
-- for behind the entry `since`, or "?<processedOn>": behind the end of the stream when that run was claimed (roundFrom), and
-- where that is not known, at the end of the stream.
local function appended(P, id, since, args)
  local key, starts, i = P .. ":jstream:" .. id, {}, 5
  while i <= #args do
    starts[#starts + 1] = i
    i = i + 1 + tonumber(args[i])
  end
  local run = since:match("^%?(.*)$")
  if run then
    local noted, from = (call("HGET", P .. ":job:" .. id, "roundFrom") or ""):match("^(.-):(.*)$")
    since = noted == run and from or nil
  end
  local page
  if since then
    page = call("XRANGE", key, "(" .. since, "+", "COUNT", #starts + 1000)
  else
    local newest = call("XREVRANGE", key, "+", "-", "COUNT", #starts)
    page = {}
    for n = #newest, 1, -1 do page[#page + 1] = newest[n] end
  end
  for first = 0, #page - #starts do
    local ids = { "ok" }
    for n, at in ipairs(starts) do
      if not is_chunk(page[first + n], args, at) then break end
      ids[n + 1] = page[first + n][1]
    end
    if #ids > #starts then return ids end
  end
  return nil
end

-- Append chunks in their order. A removed job is not brought back by one: its hash must have a state.
-- args: id, "" or in a repeat after a lost reply where to look for what the first try has appended (see above),
-- processedOn of the run that streams and number of the call ("" none), then per chunk the number of strings that follow
-- and the names and values in turn. Reply {"ok", entry id...} | {"not_found"} | {"lost"} | {"late"}.
register("stream_append", {}, function(P, args)
  local key = P .. ":jstream:" .. args[1]
  local refused = runs.refused(P, args[1], args[3], args[4], "streamMark")
  if refused then return { refused } end
  local earlier = args[2] ~= "" and appended(P, args[1], args[2], args)
  if earlier then return earlier end
  local reply, i = { "ok" }, 5
  while i <= #args do
    local n = tonumber(args[i])
    reply[#reply + 1] = call("XADD", key, "*", unpack(args, i + 1, i + n))
    i = i + 1 + n
  end
  return reply
end)

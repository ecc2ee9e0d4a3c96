-- Flows as a console reads them: many jobs of one queue a call, with what else of their flows the same queue holds.

local READ_CAP = 4096 -- bytes of one field; payloads are never read here

-- Ids that a job names as waiting for it, those of this queue only. `at`: places of the parent fields in a row.
local function parents_here(row, at, queue)
  local out = {}
  if row[at.parentId] and row[at.parentQueue] == queue then out[1] = row[at.parentId] end
  local places = util.json(row[at.parentQueues]) or {}
  for i, id in ipairs(util.json(row[at.parentIds]) or {}) do
    if places[i] == queue and type(id) == "string" then out[#out + 1] = id end
  end
  return out
end

-- Jobs with what they wait for, and the jobs of the same queue that those lead to until there are `most`: the ones
-- that wait for them ("up"), what they wait for too ("all"), or none of these ("none").
-- args: most jobs, members listed of each, direction, number of fields, fields (parentId parentQueue parentIds
-- parentQueues state budgetKey among them)..., ids...
-- Reply {"ok", {budget key, its hash, ...}, {id, values ({} no hash), members, how many there are, score of a delayed
-- job or false, 1 if only what was kept of a removed job is left}...}.
register("flow", { "no-writes" }, function(P, args)
  local most, listed, direction, n = tonumber(args[1]), tonumber(args[2]), args[3], tonumber(args[4])
  local fields, at, queue, seen, line, tail = {}, {}, P:match("{(.*)}$"), {}, {}, 0
  for i = 1, n do
    fields[i] = args[i + 4]
    at[fields[i]] = i
  end
  local function add(id)
    if seen[id] or tail >= most then return end
    seen[id], tail = true, tail + 1
    line[tail] = id
  end
  for i = n + 5, #args do add(args[i]) end
  local out, budget_list, known, done = { "ok", {} }, {}, {}, 0
  while done < tail do
    done = done + 1
    local id = line[done]
    local row = try("HMGET", P .. ":job:" .. id, unpack(fields))
    if row.err then row = {} end
    local gone = 0
    if row[at.state] == false then
      local kept = call("EXISTS", P .. ":job:" .. id) == 0 and try("HMGET", P .. ":kept:" .. id, unpack(fields))
      if kept and not kept.err and (kept[at.parentId] or kept[at.parentIds]) then row, gone = kept, 1 end
    end
    for i, value in ipairs(row) do
      if value and #value > READ_CAP then row[i] = value:sub(1, READ_CAP) end
    end
    local deps, members = P .. ":deps:" .. id, {}
    local total = try("SCARD", deps)
    if type(total) == "table" then total = 0 end
    if total > 0 and total <= listed then
      members = call("SMEMBERS", deps)
    elseif total > 0 then
      local page = call("SSCAN", deps, "0", "COUNT", listed)[2]
      for i = 1, min(#page, listed) do members[i] = page[i] end
    end
    local score = row[at.state] == "delayed" and try("ZSCORE", P .. ":scheduled", id) or false
    if type(score) == "table" then score = false end
    out[#out + 1] = { id, row, members, total, score, gone }
    local key = row[at.budgetKey]
    if key and direction ~= "up" and not known[key] and key:sub(1, #P + 8) == P .. ":budget:" then
      known[key] = true
      local hash = try("HGETALL", key)
      if not hash.err then
        budget_list[#budget_list + 1], budget_list[#budget_list + 2] = key, hash
      end
    end
    if direction ~= "none" and row[1] ~= nil then
      for _, parent in ipairs(parents_here(row, at, queue)) do add(parent) end
    end
    if direction == "all" then
      for _, member in ipairs(members) do
        local child = member:sub(1, #P + 1) == P .. ":" and member:sub(#P + 2)
        if child and not child:find(":", 1, true) then add(child) end
      end
    end
  end
  out[2] = budget_list
  return out
end)

-- Jobs that recent events of a queue name, the latest first. What is left out because there is too much of it
-- is not read: events may hold results of a megabyte.
-- args: id of the last event read ("" none), how many at most, bytes at most. Reply {"ok", id of the newest, ids...}.
register("recent_jobs", { "no-writes" }, function(P, args)
  local most, room = tonumber(args[2]), tonumber(args[3])
  local low = args[1] == "" and "-" or "(" .. args[1]
  local out, high, count, want, seen = { "ok", "" }, "+", 0, 1, {}
  while count < most and room > 0 do
    want = min(want, most - count)
    local page = try("XREVRANGE", P .. ":events", high, low, "COUNT", want)
    if page.err or #page == 0 then break end
    local size = 0
    for _, entry in ipairs(page) do
      local f = util.map(entry[2])
      for _, value in pairs(f) do size = size + #value end
      if out[2] == "" then out[2] = entry[1] end
      if f.jobId and not seen[f.jobId] then
        seen[f.jobId] = true
        out[#out + 1] = f.jobId
      end
      high = "(" .. entry[1]
    end
    count, room = count + #page, room - size
    if #page < want then break end
    want = max(1, min(want * 2, floor(room / (size / #page + 1))))
  end
  return out
end)

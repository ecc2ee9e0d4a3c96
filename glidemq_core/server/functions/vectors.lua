-- Vectors of jobs, in the record or beside it (P:vec:<id>), and what exact search keeps: P:vectors:<field> lists
-- the jobs that were given one, P:vindex:<name> describes an index. A listed job need not exist any more.

-- Members looked at with every store: more than one, so that what removed jobs leave behind shrinks.
local LOOKS = 2

local function forget(P, field, ids)
  for _, id in ipairs(ids) do
    if call("EXISTS", P .. ":job:" .. id) == 0 then
      call("SREM", P .. ":vectors:" .. field, id)
      call("UNLINK", P .. ":vec:" .. id)
    end
  end
end

-- Give a job a vector; it then stands in one of the two places only. The queue's default index says how long it
-- must be. args: id, field, bytes, "job"|"side", default index, "1" to refuse a job that is still to run.
-- Reply {"ok" | "to_run", state} | {"dimensions", how many} | {"not_found"}.
register("vector_store", {}, function(P, args)
  local id, field, bytes = args[1], args[2], args[3]
  local place, other = P .. ":job:" .. id, P .. ":vec:" .. id
  local state = call("HGET", place, "state")
  if not state then return { "not_found" } end
  local index = call("HMGET", P .. ":vindex:" .. args[5], "field", "dimensions")
  if index[1] == field and util.num(index[2]) * 4 ~= #bytes then return { "dimensions", index[2] } end
  if args[6] == "1" and state ~= "completed" and state ~= "failed" then return { "to_run", state } end
  if args[4] == "side" then place, other = other, place end
  call("HSET", place, field, bytes)
  call("HDEL", other, field)
  call("SADD", P .. ":vectors:" .. field, id)
  forget(P, field, call("SRANDMEMBER", P .. ":vectors:" .. field, LOOKS))
  return { "ok", state }
end)

-- List those of the given jobs that have a vector. args: field, ids.
register("vector_note", {}, function(P, args)
  for i = 2, #args do
    local id = args[i]
    if call("HEXISTS", P .. ":job:" .. id, args[1]) == 1 or call("HEXISTS", P .. ":vec:" .. id, args[1]) == 1 then
      call("SADD", P .. ":vectors:" .. args[1], id)
    end
  end
  return { "ok" }
end)

-- Take removed jobs off the list. args: field, ids.
register("vector_forget", {}, function(P, args)
  forget(P, args[1], { unpack(args, 2) })
  return { "ok" }
end)

-- One step over the listed jobs: vectors of the right length with other fields of the same hash, in columns.
-- args: field, length in bytes, cursor, how many, further fields.
-- Reply {cursor, ids of removed jobs, ids, vectors, values of each further field (false: none)}.
register("vector_page", { "no-writes" }, function(P, args)
  local field, length = args[1], tonumber(args[2])
  local page = call("SSCAN", P .. ":vectors:" .. field, args[3], "COUNT", args[4])
  local gone, reply = {}, { page[1] }
  for column = 2, #args do reply[column] = {} end
  reply[2] = gone
  for _, id in ipairs(page[2]) do
    local record = call("HMGET", P .. ":job:" .. id, field, unpack(args, 5))
    if not record[1] and call("EXISTS", P .. ":job:" .. id) == 0 then
      gone[#gone + 1] = id
    else
      for _, row in ipairs({ record, call("HMGET", P .. ":vec:" .. id, field, unpack(args, 5)) }) do
        if row[1] and #row[1] == length then
          local n = #reply[3] + 1
          reply[3][n] = id
          for column, value in ipairs(row) do reply[3 + column][n] = value end
        end
      end
    end
  end
  return reply
end)

-- args: name, schema, vector field, dimensions. Reply {"ok"} | {"exists"}.
register("index_create", {}, function(P, args)
  local key = P .. ":vindex:" .. args[1]
  if call("EXISTS", key) == 1 then return { "exists" } end
  call("HSET", key, "schema", args[2], "field", args[3], "dimensions", args[4])
  return { "ok" }
end)

-- args: name, "1" to keep the list of jobs for another index of the same field. Reply {"ok"} | {"missing"}.
register("index_drop", {}, function(P, args)
  local key = P .. ":vindex:" .. args[1]
  local field = call("HGET", key, "field")
  if call("UNLINK", key) == 0 then return { "missing" } end
  if field and args[2] ~= "1" then call("UNLINK", P .. ":vectors:" .. field) end
  return { "ok" }
end)

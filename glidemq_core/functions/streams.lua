-- Token streams of jobs.

-- Append chunks in their order. A removed job is not brought back by one: its hash must have a state.
-- args: id, then per chunk the number of strings that follow and the names and values in turn.
-- Reply {"ok", entry id...} | {"not_found"}.
register("stream_append", {}, function(P, args)
  local key = P .. ":jstream:" .. args[1]
  if call("HEXISTS", P .. ":job:" .. args[1], "state") == 0 then return { "not_found" } end
  local reply, i = { "ok" }, 2
  while i <= #args do
    local n = tonumber(args[i])
    reply[#reply + 1] = call("XADD", key, "*", unpack(args, i + 1, i + n))
    i = i + 1 + n
  end
  return reply
end)

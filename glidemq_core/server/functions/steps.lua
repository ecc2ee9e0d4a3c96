-- Steps of jobs: results that a later run of the same job is handed back. P:steps:<id> holds `t`, the `timestamp` of its
-- job (an id may be used again), `b`, the bytes of all, and `s:<name>` each. The job's field `steps` says that there are any.

local KEEP, AFTER_DEADLINE = 2592000000, 604800000 -- 30 days after the latest, 7 days after a suspension's deadline

-- Forget the steps of a job: it is done, or has another payload.
function steps.forget(P, id)
  call("UNLINK", P .. ":steps:" .. id)
  call("HDEL", P .. ":job:" .. id, "steps")
end

-- Keep the steps of a suspended job for as long as it may be resumed, and some days.
function steps.outlast(P, id, deadline)
  call("PEXPIREAT", P .. ":steps:" .. id, util.int(deadline + AFTER_DEADLINE), "GT")
end

-- Keep the result of a step. The first one of a name stays: a repeat after a lost reply finds its own.
-- args: id, name, result, processedOn of the run, bytes that all may have.
-- Reply {"ok", result that is kept} | {"too_large", bytes of all} | {"not_found"} | {"lost"}.
register("keep_step", {}, function(P, args)
  local id, name, result = args[1], args[2], args[3]
  local refused = runs.refused(P, id, args[4], nil, "steps")
  if refused then return { refused } end
  local key, job, field = P .. ":steps:" .. id, P .. ":job:" .. id, "s:" .. name
  util.writable("HSET", key, "hash")
  local made = call("HGET", job, "timestamp") or ""
  local f = call("HMGET", key, "t", "b", field)
  if f[1] == made and f[3] then return { "ok", f[3] } end
  local before = f[1] == made and util.num(f[2]) or 0
  local bytes = before + #name + #result
  if bytes > tonumber(args[5]) then return { "too_large", util.int(bytes) } end
  if f[1] ~= made then call("UNLINK", key) end
  call("HSET", key, "t", made, "b", util.int(bytes), field, result)
  if before == 0 then call("PEXPIRE", key, KEEP) else call("PEXPIRE", key, KEEP, "GT") end
  call("HSET", job, "steps", "1")
  return { "ok", result }
end)

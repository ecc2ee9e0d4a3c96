-- Group exchange: settle every run that finished since the last call and claim as many jobs as fit, atomically.

-- Newest entry id of a stream, to wait for what comes after it.
local function newest(stream)
  local last = try("XREVRANGE", stream, "+", "-", "COUNT", 1)
  return not last.err and last[1] and last[1][1] or "0-0"
end

-- A request may be delayed on a connection that was given up. Once its repeat has arrived it must claim nothing: the worker
-- has read what it owns and would not learn of more, so these jobs would wait until they count as stalled.
local REPEAT_KEPT_MS = 600000 -- how long a repeat is remembered, ms

local function refuse_late(P, consumer, stamp, repeated)
  local key = P .. ":repeated:" .. consumer .. ":" .. stamp
  if repeated then
    try("SET", key, "1", "PX", REPEAT_KEPT_MS)
  elseif try("EXISTS", key) == 1 then
    util.refuse("LATE", "this call was repeated before it came: nothing was changed")
  end
end

-- Broadcasts settle and claim by `settle_all` and `fill` of their own.
-- args: now, consumer, want, flags ("e" events, "m" metrics, "t" token limit shared by the queue, "r" repeated after
-- a lost reply), limiter max, limiter ms, token cap, token window ms, then two a run: its head (id, entry ("" list-sourced),
-- processedOn, "c"|"f", attempts allowed (0 = no retry), backoff ms, retention rule, has fallbacks ("1"/""), tokens it
-- reported ("" none), ledger header JSON ("" none)) and its result or reason.
-- Reply: {answers, claims {entry, id, flat hash, budget}, why fewer claims than wanted, wait ms, outbox waits (1/0), newest
-- entry ids of stream and events, when fewer than wanted were ready, to wait for what comes after them, when a limited
-- group is to be looked at again, ms ("" for all three when not asked or none), other errors...}.
-- Answers: ok retrying failed; unrecorded when the end could not be recorded and may be sent again; lost when the run does
-- not own the job any more (nothing of it was recorded).
-- Repeating a call with the same `now` gives the same answers and may claim further jobs.
function claim.exchange(P, args, settle_all, fill)
  local now = tonumber(args[1])
  local batch = {
    consumer = args[2], want = tonumber(args[3]), events = args[4]:find("e", 1, true), metrics = args[4]:find("m", 1, true),
    rate_max = tonumber(args[5]), rate_duration = tonumber(args[6]), tpm_max = tonumber(args[7]), tpm_duration = tonumber(args[8]),
    count_tokens = args[4]:find("t", 1, true), repeated = args[4]:find("r", 1, true),
  }
  if batch.want > 0 or batch.repeated then refuse_late(P, batch.consumer, args[1], batch.repeated) end
  local claims, c = {}, nil
  local answers, outbox = settle_all(P, args, now, batch)
  if batch.want > 0 then
    c = claim.some(P, batch, now, fill)
    claims = c.jobs
  end
  local reply = { answers, claims, c and c.why or "", util.int(c and max(0, c.wait) or 0), outbox and 1 or 0, "", "", "" }
  if #claims < batch.want then
    reply[6], reply[7] = newest(P .. ":stream"), newest(P .. ":events")
    local limited = try("ZRANGE", P .. ":ratelimited", 0, 0, "WITHSCORES")
    reply[8] = not limited.err and limited[2] or ""
  end
  for _, job in ipairs(c and c.parked or {}) do claims[#claims + 1] = job end
  for i, text in ipairs(noted_errors) do reply[8 + i] = text end
  return reply
end

register("exchange", {}, function(P, args)
  return claim.exchange(P, args, settle.all)
end)

-- Count tokens of a run that ended by a call of its own. args: now, tokens, window ms.
register("count_tokens", {}, function(P, args)
  settle.count_tokens(P, tonumber(args[2]), tonumber(args[3]), tonumber(args[1]))
  return { "ok" }
end)

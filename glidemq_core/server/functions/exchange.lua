-- Group exchange: settle every run that finished since the last call and claim as many jobs as fit, atomically.

-- Newest entry id of a stream, to wait for what comes after it.
local function newest(stream)
  local last = try("XREVRANGE", stream, "+", "-", "COUNT", 1)
  return not last.err and last[1] and last[1][1] or "0-0"
end

-- A request may be delayed on a connection that was given up. Once its repeat has arrived it must claim nothing: the worker
-- has read what it owns and would not learn of more, so these jobs would wait until they count as stalled.
local HEADER = "^([^\31]*)\31([^\31]*)\31(%d*)\31(.*)$"
local OPTIONS = "^" .. ("([^\31]*)\31"):rep(4) .. "([^\31]*)$"
local REPEAT_KEPT_MS = 600000 -- how long a repeat is remembered, ms

local function repeat_key(P, batch)
  return P .. ":repeated:" .. batch.consumer .. ":" .. batch.stamp
end

local function refuse_late(P, batch)
  local key = repeat_key(P, batch)
  if batch.repeated then
    try("SET", key, "1", "PX", REPEAT_KEPT_MS)
  elseif try("EXISTS", key) == 1 then
    util.refuse("LATE", "this call was repeated before it came: nothing was changed")
  end
end

-- What a worker says in each of its calls alike: the latest of these texts, and what it says.
local options_text, options = nil, nil

-- The first argument of a call as a table, which the next call takes over.
local function read_header(text)
  local stamp, consumer, want, rest = text:match(HEADER)
  if rest ~= options_text then
    local flags, rate_max, rate_duration, tpm_max, tpm_duration = rest:match(OPTIONS)
    options_text = rest
    options = {
      events = flags:find("e", 1, true), metrics = flags:find("m", 1, true), count_tokens = flags:find("t", 1, true),
      repeated = flags:find("r", 1, true), rate_max = tonumber(rate_max), rate_duration = tonumber(rate_duration),
      tpm_max = tonumber(tpm_max), tpm_duration = tonumber(tpm_duration), stamp = "", consumer = "", want = 0,
    }
  end
  options.stamp, options.consumer, options.want, options.group, options.quiet = stamp, consumer, tonumber(want), nil, false
  return options
end

-- Read what runs a call brings. One look tells that nothing is there that the call would have to mind and seldom is: a repeat
-- of it, lists to claim from, parents of jobs that end, early signals (`batch.quiet`). Nothing in a call makes such.
local function read_jobs(P, args, batch)
  batch.runs, batch.entries = settle.read_runs(args)
  local keys = batch.want > 0 and { repeat_key(P, batch), P .. ":priority", P .. ":lifo" } or {}
  batch.quiet = util.existing(settle.others(P, batch.runs, keys)) == 0
end

local function with_errors(reply)
  for _, text in ipairs(noted_errors) do reply[#reply + 1] = text end
  return reply
end

-- Broadcasts settle and claim by `settle_all` and `fill` of their own.
-- args, few long ones as each costs some microseconds on its way: now, consumer, want, flags ("e" events, "m" metrics, "t"
-- token limit shared by the queue, "r" repeated after a lost reply), limiter max, limiter ms, token cap, token window ms,
-- parted by 0x1f; if runs are settled, their heads as one text, and their results or reasons as one. A head: id, entry (""
-- list-sourced), processedOn, and bytes of its result or reason, each followed by 0x1f, which no id may hold; then nothing
-- for a plain success, its retention rule if that is all there is to say of one, a dot and what its end has to look at if that
-- is all, else, parted by 0x1f, "c"|"f", attempts allowed (0 = no retry), backoff ms, retention rule, has fallbacks ("1"/""),
-- tokens it reported ("" none), ledger header JSON ("" none), and what its end has to look at: "g" an ordering key, "p" a
-- parent, "s" a scheduler, "k" steps that were kept, "d<bytes>" a dead letter of so many bytes, which stands behind the reason
-- and goes out if the job has failed for good; it ends with 0x1e.
-- Reply: {answers, claims}, and only if one of them says something {..., why fewer claims than wanted, wait ms, outbox waits
-- (1/0), newest entry ids of stream and events, when fewer than wanted were ready, to wait for what comes after them, when
-- a limited group is to be looked at again, ms ("" for all three when not asked or none), other errors...}.
-- Answers, none at all if every one is ok: ok retrying failed; unrecorded when the end could not be recorded and may be sent
-- again; lost when the run does not own the job any more (nothing of it was recorded).
-- Claims are two texts a job, as `claim.hand_out` and `hand_out_fresh` pack them.
-- Repeating a call with the same `now` gives the same answers and may claim further jobs.
function claim.exchange(P, args, settle_all, fill)
  local batch = read_header(args[1])
  local now = tonumber(batch.stamp)
  if not fill then read_jobs(P, args, batch) end
  if batch.repeated or batch.want > 0 and not batch.quiet then refuse_late(P, batch) end
  local answers, outbox = settle_all(P, args, now, batch)
  if batch.want <= 0 then
    if not outbox and #noted_errors == 0 then return { answers, {} } end
    return with_errors({ answers, {}, "", "0", outbox and 1 or 0, "", "", "" })
  end
  local c = claim.some(P, batch, now, fill)
  if c.count >= batch.want and c.why == "" and not outbox and #noted_errors == 0 then return { answers, c.out } end
  local reply = { answers, c.out, c.why, util.int(max(0, c.wait)), outbox and 1 or 0, "", "", "" }
  if c.count < batch.want then
    reply[6], reply[7] = newest(P .. ":stream"), newest(P .. ":events")
    local limited = try("ZRANGE", P .. ":ratelimited", 0, 0, "WITHSCORES")
    reply[8] = not limited.err and limited[2] or ""
  end
  return with_errors(reply)
end

register("exchange", {}, function(P, args)
  return claim.exchange(P, args, settle.all)
end)

-- Count tokens of a run that ended by a call of its own. args: now, tokens, window ms.
register("count_tokens", {}, function(P, args)
  settle.count_tokens(P, tonumber(args[2]), tonumber(args[3]), tonumber(args[1]))
  return { "ok" }
end)

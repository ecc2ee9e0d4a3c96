-- Usage of jobs: the latest report on the hash, minute buckets of the queue, a ledger of every attempt.

local FIELDS = { "model", "provider", "tokens", "totalTokens", "costs", "totalCost", "costUnit", "latencyMs", "cached" }
local KEEP_S = 2592000 -- 30 days: buckets and ledgers
local LEDGER_CAP = 1000
local ERROR_CAP = 4000 -- bytes of an error kept in the ledger
local TRACES = 3 -- tracebacks kept in one ledger, the newest
local TRACE = ',"trace":"' -- how a field begins that holds one; within a text its quotes would be escaped

-- Book a report into its minute (sign "") or out of it ("-"). `r`: report fields by name, as stored. Nothing here
-- may fail half-way: what a damaged bucket or report refuses is left out.
local function book(P, minute, r, sign)
  local key = P .. ":usage:" .. minute
  if sign == "-" and call("EXISTS", key) == 0 then return end
  local function add(field, text)
    local n = tonumber(text)
    if n and n == n and n < math.huge and n >= 0 then try("HINCRBYFLOAT", key, field, sign .. text) end
  end
  try("HINCRBY", key, "jobCount", sign .. "1")
  for _, total in ipairs({ "totalTokens", "totalCost" }) do
    if r[total] then add(total, r[total]) end
  end
  if r.model and r.model ~= "" then add("models:" .. r.model, "1") end
  for _, kind in ipairs({ "tokens", "costs" }) do
    for category, n in pairs(util.amounts(r[kind])) do
      if n > 0 then add(kind .. ":" .. category, util.decimal(n)) end
    end
  end
  if sign == "" and r.costUnit then try("HSET", key, "costUnit", r.costUnit) end
  try("EXPIRE", key, KEEP_S)
end

-- An attempt with a traceback was added: the oldest one beyond those kept loses its own.
local function forget_trace(key)
  local entries, kept = call("LRANGE", key, 0, -1), 0
  for i = #entries, 1, -1 do
    if entries[i]:find(TRACE, 1, true) then
      kept = kept + 1
      if kept > TRACES then
        local entry = util.json(entries[i])
        if not entry then return end
        entry.trace = nil
        call("LSET", key, i - 1, cjson.encode(entry))
        return
      end
    end
  end
end

local function append(P, id, entry)
  local key = P .. ":ledger:" .. id
  local length = try("RPUSH", key, entry)
  if type(length) ~= "number" then return end -- something else uses the name
  if length > LEDGER_CAP then call("LTRIM", key, -LEDGER_CAP, -1) end
  if length > TRACES and entry:find(TRACE, 1, true) then forget_trace(key) end
  call("EXPIRE", key, KEEP_S)
end

local function attempt_of(attempts, fallback)
  return '"attempt":' .. util.int(util.num(attempts)) .. ',"fallback":' .. util.int(util.num(fallback))
end

-- Note the end of a run. `head`: JSON object {"started","attempt","fallback","worker"} of the run as its worker
-- knows it, of a failed one "error_type" and "trace" too; "" reads the hash, which must not have been changed by the
-- end yet. With `known_only`, which is how runs that took nothing amiss end, it is noted only if something was kept
-- of this job before.
function ledger.finish(P, id, head, outcome, err, now, known_only)
  local key = P .. ":ledger:" .. id
  if head == "" then
    local f = call("HMGET", P .. ":job:" .. id, "attemptsMade", "fallbackIndex", "processedOn")
    head = '{"started":' .. util.int(util.num(f[3], now)) .. "," .. attempt_of(f[1], f[2]) .. ',"worker":null}'
  end
  err = err or ""
  if #err > ERROR_CAP then err = err:sub(1, ERROR_CAP):gsub("[\192-\255][\128-\191]*$", "") end
  local entry = '{"k":"end","at":' .. util.int(now) .. "," .. head:sub(2, -2) .. ',"outcome":"' .. outcome .. '","error":'
    .. (err == "" and "null" or cjson.encode(err)) .. "}"
  if not known_only then
    append(P, id, entry)
    return
  end
  local length = try("RPUSHX", key, entry)
  if type(length) == "number" and length > LEDGER_CAP then call("LTRIM", key, -LEDGER_CAP, -1) end
end

-- Number of the attempt that the newest entry belongs to; nil without any.
function ledger.last_attempt(P, id)
  local newest = try("LINDEX", P .. ":ledger:" .. id, -1)
  return type(newest) == "string" and tonumber((util.json(newest) or {}).attempt) or nil
end

-- Replace the usage report of a job. args: id, now, the nine FIELDS as stored ("" absent), the report as JSON,
-- worker, mark of the call ("<processedOn>:<n>" of the run that reports, "" none).
-- Reply {"ok"} (also when this call, or a later one of the run, was carried out before) | {"busy"} (a peer holds its
-- report lock) | {"lost"} (the job is not the run's any more) | {"not_found"}.
register("report_usage", {}, function(P, args)
  local id, now, key = args[1], tonumber(args[2]), P .. ":job:" .. args[1]
  if call("EXISTS", key .. ":usage-lock") == 1 then return { "busy" } end
  local names = {}
  for i, field in ipairs(FIELDS) do names[i] = "usage:" .. field end
  names[10] = "usage:bucketTs"
  names[11], names[12] = "usageMark", "processedOn"
  local old = call("HMGET", key, "state", "attemptsMade", "fallbackIndex", unpack(names))
  if not old[1] then return { "not_found" } end
  local mark = args[14]
  if mark ~= "" then
    local run, number = mark:match("^(.*):(%d+)$")
    local noted_run, noted = (old[14] or ""):match("^(.*):(%d+)$")
    if noted_run == run and tonumber(noted) >= tonumber(number) then return { "ok" } end
    if old[1] ~= "active" or old[15] ~= run then return { "lost" } end
  end
  local previous, report, fields = {}, {}, {}
  for i, field in ipairs(FIELDS) do
    previous[field] = old[i + 3] or nil
    if args[i + 2] ~= "" then
      report[field] = args[i + 2]
      fields[#fields + 1], fields[#fields + 2] = names[i], args[i + 2]
    end
  end
  local minute = util.int(now - now % 60000)
  names[11], names[12] = "budgetBooked", nil
  call("HDEL", key, unpack(names))
  local given = #fields > 0
  if given then fields[#fields + 1], fields[#fields + 2] = "usage:bucketTs", minute end
  if mark ~= "" then fields[#fields + 1], fields[#fields + 2] = "usageMark", mark end
  if #fields > 0 then call("HSET", key, unpack(fields)) end
  if old[13] then book(P, old[13], previous, "-") end
  if given then book(P, minute, report, "") end
  events.emit(P, "usage", id, "data", args[12])
  append(P, id, '{"k":"usage","at":' .. util.int(now) .. "," .. attempt_of(old[2], old[3]) .. ',"worker":'
    .. (args[13] == "" and "null" or cjson.encode(args[13])) .. ',"usage":' .. args[12] .. "}")
  return { "ok" }
end)

-- Tokens for the TPM counters only.
-- args: id, number text, processedOn of the run that reports and number of the call ("" none).
-- Reply {"ok"} | {"not_found"} | {"lost"} | {"late"}.
register("report_tokens", {}, function(P, args)
  local refused = runs.refused(P, args[1], args[3], args[4], "tokensMark")
  if refused then return { refused } end
  call("HSET", P .. ":job:" .. args[1], "tpmTokens", args[2])
  return { "ok" }
end)

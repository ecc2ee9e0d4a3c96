-- Dead letters: finding those of one queue in the queue that holds them, and adding the job of one again, once.

-- Days for which a queue remembers which letters it took back: a repeated or late call then adds nothing.
local REMEMBERED_MS = 30 * 86400000

-- Whether a letter's payload names `origin`. `head` is how peers begin it; anything else is decoded.
local function is_from(payload, head, origin)
  if payload:sub(1, #head) == head then
    local after = payload:sub(#head + 1, #head + 1)
    if after == "," or after == "}" then return true end
  end
  if not payload:find("originalQueue", 1, true) then return false end
  local ok, letter = pcall(cjson.decode, payload)
  return ok and type(letter) == "table" and letter.originalQueue == origin
end

-- One page of the letters in this queue whose jobs came from another, in their order. args: name of that queue, how a
-- payload of its letters begins, first entry id ("-", or "(" and the last one seen), entries to look at.
-- Reply {where the next page begins ("" this was the last), ids...}.
register("list_dead_letters", { "no-writes" }, function(P, args)
  local origin, head, count = args[1], args[2], tonumber(args[4])
  local page = call("XRANGE", P .. ":stream", args[3], "+", "COUNT", count)
  local out = { #page == count and "(" .. page[#page][1] or "" }
  for _, entry in ipairs(page) do
    local id = util.map(entry[2]).jobId
    local payload = id and util.fields(P .. ":job:" .. id, "data")[1]
    if payload and is_from(payload, head, origin) then out[#out + 1] = id end
  end
  return out
end)

-- Add a letter that came by the outbox of another queue; one that comes twice is added once. args: now, mark (queue, id and
-- start of the run that failed), name, data, what `add` knows of a job. Reply {"ok" | "again"}.
register("take_letter", {}, function(P, args)
  local now, key = tonumber(args[1]), P .. ":lettered:" .. args[2]
  if call("EXISTS", key) == 1 then return { "again" } end
  runs.check_places(P)
  jobs.add_packed(P, now, true, args[3], args[4], args[5])
  call("SET", key, "1", "PX", REMEMBERED_MS)
  return { "ok" }
end)

-- Add the job of a letter to this queue again; one that was added for this letter before stays the only one.
-- args: now, events ("1"/""), the letter (queue, id and time), name, data, what `add` knows of a job, audit.
-- Reply {"ok", id} | {"again", id} | what `add` answers for a job that it does not add.
register("replay_dead_letter", {}, function(P, args)
  local now, key = tonumber(args[1]), P .. ":replayed:" .. args[3]
  local before = util.text(key)
  if before then return { "again", before } end
  audit.ready(P, args[7])
  util.writable("SET", key, "string")
  runs.check_places(P)
  local status, id = jobs.add_packed(P, now, args[2] == "1", args[4], args[5], args[6])
  if status == "ok" then
    call("SET", key, id, "PX", REMEMBERED_MS)
    audit.append(P, args[7], "replayed", 1)
  end
  return { status, id }
end)

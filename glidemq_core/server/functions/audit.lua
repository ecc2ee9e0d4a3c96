-- Audit trail of a queue: stream P:audit, ids <seq>-0, one field `entry` = canonical JSON of the entry. An entry
-- is appended in the call that makes the change, and each names the hash of the one before it.
-- Server scripts have no SHA-256 of their own, hence the one below (FIPS 180-4).

local K = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- SHA-256 of a text as 64 hex digits.
function audit.sha256(text)
  local band, bnot, bxor, ror, shr, tobit = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift, bit.tobit
  text = text .. "\128" .. string.rep("\0", (55 - #text) % 64) .. struct.pack(">I4I4", 0, #text * 8)
  local h1, h2, h3, h4 = 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a
  local h5, h6, h7, h8 = 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
  local w = {}
  for block = 1, #text, 64 do
    for i = 1, 16 do
      local a, b, c, d = string.byte(text, block + i * 4 - 4, block + i * 4 - 1)
      w[i] = ((a * 256 + b) * 256 + c) * 256 + d
    end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(ror(x, 7), ror(x, 18), shr(x, 3))
      local s1 = bxor(ror(y, 17), ror(y, 19), shr(y, 10))
      w[i] = tobit(w[i - 16] + s0 + w[i - 7] + s1)
    end
    local a, b, c, d, e, f, g, h = h1, h2, h3, h4, h5, h6, h7, h8
    for i = 1, 64 do
      local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local t1 = h + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + w[i]
      local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local t2 = s0 + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + t1), c, b, a, tobit(t1 + t2)
    end
    h1, h2, h3, h4 = tobit(h1 + a), tobit(h2 + b), tobit(h3 + c), tobit(h4 + d)
    h5, h6, h7, h8 = tobit(h5 + e), tobit(h6 + f), tobit(h7 + g), tobit(h8 + h)
  end
  local hex = bit.tohex
  return hex(h1) .. hex(h2) .. hex(h3) .. hex(h4) .. hex(h5) .. hex(h6) .. hex(h7) .. hex(h8)
end

local GENESIS = "0000000000000000000000000000000000000000000000000000000000000000"

-- Entries up to so many bytes have their hash looked at before another one is chained to them.
local LOOKED = 8192

-- Whether an entry is what was hashed when it was written.
local function fits(text)
  local from, to = text:find(',"hash":"%x+"')
  return from and audit.sha256(text:sub(1, from - 1) .. text:sub(to + 1)) == text:sub(from + 9, to - 1)
end

-- Sequence number and hash that the next entry continues from, or nil and why there can be none: the number of entries,
-- the last id and the last entry show most damage; only verification finds a change in the middle.
function audit.tail(P)
  local key = P .. ":audit"
  local found = call("TYPE", key).ok
  if found == "none" then return 0, GENESIS end
  if found ~= "stream" then return nil, "it is a " .. found end
  local info = util.map(call("XINFO", "STREAM", key))
  local id = info["last-generated-id"]
  local seq = tonumber(id:match("^(%d+)%-0$") or "")
  if not seq or seq >= 2 ^ 53 - 1 then return nil, "its last id is " .. id end
  if info.length ~= seq then return nil, util.int(seq) .. " entries were written and " .. info.length .. " are there" end
  if seq == 0 then return 0, GENESIS end
  local entry = info["last-entry"]
  local text = entry[1] == util.int(seq) .. "-0" and entry[2][1] == "entry" and entry[2][2]
  local hash = (util.json(text) or {}).hash
  if type(hash) ~= "string" or not hash:find("^%x+$") or #hash ~= 64 then return nil, "its last entry cannot be read" end
  if #text <= LOOKED and not fits(text) then return nil, "its last entry was changed" end
  return seq, hash
end

-- Called first by everything that is audited, so that each change gets its entry: ends the call when no entry can
-- be appended. `blob` as for audit.append.
function audit.ready(P, blob)
  if not blob or blob == "" then return end
  local seq, why = audit.tail(P)
  if not seq then util.refuse("AUDIT", P .. ":audit is damaged (" .. why .. "): nothing was changed") end
  util.writable("XADD", P .. ":audit", "stream")
end

-- Append an entry. `blob`: "" (no actor: nothing is kept) or a JSON array of pieces that are JSON text
-- themselves: action, at_ms, by, comment, detail, host, [job id, ...], queue, shown_hash, user, via. `outcome`:
-- one word; `count`: number or nil; `changed`: positions of the job ids that changed, nil for all of them; `detail`:
-- JSON in place of the blob's. Returns the sequence number, or nil.
function audit.append(P, blob, outcome, count, changed, detail)
  if not blob or blob == "" then return nil end
  local piece = cjson.decode(blob)
  local ids = piece[7]
  if changed then
    ids = {}
    for i, position in ipairs(changed) do ids[i] = piece[7][position] end
  end
  local seq, previous = audit.tail(P)
  seq = util.int(seq + 1)
  local head = '{"action":' .. piece[1] .. ',"at_ms":' .. piece[2] .. ',"by":' .. piece[3] .. ',"comment":' .. piece[4]
    .. ',"count":' .. (count and util.int(count) or "null") .. ',"detail":' .. (detail or piece[5])
  local rest = ',"host":' .. piece[6] .. ',"job_ids":[' .. table.concat(ids, ",") .. '],"outcome":"' .. outcome
    .. '","prev_hash":"' .. previous .. '","queue":' .. piece[8] .. ',"seq":' .. seq .. ',"shown_hash":' .. piece[9]
    .. ',"user":' .. piece[10] .. ',"via":' .. piece[11] .. "}"
  local entry = head .. ',"hash":"' .. audit.sha256(head .. rest) .. '"' .. rest
  call("XADD", P .. ":audit", seq .. "-0", "entry", entry)
  return tonumber(seq)
end

-- Whether the next entry can be appended. Reply {"ok", seq} | {"damaged", why}.
register("audit_state", { "no-writes" }, function(P)
  local seq, why = audit.tail(P)
  if not seq then return { "damaged", why } end
  return { "ok", util.int(seq) }
end)

-- Set a damaged audit aside and begin a new one that names the last hash of the old. args: now, id of the newest entry
-- of an audit that verification found broken ("" none), audit. Reply {"restarted", key of the old one} | {"sound", ""}.
register("restart_audit", {}, function(P, args)
  local key, aside = P .. ":audit", P .. ":audit-aside:" .. args[1]
  local seq, why = audit.tail(P)
  local info = call("TYPE", key).ok == "stream" and util.map(call("XINFO", "STREAM", key)) or {}
  if seq and (args[2] == "" or info["last-generated-id"] ~= args[2]) then return { "sound", "" } end
  if not (redis.acl_check_cmd("RENAME", key, aside) and redis.acl_check_cmd("XADD", key, "1-0", "1", "1")) then
    util.refuse("NOPERM", "no permission to rename and write " .. key .. ": nothing was changed")
  end
  if call("EXISTS", aside) == 1 then util.refuse("ERR", aside .. " is there already: nothing was changed") end
  local entry = info["last-entry"]
  local hash = (util.json(entry and entry[2][2]) or {}).hash
  local detail = '{"last_hash":' .. (type(hash) == "string" and util.encode(hash) or "null") .. ',"reason":'
    .. util.encode(why or "its chain is broken") .. ',"set_aside":' .. util.encode(aside) .. "}"
  call("RENAME", key, aside)
  audit.append(P, args[3], "restarted", nil, nil, detail)
  return { "restarted", aside }
end)

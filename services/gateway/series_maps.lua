-- What the archive decided, kept for as long as it may be believed: who may see a study, where the bytes of a
-- series lie (contracts section 22), and the form in which they go out for an Accept header.
--
-- Nothing here is an answer to a client. Whatever is missing, odd or away makes a function return nil, and the
-- caller lets the archive answer the request itself.
local M = {}

local grants, maps, forms = ngx.shared.grants, ngx.shared.maps, ngx.shared.forms
local events = require "traffic"

local BELIEVED = 30   -- seconds that a token check or a map is believed without asking again
local MARGIN = 120    -- seconds before its signatures end that a map is asked for anew
local LOCKED = 60     -- seconds after which a request that was to fetch a map counts as lost
local LONGEST_ACCEPT = 4096
local FORM_SECONDS = 3600

-- Lua's subrequests are of HTTP/1.1 alone. A request of HTTP/2 that needs one is sent through the same server once more.
function M.demand_subrequests()
    if ngx.req.http_version() >= 2 then return ngx.exec("@again") end
end

-- A header of a captured answer, whose names are as the server wrote them.
local function header_of(answer, name)
    for key, value in pairs(answer.header) do
        if key:lower() == name then return value end
    end
    return nil
end

-- The institutions whose part of `study` this request's token may see, as one sorted text; nil for none.
-- The check is kept by token and study, and never for longer than the token lasts.
function M.view(study)
    local authorization = ngx.var.http_authorization
    if not authorization then return nil end
    local key = study .. " " .. authorization
    local view = grants:get(key)
    if view then
        events.add("pacs_gateway_token_checks_total", 'result="kept"')
        return view
    end
    M.demand_subrequests()
    local answer = ngx.location.capture("/internal/check-read", {args = {scope = "dicomweb:read", study = study}})
    view = answer.status == 204 and header_of(answer, "x-pacs-institutions")
    local expires = tonumber(header_of(answer, "x-pacs-expires"))
    if not view or not expires then
        events.add("pacs_gateway_token_checks_total", 'result="refused"')
        return nil
    end
    events.add("pacs_gateway_token_checks_total", 'result="asked"')
    local left = expires - ngx.now()
    if left > 0 then grants:set(key, view, math.min(left, BELIEVED)) end
    return view
end

-- The map's version while it may be used as it is.
local function current(name)
    local state = maps:get(name)
    if not state then return nil end
    local fresh, signed, version = state:match("^(%S+) (%S+) (%S+)$")
    local now = ngx.now()
    if now >= tonumber(signed) - MARGIN then return nil end
    if now >= tonumber(fresh) then return nil, version, signed end
    return version
end

local function keep(name, body)
    local version, expires = body:match("^pacs%-map 1 (%x+) (%d+) %d+\n")
    if not version then return nil end
    local pack = 0
    for line in body:gmatch("[^\n]+") do
        local kind = line:sub(1, 2)
        if kind == "P " then
            pack = pack + 1
            maps:set(version .. " #" .. pack, line:sub(3))
        elseif kind == "I " then
            local uid, rest = line:match("^I (%S+) (.+)$")
            maps:set(version .. " " .. uid, rest)
        end
    end
    maps:set(name, (ngx.now() + BELIEVED) .. " " .. expires .. " " .. version)
    return version
end

-- The text of the archive's map, or nil; "" where it is still the one of `version`.
function M.ask(view, study, series, version)
    M.demand_subrequests()
    local path = "/internal/map/" .. study .. (series and "/series/" .. series or "")
    local answer = ngx.location.capture(path, {vars = {map_view = view, map_version = version or ""}})
    if answer.status == 304 then return "" end
    return answer.status == 200 and not answer.truncated and answer.body or nil
end

-- Asks for the map of a series; of several requests one asks and the others wait for it.
local function fetch(name, view, study, series)
    M.demand_subrequests() -- before the lock is taken
    local lock = name .. " lock"
    while not maps:add(lock, true, LOCKED) do
        ngx.sleep(0.01)
        local version = current(name)
        if version then return version end
    end
    local version, known, signed = current(name)
    if not version then
        local body = M.ask(view, study, series, known)
        if body == "" then
            maps:set(name, (ngx.now() + BELIEVED) .. " " .. signed .. " " .. known)
            version = known
        elseif body then
            version = keep(name, body)
        end
        events.add("pacs_gateway_series_maps_total", ('result="%s"'):format(
            body == "" and "unchanged" or version and "fetched" or "none"))
    end
    maps:delete(lock)
    return version
end

-- The version of the series' map for `view`, fetched where it has to be; nil where the archive gives none.
function M.version(view, study, series)
    local name = view .. " " .. study .. " " .. series
    return current(name) or fetch(name, view, study, series)
end

-- A line of a map as a table; `rest` is what follows the UID.
local function instance_of(rest)
    local pack, offset, length, syntax, tag, pixels, frames =
        rest:match("^(%d+) (%d+) (%d+) (%S+) (%x+) (%S+) (%S+)$")
    if not pack then return nil end
    return {
        pack = pack, offset = tonumber(offset), length = tonumber(length), syntax = syntax, tag = tag,
        pixels = pixels, frames = frames,
    }
end

local function pack_of(rest)
    local target, key, md5 = rest:match("^(%S+) (%S+) (%S+)$")
    if not target then return nil end
    -- The object's path without its signature: what the cache knows it by.
    return {target = target, object = target:match("^[^?]+"), key = key, md5 = md5}
end

-- The instance `uid` in a map, with its pack; nil where the map has none.
function M.instance(version, uid)
    local rest = maps:get(version .. " " .. uid)
    local found = rest and instance_of(rest)
    local pack = found and maps:get(version .. " #" .. found.pack)
    if not pack then return nil end
    found.pack = pack_of(pack)
    return found.pack and found
end

-- Every instance of a map's text in its order; nil where a line cannot be read.
function M.instances(body)
    local packs, found = {}, {}
    for line in body:gmatch("[^\n]+") do
        local kind = line:sub(1, 2)
        if kind == "P " then
            packs[#packs + 1] = pack_of(line:sub(3))
        elseif kind == "I " then
            local one = instance_of(line:match("^I %S+ (.+)$") or "")
            if not one then return nil end
            one.pack = packs[tonumber(one.pack)]
            if not one.pack then return nil end
            found[#found + 1] = one
        end
    end
    return found[1] and found
end

-- Offset and length of frame `number`, counted from 1; nil where it needs the archive.
function M.frame(instance, number)
    local frames = instance.frames
    local kind = frames:byte()
    if kind == 61 then -- "=": back to back
        local offset, length, count = frames:match("^=(%d+):(%d+):(%d+)$")
        if not count or number < 1 or number > tonumber(count) then return nil end
        length = tonumber(length)
        return tonumber(offset) + (number - 1) * length, length
    elseif kind == 64 then -- "@": 18 digits for each
        local at = 2 + (number - 1) * 18
        if number < 1 or at + 17 > #frames then return nil end
        return tonumber(frames:sub(at, at + 9), 16), tonumber(frames:sub(at + 10, at + 17), 16)
    end
    return nil
end

local function accept_of()
    local headers, truncated = ngx.req.get_headers(100)
    if truncated then return nil end
    local accept = headers["accept"] or ""
    if type(accept) == "table" then accept = table.concat(accept, ", ") end
    return #accept <= LONGEST_ACCEPT and accept or nil
end

-- How stored bytes of these transfer syntaxes answer this request's Accept header, as a table with `multipart`,
-- `part_type` and `content_type`; nil where they do not as they are.
function M.form(kind, syntaxes, single)
    local accept = accept_of()
    if not accept then return nil end
    local key = kind .. " " .. (single and 1 or 0) .. " " .. syntaxes .. " " .. accept
    local text = forms:get(key)
    if not text then
        M.demand_subrequests()
        local answer = ngx.location.capture("/internal/representation", {
            args = {kind = kind, syntaxes = syntaxes, single = single and "1" or "0"}, vars = {map_accept = accept},
        })
        if answer.status == 200 then
            text = answer.body
        elseif answer.status == 204 then
            text = "none"
        else
            return nil
        end
        forms:set(key, text, FORM_SECONDS)
    end
    local form, part_type, content_type = text:match("^(%a+)\n([^\n]+)\n([^\n]+)\n$")
    if not form then return nil end
    return {multipart = form == "multipart", part_type = part_type, content_type = content_type}
end

return M

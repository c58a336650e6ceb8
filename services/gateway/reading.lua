-- WADO-RS without the archive: which bytes of which object answer a request. The answer itself is a location
-- that proxies one range of one object through the cache, or `parts.lua` where several ranges make one body.
--
-- Only what may be answered is answered here. Everything else, every refusal too, goes to @dicomweb and with it to
-- the archive, so that there is one place where problems are worded.
local maps = require "series_maps"
local events = require "traffic"

local M = {cache_burst = 0} -- bytes that may enter the cache between two trims; set at start

local TRIMMED = 10 -- seconds between two trims (ngx_http_file_cache_manager)

local function leave()
    return ngx.exec("@dicomweb")
end

-- The view of a request that can be answered here at all.
local function view_of(study)
    local method = ngx.req.get_method()
    if (method ~= "GET" and method ~= "HEAD") or (ngx.var.args or "") ~= "" then return nil end
    return maps.view(study)
end

local function instance_of(var)
    local view = view_of(var.study)
    local version = view and maps.version(view, var.study, var.series)
    return version and maps.instance(version, var.instance)
end

-- Whether If-None-Match names this tag (RFC 9110 13.1.2: weak comparison).
local function known(tag)
    local header = ngx.var.http_if_none_match
    return header and (header == "*" or header:find('"' .. tag .. '"', 1, true)) and true
end

local function not_modified(tag, weak)
    ngx.header["ETag"] = (weak and "W/" or "") .. '"' .. tag .. '"'
    ngx.header["Vary"] = "Accept"
    ngx.header["Cache-Control"] = "private, no-cache"
    ngx.status = 304 -- and not ngx.exit(304), which drops the tag
    ngx.send_headers()
    return ngx.exit(ngx.OK)
end

local function count_kept(kind)
    events.add("pacs_gateway_reads_total", ('kind="%s",source="unchanged"'):format(kind))
end

-- Sets the variables of @stored and @stored_part, and goes there.
local function give(kind, pack, offset, length, form, tag)
    tag = tag .. (form.multipart and "m" or "")
    if known(tag) then
        count_kept(kind)
        return not_modified(tag, form.multipart)
    end
    local var = ngx.var
    var.object, var.object_target = pack.object, pack.target
    var.object_range = ("bytes=%d-%d"):format(offset, offset + length - 1)
    if pack.key ~= "-" then
        var.customer_algorithm, var.customer_key, var.customer_key_md5 = "AES256", pack.key, pack.md5
    end
    var.read_kind, var.read_tag = kind, tag
    if not form.multipart then
        var.read_type = form.content_type
        return ngx.exec("@stored")
    end
    local boundary = var.request_id
    var.read_type = ('multipart/related; type="%s"; boundary=%s'):format(form.part_type, boundary)
    var.part_head = M.head(boundary, form.content_type, length)
    return ngx.exec("@stored_part")
end

-- What stands before a part (RFC 2046 5.1).
function M.head(boundary, content_type, length)
    return ("\r\n--%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"):format(boundary, content_type, length)
end

-- Frames by number: one as a range, several as parts.
function M.frames()
    local var = ngx.var
    local instance = instance_of(var)
    if not instance or instance.frames == "-" then return leave() end
    local list, chosen = var.frames, {}
    for number in list:gmatch("%d+") do
        local offset, length = maps.frame(instance, tonumber(number))
        if not offset then return leave() end
        chosen[#chosen + 1] = {pack = instance.pack, offset = offset, length = length}
    end
    local form = maps.form("frames", instance.syntax, #chosen == 1)
    if not form then return leave() end
    if #chosen == 1 then
        return give("frame", instance.pack, chosen[1].offset, chosen[1].length, form,
            instance.tag .. "-f" .. tonumber(list))
    end
    for _, one in ipairs(chosen) do one.content_type = form.content_type end
    return require("parts").send("frames", chosen, form.part_type, true, leave)
end

-- One instance as a Part 10 file.
function M.one()
    local instance = instance_of(ngx.var)
    local form = instance and maps.form("instances", instance.syntax, true)
    if not form then return leave() end
    return give("instance", instance.pack, instance.offset, instance.length, form, instance.tag)
end

-- The value of the pixel data where it can be given as it lies.
function M.pixels()
    local instance = instance_of(ngx.var)
    local form = instance and maps.form("bulkdata", instance.syntax, true)
    local offset, length = (instance and instance.pixels or ""):match("^(%d+):(%d+)$")
    if not form or not offset then return leave() end
    return give("bulkdata", instance.pack, tonumber(offset), tonumber(length), form, instance.tag .. "-p")
end

-- Every instance of a series or study, in reading order.
function M.all(study, series)
    local view = view_of(study)
    -- Asked for each time: it is one question for hundreds of instances, and the whole of it is needed.
    local body = view and maps.ask(view, study, series)
    local found = body and maps.instances(body)
    if not found then return leave() end
    local syntaxes, seen = {}, {}
    for _, one in ipairs(found) do
        if not seen[one.syntax] then
            seen[one.syntax] = true
            syntaxes[#syntaxes + 1] = one.syntax
        end
        one.content_type = "application/dicom;transfer-syntax=" .. one.syntax
    end
    table.sort(syntaxes)
    local form = maps.form("instances", table.concat(syntaxes, ","), #found == 1)
    if not form or not form.multipart then return leave() end
    return require("parts").send("series", found, form.part_type, false, leave)
end

-- nginx trims its cache every ten seconds; what comes in between must not fill the volume.
function M.keep_within_room()
    local var = ngx.var
    if var.upstream_cache_status == "HIT" then return end
    local window = "kept " .. math.floor(ngx.now() / TRIMMED)
    local bytes = tonumber(var.upstream_http_content_length) or 0
    if ngx.shared.grants:incr(window, bytes, 0, 3 * TRIMMED) > M.cache_burst then var.read_uncached = "1" end
end

-- The metadata of a series. Its map is fetched with it: the frames are what a viewer asks for next.
function M.metadata()
    local var = ngx.var
    local view = view_of(var.study)
    local form = view and maps.form("metadata", "", false)
    if not form or form.multipart then return leave() end
    maps.version(view, var.study, var.series)
    var.map_view, var.read_type, var.read_kind = view, form.content_type, "metadata"
    return ngx.exec("@metadata")
end

-- header filter of @metadata
function M.as_json()
    M.keep_within_room()
    ngx.header["Content-Type"] = ngx.var.read_type
    ngx.header["Vary"] = "Accept, Accept-Encoding"
    ngx.header["Cache-Control"] = "private, no-cache"
end

-- header filter of @stored and @stored_part: the range of an object becomes a whole answer of ours.
function M.as_whole()
    local var = ngx.var
    if ngx.status == 200 then return ngx.exit(ngx.ERROR) end -- the whole object, which nobody may get
    if ngx.status ~= 206 then return end -- an error, which @stored hands to the archive
    ngx.status = 200
    M.keep_within_room()
    local header = ngx.header
    header["Content-Range"], header["Last-Modified"] = nil, nil
    header["Content-Type"] = var.read_type
    header["ETag"] = '"' .. var.read_tag .. '"'
    header["Vary"] = "Accept"
    header["Cache-Control"] = "private, no-cache"
end

return M

-- One multipart/related body (RFC 2387) of many ranges, written piece by piece: a few pieces are on their way from the
-- store while earlier ones go to the client, and no more than these are ever in memory.
local reading_head = function(...) return require("reading").head(...) end
local events = require "traffic"

local M = {piece = 0} -- bytes of one request to the store; set at start

local AHEAD = 4 -- requests at once

-- The requests that bring `parts`, in their order; `head` where a part begins.
local function pieces_of(parts, boundary)
    local pieces, total = {}, 0
    for _, part in ipairs(parts) do
        local head, at = reading_head(boundary, part.content_type, part.length), part.offset
        local stop = part.offset + part.length
        total = total + #head + part.length
        repeat
            local to = math.min(at + M.piece, stop)
            pieces[#pieces + 1] = {head = head, pack = part.pack, offset = at, length = to - at}
            head, at = nil, to
        until at >= stop
    end
    return pieces, total
end

local function request_for(piece, cached)
    local pack, with_key = piece.pack, piece.pack.key ~= "-"
    return {cached and "/internal/stored-cached" or "/internal/stored", {vars = {
        object = pack.object, object_target = pack.target,
        object_range = ("bytes=%d-%d"):format(piece.offset, piece.offset + piece.length - 1),
        customer_algorithm = with_key and "AES256" or "",
        customer_key = with_key and pack.key or "", customer_key_md5 = with_key and pack.md5 or "",
    }}}
end

-- The answers to pieces[first..last]; nil unless each has exactly the bytes that it was asked for.
local function read(pieces, first, last, cached)
    local asked = {}
    for i = first, last do asked[#asked + 1] = request_for(pieces[i], cached) end
    local answers = {ngx.location.capture_multi(asked)}
    for i, answer in ipairs(answers) do
        if answer.status ~= 206 or answer.truncated or #answer.body ~= pieces[first + i - 1].length then
            return nil
        end
    end
    return answers
end

-- Answers with `parts` ({pack, offset, length, content_type}, ...). `otherwise` is called where nothing could be
-- read before the first byte went out; later the connection ends without the last boundary.
function M.send(kind, parts, part_type, cached, otherwise)
    require("series_maps").demand_subrequests()
    local boundary = ngx.var.request_id
    local tail = "\r\n--" .. boundary .. "--\r\n"
    local pieces, total = pieces_of(parts, boundary)
    local head_only = ngx.req.get_method() == "HEAD"
    for first = 1, #pieces, AHEAD do
        local last = math.min(first + AHEAD - 1, #pieces)
        local answers = read(pieces, first, last, cached)
        if not answers then
            if first == 1 then return otherwise() end
            events.add("pacs_gateway_reads_total", ('kind="%s",source="broken"'):format(kind))
            return ngx.exit(444)
        end
        if first == 1 then
            ngx.header["Content-Type"] = ('multipart/related; type="%s"; boundary=%s'):format(part_type, boundary)
            ngx.header["Content-Length"] = total + #tail
            ngx.header["Vary"] = "Accept"
            ngx.header["Cache-Control"] = "private, no-cache"
            if head_only then return ngx.exit(200) end
        end
        for i, answer in ipairs(answers) do
            local head = pieces[first + i - 1].head
            if head then ngx.print(head) end
            ngx.print(answer.body)
            answer.body = nil
        end
        -- Waits until the client has taken this: a slow one does not fill the memory.
        if not ngx.flush(true) then return ngx.exit(444) end
    end
    ngx.print(tail)
    events.add("pacs_gateway_reads_total", ('kind="%s",source="store"'):format(kind))
end

return M

-- Whose series a Prometheus remote-write request holds: each must carry the label `site` of the certificate.
-- Prometheus' receiver believes every label, so that without this a branch could write in another's name.
--
-- A body is one snappy block around a protobuf WriteRequest (remote write 1.0):
--   WriteRequest {1: TimeSeries, 3: MetricMetadata}  TimeSeries {1: Label, ...}  Label {1: name, 2: value}
-- All fields at these levels have wire type 2. Whatever else there is, is refused: a reader that skips what it
-- does not know could see other series than Prometheus does.
local ffi = require "ffi"

local LARGEST = 8 * 1024 * 1024 -- bytes of a request once unpacked; Prometheus sends some 200 KiB at a time

local M = {}

-- The base-128 number at `at` (at most 32 bits) and what follows it; nil where there is none before `stop`.
local function varint(bytes, at, stop)
    local value, factor = 0, 1
    for i = at, math.min(at + 5, stop) - 1 do
        local byte = bytes[i]
        value = value + byte % 128 * factor
        if byte < 128 then
            if value > 0xffffffff then return nil end
            return value, i + 1
        end
        factor = factor * 128
    end
    return nil
end

-- The bytes of a snappy block and their number; nil where it is not one.
function M.unpack(block)
    local input, size = ffi.cast("const uint8_t *", block), #block
    local length, at = varint(input, 0, size)
    if not length or length > LARGEST then return nil end
    local output, made = ffi.new("uint8_t[?]", length), 0
    while at < size do
        local tag = input[at]
        local kind, count = tag % 4, (tag - tag % 4) / 4
        at = at + 1
        if kind == 0 then -- literal bytes
            if count >= 60 then -- their number follows in 1 to 4 bytes
                local width = count - 59
                if width > size - at then return nil end
                count = 0
                for i = width - 1, 0, -1 do count = count * 256 + input[at + i] end
                at = at + width
            end
            count = count + 1
            if count > size - at or count > length - made then return nil end
            ffi.copy(output + made, input + at, count)
            at = at + count
        else -- a copy of bytes made before
            local width, offset = kind == 3 and 4 or kind, 0
            if width > size - at then return nil end
            for i = width - 1, 0, -1 do offset = offset * 256 + input[at + i] end
            at = at + width
            if kind == 1 then
                offset = offset + (count - count % 8) / 8 * 256
                count = count % 8 + 4
            else
                count = count + 1
            end
            if offset == 0 or offset > made or count > length - made then return nil end
            for i = made, made + count - 1 do output[i] = output[i - offset] end
        end
        made = made + count
    end
    if made ~= length then return nil end
    return output, length
end

-- Number, begin and end of the field at `at`; nil where there is none of wire type 2.
local function field(bytes, at, stop)
    local tag, length
    tag, at = varint(bytes, at, stop)
    if not tag or tag % 8 ~= 2 then return nil end
    length, at = varint(bytes, at, stop)
    if not length or length > stop - at then return nil end
    return (tag - 2) / 8, at, at + length
end

-- Name and value of a label. A field that comes twice counts with its last value, as in protobuf.
local function label(bytes, at, stop)
    local name, value = "", ""
    while at < stop do
        local number, from, to = field(bytes, at, stop)
        if number == 1 then
            name = ffi.string(bytes + from, to - from)
        elseif number == 2 then
            value = ffi.string(bytes + from, to - from)
        else
            return nil
        end
        at = to
    end
    return name, value
end

-- Whether the one series in bytes[at, stop) carries `site`, and no other.
local function is_of(bytes, at, stop, site)
    local found = false
    while at < stop do
        local number, from, to = field(bytes, at, stop)
        if not number then return false end
        if number == 1 then
            local name, value = label(bytes, from, to)
            if not name or (name == "site" and (found or value ~= site)) then return false end
            found = found or name == "site"
        end
        at = to
    end
    return found
end

-- Whether `block` is a remote-write request, each series of which is of `site`.
function M.all_of(block, site)
    local bytes, stop = M.unpack(block)
    local at = 0
    if not bytes then return false end
    while at < stop do
        local number, from, to = field(bytes, at, stop)
        if number == 1 then
            if not is_of(bytes, from, to, site) then return false end
        elseif number ~= 3 then
            return false
        end
        at = to
    end
    return true
end

-- Lets a request pass whose every series is of $pacs_site, or leaves for a problem document.
function M.demand()
    ngx.req.read_body()
    local body = ngx.req.get_body_data()
    if not body or not M.all_of(body, ngx.var.pacs_site) then
        return ngx.exec("@foreign_series")
    end
end

return M

-- The gateway's own metrics in Prometheus text form: connections, and requests by route, status and duration.
-- Labels are nginx locations, never paths: paths hold UIDs and would make a series for each study.
local M = {}

local BUCKETS = {0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10, 60}
local counters = ngx.shared.traffic

-- Counts one event, or `value`, under a metric's name and labels.
local function add(name, labels, value)
    counters:incr(name .. "{" .. labels .. "}", value or 1, 0)
end
M.add = add

-- log phase of every request
function M.count()
    local kind = ngx.var.read_kind
    if kind and kind ~= "" then -- answered with bytes of the store, or of the cache before it
        local source = ngx.var.upstream_cache_status == "HIT" and "cache" or "store"
        add("pacs_gateway_reads_total", ('kind="%s",source="%s"'):format(kind, source))
    end
    if ngx.var.client_is_nginx == "1" then return end -- counted where it came in
    local route = ngx.var.pacs_route
    if not route or route == "" then route = "none" end
    add("pacs_gateway_requests_total", ('route="%s",status="%s"'):format(route, ngx.status), 1)
    local seconds = tonumber(ngx.var.request_time) or 0
    for _, bound in ipairs(BUCKETS) do
        if seconds <= bound then
            add("pacs_gateway_request_duration_seconds_bucket", ('route="%s",le="%s"'):format(route, bound), 1)
        end
    end
    add("pacs_gateway_request_duration_seconds_bucket", ('route="%s",le="+Inf"'):format(route), 1)
    add("pacs_gateway_request_duration_seconds_count", ('route="%s"'):format(route), 1)
    add("pacs_gateway_request_duration_seconds_sum", ('route="%s"'):format(route), seconds)
end

local function section(lines, keys, name, kind, help)
    table.insert(lines, "# HELP " .. name .. " " .. help)
    table.insert(lines, "# TYPE " .. name .. " " .. kind)
    for _, key in ipairs(keys) do
        if key:find(name, 1, true) == 1 then
            table.insert(lines, key .. " " .. counters:get(key))
        end
    end
end

-- content of /metrics
function M.expose()
    local keys = counters:get_keys(0)
    table.sort(keys)
    local lines = {
        "# HELP pacs_gateway_connections Client connections by what they are doing now.",
        "# TYPE pacs_gateway_connections gauge",
    }
    for _, state in ipairs({"active", "reading", "writing", "waiting"}) do
        local value = ngx.var["connections_" .. state]
        table.insert(lines, ('pacs_gateway_connections{state="%s"} %s'):format(state, value))
    end
    section(lines, keys, "pacs_gateway_requests_total", "counter", "Requests by route and HTTP status.")
    section(lines, keys, "pacs_gateway_request_duration_seconds", "histogram",
        "Seconds from the first byte of a request to the last byte of its answer, by route.")
    section(lines, keys, "pacs_gateway_reads_total", "counter",
        "Retrievals answered without the archive, by what was asked for and where the bytes came from.")
    section(lines, keys, "pacs_gateway_token_checks_total", "counter",
        "Checks of a token for a study: kept from before, asked of the archive, refused by it.")
    section(lines, keys, "pacs_gateway_series_maps_total", "counter",
        "Maps of a series that were asked for: fetched, unchanged, none.")
    ngx.say(table.concat(lines, "\n"))
end

return M

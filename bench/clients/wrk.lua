-- wrk's script: asks for the paths in the file BENCH_PATHS (behind a path, tabs and headers of its own), over and over,
-- with the headers in BENCH_HEADERS (`Name: value` lines), at loopback whatever the URL's name; each thread begins with
-- its own part of them. Prints its findings as one line of JSON.
function wrk.resolve(host, service)
    wrk.addrs = wrk.lookup("127.0.0.1", service)
end

local started = 0
function setup(thread)
    thread:set("number", started)
    started = started + 1
    thread.addr = wrk.addrs[1]
end

local requests, position = {}, 0
function init(args)
    local headers = {}
    for line in io.lines(os.getenv("BENCH_HEADERS")) do
        local name, value = line:match("^([^:]+): (.*)$")
        headers[name] = value
    end
    for line in io.lines(os.getenv("BENCH_PATHS")) do
        local path, own = line:match("^([^\t]+)(.*)$")
        local all = headers
        if own ~= "" then
            all = {}
            for name, value in pairs(headers) do all[name] = value end
            for name, value in own:gmatch("\t([^:]+): ([^\t]*)") do all[name] = value end
        end
        requests[#requests + 1] = wrk.format("GET", path, all)
    end
    position = math.floor(number * #requests / tonumber(os.getenv("BENCH_THREADS"))) - 1
end

function request()
    position = position + 1
    return requests[position % #requests + 1]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\nRESULT {"requests":%d,"bytes":%d,"microseconds":%d,"bad_status":%d,"broken":%d,' ..
        '"p50":%d,"p95":%d,"p99":%d}\n',
        summary.requests, summary.bytes, summary.duration, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end

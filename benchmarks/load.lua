-- The request's body comes after "--"; method and fields from the command line's -H.
-- What happened goes out as one line of JSON, because wrk's own text rounds it.

-- Of these lengths, in turn: no client's calls are all equally long.
local LENGTHS = 16

local requests = {}
local turn = 0

function init(args)
   for extra = 0, LENGTHS - 1 do
      -- Blanks before the JSON's last brace.
      local body = args[1]:gsub("}%s*$", string.rep(" ", 7 * extra) .. "}")
      requests[extra + 1] = wrk.format("POST", nil, nil, body)
   end
end

function request()
   turn = turn % LENGTHS + 1
   return requests[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,'
      .. '"not_2xx":%d,"broken":%d}\n',
      summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end

-- The request's body comes after "--"; method and fields from the command line's -H.
-- What happened goes out as one line of JSON, because wrk's own text rounds it.

function init(args)
   wrk.method = "POST"
   wrk.body = args[1]
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

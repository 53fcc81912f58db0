//! [`Host`] on the real proxy. Each failure is counted here, and logged at most once a minute for each kind of call.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_exchange::{HeaderMap, Host, HostError, HttpAnswer, HttpCall, LocalReply, MapType};

use crate::abi::{self, MetricKind};
#[cfg(feature = "sdk")]
use crate::sdk::calls::http_call;

/// Of the body of an answer: a collector's is a few bytes.
const ANSWER_MAX: usize = 4096;
/// In nanoseconds.
const LOG_INTERVAL: u64 = 60_000_000_000;
/// Random bytes that are fetched at once: asking the proxy takes longer than making them. Enough for 32 correlation
/// ids.
const POOL_BYTES: usize = 320;

thread_local! {
    /// Random bytes that were not handed out yet. For ids, which are public; keys do not come from here.
    static POOL: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The metrics of this VM by name, the short ones first: the proxy knows them by number. One VM runs on one thread.
    static METRICS: Cell<Vec<(String, u32)>> = const { Cell::new(Vec::new()) };
    /// When a failure of each call was last logged, by the clock that only ever rises: for years, if the other one
    /// jumped back, no failure would be logged.
    static LOGGED: Cell<Vec<(&'static str, u64)>> = const { Cell::new(Vec::new()) };
}

/// Envoy, as the stream that is being served sees it.
pub(crate) struct EnvoyHost;

impl EnvoyHost {
    /// Has the plugin's root context called this often.
    pub(crate) fn tick_every(&self, period: Duration) {
        let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX).max(1);
        let _ = failing("set_tick_period_milliseconds", abi::set_tick_period(millis));
    }

    /// The answer to a call, while the proxy tells of it, with at most `max` bytes of its body. Without headers, there
    /// was none.
    pub(crate) fn answer(&self, headers: usize, body: usize, max: usize, with_etag: bool) -> HttpAnswer {
        if headers == 0 {
            return HttpAnswer::default();
        }
        let header =
            |name| failing("get_header_map_value", abi::header(abi::HTTP_CALL_RESPONSE_HEADERS, name)).ok().flatten();
        HttpAnswer {
            status: header(":status").and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok()),
            retry_after: if with_etag { None } else { header("retry-after") },
            etag: if with_etag { header("etag") } else { None },
            size: body,
            body: match body {
                0 => Vec::new(),
                size => failing("get_buffer_bytes", abi::http_call_response_body(size.min(max))).unwrap_or_default(),
            },
        }
    }

    /// The answer of a collector: what is looked for is in the first bytes.
    pub(crate) fn collector_answer(&self, headers: usize, body: usize) -> HttpAnswer {
        self.answer(headers, body, ANSWER_MAX, false)
    }
}

impl Host for EnvoyHost {
    fn header_map(&self, map: MapType) -> Result<Vec<u8>, HostError> {
        failing("get_header_map_pairs", abi::header_map(map as u32))
    }

    fn header(&self, map: MapType, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        failing("get_header_map_value", abi::header(map as u32, name))
    }

    fn set_header(&self, map: MapType, name: &str, value: &str) -> Result<(), HostError> {
        failing("replace_header_map_value", abi::set_header(map as u32, name, value))
    }

    fn remove_header(&self, map: MapType, name: &str) -> Result<(), HostError> {
        failing("remove_header_map_value", abi::remove_header(map as u32, name))
    }

    fn property(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        failing("get_property", abi::property(path))
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        failing("set_property", abi::set_property(name, value))
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        let headers: HeaderMap = reply.headers.iter().map(|(name, value)| (name, value)).collect();
        let sent = abi::send_local_response(
            reply.status,
            &reply.details,
            &reply.body,
            &headers.serialise(),
            reply.grpc_status,
        );
        failing("send_local_response", sent)
    }

    fn resume(&self) -> Result<(), HostError> {
        failing("continue_stream", abi::continue_request())
    }

    fn reset(&self) {
        let _ = failing("close_stream", abi::reset_request());
    }

    fn elapsed(&self) -> Result<Duration, HostError> {
        failing("clock_time_get", abi::monotonic_nanos()).map(Duration::from_nanos)
    }

    fn log(&self, line: &str) -> Result<(), HostError> {
        // Envoy takes a line that its level drops, and says nothing.
        if abi::logs_warnings() { failing("log", abi::log(abi::WARNING, line)) } else { Err(HostError::NotFound) }
    }

    fn now(&self) -> Result<SystemTime, HostError> {
        let nanos = failing("get_current_time_nanoseconds", abi::now_nanos())?;
        UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).ok_or(HostError::Malformed)
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        let mut pool = POOL.take();
        if pool.len() < bytes.len() {
            let size = bytes.len().max(POOL_BYTES);
            // Until they are random, they are none.
            let mut fresh = vec![0; size];
            let filled = getrandom::fill(&mut fresh).map_err(|_| HostError::InternalFailure);
            failing("random_get", filled)?;
            pool = fresh;
        }
        let rest = pool.len().saturating_sub(bytes.len());
        bytes.iter_mut().zip(pool.iter().skip(rest)).for_each(|(byte, random)| *byte = *random);
        pool.truncate(rest);
        POOL.set(pool);
        Ok(())
    }

    fn count(&self, counter: &str, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        // Adding nothing is refused by the proxy.
        let add = |id| if by > 0 { abi::increment_metric(id, by) } else { Ok(()) };
        let _ = metric(MetricKind::Counter, counter).and_then(add);
    }

    fn gauge(&self, gauge: &str, value: u64) {
        let _ = metric(MetricKind::Gauge, gauge).and_then(|id| abi::record_metric(id, value));
    }

    fn add_to_gauge(&self, gauge: &str, by: i64) {
        let _ = metric(MetricKind::Gauge, gauge).and_then(|id| abi::increment_metric(id, by));
    }

    fn http_call(&self, call: &HttpCall<'_>) -> Result<u32, HostError> {
        failing("http_call", http_call(call))
    }
}

#[cfg(not(feature = "sdk"))]
fn http_call(call: &HttpCall<'_>) -> Result<u32, HostError> {
    let headers = [(":method", call.method), (":path", call.path), (":authority", call.authority)];
    let headers: HeaderMap = headers.into_iter().chain(call.headers.iter().copied()).collect();
    let millis = u32::try_from(call.timeout.as_millis()).unwrap_or(u32::MAX);
    abi::http_call(call.cluster, &headers.serialise(), call.body, millis)
}

/// The proxy's number of a metric, which it makes on first use.
#[inline(never)]
fn metric(kind: MetricKind, name: &str) -> Result<u32, HostError> {
    let mut metrics = METRICS.take();
    // By length first: the names begin alike, so comparing their letters takes long.
    let order = |(known, _): &(String, u32)| known.len().cmp(&name.len()).then_with(|| known.as_str().cmp(name));
    let place = metrics.binary_search_by(order);
    let known = place.ok().and_then(|place| metrics.get(place)).map(|(_, id)| *id);
    let id = match known {
        Some(id) => Ok(id),
        None => abi::define_metric(kind, name).inspect(|id| {
            metrics.insert(place.unwrap_or_else(|place| place), (name.into(), *id));
        }),
    };
    METRICS.set(metrics);
    id
}

/// Counts and logs a failure on its way.
fn failing<T>(call: &'static str, result: Result<T, HostError>) -> Result<T, HostError> {
    result.inspect_err(|error| failed(call, *error))
}

#[cold]
#[inline(never)]
fn failed(call: &'static str, error: HostError) {
    EnvoyHost.count(&["careplane.host_call_failures.", call].concat(), 1);
    if is_due(call) {
        ::log::warn!(
            "careplane: the host call proxy_{call} failed: {error}; further failures are counted only, for a minute"
        );
    }
}

fn is_due(call: &'static str) -> bool {
    // Not `EnvoyHost::elapsed`, whose failure would come back here.
    let now = abi::monotonic_nanos().unwrap_or_default();
    let mut logged = LOGGED.take();
    let is_recent = |(known, last): &(&str, u64)| *known == call && now.saturating_sub(*last) < LOG_INTERVAL;
    let due = !logged.iter().any(is_recent);
    if due {
        logged.retain(|(known, _)| *known != call);
        logged.push((call, now));
    }
    LOGGED.set(logged);
    due
}

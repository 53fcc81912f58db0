//! [`Host`] on the real proxy. Each failure is counted here, and logged at most once a minute for each kind of call.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_exchange::{HeaderMap, Host, HostError, LocalReply, Map};

use crate::abi::{self, MetricKind};

const LOG_INTERVAL: Duration = Duration::from_secs(60);

thread_local! {
    /// The metrics of this VM by name: the proxy knows them by number. One VM runs on one thread.
    static METRICS: Cell<BTreeMap<String, u32>> = const { Cell::new(BTreeMap::new()) };
    /// When a failure of each call was last logged.
    static LOGGED: Cell<BTreeMap<&'static str, SystemTime>> = const { Cell::new(BTreeMap::new()) };
}

/// Envoy, as the stream that is being served sees it.
pub(crate) struct EnvoyHost;

impl EnvoyHost {
    /// Ends the stream without an answer: for a refusal that could not be sent.
    pub(crate) fn reset(&self) {
        let _ = failing("close_stream", abi::reset_request());
    }
}

impl Host for EnvoyHost {
    fn header_map(&self, map: Map) -> Result<Vec<u8>, HostError> {
        failing("get_header_map_pairs", abi::header_map(number(map)))
    }

    fn header(&self, map: Map, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        failing("get_header_map_value", abi::header(number(map), name))
    }

    fn set_header(&self, map: Map, name: &str, value: &str) -> Result<(), HostError> {
        failing("replace_header_map_value", abi::set_header(number(map), name, value))
    }

    fn remove_header(&self, map: Map, name: &str) -> Result<(), HostError> {
        failing("remove_header_map_value", abi::remove_header(number(map), name))
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
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

    fn now(&self) -> Result<SystemTime, HostError> {
        let nanos = failing("get_current_time_nanoseconds", abi::now_nanos())?;
        UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).ok_or(HostError::Malformed)
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        failing("random_get", getrandom::fill(bytes).map_err(|_| HostError::InternalFailure))
    }

    fn count(&self, counter: &str, by: u64) {
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        // Adding nothing is refused by the proxy.
        if by > 0 {
            let _ = with_metric(MetricKind::Counter, counter, |id| abi::increment_metric(id, by));
        }
    }

    fn gauge(&self, gauge: &str, value: u64) {
        let _ = with_metric(MetricKind::Gauge, gauge, |id| abi::record_metric(id, value));
    }
}

fn number(map: Map) -> u32 {
    match map {
        Map::Request => abi::REQUEST_HEADERS,
        Map::Response => abi::RESPONSE_HEADERS,
    }
}

fn with_metric(kind: MetricKind, name: &str, act: impl FnOnce(u32) -> Result<(), HostError>) -> Result<(), HostError> {
    METRICS.with(|cell| {
        let mut metrics = cell.take();
        let id = match metrics.get(name) {
            Some(id) => Ok(*id),
            None => abi::define_metric(kind, name).inspect(|id| {
                metrics.insert(name.into(), *id);
            }),
        };
        cell.set(metrics);
        act(id?)
    })
}

/// Counts and logs a failure on its way.
fn failing<T>(call: &'static str, result: Result<T, HostError>) -> Result<T, HostError> {
    result.inspect_err(|error| {
        EnvoyHost.count(&format!("careplane.host_call_failures.{call}"), 1);
        if is_due(call) {
            ::log::warn!(
                "careplane: the host call proxy_{call} failed: {error}; further failures are counted only, for a minute"
            );
        }
    })
}

fn is_due(call: &'static str) -> bool {
    // Not `EnvoyHost::now`, whose failure would come back here.
    let now = UNIX_EPOCH.checked_add(Duration::from_nanos(abi::now_nanos().unwrap_or_default())).unwrap_or(UNIX_EPOCH);
    LOGGED.with(|cell| {
        let mut logged = cell.take();
        let elapsed = logged.get(call).map(|last| now.duration_since(*last).unwrap_or_default());
        let due = elapsed.is_none_or(|elapsed| elapsed >= LOG_INTERVAL);
        if due {
            logged.insert(call, now);
        }
        cell.set(logged);
        due
    })
}

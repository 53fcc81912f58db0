//! Calls by the SDK, whose dispatcher panics on the answer to one that it has not made: made now, or by a root.

use std::cell::Cell;
use std::time::Duration;

use careplane_exchange::{HostError, HttpCall};
use proxy_wasm::hostcalls;

/// A call that a root is to make for a stream. The stream took `number` for its token.
struct Deferred {
    number: u32,
    cluster: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout: Duration,
}

thread_local! {
    /// Whether the callback that runs is one whose calls a root has to make.
    static DEFERS: Cell<bool> = const { Cell::new(false) };
    static DEFERRED: Cell<Vec<Deferred>> = const { Cell::new(Vec::new()) };
    /// Calls that were deferred and made: the token, and the number in its place.
    static MADE: Cell<Vec<(u32, u32)>> = const { Cell::new(Vec::new()) };
    /// The next number: from the top, for Envoy's tokens begin at the bottom.
    static NUMBER: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// Makes a call, or leaves it to a root.
pub(crate) fn http_call(call: &HttpCall<'_>) -> Result<u32, HostError> {
    let headers = [(":method", call.method), (":path", call.path), (":authority", call.authority)];
    let headers = headers.into_iter().chain(call.headers.iter().copied());
    if !DEFERS.get() {
        return dispatch(call.cluster, headers.collect(), call.body, call.timeout);
    }
    let number = NUMBER.get();
    NUMBER.set(number.wrapping_sub(1));
    let mut deferred = DEFERRED.take();
    deferred.push(Deferred {
        number,
        cluster: call.cluster.into(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).collect(),
        body: call.body.into(),
        timeout: call.timeout,
    });
    DEFERRED.set(deferred);
    Ok(number)
}

/// Runs what may make calls that outlive its stream. Returns whether a root has calls to make.
pub(super) fn deferring(act: impl FnOnce()) -> bool {
    DEFERS.set(true);
    act();
    DEFERS.set(false);
    let deferred = DEFERRED.take();
    let has_calls = !deferred.is_empty();
    DEFERRED.set(deferred);
    has_calls
}

/// Makes the calls that streams left to a root. The number of each that cannot be made goes to `failed`.
pub(super) fn send_deferred(failed: impl Fn(u32)) {
    for call in DEFERRED.take() {
        let headers = call.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        match dispatch(&call.cluster, headers, &call.body, call.timeout) {
            Ok(token) => {
                let mut made = MADE.take();
                made.push((token, call.number));
                MADE.set(made);
            }
            Err(_) => failed(call.number),
        }
    }
}

/// The number by which a stream knows the call of this token.
pub(super) fn number(token: u32) -> u32 {
    let mut made = MADE.take();
    let place = made.iter().position(|(known, _)| *known == token);
    let number = place.map_or(token, |place| made.swap_remove(place).1);
    MADE.set(made);
    number
}

fn dispatch(cluster: &str, headers: Vec<(&str, &str)>, body: &[u8], timeout: Duration) -> Result<u32, HostError> {
    hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout)
        .map_err(|status| HostError::from_status(status as u32).unwrap_or(HostError::InternalFailure))
}

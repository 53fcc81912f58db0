//! The host calls of proxy-wasm ABI 0.2.1, each total: a status becomes a `Result`, whatever the status is.
//!
//! The SDK's own wrappers panic on statuses that they do not expect, and on header names that are not UTF-8. A panic
//! ends the VM and with it every request of the worker, so nothing that a request can cause goes through them.
//!
//! The only place with `unsafe`, but for the exports of `dispatch.rs`.
#![allow(unsafe_code)]

use careplane_exchange::HostError;

/// `LogLevel`.
pub(crate) const WARNING: u32 = 3;
/// `WASI_CLOCK_MONOTONIC`.
const MONOTONIC: u32 = 1;
/// `WasmBufferType`.
pub(crate) const PLUGIN_CONFIGURATION: u32 = 7;
/// `WasmStreamType`.
pub(crate) const REQUEST_STREAM: u32 = 0;
/// `WasmHeaderMapType`.
pub(crate) const HTTP_CALL_RESPONSE_HEADERS: u32 = 6;
/// `WasmBufferType`.
pub(crate) const HTTP_CALL_RESPONSE_BODY: u32 = 4;

/// A serialised map of nothing.
const NO_HEADERS: [u8; 4] = [0; 4];

/// `MetricType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

type Status = u32;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> Status;
    fn proxy_get_log_level(level: *mut u32) -> Status;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> Status;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> Status;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> Status;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> Status;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> Status;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> Status;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> Status;
    fn proxy_close_stream(stream: u32) -> Status;
    fn proxy_continue_stream(stream: u32) -> Status;
    fn proxy_set_effective_context(context: u32) -> Status;
    fn proxy_set_tick_period_milliseconds(period: u32) -> Status;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        call: *mut u32,
    ) -> Status;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> Status;
    fn proxy_increment_metric(id: u32, offset: i64) -> Status;
    fn proxy_record_metric(id: u32, value: u64) -> Status;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    /// Not by `std::time::Instant`, which panics when the proxy has no such clock.
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> Status;
}

fn check(status: Status) -> Result<(), HostError> {
    HostError::from_status(status).map_or(Ok(()), Err)
}

/// Runs a call that hands over bytes, and takes them.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> Status) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: with status 0 the host has written the address and the size of a block that it got from the module's
    // `proxy_on_memory_allocate`. That one hands out a `Box<[u8]>` of exactly `size` bytes from the global allocator
    // and forgets it; the host has filled it and keeps no reference, so it is ours, once.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Nothing found is an answer, not a failure; so is a value of which Envoy says that it has no bytes, such as a claim
/// that is null.
fn optional(found: Result<Vec<u8>, HostError>) -> Result<Option<Vec<u8>>, HostError> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(HostError::NotFound | HostError::SerializationFailure) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn log(level: u32, text: &str) -> Result<(), HostError> {
    // SAFETY: address and size are of a string that outlives the call.
    check(unsafe { proxy_log(level, text.as_ptr(), text.len()) })
}

/// Whether the log's level lets warnings through. A proxy that does not tell is taken for one that does.
pub(crate) fn logs_warnings() -> bool {
    let mut level = 0;
    // SAFETY: the address is of a `u32` that outlives the call.
    check(unsafe { proxy_get_log_level(&raw mut level) }).is_err() || level <= WARNING
}

/// Nanoseconds since a fixed moment; they only ever rise.
pub(crate) fn monotonic_nanos() -> Result<u64, HostError> {
    let mut time = 0;
    // SAFETY: the address is of a `u64` that outlives the call.
    check(unsafe { clock_time_get(MONOTONIC, 1, &raw mut time) }).map_err(|_| HostError::InternalFailure)?;
    Ok(time)
}

pub(crate) fn now_nanos() -> Result<u64, HostError> {
    let mut time = 0;
    // SAFETY: the address is of a `u64` that outlives the call.
    check(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

pub(crate) fn plugin_configuration(max: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: both addresses are of locals of `take`.
    take(|data, size| unsafe { proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, max, data, size) })
}

pub(crate) fn http_call_response_body(max: usize) -> Result<Vec<u8>, HostError> {
    // SAFETY: both addresses are of locals of `take`.
    take(|data, size| unsafe { proxy_get_buffer_bytes(HTTP_CALL_RESPONSE_BODY, 0, max, data, size) })
}

pub(crate) fn header_map(map: u32) -> Result<Vec<u8>, HostError> {
    // SAFETY: both addresses are of locals of `take`.
    take(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) })
}

pub(crate) fn header(map: u32, name: &str) -> Result<Option<Vec<u8>>, HostError> {
    // SAFETY: address and size are of a string that outlives the call; the others are of locals of `take`.
    optional(take(|data, size| unsafe { proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) }))
}

pub(crate) fn set_header(map: u32, name: &str, value: &str) -> Result<(), HostError> {
    // SAFETY: addresses and sizes are of strings that outlive the call.
    check(unsafe { proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn remove_header(map: u32, name: &str) -> Result<(), HostError> {
    // SAFETY: address and size are of a string that outlives the call.
    check(unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) })
}

/// NUL separates the parts of the path.
pub(crate) fn property(path: &str) -> Result<Option<Vec<u8>>, HostError> {
    // SAFETY: address and size are of a string that outlives the call; the others are of locals of `take`.
    optional(take(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }))
}

pub(crate) fn set_property(name: &str, value: &[u8]) -> Result<(), HostError> {
    // SAFETY: addresses and sizes are of a string and a slice that outlive the call.
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// `headers` is a serialised map.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    body: &str,
    headers: &[u8],
    grpc_status: i32,
) -> Result<(), HostError> {
    // SAFETY: addresses and sizes are of strings and a slice that outlive the call.
    check(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

pub(crate) fn reset_request() -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_close_stream(REQUEST_STREAM) })
}

pub(crate) fn continue_request() -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_continue_stream(REQUEST_STREAM) })
}

/// `headers` is a serialised map, `timeout` in milliseconds. Returns the number under which the answer comes.
pub(crate) fn http_call(cluster: &str, headers: &[u8], body: &[u8], timeout: u32) -> Result<u32, HostError> {
    let mut call = 0;
    // SAFETY: addresses and sizes are of a string, slices and a constant, and the last address of a `u32`, that outlive
    // the call.
    check(unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            NO_HEADERS.as_ptr(),
            NO_HEADERS.len(),
            timeout,
            &raw mut call,
        )
    })?;
    Ok(call)
}

/// Makes the calls that follow those of `context`, until the callback returns.
pub(crate) fn set_effective_context(context: u32) -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_set_effective_context(context) })
}

/// How often the plugin's root context is called; of the present context's plugin.
pub(crate) fn set_tick_period(millis: u32) -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

pub(crate) fn define_metric(kind: MetricKind, name: &str) -> Result<u32, HostError> {
    let mut id = 0;
    // SAFETY: address and size are of a string, and the last address of a `u32`, that outlive the call.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, offset: i64) -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_increment_metric(id, offset) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), HostError> {
    // SAFETY: no addresses.
    check(unsafe { proxy_record_metric(id, value) })
}

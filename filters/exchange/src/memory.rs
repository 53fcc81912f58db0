//! A host in memory: every filter runs on it natively, in tests, in benchmarks and in the command line.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_policy::{Policy, Problems};

use crate::denial::LocalReply;
use crate::headers::HeaderMap;
use crate::host::{Host, HostError, HttpCall, MapType};
use crate::key::Key;
use crate::pseudonym::Pseudonyms;
use crate::rules::Rules;

/// The rules of a policy document (JSON) under a key that everybody knows: for what needs no secrets.
///
/// # Errors
/// The problems of the document.
pub fn rules(document: &str) -> Result<Arc<Rules>, Problems> {
    let policy = Policy::from_json(document.as_bytes())?;
    let pseudonyms = Pseudonyms::new(Key::from_bytes(*b"a key that everybody may know..."));
    Ok(Arc::new(Rules::new(policy, pseudonyms)))
}

/// A list as Envoy hands it over: a serialised map whose names are the items.
pub fn list<I: AsRef<[u8]>>(items: impl IntoIterator<Item = I>) -> Vec<u8> {
    let map: HeaderMap = items.into_iter().map(|item| (item, "")).collect();
    // Of no items, the number of them is there all the same.
    if map.is_empty() { vec![0; 4] } else { map.serialise() }
}

/// The calls of a [`Host`] that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Host::header_map`]
    HeaderMap,
    /// [`Host::header`]
    Header,
    /// [`Host::set_header`]
    SetHeader,
    /// [`Host::remove_header`]
    RemoveHeader,
    /// [`Host::property`]
    Property,
    /// [`Host::set_property`]
    SetProperty,
    /// [`Host::reply`]
    Reply,
    /// [`Host::resume`]
    Resume,
    /// [`Host::now`]
    Now,
    /// [`Host::elapsed`]
    Elapsed,
    /// [`Host::log`]
    Log,
    /// [`Host::random`]
    Random,
    /// [`Host::http_call`]
    HttpCall,
}

/// A request that the filters sent, as [`HttpCall`] had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The Envoy cluster.
    pub cluster: String,
    /// `:path`.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// One stream in a proxy that is not there. Everything that was done to it can be looked at.
#[derive(Debug, Default)]
pub struct MemoryHost {
    request: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    trailers: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    response: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    properties: RefCell<BTreeMap<String, Vec<u8>>>,
    asked: RefCell<Vec<String>>,
    replies: RefCell<Vec<LocalReply>>,
    counters: RefCell<BTreeMap<String, u64>>,
    failing: RefCell<BTreeSet<Call>>,
    writes: Cell<usize>,
    random: Cell<u8>,
    calls: RefCell<Vec<Sent>>,
    elapsed: Cell<Duration>,
    log: RefCell<Vec<String>>,
    resumed: Cell<u32>,
    resets: Cell<u32>,
}

// === impl MemoryHost ===

impl MemoryHost {
    /// A stream whose request has these headers, pseudo-headers among them.
    pub fn with_request<N: AsRef<[u8]>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec()));
        Self { request: RefCell::new(headers.collect()), ..Self::default() }
    }

    /// Adds trailers to the request.
    #[must_use]
    pub fn with_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, trailers: impl IntoIterator<Item = (N, V)>) -> Self {
        let trailers = trailers.into_iter().map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec()));
        *self.trailers.borrow_mut() = trailers.collect();
        self
    }

    /// Adds a property; the parts of its path are separated by dots.
    #[must_use]
    pub fn with_property(self, path: &str, value: impl AsRef<[u8]>) -> Self {
        self.properties.borrow_mut().insert(path.into(), value.as_ref().to_vec());
        self
    }

    /// Adds a claim as jwt_authn would.
    #[must_use]
    pub fn with_claim(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with_property(&format!("metadata.filter_metadata.envoy.filters.http.jwt_authn.payload.{name}"), value)
    }

    /// Adds a claim at the end of a way of names, which can hold dots.
    #[must_use]
    pub fn with_claim_at(self, names: &[String], value: impl AsRef<[u8]>) -> Self {
        self.with_property(&format!("{}\0{}", crate::claims::CLAIMS, names.join("\0")), value)
    }

    /// Adds a claim that is a list, as Envoy hands it over.
    #[must_use]
    pub fn with_list_claim<I: AsRef<[u8]>>(self, name: &str, items: impl IntoIterator<Item = I>) -> Self {
        self.with_claim(name, list(items))
    }

    /// The properties that were asked for, their parts separated by dots.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Gives the peer a certificate with this SPIFFE id.
    #[must_use]
    pub fn with_peer(self, spiffe_id: &str) -> Self {
        self.with_property("connection.uri_san_peer_certificate", spiffe_id)
    }

    /// Makes a call fail from now on.
    pub fn fail(&self, call: Call) {
        self.failing.borrow_mut().insert(call);
    }

    /// All values of a request header.
    pub fn request_header(&self, name: &str) -> Vec<String> {
        values(&self.request.borrow(), name)
    }

    /// The names of the trailers of the request.
    pub fn trailer_names(&self) -> Vec<String> {
        self.trailers.borrow().iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The lines that were written to the proxy's log.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// How often the request was let go on.
    pub fn resumed(&self) -> u32 {
        self.resumed.get()
    }

    /// How often the stream was ended without an answer.
    pub fn resets(&self) -> u32 {
        self.resets.get()
    }

    /// All values of a response header.
    pub fn response_header(&self, name: &str) -> Vec<String> {
        values(&self.response.borrow(), name)
    }

    /// A property as text.
    pub fn property_text(&self, path: &str) -> Option<String> {
        self.properties.borrow().get(path).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The answers that were sent.
    pub fn replies(&self) -> Vec<LocalReply> {
        self.replies.borrow().clone()
    }

    /// A counter or a gauge.
    pub fn metric(&self, name: &str) -> u64 {
        self.counters.borrow().get(name).copied().unwrap_or_default()
    }

    /// How many writes were made: headers set or removed, properties set.
    pub fn writes(&self) -> usize {
        self.writes.get()
    }

    /// The requests that were sent, in order; the number of the first is 1.
    pub fn calls(&self) -> Vec<Sent> {
        self.calls.borrow().clone()
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.elapsed.set(self.elapsed.get().saturating_add(time));
    }

    /// Lets a call succeed again.
    pub fn mend(&self, call: Call) {
        self.failing.borrow_mut().remove(&call);
    }

    fn check(&self, call: Call) -> Result<(), HostError> {
        if self.failing.borrow().contains(&call) { Err(HostError::InternalFailure) } else { Ok(()) }
    }

    fn map(&self, map: MapType) -> &RefCell<Vec<(Vec<u8>, Vec<u8>)>> {
        match map {
            MapType::RequestHeaders => &self.request,
            MapType::RequestTrailers => &self.trailers,
            MapType::ResponseHeaders => &self.response,
        }
    }

    fn wrote(&self) {
        self.writes.set(self.writes.get().saturating_add(1));
    }
}

fn values(headers: &[(Vec<u8>, Vec<u8>)], name: &str) -> Vec<String> {
    headers
        .iter()
        .filter(|(header, _)| header == name.as_bytes())
        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        .collect()
}

impl Host for MemoryHost {
    fn header_map(&self, map: MapType) -> Result<Vec<u8>, HostError> {
        self.check(Call::HeaderMap)?;
        let headers = self.map(map).borrow();
        Ok(headers.iter().map(|(name, value)| (name, value)).collect::<HeaderMap>().serialise())
    }

    fn header(&self, map: MapType, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.check(Call::Header)?;
        let headers = self.map(map).borrow();
        Ok(headers.iter().find(|(header, _)| header == name.as_bytes()).map(|(_, value)| value.clone()))
    }

    fn set_header(&self, map: MapType, name: &str, value: &str) -> Result<(), HostError> {
        self.check(Call::SetHeader)?;
        self.wrote();
        let mut headers = self.map(map).borrow_mut();
        // As Envoy does: the first of several values is replaced, the others stay.
        match headers.iter_mut().find(|(header, _)| header == name.as_bytes()) {
            Some((_, present)) => *present = value.into(),
            None => headers.push((name.into(), value.into())),
        }
        Ok(())
    }

    fn remove_header(&self, map: MapType, name: &str) -> Result<(), HostError> {
        self.check(Call::RemoveHeader)?;
        self.wrote();
        self.map(map).borrow_mut().retain(|(header, _)| header != name.as_bytes());
        Ok(())
    }

    fn property(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.check(Call::Property)?;
        let properties = self.properties.borrow();
        let exact = properties.get(path);
        let path = path.replace('\0', ".");
        // As Envoy does: a name that it does not know is that of filter state.
        let value =
            exact.or_else(|| properties.get(&path)).or_else(|| properties.get(&format!("wasm.{path}"))).cloned();
        self.asked.borrow_mut().push(path);
        Ok(value)
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.check(Call::SetProperty)?;
        self.wrote();
        self.properties.borrow_mut().insert(format!("wasm.{name}"), value.into());
        Ok(())
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.check(Call::Reply)?;
        self.replies.borrow_mut().push(reply.clone());
        Ok(())
    }

    fn resume(&self) -> Result<(), HostError> {
        self.check(Call::Resume)?;
        self.resumed.set(self.resumed.get().saturating_add(1));
        Ok(())
    }

    fn reset(&self) {
        self.resets.set(self.resets.get().saturating_add(1));
    }

    /// What [`MemoryHost::wait`] has added.
    fn elapsed(&self) -> Result<Duration, HostError> {
        self.check(Call::Elapsed)?;
        Ok(self.elapsed.get())
    }

    fn log(&self, line: &str) -> Result<(), HostError> {
        self.check(Call::Log)?;
        self.log.borrow_mut().push(line.into());
        Ok(())
    }

    /// 2026-01-02T03:04:05.678Z, and what [`MemoryHost::wait`] has added.
    fn now(&self) -> Result<SystemTime, HostError> {
        self.check(Call::Now)?;
        let now = Duration::from_millis(1_767_323_045_678).saturating_add(self.elapsed.get());
        UNIX_EPOCH.checked_add(now).ok_or(HostError::Malformed)
    }

    /// Not random: each call counts on.
    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.check(Call::Random)?;
        self.random.set(self.random.get().wrapping_add(1));
        bytes.fill(self.random.get());
        Ok(())
    }

    fn count(&self, counter: &str, by: u64) {
        let mut counters = self.counters.borrow_mut();
        let value = counters.entry(counter.into()).or_default();
        *value = value.saturating_add(by);
    }

    fn gauge(&self, gauge: &str, value: u64) {
        self.counters.borrow_mut().insert(gauge.into(), value);
    }

    fn add_to_gauge(&self, gauge: &str, by: i64) {
        let mut gauges = self.counters.borrow_mut();
        let value = gauges.entry(gauge.into()).or_default();
        *value = value.saturating_add_signed(by);
    }

    fn http_call(&self, call: &HttpCall<'_>) -> Result<u32, HostError> {
        self.check(Call::HttpCall)?;
        let mut calls = self.calls.borrow_mut();
        calls.push(Sent {
            cluster: call.cluster.into(),
            path: call.path.into(),
            headers: call.headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: call.body.into(),
        });
        u32::try_from(calls.len()).map_err(|_| HostError::InternalFailure)
    }
}

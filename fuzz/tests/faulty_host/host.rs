//! A faulty host: every call can fail with every status, or return anything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use careplane_exchange::memory::MemoryHost;
use careplane_exchange::{HeaderMap, Host, HostError, HttpCall, LocalReply, MapType};
use fastrand::Rng;

/// One stream in a faulty proxy. Its own counters stay correct: the tests compare with them.
pub struct FaultyHost {
    rng: RefCell<Rng>,
    /// Percent of the calls that fail or return anything.
    fault_percent: u8,
    /// Whether all calls have one number.
    repeats: bool,
    truth: MemoryHost,
    gauges: RefCell<BTreeMap<String, i64>>,
    calls: RefCell<u32>,
}

impl FaultyHost {
    pub fn new(seed: u64, fault_percent: u8, truth: MemoryHost) -> Self {
        let rng = RefCell::new(Rng::with_seed(seed));
        Self { rng, fault_percent, repeats: false, truth, gauges: RefCell::default(), calls: RefCell::new(0) }
    }

    /// Gives every call the same number.
    pub fn repeating(self) -> Self {
        Self { repeats: true, ..self }
    }

    /// A counter.
    pub fn counted(&self, name: &str) -> u64 {
        self.truth.metric(name)
    }

    /// A gauge.
    pub fn gauged(&self, name: &str) -> i64 {
        self.gauges.borrow().get(name).copied().unwrap_or_default()
    }

    /// How many streams were ended: answered, or reset.
    pub fn ends(&self) -> u64 {
        self.truth.replies().len() as u64 + u64::from(self.truth.resets())
    }

    /// How often a request was let go on.
    pub fn resumed(&self) -> u32 {
        self.truth.resumed()
    }

    pub fn wait(&self, time: Duration) {
        self.truth.wait(time);
    }

    fn is_faulty(&self) -> bool {
        self.rng.borrow_mut().u8(..100) < self.fault_percent
    }

    fn refuses(&self) -> bool {
        self.rng.borrow_mut().bool()
    }

    /// Any failure, those that the ABI does not know among them.
    fn failure(&self) -> HostError {
        let mut rng = self.rng.borrow_mut();
        let status = if rng.u8(..4) == 0 { rng.u32(1..) } else { rng.u32(1..=13) };
        HostError::from_status(status).unwrap_or(HostError::Malformed)
    }

    fn perhaps(&self) -> Result<(), HostError> {
        if self.is_faulty() { Err(self.failure()) } else { Ok(()) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut rng = self.rng.borrow_mut();
        match rng.u8(..4) {
            0 => Vec::new(),
            1 => vec![rng.u8(..); rng.usize(..100_000)],
            _ => (0..rng.usize(..64)).map(|_| rng.u8(..)).collect(),
        }
    }

    /// A header map that is cut, too long, or full of what no header is.
    fn map(&self, truth: Vec<u8>) -> Vec<u8> {
        let kind = self.rng.borrow_mut().u8(..4);
        match kind {
            0 => self.bytes(),
            1 => {
                let end = self.rng.borrow_mut().usize(..=truth.len());
                truth[..end].to_vec()
            }
            2 => [truth, self.bytes()].concat(),
            _ => (0..100).map(|_| (self.bytes(), self.bytes())).collect::<HeaderMap>().serialise(),
        }
    }
}

impl Host for FaultyHost {
    fn header_map(&self, map: MapType) -> Result<Vec<u8>, HostError> {
        let truth = self.truth.header_map(map)?;
        match self.is_faulty() {
            false => Ok(truth),
            true if self.refuses() => Err(self.failure()),
            true => Ok(self.map(truth)),
        }
    }

    fn header(&self, map: MapType, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        match self.is_faulty() {
            false => self.truth.header(map, name),
            true if self.refuses() => Err(self.failure()),
            true => Ok(Some(self.bytes())),
        }
    }

    fn set_header(&self, map: MapType, name: &str, value: &str) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.set_header(map, name, value)
    }

    fn remove_header(&self, map: MapType, name: &str) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.remove_header(map, name)
    }

    fn property(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        match self.is_faulty() {
            false => self.truth.property(path),
            true if self.refuses() => Err(self.failure()),
            true => Ok(Some(self.bytes())),
        }
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.set_property(name, value)
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.reply(reply)
    }

    fn resume(&self) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.resume()
    }

    fn reset(&self) {
        self.truth.reset();
    }

    /// A clock that stands still, jumps ahead, or is not there.
    fn elapsed(&self) -> Result<Duration, HostError> {
        match self.is_faulty() {
            false => self.truth.elapsed(),
            true if self.refuses() => Err(self.failure()),
            true => Ok(Duration::from_nanos(self.rng.borrow_mut().u64(..))),
        }
    }

    fn log(&self, line: &str) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.log(line)
    }

    fn now(&self) -> Result<SystemTime, HostError> {
        match self.is_faulty() {
            false => self.truth.now(),
            true if self.refuses() => Err(self.failure()),
            // Any time that a proxy can say: 64 bits of nanoseconds.
            true => Ok(UNIX_EPOCH + Duration::from_nanos(self.rng.borrow_mut().u64(..))),
        }
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.perhaps()?;
        self.truth.random(bytes)
    }

    fn count(&self, counter: &str, by: u64) {
        self.truth.count(counter, by);
    }

    fn gauge(&self, gauge: &str, value: u64) {
        self.truth.gauge(gauge, value);
    }

    fn add_to_gauge(&self, gauge: &str, by: i64) {
        *self.gauges.borrow_mut().entry(gauge.into()).or_default() += by;
    }

    /// Numbers that rise, and sometimes one that was given before.
    fn http_call(&self, _call: &HttpCall<'_>) -> Result<u32, HostError> {
        self.perhaps()?;
        let mut calls = self.calls.borrow_mut();
        if !self.repeats && self.rng.borrow_mut().u8(..100) >= self.fault_percent {
            *calls += 1;
        }
        Ok(*calls)
    }
}

//! The header map as the proxy hands it over, byte for byte, and all filters on what it holds.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{HeaderMap, Host, HostError, HttpCall, LocalReply, MapType, Rules};
use careplane_pipeline::Stream;

use crate::plugin;

const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {"trustedPeers": "any"},
    "contexts": [{"name": "a", "complianceLevel": "low", "subject": "id", "match": [{"path": "/a/{id}"}]}],
    "routing": {"pools": ["x", "y"], "canary": {"percent": 50}}
}"#;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| rules(POLICY).expect("the policy is good"));

pub(crate) fn run(data: &[u8]) {
    let read = HeaderMap::new(data.to_vec());
    let model = model(data);
    match (&read, &model) {
        (Ok(map), Some(model)) => {
            let pairs: Vec<(&[u8], &[u8])> = map.iter().collect();
            assert_eq!(&pairs, model);
            for (name, _) in model.iter().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value))) {
                let values = model.iter().filter(|(other, _)| *other == name.as_bytes()).map(|(_, value)| *value);
                assert_eq!(map.all(name).collect::<Vec<_>>(), values.collect::<Vec<_>>());
            }
            let again = HeaderMap::new(map.serialise()).expect("what is serialised can be read");
            assert!(again.iter().eq(map.iter()));
        }
        (Err(HostError::Malformed), None) => {}
        _ => panic!("read {read:?}, expected {model:?}"),
    }
    serve(&Raw { map: data, rest: MemoryHost::default() }, read.is_ok());
}

fn serve(host: &Raw<'_>, readable: bool) {
    let plugin = plugin::named("careplane", &RULES, None);
    assert_eq!(plugin.decide(host).request.is_readable(), readable);
    let mut stream = Stream::new(plugin);
    stream.on_request_headers(host);
    stream.on_request_trailers(host);
    stream.on_response_headers(host);
    stream.on_log(host);
    let record = host.rest.property_text("wasm.careplane.audit").expect("there is a record");
    assert_eq!(record.contains(r#""readable":false"#), !readable);
}

/// What the ABI says: a count; so many pairs of lengths; so many names and values, each with a NUL after it; nothing
/// else.
fn model(data: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if data.is_empty() {
        return Some(Vec::new());
    }
    let number = |at: usize| Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize);
    let count = number(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    data.get(..at)?;
    let mut part = |length: usize| {
        let part = data.get(at..at.checked_add(length)?)?;
        at = at.checked_add(length)?.checked_add(1)?;
        (at <= data.len()).then_some(part)
    };
    let pairs = (0..count).map(|index| Some((part(number(4 + index * 8)?)?, part(number(8 + index * 8)?)?)));
    let pairs = pairs.collect::<Option<Vec<_>>>()?;
    (at == data.len()).then_some(pairs)
}

/// A host with this request map; everything else in it is correct.
struct Raw<'d> {
    map: &'d [u8],
    rest: MemoryHost,
}

impl Host for Raw<'_> {
    fn header_map(&self, _map: MapType) -> Result<Vec<u8>, HostError> {
        Ok(self.map.to_vec())
    }

    fn header(&self, map: MapType, name: &str) -> Result<Option<Vec<u8>>, HostError> {
        let map = HeaderMap::new(self.header_map(map)?)?;
        Ok(map.get(name).map(<[u8]>::to_vec))
    }

    fn set_header(&self, map: MapType, name: &str, value: &str) -> Result<(), HostError> {
        self.rest.set_header(map, name, value)
    }

    fn remove_header(&self, map: MapType, name: &str) -> Result<(), HostError> {
        self.rest.remove_header(map, name)
    }

    fn property(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.rest.property(path)
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.rest.set_property(name, value)
    }

    fn reply(&self, reply: &LocalReply) -> Result<(), HostError> {
        self.rest.reply(reply)
    }

    fn resume(&self) -> Result<(), HostError> {
        self.rest.resume()
    }

    fn reset(&self) {
        self.rest.reset();
    }

    fn elapsed(&self) -> Result<Duration, HostError> {
        self.rest.elapsed()
    }

    fn log(&self, line: &str) -> Result<(), HostError> {
        self.rest.log(line)
    }

    fn now(&self) -> Result<SystemTime, HostError> {
        self.rest.now()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), HostError> {
        self.rest.random(bytes)
    }

    fn count(&self, counter: &str, by: u64) {
        self.rest.count(counter, by);
    }

    fn gauge(&self, gauge: &str, value: u64) {
        self.rest.gauge(gauge, value);
    }

    fn add_to_gauge(&self, gauge: &str, by: i64) {
        self.rest.add_to_gauge(gauge, by);
    }

    fn http_call(&self, call: &HttpCall<'_>) -> Result<u32, HostError> {
        self.rest.http_call(call)
    }
}

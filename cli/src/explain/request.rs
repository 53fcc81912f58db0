//! The request, as it is given on the command line.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use careplane_exchange::memory::list;
use careplane_exchange::{HeaderMap, REQUEST_ID};
use careplane_policy::Random;
use serde_json::Value;

#[derive(Debug, Default, clap::Args, serde::Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestArguments {
    /// Method and path, as a caller would send them: 'POST /api/v1/medications/administer'
    #[arg(long, value_name = "METHOD PATH")]
    request: String,
    /// A header, as the proxy gets it: 'x-tenant-id: care-home-0042'
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A verified claim, as text: tenant_id=care-home-0042; a name with dots is also a nested one
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// All verified claims: the payload of the token, as JSON
    #[arg(long = "claims", value_name = "JSON")]
    payload: Option<String>,
    /// The SPIFFE id of the peer: spiffe://cluster.local/ns/core-healthcare/sa/api-gateway
    #[arg(long)]
    peer: Option<String>,
    /// The number that decides the trace, 0 to 9999: kept if it is below the percentage times 100
    #[arg(long, value_name = "N", conflicts_with = "request_id")]
    #[arg(value_parser = clap::value_parser!(u16).range(..10_000))]
    sampling_number: Option<u16>,
    /// The x-request-id that the number comes from
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

/// Claims by the names that lead to them.
pub type Claims = BTreeMap<Vec<String>, Value>;

/// A request that a proxy has authenticated.
pub struct Request {
    pub method: String,
    pub path: String,
    /// All headers, pseudo-headers among them; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Claims by the names that lead to them: an object, and each of its members.
    pub claims: Claims,
    pub peer: Option<String>,
    /// Whether the number that decides the trace was not given.
    pub any_number: bool,
}

impl RequestArguments {
    /// # Errors
    /// When it is not a request that a proxy could get.
    pub fn read(&self) -> anyhow::Result<Request> {
        let (method, path) = match self.request.trim().split_once(char::is_whitespace) {
            Some((method, path)) => (method, path.trim_start()),
            None => ("GET", self.request.trim()),
        };
        if !path.starts_with('/') {
            bail!("--request {:?} has no path: expected such as 'POST /api/v1/medications/administer'", self.request);
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for header in &self.headers {
            // A pseudo-header begins with a colon.
            let (name, value) = header
                .char_indices()
                .find(|(index, character)| *index > 0 && *character == ':')
                .map(|(index, _)| (&header[..index], &header[index + 1..]))
                .with_context(|| format!("-H {header:?} is not a header: expected 'name: value'"))?;
            headers.push((header_name(name.trim()), value.trim().to_owned()));
        }
        if let Some(id) = self.request_id.as_ref().filter(|id| Random::from_request_id(id.as_bytes()).is_none()) {
            bail!("--request-id {id:?} is not a UUID: expected such as 0000270f-0000-4000-8000-000000000000");
        }
        let id = self.request_id.clone().or_else(|| self.sampling_number.map(request_id));
        Ok(Request { claims: self.claims()?, peer: self.peer.clone(), ..Request::new(method, path, headers, id) })
    }

    fn claims(&self) -> anyhow::Result<Claims> {
        let mut claims = Claims::new();
        if let Some(payload) = &self.payload {
            let payload: Value = serde_json::from_str(payload).context("--claims is not JSON")?;
            if !payload.is_object() {
                bail!("--claims is not an object: expected such as '{{\"tenant_id\": \"care-home-0042\"}}'");
            }
            claims = claims_of(&payload);
        }
        for claim in &self.claims {
            let (name, value) = claim
                .split_once('=')
                .with_context(|| format!("--claim {claim:?} has no value: expected name=value"))?;
            // A name with dots is nested, or a URL: the policy asks for one of the two.
            claims.insert(vec![name.into()], value.into());
            claims.insert(name.split('.').map(Into::into).collect(), value.into());
        }
        Ok(claims)
    }
}

/// The name that Envoy has for a header: it has one for `host` and `:authority`.
pub fn header_name(sent: &str) -> String {
    let name = sent.to_ascii_lowercase();
    if name == "host" { ":authority".to_owned() } else { name }
}

/// A request id that the trace is decided on by this number.
pub fn request_id(number: u16) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// The claims in the payload of a token.
pub fn claims_of(payload: &Value) -> Claims {
    fn collect(way: &[String], value: &Value, claims: &mut Claims) {
        for (name, member) in value.as_object().into_iter().flatten() {
            let way = [way, std::slice::from_ref(name)].concat();
            collect(&way, member, claims);
            claims.insert(way, member.clone());
        }
    }
    let mut claims = Claims::new();
    collect(&[], payload, &mut claims);
    claims
}

impl Request {
    /// A request of a caller without certificate and token. Its request id is the given one, else the one among its
    /// headers, else one with the lowest number.
    pub fn new(method: &str, path: &str, sent: Vec<(String, String)>, id: Option<String>) -> Self {
        let has_id = sent.iter().any(|(name, _)| name == REQUEST_ID);
        let any_number = id.is_none() && !has_id;
        let mut headers = vec![(":method".to_owned(), method.to_owned()), (":path".to_owned(), path.to_owned())];
        headers.extend(sent.into_iter().filter(|(name, _)| id.is_none() || name != REQUEST_ID));
        headers.extend(id.or_else(|| any_number.then(|| request_id(0))).map(|id| (REQUEST_ID.to_owned(), id)));
        Self { method: method.into(), path: path.into(), headers, claims: Claims::new(), peer: None, any_number }
    }

    /// All values of a header.
    pub fn header<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The number that the trace is decided on.
    pub fn number(&self) -> Option<Random> {
        Random::from_request_id(self.header(REQUEST_ID).next()?.as_bytes())
    }
}

/// A claim as Envoy hands it to a filter: texts as they are, numbers as eight bytes, lists as a map whose names are the
/// items, objects as a map. None where there is a null in it, at any depth: Envoy cannot serialise that.
pub fn property(claim: &Value) -> Option<Vec<u8>> {
    Some(match claim {
        Value::Null => return None,
        Value::String(text) => text.clone().into_bytes(),
        Value::Number(number) => number.as_f64().unwrap_or_default().to_le_bytes().to_vec(),
        Value::Bool(value) => vec![u8::from(*value)],
        Value::Array(items) => list(items.iter().map(property).collect::<Option<Vec<_>>>()?),
        Value::Object(members) if members.is_empty() => list::<&str>([]),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| Some((name, property(member)?)));
            members.collect::<Option<HeaderMap>>()?.serialise()
        }
    })
}

//! Requests to build and responses to look at.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Uri, header::HeaderName, header::HeaderValue};
use serde_json::Value;

/// The host that every request names, unless it sets `host` itself.
const AUTHORITY: &str = "api.care.example";

/// A request in the making. Header names are checked when it is sent, so that building reads well.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

impl Request {
    /// A request with this method for `path`, which may have a query.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// GET `path`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// POST `body` to `path`.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    /// Adds a header; one that is there already stays. The value may hold any bytes that HTTP lets through, among them
    /// 0x80–0xFF.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Whether a header of this name has been added.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    pub(super) fn into_http1(mut self) -> Result<hyper::Request<Full<Bytes>>> {
        if !self.has("host") {
            self = self.header("host", AUTHORITY);
        }
        let target = self.path.clone();
        self.into_message(target)
    }

    pub(super) fn into_http2(mut self, secure: bool) -> Result<hyper::Request<Full<Bytes>>> {
        // In HTTP/2 the host is the authority.
        let named = self.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
        let authority = match named.map(|index| self.headers.remove(index).1) {
            Some(host) => String::from_utf8(host).context("an authority is text")?,
            None => AUTHORITY.to_owned(),
        };
        let target = format!("{}://{authority}{}", if secure { "https" } else { "http" }, self.path);
        self.into_message(target)
    }

    fn into_message(self, target: String) -> Result<hyper::Request<Full<Bytes>>> {
        ensure!(self.path.starts_with('/'), "{:?} is not a path: use Client::raw for malformed requests", self.path);
        let mut message = hyper::Request::new(Full::new(self.body));
        *message.method_mut() = self.method;
        *message.uri_mut() = Uri::try_from(&target).with_context(|| format!("{target:?} is not a request target"))?;
        for (name, value) in self.headers {
            let name = HeaderName::try_from(&name).with_context(|| format!("{name:?} is not a header name"))?;
            let value = HeaderValue::from_bytes(&value).with_context(|| format!("bad value for {name}"))?;
            message.headers_mut().append(name, value);
        }
        Ok(message)
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers; a name may occur more than once, values are bytes.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The first value of the header `name`, as text in which bytes outside ASCII are escaped.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| value.as_bytes().escape_ascii().to_string())
    }

    /// The body as text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON: of the [upstream](crate::upstream), what it echoes.
    ///
    /// # Errors
    ///
    /// When it is not JSON; the error shows the body.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.text()))
    }
}

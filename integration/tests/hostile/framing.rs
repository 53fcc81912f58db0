//! Versions, upgrades, bodies, trailers and frames that are not as they should be.

use crate::{
    Hostile,
    http1::{self, cut, raw, request},
    http2::{self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, HEADERS, PING, RST_STREAM, block, frame, headers},
};

const POST: [http1::Header<'static>; 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/api/v1/residents")];

/// Trailers that name an identity, too late.
const TRAILERS: [http1::Header<'static>; 3] =
    [(b"x-tenant-id", b"care-home-0042"), (b"x-user-id", b"\xff"), (b"x-correlation-id", b"9434765919")];

pub fn all() -> Vec<Hostile> {
    [versions(), upgrades(), bodies(), pseudo_headers(), frames(), grpc()].concat()
}

fn versions() -> Vec<Hostile> {
    let lines = [
        "GET /x HTTP/1.0",
        "GET /x HTTP/0.9",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x HTTP/9.9",
        "GET /x http/1.1",
        "GET /x",
        "GET",
        "GET  /x  HTTP/1.1",
        "GET\t/x\tHTTP/1.1",
        "GET /x HTTP/1.1 x",
        "/x",
        " ",
        "GET /x HTTP/1.",
    ];
    let named = lines.iter().map(|line| raw(format!("a line: {line:?}"), request(line, &[], b"")));
    let others = [
        raw("no host", "GET /x HTTP/1.1\r\nconnection: close\r\n\r\n"),
        raw("HTTP/1.0 without host", "GET /x HTTP/1.0\r\n\r\n"),
        raw("HTTP/1.0 that stays", "GET /x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
        raw("line feeds alone", "GET /x HTTP/1.1\nhost: a\nconnection: close\n\n"),
        raw("empty lines before", "\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        raw("a folded header", request("GET /x HTTP/1.1", &[(b"x-tenant-id", b"a\r\n b")], b"")),
        raw("an injected header", request("GET /x HTTP/1.1", &[(b"x-tenant-id", b"a\nx-user-id: b")], b"")),
        raw("a carriage return in a value", request("GET /x HTTP/1.1", &[(b"x-tenant-id", b"a\rb")], b"")),
        raw("NUL in a value", request("GET /x HTTP/1.1", &[(b"x-tenant-id", b"a\0b")], b"")),
        raw("no colon", "GET /x HTTP/1.1\r\nhost: a\r\nx-tenant-id\r\nconnection: close\r\n\r\n"),
        raw("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        cut("half a line", "GET /el"),
        cut("half a head", "GET /x HTTP/1.1\r\nhost: a\r\nx-tenant-id: care"),
        cut("nothing", ""),
        cut("bytes", [0xff; 300]),
    ];
    named.chain(others).collect()
}

fn upgrades() -> Vec<Hostile> {
    let upgrade = |protocol: &str| {
        let head = format!("GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
        raw(format!("an upgrade to {protocol}"), head)
    };
    let connect =
        |target: &str| raw(format!("CONNECT {target}"), format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    vec![
        upgrade("websocket"),
        upgrade("h2c"),
        upgrade("TLS/1.3"),
        upgrade("connect-udp"),
        upgrade("x, y; z"),
        connect("a:443"),
        connect("/x"),
        connect("a"),
        connect("http://a/x"),
    ]
}

fn bodies() -> Vec<Hostile> {
    let post = |name: &str, headers: &[http1::Header<'_>], body: &[u8]| {
        raw(name, request("POST /api/v1/residents HTTP/1.1", headers, body))
    };
    let chunked: http1::Header<'_> = (b"transfer-encoding", b"chunked");
    vec![
        post("trailers", &[chunked], b"4\r\nbody\r\n0\r\nx-tenant-id: care-home-0042\r\nx-user-id: \xff\r\n\r\n"),
        post("trailers that cannot be", &[chunked], b"0\r\n:path: /x\r\n\r\n"),
        post("an extension of a chunk", &[chunked], b"4;a=b\r\nbody\r\n0\r\n\r\n"),
        post("a chunk of no number", &[chunked], b"x\r\nbody\r\n0\r\n\r\n"),
        post("a chunk too large", &[chunked], b"ffffffffffffffffff\r\nbody\r\n0\r\n\r\n"),
        post("chunked and a length", &[chunked, (b"content-length", b"4")], b"4\r\nbody\r\n0\r\n\r\n"),
        post("chunked twice", &[chunked, chunked], b"0\r\n\r\n"),
        post("chunked with upper case", &[(b"transfer-encoding", b"CHUNKED")], b"0\r\n\r\n"),
        post("another encoding", &[(b"transfer-encoding", b"gzip, chunked")], b"0\r\n\r\n"),
        post("two lengths", &[(b"content-length", b"4"), (b"content-length", b"5")], b"body!"),
        post("a negative length", &[(b"content-length", b"-1")], b""),
        post("a length of words", &[(b"content-length", b"four")], b"body"),
        post("a length beyond numbers", &[(b"content-length", b"99999999999999999999999")], b""),
        post("a continuation is expected", &[(b"expect", b"100-continue"), (b"content-length", b"4")], b"body"),
        post("something else is expected", &[(b"expect", b"the unexpected"), (b"content-length", b"4")], b"body"),
        raw("a GET with a body", request("GET /x HTTP/1.1", &[(b"content-length", b"4")], b"body")),
        cut("half a body", "POST /api/v1/residents HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf"),
        cut(
            "half a chunk",
            "POST /api/v1/residents HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf",
        ),
    ]
}

fn pseudo_headers() -> Vec<Hostile> {
    let without = |index: usize| {
        let left: Vec<_> = GET.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, header)| *header).collect();
        http2::only(format!("without {}", GET[index].0.escape_ascii()), &left)
    };
    let twice = |index: usize| {
        http2::only(format!("{} twice", GET[index].0.escape_ascii()), &[&GET[..], &[GET[index]]].concat())
    };
    let with = |name: &str, index: usize, value: &'static [u8]| {
        let mut headers = GET;
        headers[index].1 = value;
        http2::only(name, &headers)
    };
    let mut all: Vec<Hostile> = (0..4).flat_map(|index| [without(index), twice(index)]).collect();
    all.extend([
        http2::only("no headers at all", &[]),
        http2::only("a pseudo-header behind others", &[&[(&b"x-tenant-id"[..], &b"a"[..])], &GET[..]].concat()),
        http2::get("host and authority", &[(b"host", b"b")]),
        http2::get("a connection header", &[(b"connection", b"close")]),
        http2::get("transfer-encoding", &[(b"transfer-encoding", b"chunked")]),
        http2::get("te", &[(b"te", b"gzip")]),
        http2::get("a response's pseudo-header", &[(b":status", b"200")]),
        with("an empty authority", 2, b""),
        with("an authority of bytes", 2, b"\xff\x80"),
        with("an authority with a user", 2, b"user:password@a"),
        with("a scheme of bytes", 1, b"\xff"),
        with("another scheme", 1, b"ftp"),
        http2::only("CONNECT", &[(b":method", b"CONNECT"), (b":authority", b"a:443")]),
        http2::only("CONNECT with a path", &[&[(&b":method"[..], &b"CONNECT"[..])], &GET[1..]].concat()),
        http2::only(
            "extended CONNECT",
            &[&[(&b":method"[..], &b"CONNECT"[..]), (b":protocol", b"websocket")], &GET[1..]].concat(),
        ),
    ]);
    all
}

fn frames() -> Vec<Hostile> {
    let get = block(&GET);
    let body = frame(DATA, 0, 1, b"body");
    let (first, rest) = get.split_at(3);
    vec![
        http2::raw("trailers", [headers(0, &POST), body.clone(), headers(END_STREAM, &TRAILERS)].concat()),
        http2::raw("trailers with a pseudo-header", [headers(0, &POST), headers(END_STREAM, &GET[3..])].concat()),
        http2::raw("trailers that do not end", [headers(0, &POST), headers(0, &TRAILERS)].concat()),
        http2::raw(
            "one byte a continuation",
            get[1..].iter().enumerate().fold(frame(HEADERS, END_STREAM, 1, &get[..1]), |frames, (index, byte)| {
                let flags = if index == get.len() - 2 { END_HEADERS } else { 0 };
                [frames, frame(CONTINUATION, flags, 1, &[*byte])].concat()
            }),
        ),
        http2::raw(
            "headers in two frames",
            [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
        ),
        http2::raw("data between headers", [frame(HEADERS, 0, 1, first), body.clone()].concat()),
        http2::raw("data before headers", body.clone()),
        http2::raw("an even stream", frame(HEADERS, END_STREAM | END_HEADERS, 2, &get)),
        http2::raw("stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, &get)),
        http2::raw(
            "headers and a reset",
            [headers(0, &POST), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        http2::raw("a frame of no kind", [frame(0x77, 0xff, 1, b"?"), headers(END_STREAM, &GET)].concat()),
        http2::raw("padding", frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &[&[4][..], &get, &[0; 4]].concat())),
        http2::raw(
            "padding beyond the frame",
            frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &[&[255][..], &get].concat()),
        ),
        http2::raw("a block that cannot be read", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 64])),
        http2::raw("an index beyond the table", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0xff, 0x0f])),
        http2::raw("more data than the length says", {
            let declared = [&POST[..], &[(&b"content-length"[..], &b"2"[..])]].concat();
            [headers(0, &declared), frame(DATA, END_STREAM, 1, b"body")].concat()
        }),
        http2::raw(
            "empty data without end",
            [headers(0, &POST), frame(DATA, 0, 1, b"").repeat(50), frame(DATA, END_STREAM, 1, b"")].concat(),
        ),
    ]
}

fn grpc() -> Vec<Hostile> {
    let call = |kind: &'static str, more: http1::Header<'static>| {
        let mut all = POST.to_vec();
        all[3].1 = b"/care.v1.Residents/Get";
        all.extend([(&b"content-type"[..], kind.as_bytes()), (b"te", b"trailers"), more]);
        let frames = [headers(0, &all), frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")].concat();
        http2::raw(format!("{kind} with {}: {}", more.0.escape_ascii(), more.1.escape_ascii()), frames)
    };
    // Each names a tenant, so that it is not refused: a refusal looks like any other answer in gRPC.
    let tenant: http1::Header<'static> = (b"x-tenant-id", b"care-home-0107");
    let mut all = vec![call("application/grpc-web", tenant), call("application/grpcx", tenant)];
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x"] {
        all.push(call(kind, tenant));
    }
    for timeout in ["0n", "-1S", "99999999H", "999999999999H", "\u{ff}", "1x", ""] {
        all.push(call("application/grpc-web", (b"grpc-timeout", timeout.as_bytes())));
    }
    all
}

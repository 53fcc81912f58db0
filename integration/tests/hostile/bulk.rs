//! A lot of everything. Envoy itself answers at `/direct`: no upstream would read that much.

use crate::{
    Hostile,
    http1::{self, Header},
    http2,
};

const MEGABYTE: usize = 1 << 20;

fn times<'a>(count: usize, name: &'a str, value: &'a [u8]) -> Vec<Header<'a>> {
    vec![(name.as_bytes(), value); count]
}

pub fn all() -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut both = |name: &str, headers: &[Header<'_>]| {
        let mut pseudo = http2::GET.to_vec();
        pseudo[3].1 = b"/direct";
        pseudo.extend_from_slice(headers);
        all.push(http1::get(name, "/direct", headers));
        all.push(http2::only(name, &pseudo));
    };
    let long = vec![b'a'; MEGABYTE];
    let bytes = vec![0xff; MEGABYTE];
    for name in ["x-tenant-id", "x-user-id", "x-correlation-id", "x-request-id", "traceparent", "x-anything"] {
        both(&format!("a megabyte of {name}"), &[(name.as_bytes(), &long)]);
        both(&format!("50 kB of bytes of {name}"), &[(name.as_bytes(), &bytes[..50_000])]);
    }
    both("a megabyte of bytes", &[(b"x-anything", &bytes)]);
    both("a name of 50 kB", &[(&long[..50_000], b"x")]);
    both("a megabyte in sixteen headers", &times(16, "x-anything", &long[..MEGABYTE / 16]));
    both("digits without end", &[(b"x-user-id", &vec![b'9'; 200_000])]);
    both("digits and spaces without end", &[(b"x-user-id", &b"943 476 591 ".repeat(5_000))]);
    both("escapes without end", &[(b"x-user-id", &b"%20".repeat(20_000))]);

    let names: Vec<String> = (0..10_000).map(|number| format!("x-{number}")).collect();
    let numbered: Vec<Header<'_>> = names.iter().map(|name| (name.as_bytes(), &b"v"[..])).collect();
    both("a thousand headers", &numbered[..1_000]);
    both("ten thousand headers", &numbered);
    both("a thousand tenants", &times(1_000, "x-tenant-id", b"care-home-0001"));
    both("a thousand correlation ids", &times(1_000, "x-correlation-id", b"c-1"));
    both("a thousand empty headers", &times(1_000, "x", b""));
    both("ten thousand cookies", &times(10_000, "cookie", b"a=b"));

    let path = |unit: &str, length: usize| format!("/direct/{}", unit.repeat(length / unit.len()));
    for (name, path) in [
        ("a path of 50 kB", path("a", 50_000)),
        ("a path of a megabyte", path("a", MEGABYTE)),
        ("a path of slashes", path("/", 50_000)),
        ("a path of dots", path("../", 50_000)),
        ("a path of escaped dots", path("%2e%2e/", 50_000)),
        ("a path of escapes", path("%41", 50_000)),
        ("a path of broken escapes", path("%", 50_000)),
        ("a path of bytes", path("%ff", 50_000)),
        ("a path of parameters", path(";a=b/", 50_000)),
        ("a path of NHS numbers", path("9434765919/", 50_000)),
        ("a query of a megabyte", path("a", 10) + "?" + &"a".repeat(MEGABYTE)),
    ] {
        let mut pseudo = http2::GET;
        pseudo[3].1 = path.as_bytes();
        all.push(http1::get(name, &path, &[]));
        all.push(http2::only(name, &pseudo));
    }
    all
}

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[test]
fn every_spelling_has_one_reading() {
    let table: &[(&str, &str)] = &[
        ("/", "/"),
        ("", "/"),
        ("*", "/*"),
        ("/api/v1/residents", "/api/v1/residents"),
        ("/api/v1/residents?nhs=943%20476%205919", "/api/v1/residents"),
        ("/api/v1/residents#top", "/api/v1/residents"),
        ("/api/v1/residents/?a=/../b", "/api/v1/residents"),
        ("/api/v1/residents/", "/api/v1/residents"),
        ("/api/v1/residents//", "/api/v1/residents"),
        ("//api///v1//residents", "/api/v1/residents"),
        ("/api/v1/./residents", "/api/v1/residents"),
        ("/api/v1/x/../residents", "/api/v1/residents"),
        ("/../../api/v1/residents", "/api/v1/residents"),
        ("/api/v1/residents/..", "/api/v1"),
        ("/..", "/"),
        ("/api/v1/%72esidents", "/api/v1/residents"),
        ("/api/v1/%72%65sidents", "/api/v1/residents"),
        ("/api/v1/x/%2e%2E/residents", "/api/v1/residents"),
        ("/api/v1/x/.%2e/residents", "/api/v1/residents"),
        ("/api%2Fv1%2fresidents", "/api/v1/residents"),
        ("/api\\v1\\residents", "/api/v1/residents"),
        ("/api%5Cv1%5cresidents", "/api/v1/residents"),
        ("/api/v1/residents;v=2", "/api/v1/residents"),
        ("/api;a=b/v1;c/residents;d=/", "/api/v1/residents"),
        ("/api/v1/x/..;/residents", "/api/v1/residents"),
        ("/api/v1/x/..%3B/residents", "/api/v1/residents"),
        ("/api/v1/;/residents", "/api/v1/residents"),
        ("api/v1/residents", "/api/v1/residents"),
        // Decoded once, so what is left of these is text.
        ("/api/v1/%2572esidents", "/api/v1/%72esidents"),
        ("/api/v1/x/%252e%252e/residents", "/api/v1/x/%2e%2e/residents"),
        // Not escapes.
        ("/100%", "/100%"),
        ("/%zz/%1", "/%zz/%1"),
        // Case is kept here; templates are compared without it.
        ("/API/V1/Residents/Ab-7", "/API/V1/Residents/Ab-7"),
        // Not segments that mean anything.
        ("/...", "/..."),
        ("/a%20b", "/a b"),
        ("/a+b", "/a+b"),
        ("/%00", "/\0"),
        ("/caf%C3%A9", "/café"),
    ];
    for (spelling, reading) in table {
        assert_eq!(normalise(spelling.as_bytes()), *reading, "{spelling}");
    }
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    assert_eq!(normalise(b"/api/\xff/residents"), "/api/\u{fffd}/residents");
    assert_eq!(normalise(b"/api/%ff/residents"), "/api/\u{fffd}/residents");
    // An overlong encoding of `/` separates nothing.
    assert_eq!(normalise(b"/api%c0%afv1"), "/api\u{fffd}\u{fffd}v1");
}

#[test]
fn a_normal_path_is_borrowed() {
    assert!(matches!(normalise(b"/api/v1/residents/17"), Cow::Borrowed(_)));
    assert!(matches!(normalise(b"/api/v1/residents/17?x=1"), Cow::Borrowed(_)));
}

#[test]
fn what_normalise_makes_is_normal_but_for_text_that_was_escaped_twice() {
    for path in ["/a//b/../c;x/%41", "/..;/..;/x", "", "%2f%2f", "/a/./././b/"] {
        assert!(is_normal(&normalise(path.as_bytes())), "{path}");
    }
}

#[test]
fn what_an_application_may_read_otherwise_is_ambiguous() {
    // `/m/administer` is a route; all else below `/m/` is another one.
    let is_ambiguous = |raw: &str| {
        let normal = normalise(raw.as_bytes());
        let route = |path: &str| path == "/m/administer";
        super::is_ambiguous(raw.as_bytes(), &normal, |other| route(other) == route(&normal))
    };
    for (raw, expected) in [
        ("/m/administer", false),
        ("/m/administer/", false),
        ("/m/%61dminister", false),
        ("/m//administer", false),
        ("/m/17.json", false),
        ("/m/a%20b", false),
        ("/m/17;v=1", false),
        ("/m/administer?x=%2F", false),
        ("/m/administer.json", true),
        ("/m/administer.json.gz", true),
        ("/m/.administer", false),
        ("/m/a.b.c.d.e.f.g.h.i", false),
        ("/m/a.b.c.d.e.f.g.h.i.j", true),
        ("/m/administer.", true),
        ("/m/administer%20", true),
        ("/m/administer.%20.", true),
        ("/m/administer%09", true),
        ("/m/administer;v=1", true),
        ("/m/administer%3Bv=1", true),
        ("/m%2Fadminister", true),
        ("/m%5cx", true),
        ("/m\\x", true),
        ("/m/x%252Fy", true),
        ("/m/x%2561", true),
        ("/m/x%00", true),
        ("/m/100%", false),
    ] {
        assert_eq!(is_ambiguous(raw), expected, "{raw}");
    }
}

use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn an_address_is_written_as_it_was_read() {
    for text in [
        "oci://registry.example/careplane/careplane:0.1.0".to_owned(),
        "oci://127.0.0.1:5000/careplane:dev".to_owned(),
        format!("oci://registry.example/careplane/careplane:0.1.0@{DIGEST}"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
}

#[test]
fn an_image_is_told_by_the_last_part_of_its_repository() {
    let image = |text: &str| text.parse::<Address>().unwrap().image().to_owned();
    assert_eq!(image("oci://registry.example/careplane/careplane-audit:0.1.0"), "careplane-audit");
    assert_eq!(image("oci://127.0.0.1:5000/careplane:dev"), "careplane");
}

#[test]
fn what_istio_would_drop_or_look_for_elsewhere_is_refused() {
    for (text, expected) in [
        ("registry.example/careplane:1", "does not begin with oci://"),
        ("https://registry.example/careplane:1", "does not begin with oci://"),
        ("oci://careplane:1", "names no registry"),
        ("oci://careplane/careplane:1", "names no registry"),
        ("oci://registry.example/Careplane:1", "expected oci://"),
        ("oci://registry.example/careplane@sha256:12", "expected oci://"),
    ] {
        let error = text.parse::<Address>().unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

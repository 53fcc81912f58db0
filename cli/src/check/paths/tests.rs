//! What Envoy makes of a path before it authorizes.

use careplane_integration::{Client, Plugins, prerequisites, workspace};
use serde_json::json;

use super::spelling::{self, Normalization};
use crate::check::envoy;

#[tokio::test]
async fn paths_are_normalised_as_envoy_normalises_them() {
    if !prerequisites(workspace::version(), Plugins::None) {
        return;
    }
    let modes =
        [Normalization::None, Normalization::Base, Normalization::MergeSlashes, Normalization::DecodeAndMergeSlashes];
    // What Istio sets for each mode.
    let managers = modes.map(|mode| {
        let path = json!([{"header": {"key": "x-path", "value": "%REQ(:PATH)%"}}]);
        let route = json!({
            "match": {"prefix": ""}, "direct_response": {"status": 200}, "response_headers_to_add": path,
        });
        let mut manager = json!({
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "delayed_close_timeout": "0s",
            "normalize_path": mode != Normalization::None,
            "merge_slashes": matches!(mode, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes),
        });
        if mode == Normalization::DecodeAndMergeSlashes {
            manager["path_with_escaped_slashes_action"] = json!("UNESCAPE_AND_FORWARD");
        }
        (mode.as_str(), manager)
    });
    let mut running = envoy::start(&managers).await;
    let mut wrong = String::new();
    for mode in modes {
        let address = running.envoy.admin().listener(mode.as_str()).await.unwrap().unwrap();
        for path in ["/api/v1/medications/administer", "/api", "/api/17", "/api/v1/a.b"] {
            for spelling in spelling::all(path) {
                let target = &spelling.path;
                let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
                let answer = Client::plain(address).raw(request.as_bytes(), std::time::Duration::from_secs(15)).await;
                let answer = String::from_utf8(answer.unwrap()).unwrap();
                let seen = answer.lines().find_map(|line| line.strip_prefix("x-path: ")).unwrap_or(&answer);
                let ours = mode.apply(target);
                if ours != seen {
                    wrong += &format!("{}: {target}: Envoy {seen:?}, check {ours:?}\n", mode.as_str());
                }
            }
        }
    }
    running.envoy.stop().await.unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn patterns_take_what_istio_says_they_take() {
    for (pattern, path, expected) in [
        ("/a", "/a", true),
        ("/a", "/a/", false),
        ("/a*", "/ab/c", true),
        ("*/c", "/ab/c", true),
        ("*", "/", true),
        ("*", "", false),
        ("/a/{*}/c", "/a/b/c", true),
        ("/a/{*}/c", "/a/b/b/c", false),
        ("/a/{**}", "/a/b/c", true),
        ("/A", "/a", false),
    ] {
        assert_eq!(spelling::matches(pattern, path), expected, "{pattern} {path}");
    }
}

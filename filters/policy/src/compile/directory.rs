//! `tenants.directory`.

use std::time::Duration;

use super::names;
use crate::directory::KnownPools;
use crate::document::{self, Shrink};
use crate::policy::DirectorySource;
use crate::problem::Problems;

const PATH: &str = "/directory";
const INTERVAL: Duration = Duration::from_secs(60);
/// Each worker of each proxy asks so often.
const INTERVAL_MIN: (Duration, &str) = (Duration::from_secs(1), "\"1s\"");
const TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy counts in milliseconds, and takes 0 for "no timeout".
const TIMEOUT_MIN: (Duration, &str) = (Duration::from_millis(1), "\"1ms\"");
const PATH_MAX: usize = 1024;

#[inline(never)]
pub(super) fn compile(written: document::Directory, pools: &KnownPools, problems: &mut Problems) -> DirectorySource {
    let cluster = written.cluster.unwrap_or_default();
    if cluster.is_empty() {
        problems.add(
            "tenants.directory.cluster",
            "missing: expected an Envoy cluster, such as \
             \"outbound|80||tenant-directory.operations.svc.cluster.local\"",
        );
    }
    let path = written.path.unwrap_or_else(|| PATH.to_owned());
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'?' && byte != b'#';
    let path = match path.strip_suffix('/').unwrap_or(&path) {
        good if path.starts_with('/') && path.len() <= PATH_MAX && path.bytes().all(plain) => good.to_owned(),
        bad => {
            problems.add(
                "tenants.directory.path",
                format!("{bad:?} is not the path of a folder: expected such as \"/directory\", without a query"),
            );
            String::new()
        }
    };
    let mut duration = |path: &str, text: Option<String>, default: Duration, (min, least): (Duration, &str)| {
        let duration = text.map_or(default, |text| names::duration(path, &text, problems));
        if duration < min && !duration.is_zero() {
            problems.add(path, ["is too short: expected at least ", least].concat());
        }
        duration
    };
    DirectorySource {
        authority: written.authority.unwrap_or_else(|| cluster.clone()),
        cluster,
        path,
        interval: duration("tenants.directory.interval", written.interval, INTERVAL, INTERVAL_MIN),
        timeout: duration("tenants.directory.timeout", written.timeout, TIMEOUT, TIMEOUT_MIN),
        may_shrink: written.shrink == Shrink::Allow,
        pools: pools.clone(),
    }
}

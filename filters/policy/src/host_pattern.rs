//! A tenant in the host of a request: `{tenant}.app.example.com`.

/// The word that stands for the tenant.
const TENANT: &str = "{tenant}";

/// A pattern of hosts with one part that is the tenant, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: String,
    after: String,
}

// === impl HostPattern ===

impl HostPattern {
    /// What a pattern looks like, for messages.
    pub const EXPECTED: &'static str = "a host with one {tenant}, such as \"{tenant}.app.example.com\"";

    /// The host of a tenant.
    pub fn host(&self, tenant: &str) -> String {
        format!("{}{tenant}{}", self.before, self.after)
    }

    /// The pattern that `text` is, if it is one: `{tenant}` once, alone or as part of a label, and a domain around it.
    pub fn new(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        // Not `split_once`, whose searcher for long texts is 2 kB of the module.
        let start = lower.as_bytes().windows(TENANT.len()).position(|part| part == TENANT.as_bytes())?;
        let (before, after) = (lower.get(..start)?, lower.get(start.saturating_add(TENANT.len())..)?);
        let plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let is_pattern = plain(before) && plain(after) && !(before.is_empty() && after.is_empty());
        is_pattern.then(|| Self { before: before.into(), after: after.into() })
    }

    /// The tenant in an `:authority`: what stands for it, within one label. Case, the port and a dot at the end do not
    /// matter.
    pub fn tenant<'h>(&self, authority: &'h [u8]) -> Option<&'h [u8]> {
        let host = match authority.iter().rposition(|byte| *byte == b':') {
            Some(colon) => authority.get(..colon)?,
            None => authority,
        };
        let host = host.strip_suffix(b".").unwrap_or(host);
        let end = host.len().checked_sub(self.after.len())?;
        let tenant = host.get(self.before.len()..end)?;
        let matches = host.get(..self.before.len())?.eq_ignore_ascii_case(self.before.as_bytes())
            && host.get(end..)?.eq_ignore_ascii_case(self.after.as_bytes());
        (matches && !tenant.is_empty() && !tenant.contains(&b'.')).then_some(tenant)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_tenant_is_one_label_of_the_host() {
        let pattern = HostPattern::new("{tenant}.App.example.com").unwrap();
        for (host, expected) in [
            ("care-home-1.app.example.com", Some("care-home-1")),
            ("Care-Home-1.APP.example.com:8443", Some("Care-Home-1")),
            ("care-home-1.app.example.com.", Some("care-home-1")),
            ("care-home-1.app.example.com.:80", Some("care-home-1")),
            ("a.b.app.example.com", None),
            (".app.example.com", None),
            ("app.example.com", None),
            ("care-home-1.app.example.org", None),
            ("care-home-1xapp.example.com", None),
            ("", None),
            ("[::1]:80", None),
        ] {
            assert_eq!(pattern.tenant(host.as_bytes()), expected.map(str::as_bytes), "{host}");
        }
        let inner = HostPattern::new("home-{tenant}-app.example.com").unwrap();
        assert_eq!(inner.tenant(b"home-7-app.example.com"), Some(&b"7"[..]));
        assert_eq!(inner.tenant(b"home--app.example.com"), None);
        // The parts around it must not overlap.
        assert_eq!(HostPattern::new("aa{tenant}aa").unwrap().tenant(b"aaa"), None);
    }

    #[test]
    fn patterns_have_one_tenant_and_a_domain() {
        for bad in [
            "",
            "{tenant}",
            "app.example.com",
            "{tenant}.{tenant}.example",
            "{tenant}/x",
            "*.{tenant}.example",
            "{tenant}.é",
        ] {
            assert_eq!(HostPattern::new(bad), None, "{bad}");
        }
    }
}

//! Claims, identity headers and paths: who a request is from, beside a model that asks all sources and then judges.
//!
//! Input: `t` for a trusted peer, claim of the tenant, claim of the user, values of `x-tenant-id`, values of
//! `x-user-id` (several are separated by `|`), tenant and subject in the path.

use std::sync::{Arc, LazyLock};

use careplane_audit::FILTER_STATE;
use careplane_exchange::memory::{MemoryHost, rules};
use careplane_exchange::{Denial, Rules};
use careplane_pipeline::Stream;
use serde_json::Value;

use crate::{input, nhs, plugin};

const PEER: &str = "spiffe://cluster.local/ns/core/sa/gateway";
const POLICY: &str = r#"{
    "version": "careplane/v1",
    "identity": {
        "trustedPeers": ["spiffe://cluster.local/ns/core/sa/gateway"],
        "tenant": {"sources": [{"claim": "tenant_id"}, {"path": "tenant"}, {"header": "x-tenant-id"}]}
    },
    "contexts": [{
        "name": "resident", "complianceLevel": "high", "subject": "id",
        "match": [{"path": "/t/{tenant}/residents/{id}"}]
    }]
}"#;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| rules(POLICY).expect("the policy is good"));

/// What one source says: nothing, an invalid value, or a name; and whether that is enough on its own.
type Said = (Option<Vec<u8>>, bool);

pub(crate) fn run(data: &[u8]) {
    let [peer, tenant_claim, user_claim, tenants, users, tenant_in_path, subject] = input::parts(data);
    if is_list(tenant_claim) {
        // The target `grants` is about these.
        return;
    }
    let trusted = peer == b"t";
    let headers = |values: &[u8]| -> Vec<Vec<u8>> {
        values.split(|byte| *byte == b'|').filter(|value| !value.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let (tenants, users) = (headers(tenants), headers(users));
    let path = [b"/t/", tenant_in_path, b"/residents/", subject].concat();
    let mut sent: Vec<(&[u8], &[u8])> = vec![(b":method", b"GET"), (b":path", &path)];
    sent.extend(tenants.iter().map(|value| (&b"x-tenant-id"[..], &**value)));
    sent.extend(users.iter().map(|value| (&b"x-user-id"[..], &**value)));
    let host = MemoryHost::with_request(sent).with_claim("tenant_id", tenant_claim).with_claim("sub", user_claim);
    let host = if trusted { host.with_peer(PEER) } else { host };

    let plugin = plugin::named("audit", &RULES, None);
    let request = plugin.decide(&host).request;
    let identity = request.identity(&host);
    let repeated = tenants.len() > 1 || users.len() > 1;
    let header = |values: &[Vec<u8>]| values.first().filter(|_| trusted && !repeated).cloned();
    let in_path = request.about().capture("tenant").map(|tenant| tenant.as_bytes().to_vec());
    let tenant: [Said; 3] = [(text(tenant_claim), true), (in_path, trusted), (header(&tenants), true)];
    let user: [Said; 2] = [(text(user_claim), true), (header(&users), true)];
    let (tenant, user) = (judge(&tenant, is_tenant), judge(&user, is_user));

    let expected = [
        (repeated, Denial::IdentityRepeated),
        (tenant.malformed, Denial::TenantMalformed),
        (user.malformed, Denial::UserMalformed),
        (tenant.contradicted, Denial::TenantConflict),
        (user.contradicted, Denial::UserConflict),
        (tenant.name.is_none(), Denial::TenantMissing),
    ];
    assert_eq!(identity.denial, expected.into_iter().find_map(|(is_so, denial)| is_so.then_some(denial)));
    assert_eq!(identity.tenant.as_ref().map(|tenant| tenant.as_str().as_bytes()), tenant.name.as_deref());
    assert_eq!(identity.user.as_ref().map(|user| user.as_str().as_bytes()), user.name.as_deref());

    let mut stream = Stream::new(plugin);
    stream.on_request_headers(&host);
    stream.on_log(&host);
    let record = host.property_text(&format!("wasm.{FILTER_STATE}")).expect("there is a record");
    let record: Value = serde_json::from_str(&record).expect("the record is JSON");
    for part in [&record["who"], &record["tenant"], &record["context"]["subject"], &record["request"]["pathTemplate"]] {
        assert!(!nhs::shows(part.to_string().as_bytes()), "{part}");
    }
}

struct Judged {
    name: Option<Vec<u8>>,
    malformed: bool,
    contradicted: bool,
}

fn judge(said: &[Said], is_name: fn(&[u8]) -> bool) -> Judged {
    let said: Vec<(&[u8], bool)> = said
        .iter()
        .filter_map(|(bytes, is_enough)| Some((bytes.as_deref().filter(|bytes| !bytes.is_empty())?, *is_enough)))
        .collect();
    let names = || said.iter().filter(|(bytes, _)| is_name(bytes));
    let name = names().find(|(_, is_enough)| *is_enough).map(|(bytes, _)| bytes.to_vec());
    Judged {
        malformed: said.iter().any(|(bytes, _)| !is_name(bytes)),
        contradicted: name.as_ref().is_some_and(|name| names().any(|(other, _)| other != name)),
        name,
    }
}

/// A claim: text as it is, or a number in the eight bytes that Envoy makes of it.
fn text(claim: &[u8]) -> Option<Vec<u8>> {
    let is_text = std::str::from_utf8(claim).is_ok_and(|text| !text.contains(|c: char| c.is_ascii_control()));
    match <[u8; 8]>::try_from(claim) {
        Ok(bytes) if !is_text => {
            let number = f64::from_le_bytes(bytes);
            let is_id = number >= 0.0 && number < 2f64.powi(53) && number == number.trunc();
            Some(if is_id { format!("{number:.0}").replace("-0", "0").into_bytes() } else { claim.to_vec() })
        }
        _ => Some(claim.to_vec()),
    }
}

/// A serialised map whose values are empty: its length says how many items there are, and how long they are together.
fn is_list(claim: &[u8]) -> bool {
    let number = |at: usize| claim.get(at..at + 4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()) as usize);
    let Some(count) = number(0).filter(|count| *count <= 1000) else { return false };
    let mut size = 4 + count * 8;
    for item in 0..count {
        let (Some(name), Some(0)) = (number(4 + item * 8), number(8 + item * 8)) else { return false };
        size += name + 2;
    }
    size == claim.len()
}

pub(crate) fn is_tenant(bytes: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    (1..=128).contains(&bytes.len()) && bytes.iter().all(is_word) && !nhs::shows(bytes)
}

fn is_user(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let ends_in_space = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    (1..=256).contains(&text.len()) && !ends_in_space && !text.contains(char::is_control)
}

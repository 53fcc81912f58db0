//! People who work in more than one home: lists of tenants, grants, emergency access, purposes of use; on a real Envoy.

mod emergency;
mod hostile;
mod table;

#[path = "../support/mod.rs"]
mod support;

use careplane_integration::Lab;
use serde_json::{Value, json};

/// The homes: of each nation, in two groups; and one that the policy does not know.
pub const HOMES: [&str; 6] = ["glasgow-1", "york-1", "london-1", "cardiff-1", "belfast-1", "unlisted-9"];

/// The policy of these tests, without its trusted peers.
pub fn configure(policy: &mut Value) {
    policy["identity"]["tenant"]["sources"] = json!([
        {"claim": "homes"}, {"path": "tenant"}, {"header": "x-tenant-id"}, {"host": "{tenant}.app.care.example"},
        {"query": "home"}
    ]);
    policy["identity"]["purpose"] = json!({"sources": [{"claim": "purpose"}, {"header": "x-purpose-of-use"}]});
    policy["identity"]["grants"] = json!([
        {
            "name": "inspector", "when": {"claim": "roles", "contains": "inspector"}, "actions": ["read"],
            "tenants": {"jurisdiction": {"claim": "jurisdiction"}}, "flags": ["inspection"]
        },
        {
            "name": "manager", "when": {"claim": "roles", "contains": "manager"}, "contexts": ["staff"],
            "tenants": {"group": {"claim": "groups"}}
        },
        {
            "name": "emergency", "tenants": "any",
            "when": {"claim": ["realm_access", "roles"], "anyOf": ["nurse", "doctor"]},
            "requires": {"purpose": ["BTG", "ETREAT"]}, "flags": ["emergency"]
        }
    ]);
    policy["contexts"] = json!([
        {
            "name": "notes", "complianceLevel": "high", "tier": "clinical", "flags": ["clinical"],
            "match": [{"path": "/homes/{tenant}/notes"}, {"path": "/notes"}]
        },
        {"name": "staff", "complianceLevel": "standard", "match": [{"path": "/homes/{tenant}/staff"}]},
        {
            "name": "medication", "complianceLevel": "critical", "action": "execute",
            "match": [{"methods": ["POST"], "path": "/homes/{tenant}/medication"}]
        },
        {
            "name": "health-check", "complianceLevel": "low", "tier": "never", "audit": "none", "tenant": "optional",
            "match": [{"methods": ["GET"], "path": "/health"}]
        }
    ]);
    policy["tenants"] = json!({"entries": {
        "glasgow-1": {"jurisdiction": "scotland", "group": "north"},
        "york-1": {"jurisdiction": "england", "group": "north"},
        "london-1": {"jurisdiction": "england", "group": "south"},
        "cardiff-1": {"jurisdiction": "wales", "group": "south"},
        "belfast-1": {"jurisdiction": "northern-ireland"}
    }});
}

/// A token with these claims, and no `tenant_id`.
pub fn token(lab: &Lab, user: &str, mut claims: Value) -> anyhow::Result<String> {
    claims["tenant_id"] = Value::Null;
    lab.identity().token("", user, claims)
}

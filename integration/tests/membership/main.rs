//! People who work in more than one home: lists of tenants, grants, emergency access, purposes of use; on a real Envoy.

mod answers;
mod emergency;
mod hostile;
mod table;

#[path = "../support/mod.rs"]
mod support;

pub use answers::configure;
use careplane_integration::Lab;
use serde_json::Value;

/// The homes: of each nation, in two groups; and one that the policy does not know.
pub const HOMES: [&str; 6] = ["glasgow-1", "york-1", "london-1", "cardiff-1", "belfast-1", "unlisted-9"];

/// A token with these claims, and no `tenant_id`.
pub fn token(lab: &Lab, user: &str, mut claims: Value) -> anyhow::Result<String> {
    claims["tenant_id"] = Value::Null;
    lab.identity().token("", user, claims)
}

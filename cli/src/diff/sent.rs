//! What a caller sends.

use std::collections::BTreeMap;

use careplane_policy::id::TenantId;
use careplane_policy::{Claim, Grant, Policy, Source, Test};
use serde_json::Value;

use crate::explain::request::{Request, request_id};

#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub headers: Vec<(String, String)>,
    /// By name; parts of nested names with dots between them.
    pub claims: BTreeMap<Vec<String>, Value>,
    /// The parameter of the path that names a tenant, and the tenant.
    pub parameter: Option<(String, String)>,
    pub query: Option<(String, String)>,
}

// === impl Sent ===

impl Sent {
    /// Lets a source say this.
    pub fn put(&mut self, source: &Source, value: &str) {
        match source {
            Source::Claim(claim) => {
                self.claims.insert(claim.path.clone(), value.into());
                self.issuer(claim);
            }
            Source::Header(name) => self.headers.push((name.to_string(), value.into())),
            Source::Path(name) => self.parameter = Some((name.to_string(), value.into())),
            Source::Host(pattern) => self.headers.push((":authority".into(), pattern.host(value))),
            Source::Query(name) => self.query = Some((name.to_string(), value.into())),
        }
    }

    /// Lets the first claim among sources be a list. None where there is no claim.
    pub fn put_list(&mut self, sources: &[Source], values: &[&str]) -> Option<()> {
        let claim = sources.iter().find_map(|source| match source {
            Source::Claim(claim) => Some(claim),
            _ => None,
        })?;
        self.claims.insert(claim.path.clone(), values.iter().copied().map(Value::from).collect());
        Some(())
    }

    /// Lets a claim say this beside what it says already: two conditions can ask for two items of one list.
    pub fn add(&mut self, claim: &Claim, value: &Value) {
        let items = |value: &Value| match value {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        let said = self.claims.entry(claim.path.clone()).or_insert_with(|| value.clone());
        let mut all = items(said);
        let more: Vec<Value> = items(value).into_iter().filter(|item| !all.contains(item)).collect();
        if !more.is_empty() {
            all.extend(more);
            *said = Value::Array(all);
        }
        self.issuer(claim);
    }

    fn issuer(&mut self, claim: &Claim) {
        self.claims.extend(claim.issuer.iter().map(|issuer| (vec!["iss".to_owned()], issuer.as_str().into())));
    }

    /// What a grant asks of a caller, and of the tenant that it is to reach: the first of what it accepts.
    pub fn grant(&mut self, grant: &Grant, policy: &Policy, tenant: Option<&TenantId>) {
        for condition in &grant.when {
            let value = match &condition.test {
                Test::Equals(value) => Some(value),
                Test::AnyOf(values) => values.first(),
            };
            value.into_iter().for_each(|value| self.add(&condition.claim, &value.as_str().into()));
        }
        tenant.into_iter().for_each(|tenant| self.belonging(grant, policy, tenant));
        if let (Some(purpose), Some(source)) = (grant.purposes.first(), policy.identity.purpose_sources.first()) {
            self.put(source, purpose.as_str());
        }
    }

    /// The claim that a grant asks for of what a tenant belongs to, if it does.
    pub fn belonging(&mut self, grant: &Grant, policy: &Policy, tenant: &TenantId) {
        if let Some(Some((claim, name))) = grant.tenants.needs(policy.routing.belongs(tenant, None)) {
            self.add(claim, &name.into());
        }
    }

    /// The request. Without a recorded tenant in it, the path of a route can name one by `parameter`.
    pub fn request(self, method: &str, path: &str, peer: Option<&str>) -> Request {
        let path = match &self.query {
            Some((name, value)) => format!("{path}?{name}={value}"),
            None => path.to_owned(),
        };
        let mut request = Request::new(method, &path, self.headers, Some(request_id(0)));
        request.claims = self.claims;
        request.peer = peer.map(Into::into);
        request
    }
}

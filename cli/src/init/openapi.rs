//! OpenAPI 3.x and Swagger 2.0: paths, methods, security schemes, and the hint `x-careplane`.

use serde_json::Value;

use super::Inputs;
use super::endpoint::{Endpoint, Segment, segments};

const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];
/// On an operation, a path item, or the document: fields of the context that it belongs to.
const HINT: &str = "x-careplane";
/// Parameters that often name a tenant.
const TENANTS: [&str; 12] = [
    "tenant",
    "tenantid",
    "organisation",
    "organisationid",
    "organization",
    "organizationid",
    "org",
    "orgid",
    "home",
    "homeid",
    "carehome",
    "carehomeid",
];

pub fn is_one(value: &Value) -> bool {
    (value.get("openapi").is_some() || value.get("swagger").is_some())
        && value.get("paths").is_some_and(Value::is_object)
}

pub fn read(name: &str, document: &Value, found: &mut Inputs) {
    let title = document["info"]["title"].as_str().unwrap_or("without a title");
    found.sources.insert(format!("{name} ({})", title.replace(['\n', '\r'], " ")));
    callers(document, found);
    let base = base(document);
    let lead = segments(&base).map_or(0, |segments| segments.len());
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        let path = format!("{base}{path}");
        let Some(segments) = segments(&path) else {
            found.left_out.insert(format!("{path:?} has characters that are not plain in a path"));
            continue;
        };
        for segment in &segments {
            if let Segment::Parameter(parameter) = segment {
                let folded = parameter.to_ascii_lowercase().replace(['-', '_'], "");
                if TENANTS.contains(&folded.as_str()) {
                    found.tenants.insert(parameter.clone());
                }
            }
        }
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let methods = vec![method.to_ascii_uppercase()];
            let mut endpoint = Endpoint { lead, ..Endpoint::new(methods, segments.clone()) };
            for holder in [document, item, operation] {
                for (key, value) in holder[HINT].as_object().into_iter().flatten() {
                    endpoint.hints.insert(key.clone(), value.clone());
                }
            }
            found.endpoints.push(endpoint);
        }
    }
}

/// The path that all paths are below: of the first server, or `basePath`.
fn base(document: &Value) -> String {
    let server = document["servers"][0]["url"].as_str().unwrap_or_default();
    let path = match server.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => server,
    };
    let path = if path.is_empty() { document["basePath"].as_str().unwrap_or_default() } else { path };
    // A server with variables in its path is one of several: paths are then those behind them.
    if path.contains('{') { String::new() } else { path.trim_end_matches('/').to_owned() }
}

fn callers(document: &Value, found: &mut Inputs) {
    let schemes = document["components"]["securitySchemes"].as_object();
    let schemes = schemes.or_else(|| document["securityDefinitions"].as_object());
    for (name, scheme) in schemes.into_iter().flatten() {
        let name = name.replace(['\n', '\r'], " ");
        let what = match (scheme["type"].as_str(), scheme["scheme"].as_str(), scheme["in"].as_str()) {
            (Some("oauth2" | "openIdConnect"), ..) => {
                "tokens: if they are JWTs, their claims say who is calling".to_owned()
            }
            (Some("http"), Some(scheme), _) if scheme.eq_ignore_ascii_case("bearer") => {
                "bearer tokens: if they are JWTs, their claims say who is calling".to_owned()
            }
            (Some("http"), Some(_), _) | (Some("basic"), ..) => {
                "passwords: they say nothing that Envoy verifies as a claim".to_owned()
            }
            (Some("apiKey"), _, Some(place)) => {
                let key = scheme["name"].as_str().unwrap_or_default().replace(['\n', '\r'], " ");
                format!("a key in {place} {key:?}: it says which application calls, not which user")
            }
            (Some("mutualTLS"), ..) => "client certificates: their SPIFFE ids belong into trustedPeers".to_owned(),
            _ => continue,
        };
        found.callers.insert(format!("security scheme {name:?}: {what}"));
    }
}

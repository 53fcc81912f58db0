//! VirtualServices, HTTPRoutes and GRPCRoutes: the paths that they route, and the pools that they know.

use super::Inputs;
use super::endpoint::{Endpoint, segments};
use crate::check::Mesh;
use crate::check::routes::{self, PathMatch};
use crate::manifest::Document;
use careplane_policy::document::COHORT_HEADER;

const POOL: &str = "x-tenant-pool";
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub fn read(name: &str, documents: &[Document], found: &mut Inputs) {
    let mesh = Mesh::new(documents);
    let tables = routes::tables(&mesh);
    if !tables.is_empty() {
        found.sources.insert(name.to_owned());
    }
    for route in tables.iter().flat_map(|table| &table.routes) {
        let conditions = &route.conditions;
        let values = |header| conditions.reads(header).filter_map(|it| it.value.exactly()).map(ToOwned::to_owned);
        found.pools.extend(values(POOL));
        found.has_canary |= values(COHORT_HEADER).any(|value| value == "canary");
        let (path, open) = match &conditions.path {
            PathMatch::Exact(path) => (path, false),
            PathMatch::Prefix(path) | PathMatch::Segments(path) => (path, true),
            PathMatch::Regex(regex) => {
                let text = regex.example().unwrap_or_default();
                found.left_out.insert(format!("{} matches a regular expression, such as {text:?}", route.title()));
                continue;
            }
        };
        let Some(segments) = segments(path).filter(|segments| !segments.is_empty()) else { continue };
        let methods = match &conditions.method {
            Some(method) => METHODS.iter().filter(|it| method.accepts(Some(it))).map(|it| (*it).to_owned()).collect(),
            None => Vec::new(),
        };
        found.endpoints.push(Endpoint { open, ..Endpoint::new(methods, segments) });
    }
}

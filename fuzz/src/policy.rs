//! The policy document: an operator's bytes.

use careplane_policy::{Method, Policy, id::TenantId};
use serde_json::Value;

/// Requests for a policy that was accepted.
const PATHS: [&[u8]; 6] = [b"/", b"", b"*", b"/a/b/../%2e%2e/c;d//", b"/api/v1/residents/17", b"\xff%ff/\\?x"];

pub(crate) fn run(data: &[u8]) {
    match Policy::from_json(data) {
        Ok(policy) => {
            let document: Value = serde_json::from_slice(data).expect("what was taken is JSON");
            assert_eq!(document["version"], careplane_policy::VERSION);
            let again = Policy::from_json(document.to_string().as_bytes());
            let again = again.unwrap_or_else(|problems| panic!("taken, and refused when written again: {problems}"));
            // Spelled plainly, entries are read by another reader.
            for id in document["tenants"]["entries"].as_object().into_iter().flat_map(|entries| entries.keys()) {
                let id = TenantId::new(id.as_bytes()).expect("a tenant of a policy that was taken");
                let place = |policy: &Policy| {
                    let (jurisdiction, group) = policy.routing.belongs(&id, None);
                    (policy.routing.place(&id, None), jurisdiction, group.map(ToOwned::to_owned))
                };
                assert_eq!(place(&policy), place(&again), "{id}");
            }
            for path in PATHS {
                for method in [Method::Get, Method::Other] {
                    let (one, other) = (policy.classify(method, path), again.classify(method, path));
                    assert_eq!(one.context.name, other.context.name);
                    let template = one.template.as_ref();
                    assert_eq!(
                        one.subject().is_some(),
                        template.is_some_and(|template| {
                            one.context.subject.as_ref().is_some_and(|subject| template.has(subject))
                        })
                    );
                }
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            assert!(problems.iter().all(|problem| !problem.message.is_empty()));
            // The line in the proxy's log has to stay readable, however long the document is.
            let longest = problems.to_string().lines().map(str::len).max().unwrap_or_default();
            assert!(longest <= 4 * data.len() + 1024, "{longest} bytes on a line about {} bytes", data.len());
        }
    }
}

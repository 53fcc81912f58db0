//! One plugin: its policy and its filters. Configuration lives here and not in a static, for plugins of one module share a VM.

use std::sync::Arc;

use careplane_exchange::Rules;
use careplane_policy::{Policy, Problems};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::abi;
use crate::filters::{self, Filters};
use crate::key;
use crate::stream::Stream;

/// The root context of one plugin.
#[derive(Default)]
pub(crate) struct Root {
    /// None until a configuration was taken: the proxy serves nothing before, so such a root's streams do nothing.
    plugin: Option<(Filters, Arc<Rules>)>,
}

impl Context for Root {}

impl RootContext for Root {
    /// Also called on a VM of the main thread that serves nothing: no effects beyond this root.
    fn on_configure(&mut self, size: usize) -> bool {
        match configure(size) {
            Ok(plugin) => {
                self.plugin = Some(plugin);
                true
            }
            Err(problems) => {
                for problem in problems {
                    log::error!("careplane: configuration refused: {problem}");
                }
                false
            }
        }
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        // `None` would make the SDK panic.
        Some(Box::new(Stream::new(self.plugin.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

fn configure(size: usize) -> Result<(Filters, Arc<Rules>), Vec<String>> {
    let one = |problem: String| vec![problem];
    let name = abi::property(&["plugin_root_id"])
        .ok()
        .flatten()
        .and_then(|name| String::from_utf8(name).ok())
        .unwrap_or_default();
    let filters = filters::named(&name).ok_or_else(|| {
        one(format!(
            "pluginName {name:?} is not a filter of this module: expected one of {}",
            filters::NAMES.join(", ")
        ))
    })?;
    let bytes = abi::plugin_configuration(size).map_err(|error| one(format!("it cannot be read: {error}")))?;
    let policy = Policy::from_json(&bytes)
        .map_err(|problems: Problems| problems.to_string().lines().map(Into::into).collect::<Vec<_>>())?;
    let pseudonyms = key::pseudonyms(&policy.pseudonym_key_env)
        .map_err(|error| one(format!("there is no pseudonym key and no random number to make one: {error}")))?;
    unkept(&policy);
    log::info!(
        "careplane: {name} configured: policy {}, {} contexts, pseudonym key {}",
        policy.digest,
        policy.contexts().count(),
        pseudonyms.key_id()
    );
    Ok((filters, Arc::new(Rules { policy, pseudonyms })))
}

/// Says what a policy asks for that this release does not do yet. It must not look as if it did.
fn unkept(policy: &Policy) {
    if policy.audit.otlp {
        log::warn!(
            "careplane: audit.sinks.otlp is not in effect in this release: records go to the other sinks of the policy"
        );
    }
    if !policy.audit.write_ahead.is_empty() {
        log::warn!(
            "careplane: audit.writeAhead is not in effect in this release: no request waits for its intent to be acknowledged"
        );
    }
    // Asked for by default, so not worth a warning.
    if policy.late.server_errors || policy.late.slower_than.is_some() {
        log::info!("careplane: of sampling.late, only `denied` is in effect in this release");
    }
}

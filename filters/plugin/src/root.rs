//! One plugin: its policy and its filters. Configuration lives here and not in a static, for plugins of one module
//! share a VM.

use std::sync::Arc;

use careplane_exchange::Rules;
use careplane_pipeline::{Filters, Parts, Plugin, Stream};
use careplane_policy::Policy;
use careplane_policy::document::ProxyLog;

use crate::abi;
use crate::directory::DirectoryDriver;
use crate::export::{self, ExportDriver};
use crate::host::EnvoyHost;
use crate::key;
use crate::state::States;

#[cfg(feature = "audit")]
thread_local! {
    /// The chains of this VM, whose plugins run on one thread.
    static CHAINS: careplane_audit::Chains = careplane_audit::Chains::default();
}

/// The longest `pluginName` that an error repeats, in bytes.
const PLUGIN_NAME_MAX: usize = 256;
/// Counts the plugins whose policy sends records to the proxy's log, while that log's level drops them.
const OVERFLOW_UNLOGGED: &str = "careplane.audit.overflow_unlogged";

/// The root context of one plugin.
#[derive(Default)]
pub(crate) struct Root {
    /// None until a configuration was taken: the proxy serves nothing before, so such a root has no streams.
    configured: Option<Configured>,
}

struct Configured {
    plugin: Plugin,
    /// None when the policy has no collector.
    driver: Option<ExportDriver>,
    /// None when the policy has no directory.
    directory: Option<DirectoryDriver>,
    /// Dropped with the plugin.
    states: States,
}

impl Root {
    /// Takes the plugin's configuration of `size` bytes, or says why not. Also called on a VM of the main thread that
    /// serves nothing: no effects beyond this root.
    pub(crate) fn configure(&mut self, size: usize) -> bool {
        match configure(size) {
            Ok(configured) => {
                self.configured = Some(configured);
                true
            }
            Err(problems) => {
                for problem in problems.lines() {
                    log::error!("careplane: configuration refused: {problem}");
                }
                false
            }
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&self) {
        let Some(Configured { plugin, driver, directory, states }) = &self.configured else { return };
        states.count();
        if let Some(directory) = directory {
            directory.tick();
        }
        if let Some(driver) = driver {
            plugin.filters.on_tick(&EnvoyHost);
            driver.queue().tick(&EnvoyHost);
        }
    }

    /// The answer to a call of this plugin: so many headers, and bytes of its body.
    pub(crate) fn answered(&self, call: u32, headers: usize, body: usize) {
        let Some(Configured { driver, directory, .. }) = &self.configured else { return };
        if directory.as_ref().is_some_and(|directory| directory.answered(call, headers, body)) {
            return;
        }
        if let Some(driver) = driver {
            driver.queue().answered(call, &EnvoyHost.collector_answer(headers, body), &EnvoyHost);
        }
    }

    /// The stream of a new request.
    pub(crate) fn stream(&self) -> Option<Stream> {
        let configured = self.configured.as_ref()?;
        configured.states.count();
        Some(Stream::new(configured.plugin.clone()))
    }
}

impl Drop for Configured {
    /// What the filters say last is queued before the driver goes, and what has not been delivered overflows.
    fn drop(&mut self) {
        self.plugin.filters.on_end(&EnvoyHost);
    }
}

/// An error has a line for each problem.
#[inline(never)]
fn configure(size: usize) -> Result<Configured, String> {
    let name = abi::property("plugin_root_id")
        .ok()
        .flatten()
        .filter(|name| name.len() <= PLUGIN_NAME_MAX)
        .and_then(|name| String::from_utf8(name).ok())
        .unwrap_or_default();
    if !Filters::NAMES.contains(&&*name) {
        let known = Filters::NAMES.join(", ");
        return Err(format!("pluginName {name:?} is not a filter of this module: expected one of {known}"));
    }
    let bytes = || abi::plugin_configuration(size).map_err(|error| format!("it cannot be read: {error}"));
    let policy = match Policy::from_json_quickly(bytes()?) {
        Some(policy) => policy,
        None => Policy::from_json_carefully(&bytes()?).map_err(|problems| problems.to_string())?,
    };
    let mut states = States::default();
    let pseudonyms = key::pseudonyms(&policy.pseudonym_key_env, &mut states)
        .map_err(|error| format!("there is no pseudonym key and no random number to make one: {error}"))?;
    log::info!(
        "careplane: {name} configured: policy {}, {} contexts, pseudonym key {}",
        policy.digest,
        policy.contexts().count(),
        pseudonyms.key_id()
    );
    let records = Filters::includes(&name, "audit");
    let unlogged = records && policy.audit.proxy_log != ProxyLog::Off && !abi::logs_warnings();
    states.note(OVERFLOW_UNLOGGED, unlogged);
    if unlogged {
        log::error!(
            "careplane: the log level of wasm drops warnings, so audit records that no sink takes are lost: set it to \
             warning or lower"
        );
    }
    #[cfg(feature = "audit")]
    if records && policy.delivers() {
        careplane_audit::make_delivery_counters(&EnvoyHost);
    }
    let driver = (policy.export.is_some() && Filters::export(&name)).then(ExportDriver::attach);
    let proxy = export::proxy();
    let parts = Parts {
        exporter: driver.as_ref().and_then(|driver| driver.exporter(&policy, &proxy)),
        proxy: Some(proxy),
        #[cfg(feature = "audit")]
        chain: {
            let key = policy.audit.chain_key_env.as_ref().filter(|_| records);
            let key = key.and_then(|name| key::chain(name, &mut states));
            CHAINS.with(|chains| chains.of(key, policy.delivers()))
        },
    };
    let directory = policy.routing.directory.as_ref().map(DirectoryDriver::attach);
    let mut rules = Rules::new(policy, pseudonyms);
    if let Some(directory) = &directory {
        rules.directory = directory.view();
    }
    let rules = Arc::new(rules);
    let filters = Filters::named(&name, &rules, parts);
    Ok(Configured { plugin: Plugin { filters, rules }, driver, directory, states })
}

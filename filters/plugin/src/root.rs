//! One plugin: its policy and its filters. Configuration lives here and not in a static, for plugins of one module share a VM.

use std::sync::Arc;

use careplane_exchange::Rules;
use careplane_policy::{Policy, Problems};

use crate::abi;
use crate::filters::{self, Filters};
use crate::host::EnvoyHost;
use crate::key;
use crate::outlet::Sender;
use crate::stream::Stream;

/// The root context of one plugin.
#[derive(Default)]
pub(crate) struct Root {
    /// None until a configuration was taken: the proxy serves nothing before, so such a root's streams do nothing.
    plugin: Option<(Filters, Arc<Rules>)>,
    /// None when the policy has no collector.
    sender: Option<Sender>,
}

impl Root {
    /// Takes the plugin's configuration of `size` bytes, or says why not. Also called on a VM of the main thread that serves
    /// nothing: no effects beyond this root.
    pub(crate) fn configure(&mut self, size: usize) -> bool {
        match configure(size) {
            Ok((filters, rules, sender)) => {
                self.plugin = Some((filters, rules));
                self.sender = sender;
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

    /// Time has passed.
    pub(crate) fn tick(&self) {
        let (Some((filters, _)), Some(sender)) = (&self.plugin, &self.sender) else { return };
        filters.iter().for_each(|filter| filter.on_tick(&EnvoyHost));
        sender.work();
    }

    /// The answer to a call of this plugin.
    pub(crate) fn answered(&self, call: u32, headers: usize, body: usize) {
        if let Some(sender) = &self.sender {
            sender.answered(call, &EnvoyHost.answer(headers, body));
        }
    }

    /// The context of a new stream.
    pub(crate) fn stream(&self) -> Stream {
        Stream::new(self.plugin.clone())
    }
}

impl Drop for Root {
    /// What its filters say last goes out before the last sender of a VM writes down what has not been delivered.
    fn drop(&mut self) {
        if let Some((filters, _)) = &self.plugin {
            filters.iter().for_each(|filter| filter.on_end(&EnvoyHost));
        }
    }
}

fn configure(size: usize) -> Result<(Filters, Arc<Rules>, Option<Sender>), Vec<String>> {
    let one = |problem: String| vec![problem];
    let name = abi::property(&["plugin_root_id"])
        .ok()
        .flatten()
        .and_then(|name| String::from_utf8(name).ok())
        .unwrap_or_default();
    if !filters::NAMES.contains(&&*name) {
        let known = filters::NAMES.join(", ");
        return Err(one(format!("pluginName {name:?} is not a filter of this module: expected one of {known}")));
    }
    let bytes = abi::plugin_configuration(size).map_err(|error| one(format!("it cannot be read: {error}")))?;
    let policy = Policy::from_json(&bytes)
        .map_err(|problems: Problems| problems.to_string().lines().map(Into::into).collect::<Vec<_>>())?;
    let pseudonyms = key::pseudonyms(&policy.pseudonym_key_env)
        .map_err(|error| one(format!("there is no pseudonym key and no random number to make one: {error}")))?;
    log::info!(
        "careplane: {name} configured: policy {}, {} contexts, pseudonym key {}",
        policy.digest,
        policy.contexts().count(),
        pseudonyms.key_id()
    );
    let sender = if filters::export(&name) { Sender::new(&policy) } else { None };
    let filters = filters::named(&name, &policy, sender.as_ref());
    Ok((filters, Arc::new(Rules { policy, pseudonyms }), sender))
}

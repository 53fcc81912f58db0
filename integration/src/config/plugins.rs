//! The Wasm filters in the chain, and the policy they are given.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{connection_managers, list, list_mut};

/// The filters in the order of their plugins in the chain. `audit` is first so that, on the way back, it is last and
/// sees what all others did.
const FILTERS: [&str; 4] = ["audit", "tracing-tags", "tenant-routing", "sampling"];

const WASM_SUFFIX: &str = ".http.wasm.v3.Wasm";

/// How careplane stands in the filter chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plugins {
    /// One filter that does everything: the normal deployment.
    #[default]
    Bundle,
    /// Four filters, all from `careplane.wasm`, distinguished by their root id.
    SeparateFromOneModule,
    /// Four filters from four modules, `careplane-<filter>.wasm`.
    PerFilterModules,
    /// None: Envoy alone, as the baseline of a comparison.
    None,
}

impl Plugins {
    /// The file names of the modules it needs in `dist/`.
    #[must_use]
    pub fn modules(self) -> Vec<String> {
        match self {
            Self::Bundle | Self::SeparateFromOneModule => vec!["careplane.wasm".to_owned()],
            Self::PerFilterModules => FILTERS.iter().map(|filter| format!("careplane-{filter}.wasm")).collect(),
            Self::None => Vec::new(),
        }
    }
}

/// Replaces the one Wasm filter of each chain by those of `plugins`.
pub(super) fn arrange(document: &mut Value, plugins: Plugins) -> Result<()> {
    for manager in connection_managers(document) {
        let filters = manager["http_filters"].as_array_mut().context("a listener has no http_filters")?;
        let index = filters.iter().position(is_wasm).context("a listener has no Wasm filter")?;
        let bundle = filters.remove(index);
        let replacement: Vec<Value> = match plugins {
            Plugins::Bundle => vec![bundle],
            Plugins::SeparateFromOneModule => FILTERS.iter().map(|filter| single(&bundle, filter, None)).collect(),
            Plugins::PerFilterModules => {
                let module = |filter| format!("careplane-{filter}.wasm");
                FILTERS.iter().map(|filter| single(&bundle, filter, Some(module(filter)))).collect()
            }
            Plugins::None => Vec::new(),
        };
        filters.splice(index..index, replacement);
    }
    Ok(())
}

/// The filter `bundle`, reduced to one of its four parts.
fn single(bundle: &Value, filter: &str, module: Option<String>) -> Value {
    let mut single = bundle.clone();
    let name = format!("careplane-{filter}");
    single["name"] = json!(name);
    let config = &mut single["typed_config"]["config"];
    config["name"] = json!(name);
    config["root_id"] = json!(filter);
    if let Some(module) = module {
        let file = &mut config["vm_config"]["code"]["local"]["filename"];
        let directory = file.as_str().and_then(|path| path.rsplit_once('/')).map_or("", |(directory, _)| directory);
        *file = json!(format!("{directory}/{module}"));
    }
    single
}

/// The policy of the first Wasm filter.
pub(super) fn policy(document: &Value) -> Result<Value> {
    let mut document = document.clone();
    let text = connection_managers(&mut document)
        .find_map(|manager| {
            let wasm = list(&manager["http_filters"]).iter().find(|filter| is_wasm(filter))?;
            Some(wasm["typed_config"]["config"]["configuration"]["value"].as_str()?.to_owned())
        })
        .context("no Wasm filter has a StringValue as its configuration")?;
    serde_saphyr::from_str(&text).context("the policy is neither YAML nor JSON")
}

/// Gives `policy` to every Wasm filter, as JSON text: what Istio passes, too.
pub(super) fn set_policy(document: &mut Value, policy: &Value) {
    let text = policy.to_string();
    for manager in connection_managers(document) {
        for filter in list_mut(&mut manager["http_filters"]).iter_mut().filter(|filter| is_wasm(filter)) {
            filter["typed_config"]["config"]["configuration"]["value"] = json!(text);
        }
    }
}

fn is_wasm(filter: &Value) -> bool {
    filter["typed_config"]["@type"].as_str().is_some_and(|kind| kind.ends_with(WASM_SUFFIX))
}

//! `careplane-prune IN OUT`: takes out of a module what the proxy would call for nothing.
//!
//! The SDK exports a function for every callback of the ABI, and Envoy calls each that is exported: a request with a body and
//! trailers would cross into the VM four more times, to be told to go on. Without the exports, what only they use goes too.

use anyhow::{Context, ensure};

/// What Envoy has to find, and no more: memory management, the life of contexts, and the callbacks that do something.
const KEPT: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_request_headers",
    "proxy_on_response_headers",
    "proxy_on_log",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_delete",
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: careplane-prune IN.wasm OUT.wasm");
    };
    let mut module = walrus::Module::from_file(&from).with_context(|| format!("cannot read {from}"))?;
    for name in KEPT {
        ensure!(module.exports.iter().any(|export| export.name == *name), "{from} does not export {name}");
    }
    let superfluous: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !KEPT.contains(&export.name.as_str()))
        .map(|export| export.id())
        .collect();
    superfluous.into_iter().for_each(|export| module.exports.delete(export));
    walrus::passes::gc::run(&mut module);
    module.emit_wasm_file(&to).with_context(|| format!("cannot write {to}"))
}

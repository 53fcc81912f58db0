//! What is counted on the border between module and proxy.

use std::collections::BTreeMap;

use careplane_wasm_host::{Call, Hook, Reply, State, World};
use wasmtime::{AsContext, Caller, Linker};

use crate::profiler::{MODULE, Profiler};

/// The calls in both directions, since the last tally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls from the module to the proxy, by name.
    pub calls: BTreeMap<String, u64>,
    /// Calls from the proxy to the module, by name.
    pub callbacks: BTreeMap<String, u64>,
    /// Bytes that were copied between the two, in either direction.
    pub bytes: u64,
}

/// Counts.
#[derive(Default)]
pub struct Counter {
    pub(crate) tally: Tally,
    /// Instructions that instrumentation added; see `profile`.
    pub(crate) profiler: Option<Profiler>,
}

impl Hook for Counter {
    fn link(linker: &mut Linker<State<Self>>) -> wasmtime::Result<()> {
        linker.func_wrap(MODULE, "enter", |caller: Caller<State<Self>>, function: u32| {
            notify(caller, function, Profiler::enter)
        })?;
        linker.func_wrap(MODULE, "leave", |caller: Caller<State<Self>>, function: u32| {
            notify(caller, function, Profiler::leave)
        })?;
        Ok(())
    }

    fn answer(&mut self, call: &Call<'_>, world: &mut World) -> anyhow::Result<Reply> {
        count(&mut self.tally.calls, call.name);
        world.answer(call)
    }

    fn callback(&mut self, name: &str) {
        count(&mut self.tally.callbacks, name);
    }

    fn copied(&mut self, bytes: u64) {
        self.tally.bytes += bytes;
    }
}

fn notify(
    mut caller: Caller<State<Counter>>,
    function: u32,
    what: fn(&mut Profiler, usize, u64),
) -> wasmtime::Result<()> {
    let used = u64::MAX - caller.as_context().get_fuel()?;
    if let Some(profiler) = &mut caller.data_mut().hook.profiler {
        what(profiler, function as usize, used);
    }
    Ok(())
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

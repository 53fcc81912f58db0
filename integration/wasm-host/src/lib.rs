//! The module in wasmtime, without a proxy: host calls of proxy-wasm ABI 0.2.1, answered from memory as Envoy does.
//!
//! [`World`] is what this proxy knows, [`Proxy`] is one VM and calls the module in Envoy's order. A [`Hook`] stands
//! between the two: the benchmark of costs counts there, and the hostile proxy falsifies.

pub mod call;
mod imports;
pub mod proxy;
pub mod world;

pub use call::{Call, Out, Reply, Status};
pub use imports::State;
pub use proxy::{Proxy, Request, Served};
pub use world::{Headers, Phase, Sent, World};

use wasmtime::{Linker, Result};

/// What happens on the border between module and proxy, beside what should. By default, nothing.
pub trait Hook: Sized + 'static {
    /// Defines imports that no proxy has.
    ///
    /// # Errors
    /// When one is there already.
    fn link(_linker: &mut Linker<State<Self>>) -> Result<()> {
        Ok(())
    }

    /// Answers a call of the module.
    ///
    /// # Errors
    /// When no proxy would take the call: the module traps.
    fn answer(&mut self, call: &Call<'_>, world: &mut World) -> anyhow::Result<Reply> {
        world.answer(call)
    }

    /// The proxy is about to call this export of the module.
    fn callback(&mut self, _name: &str) {}

    /// So many bytes were copied between the two, in either direction.
    fn copied(&mut self, _bytes: u64) {}
}

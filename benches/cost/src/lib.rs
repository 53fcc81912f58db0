//! What a request costs in instructions and host calls: exact, the same in each run and on each machine.
//!
//! The release module runs in wasmtime, which counts the instructions that it executes ("fuel"), on a proxy that answers from memory as
//! Envoy does and counts what it is asked. Instructions are not time: how long Envoy takes is the load benchmark's to say. But they do
//! not waver, so a test can hold them ([`table`]), and they can be told apart by function ([`profile`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod directory;
pub mod profile;
pub mod proxy;
pub mod scenario;
pub mod table;
pub mod taking;
mod tally;

pub use proxy::{Compiled, Proxy, Request, Served};
pub use scenario::{Measured, Scenario};
pub use table::Table;
pub use tally::Tally;

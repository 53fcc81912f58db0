//! What a request costs in instructions and host calls: exact, the same in each run and on each machine.
//!
//! The release module runs in wasmtime, which counts the instructions that it executes ("fuel"). The proxy around it
//! answers from memory as Envoy does, and counts the calls. Instructions are not time: the load benchmark measures
//! that. But they are the same in each run, so a test can hold them ([`table`]) and assign them to functions
//! ([`profile`]).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod directory;
pub mod profile;
mod profiler;
pub mod proxy;
pub mod scenario;
pub mod table;
pub mod taking;
mod tally;

pub use proxy::{Compiled, Proxy, Request, Served};
pub use scenario::{Measured, Scenario};
pub use table::Table;
pub use tally::Tally;

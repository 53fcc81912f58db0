//! `careplane`: what an operator runs beside the filters.
//!
//! Without the feature `commands` it is a library without network, processes and evidence: `check` and `explain` of
//! texts, which the playground runs in a browser.

pub mod check;
pub mod explain;
pub mod filters;
pub mod input;
pub mod manifest;
mod plain;
pub mod yaml;

#[cfg(feature = "commands")]
mod audit;
#[cfg(feature = "commands")]
mod commands;
#[cfg(feature = "commands")]
mod diff;
#[cfg(feature = "commands")]
mod directory;
#[cfg(feature = "commands")]
mod image;
#[cfg(feature = "commands")]
mod init;
#[cfg(feature = "commands")]
mod mesh;
#[cfg(feature = "commands")]
mod out;
#[cfg(feature = "commands")]
mod playground;
#[cfg(feature = "commands")]
mod schema;
#[cfg(feature = "commands")]
mod shell;
#[cfg(feature = "commands")]
mod snippet;
#[cfg(feature = "commands")]
mod test;

#[cfg(feature = "commands")]
pub use commands::main;

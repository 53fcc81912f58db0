//! Runs careplane in a real Envoy.
//!
//! [`Lab`] is the way in: it starts a stock Envoy with the project's `envoy.yaml`, moved to loopback ports and a
//! temporary directory, and puts real peers around it: an echoing [`Upstream`], an [`Otlp`] receiver, an
//! [`IdentityProvider`] provider that signs tokens, a [`Pki`] that issues SPIFFE certificates, and [`Client`]s.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use careplane_integration::{Lab, Request};
//!
//! let lab = Lab::builder().start().await?;
//! let token = lab.identity().token("care-home-0001", "user-1", serde_json::json!({}))?;
//! let response = lab.gateway().send(Request::get("/api/v1/care-plans").bearer(&token)).await?;
//! assert_eq!(response.status, 200);
//! lab.stop().await
//! # }
//! ```
//!
//! Nothing outlives the process that made it: Envoy is killed when its [`Lab`] is dropped, and by the kernel when the
//! process ends without dropping.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod audit_log;
mod child_service;
pub mod client;
pub mod collector;
pub mod compose;
pub mod config;
mod delivery_counters;
pub mod directory;
pub mod envoy;
pub mod frames;
pub mod health;
pub mod identity_provider;
pub mod jaeger;
pub mod lab;
pub mod otlp;
pub mod pki;
pub mod plot;
pub mod poll;
mod prerequisites;
mod process;
mod server;
pub mod upstream;
mod version;
pub mod workspace;

pub use audit_log::AuditLog;
pub use client::{Client, Request, Response};
pub use collector::Collector;
pub use config::Plugins;
pub use delivery_counters::DeliveryCounters;
pub use directory::DirectoryServer;
pub use envoy::Envoy;
pub use identity_provider::IdentityProvider;
pub use jaeger::Jaeger;
pub use lab::{Lab, Reload};
pub use otlp::Otlp;
pub use pki::Pki;
pub use prerequisites::{prerequisites, prerequisites_and};
pub use upstream::Upstream;
pub use version::EnvoyVersion;

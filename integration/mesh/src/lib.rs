//! The mesh manifests, judged by Istio's own control plane.
//!
//! [`sandbox`] gives the tests a network and a mount table of their own; in it, [`Cluster`] runs `cluster/` (a
//! Kubernetes whose node runs pods as plain processes: istiod, pilot-agent and a stock Envoy among them), and what the
//! tests have seen becomes the table in `docs/mesh.md` ([`proof`]).

#![warn(missing_docs)]

pub mod cluster;
pub mod manifests;
pub mod mesh;
pub mod proof;
pub mod sandbox;

pub use cluster::Cluster;
pub use mesh::{Mesh, Pod};
pub use proof::Proof;

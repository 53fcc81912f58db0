//! How cost grows with the policy: pinned tenants and contexts, from few to many.

use std::{fmt::Write, path::PathBuf};

use anyhow::{Context, Result};
use careplane_cost::{Compiled, scenario, taking};
use careplane_integration::workspace;
use serde::Serialize;

use careplane_load::{
    contender::{self, BUNDLE, Places, ROUTER},
    machine::Machine,
    process::{Cores, resident},
    running::{Proxy, nowhere},
    stats::Summary,
};

/// Pinned tenants.
const TENANTS: [usize; 4] = [1, 100, 10_000, 100_000];
/// Contexts, each with two paths.
const CONTEXTS: [usize; 3] = [10, 500, 5_000];

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    /// Where and with what.
    pub machine: Machine,
    /// Starts of each Envoy.
    pub starts: usize,
    /// Envoy without Wasm: milliseconds until it serves, and memory in MB.
    pub bare: (Summary, Summary),
    /// The policies.
    pub points: Vec<Point>,
}

/// One policy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Contexts.
    pub contexts: usize,
    /// Pinned tenants.
    pub tenants: usize,
    /// Bytes of the document.
    pub document: usize,
    /// Instructions of the module to take it, in millions.
    pub configuration: f64,
    /// Memory of one VM with it, in MB.
    pub vm: f64,
    /// Instructions of the module for one request.
    pub request: f64,
    /// Milliseconds from the start of Envoy until it serves.
    pub ready: Summary,
    /// Resident memory of Envoy with one worker, so with two VMs, in MB.
    pub memory: Summary,
}

// === impl Scale ===

impl Scale {
    /// Measures it. Says on standard error how far it has come.
    ///
    /// # Errors
    /// When something is not installed or built, or does not start.
    pub async fn measure(machine: Machine, cores: &Cores, starts: usize) -> Result<Self> {
        let compiled = Compiled::load(&workspace::dist().join("careplane.wasm"))?;
        let bare = start(ROUTER, None, cores, starts).await?;
        let mut points = Vec::new();
        for contexts in CONTEXTS {
            for tenants in TENANTS {
                eprintln!("{contexts} contexts, {tenants} tenants");
                let policy = careplane_benches::policy(contexts, tenants);
                let document = policy.to_string();
                let scenario = scenario::sized(policy);
                let (instructions, memory) = taking::take(&compiled, &document)?;
                let (request, _) = scenario.measure(&compiled)?;
                let (ready, resident) = start(BUNDLE, Some(&document), cores, starts).await?;
                points.push(Point {
                    contexts,
                    tenants,
                    document: document.len(),
                    configuration: instructions as f64 / 1e6,
                    vm: memory as f64 / 1e6,
                    request: request.instructions as f64 / request.requests as f64,
                    ready,
                    memory: resident,
                });
            }
        }
        Ok(Self { machine, starts, bare, points })
    }

    /// The numbers of contexts, each once.
    #[must_use]
    pub fn contexts(&self) -> Vec<usize> {
        let mut contexts: Vec<usize> = self.points.iter().map(|point| point.contexts).collect();
        contexts.dedup();
        contexts
    }

    /// As Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = "# Cost and the size of the policy\n\n".to_owned();
        page += &self.machine.paragraph();
        let _ = writeln!(
            page,
            "Instructions and the memory of a VM are counted in wasmtime, exactly; the rest are medians of {} starts. \
             Envoy without Wasm: {:.0} ms, {:.0} MB.\n\n\
             ![growth](scale.svg)\n",
            self.starts, self.bare.0.median, self.bare.1.median
        );
        page += "| contexts | pinned tenants | document kB | instructions a request | instructions to take it, \
                 millions | VM MB | serves after ms | Envoy MB |\n";
        page += "|--:|--:|--:|--:|--:|--:|--:|--:|\n";
        for point in &self.points {
            let _ = writeln!(
                page,
                "| {} | {} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} |",
                point.contexts,
                point.tenants,
                point.document as f64 / 1e3,
                point.request,
                point.configuration,
                point.vm,
                point.ready.median,
                point.memory.median
            );
        }
        page
    }
}

/// Starts an Envoy so many times: milliseconds until it serves, and memory.
async fn start(name: &str, policy: Option<&str>, cores: &Cores, starts: usize) -> Result<(Summary, Summary)> {
    let contender =
        contender::all().into_iter().find(|contender| contender.name == name).context("no such contender")?;
    let places = Places { upstream: None, collector: nowhere(), ext_proc: nowhere(), log: PathBuf::from("/dev/null") };
    let bootstrap = contender.bootstrap_with(&places, policy)?;
    let (mut ready, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..starts {
        let proxy = Proxy::start(&bootstrap).await?;
        cores.give(proxy.pid())?;
        ready.push(proxy.ready().as_secs_f64() * 1e3);
        memory.push(resident(proxy.pid())?);
    }
    Ok((Summary::of(&ready), Summary::of(&memory)))
}

//! Everything the mesh manifests promise, seen on Istio's own control plane and stock Envoys.
//!
//! One mesh serves all tests; `make test-mesh` runs them, and what they have seen becomes the table in `docs/mesh.md`.
//! Tests that change the mesh for others run alone. `cargo test -p careplane-mesh -- NAME` runs some of them.

mod breakers;
mod careplane;
mod cases;
mod deploy;
mod egress;
mod observability;
mod routing;
mod security;
mod services;

use std::{io::Write, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use careplane_mesh::{Mesh, Proof, cluster, proof, sandbox};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::{runtime::Runtime, sync::RwLock};

use cases::Case;

/// Waiting for answers, not computing.
const TESTS_AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TESTS_AT_ONCE));
    if arguments.list {
        return libtest_mimic::run(&arguments, cases::all().into_iter().map(ignored).collect()).exit_code();
    }
    if let Some(missing) = missing() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the mesh: {missing}");
        return ExitCode::from(u8::from(std::env::var("CI").as_deref() == Ok("true")));
    }
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("careplane: the mesh did not start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What this machine lacks.
fn missing() -> Option<String> {
    let programs = [&cluster::PROGRAMS[..], &["jaeger", "otel-collector"]].concat();
    cluster::missing(&programs).or_else(|| sandbox::available().err())
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    sandbox::enter()?;
    let runtime = Arc::new(Runtime::new()?);
    let began = Instant::now();
    let mesh = runtime.block_on(async {
        sandbox::end_when_asked()?;
        Mesh::start().await
    })?;
    eprintln!("the mesh is up after {:.0} s", began.elapsed().as_secs_f64());
    let mesh = Arc::new(RwLock::new(mesh));

    let cases = cases::all();
    let trials = cases.iter().map(|case| trial(*case, &runtime, &mesh)).collect();
    let mut conclusion = libtest_mimic::run(arguments, trials);
    let complete = conclusion.num_filtered_out == 0 && !conclusion.has_failed();
    if complete {
        // Takes the mesh down, so nothing can come after it.
        conclusion = libtest_mimic::run(arguments, vec![trial(cases::LAST, &runtime, &mesh)]);
    }

    let mesh = Arc::into_inner(mesh).context("a test still holds the mesh")?.into_inner();
    runtime.block_on(mesh.stop())?;
    if conclusion.has_failed() || !complete {
        return Ok(conclusion.exit_code());
    }
    publish(&cases.into_iter().chain([cases::LAST]).map(|case| case.proof).collect::<Vec<_>>())
}

fn publish(proofs: &[Proof]) -> Result<ExitCode> {
    let changed = proof::publish(proofs)?;
    if changed && std::env::var("CI").as_deref() == Ok("true") {
        eprintln!("careplane: docs/mesh.md does not say what this run has seen: run make test-mesh, and commit it");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn trial(case: Case, runtime: &Arc<Runtime>, mesh: &Arc<RwLock<Mesh>>) -> Trial {
    let (runtime, mesh) = (Arc::clone(runtime), Arc::clone(mesh));
    Trial::test(case.name, move || {
        let result = runtime.block_on(async {
            if case.alone { (case.test)(&*mesh.write().await).await } else { (case.test)(&*mesh.read().await).await }
        });
        result.map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn ignored(case: Case) -> Trial {
    Trial::test(case.name, || Ok(()))
}

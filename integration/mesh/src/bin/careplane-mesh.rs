//! `careplane-mesh`: the mesh of the tests, left running, with a shell in it.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use careplane_mesh::{Mesh, sandbox};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("careplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    sandbox::enter()?;
    let began = Instant::now();
    println!("starting Kubernetes, Istio, careplane and the workloads");
    let mesh = Mesh::start().await?;
    println!(
        "up after {:.0} s; a shell with kubectl, istioctl and curl in its network:",
        began.elapsed().as_secs_f64()
    );
    println!("  kubectl get pods -A -o wide");
    println!(
        "  curl --cacert {} --resolve api.writecarenotes.com:8443:{} \
         https://api.writecarenotes.com:8443/api/v1/medications/1 \\",
        mesh.authority().display(),
        mesh.gateway()
    );
    println!("    -H \"authorization: Bearer {}\"", mesh.token("care-home-0100", "nurse")?);
    println!("it ends with the shell");
    let mut shell = mesh.cluster.command(std::env::var_os("SHELL").unwrap_or_else(|| "sh".into()));
    shell.stdin(std::process::Stdio::inherit()).status().await.context("running a shell")?;
    mesh.stop().await
}

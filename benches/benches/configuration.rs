//! What a configuration takes in the real Envoy: time until it serves, and resident memory, for policies from small to large,
//! beside the same Envoy without careplane.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use careplane_integration::{EnvoyVersion, Lab, Plugins, prerequisites};

const SIZES: [(usize, usize); 4] = [(10, 1), (500, 1), (10, 10_000), (500, 10_000)];

#[tokio::main]
async fn main() -> Result<()> {
    if !prerequisites(EnvoyVersion::V1_40_0, Plugins::Bundle) {
        return Ok(());
    }
    println!(
        "Envoy {}, 1 worker (so 2 VMs: the worker's and the main thread's); median of 3 starts",
        EnvoyVersion::V1_40_0
    );
    println!("{:>8} {:>8} {:>10} {:>10} {:>10}", "contexts", "tenants", "policy kB", "ready ms", "RSS MB");
    let bare = median(|| start(None)).await?;
    println!("{:>8} {:>8} {:>10} {:>10} {:>10.1}", "-", "-", "-", bare.0.as_millis(), bare.1);
    for (contexts, tenants) in SIZES {
        let size = careplane_benches::policy(contexts, tenants).to_string().len();
        let (ready, memory) = median(|| start(Some((contexts, tenants)))).await?;
        println!("{contexts:>8} {tenants:>8} {:>10} {:>10} {memory:>10.1}", size / 1000, ready.as_millis());
    }
    Ok(())
}

async fn median<F: Future<Output = Result<(Duration, f64)>>>(start: impl Fn() -> F) -> Result<(Duration, f64)> {
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(start().await?);
    }
    runs.sort_by_key(|run| run.0);
    Ok(runs[1])
}

/// Starts an Envoy, and returns the time until it served and its resident memory in MB.
async fn start(size: Option<(usize, usize)>) -> Result<(Duration, f64)> {
    let mut builder = Lab::builder().concurrency(1);
    builder = match size {
        None => builder.plugins(Plugins::None),
        Some((contexts, tenants)) => {
            builder.policy(move |policy| *policy = careplane_benches::policy(contexts, tenants))
        }
    };
    let began = Instant::now();
    let lab = builder.start().await?;
    let ready = began.elapsed();
    let memory = resident(lab.envoy().pid())?;
    lab.stop().await?;
    Ok((ready, memory))
}

fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS: not Linux?")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("VmRSS without a number")?.parse()?;
    Ok(kilobytes / 1000.0)
}

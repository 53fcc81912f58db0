//! What a directory of tenants costs: memory, and the callbacks that take it in.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use anyhow::{Context, Result, ensure};
use careplane_integration::config::EnvoyConfig;
use careplane_policy::{
    directory::{Built, Entry, build},
    document::Jurisdiction,
};
use serde_json::json;

use crate::proxy::{Callback, Compiled, Proxy};
use crate::scenario::{self, Scenario};

const POOLS: [&str; 3] = ["pool-a", "pool-b", "pool-c"];
const PLUGINS: &[&str] = &["careplane"];
/// What a tenant may take, in bytes.
const BYTES: f64 = 120.0;

/// Measures a directory with this many tenants, and one in which all pools are others. As Markdown.
///
/// # Errors
/// When the module fails, or refuses the directory.
pub fn page(module: &Path, tenants: usize) -> Result<String> {
    let exact = Compiled::load(module)?;
    let [before, after] = [0, 1].map(|shift| directory(tenants, shift));
    let policy = {
        let mut policy = EnvoyConfig::load()?.policy()?;
        policy["tenants"] = json!({"directory": {"cluster": "directory"}});
        policy.to_string()
    };
    let mut proxy = Proxy::start(&exact, PLUGINS, &policy)?;
    let start = proxy.memory();
    let taken = proxy.fetch(&files(&before))?;
    ensure!(proxy.world().metric("careplane.directory.updates") == 1, "the directory was not taken");
    let full = proxy.memory();
    let replaced = proxy.fetch(&files(&after))?;
    ensure!(proxy.world().metric("careplane.directory.updates") == 2, "the second directory was not taken");
    let peak = proxy.memory();
    proxy.fetch(&files(&before))?;
    let again = proxy.memory();
    let same = proxy.fetch(&files(&before))?;
    ensure!(same.len() == 1, "what is here was fetched again");

    // As fast as it gets here: not V8, and with the counting.
    let fast = Compiled::load_fast(module)?;
    let times = Proxy::start(&fast, PLUGINS, &policy)?.fetch(&files(&before))?;

    let mut page = String::new();
    let bytes: usize = before.parts.iter().map(|part| part.lines.len()).sum();
    let of = |memory: u64| (memory - start) as f64 / tenants as f64;
    let _ = writeln!(
        page,
        "{tenants} tenants: {bytes} bytes in {} parts, index of {} bytes.\n",
        before.parts.len(),
        before.index.len()
    );
    page += "| memory of a VM, more than without a directory | bytes a tenant |\n|---|--:|\n";
    for (when, memory) in
        [("with the directory", full), ("after all parts have been replaced", peak), ("after that once more", again)]
    {
        let _ = writeln!(page, "| {when} | {:.1} |", of(memory));
    }
    page += "\n| callback | how many | instructions, at most | mean | ms, at most |\n|---|--:|--:|--:|--:|\n";
    let is_index = |callback: &&Callback| callback.path.ends_with("index.json");
    let is_part = |callback: &&Callback| !callback.path.ends_with("index.json");
    row(&mut page, "the index, a first time", taken.iter().filter(is_index), times.iter().filter(is_index))?;
    row(&mut page, "the index, nothing new", same.iter(), times.iter().filter(is_index).take(0))?;
    row(&mut page, "a part, a first time", taken.iter().filter(is_part), times.iter().filter(is_part))?;
    row(&mut page, "a part that replaces one", replaced.iter().filter(is_part), times.iter().filter(is_part).take(0))?;

    page += "\n| a read | instructions |\n|---|--:|\n";
    for (name, with) in [("of a tenant of the policy", false), ("of a tenant of the directory", true)] {
        let _ = writeln!(page, "| {name} | {:.0} |", read(&exact, with.then_some(&before))?);
    }
    ensure!(of(peak) <= BYTES * 2.0 && of(full) <= BYTES, "more than {BYTES} bytes a tenant:\n{page}");
    Ok(page)
}

fn row<'c>(
    page: &mut String,
    name: &str,
    counted: impl Iterator<Item = &'c Callback>,
    timed: impl Iterator<Item = &'c Callback>,
) -> Result<()> {
    let counted: Vec<u64> = counted.map(|callback| callback.instructions).collect();
    let most = counted.iter().max().context("no such callback")?;
    let mean = counted.iter().sum::<u64>() / counted.len() as u64;
    let time = timed
        .map(|callback| callback.time)
        .max()
        .map_or(String::new(), |time| format!("{:.2}", time.as_secs_f64() * 1e3));
    writeln!(page, "| {name} | {} | {most} | {mean} | {time} |", counted.len())?;
    Ok(())
}

/// The mean of requests as the scenario `sized` has them, of one tenant.
fn read(compiled: &Compiled, directory: Option<&Built>) -> Result<f64> {
    const REQUESTS: u64 = 256;
    let mut policy = careplane_benches::policy(10, 1);
    if directory.is_some() {
        policy["tenants"] = json!({"directory": {"cluster": "directory"}});
    }
    let Scenario { request, .. } = scenario::sized(policy.clone());
    let mut proxy = Proxy::start(compiled, PLUGINS, &policy.to_string())?;
    if let Some(built) = directory {
        proxy.fetch(&files(built))?;
    }
    for number in 0..REQUESTS {
        proxy.serve(&request(number))?;
    }
    proxy.take()?;
    for number in REQUESTS..2 * REQUESTS {
        proxy.serve(&request(number))?;
    }
    Ok(proxy.take()?.0 as f64 / REQUESTS as f64)
}

fn directory(tenants: usize, shift: usize) -> Built {
    let entry = |number: usize| Entry {
        pool: Some(POOLS[(number + shift) % POOLS.len()]),
        jurisdiction: Some(Jurisdiction::ALL[number % Jurisdiction::ALL.len()]),
        cohort: None,
        group: (number.is_multiple_of(2)).then_some("willow-homes"),
    };
    let tenants: BTreeMap<String, Entry<'_>> =
        (0..tenants).map(|number| (format!("care-home-{number:06}"), entry(number))).collect();
    build(&tenants).expect("tenants of a benchmark")
}

fn files(built: &Built) -> BTreeMap<String, Vec<u8>> {
    let parts = built.parts.iter();
    parts
        .map(|part| (format!("/directory/parts/{}", part.name), part.lines.clone().into_bytes()))
        .chain([("/directory/index.json".to_owned(), built.index.clone().into_bytes())])
        .collect()
}

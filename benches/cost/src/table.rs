//! The committed table: what each scenario takes, and whether that is still so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use careplane_integration::workspace;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::proxy::Compiled;
use crate::scenario::{self, Measured, Scenario};
use crate::taking::{self, Taken, Taking};

/// What a figure may differ from the table, in percent. Less is not worth a commit.
const TOLERANCE: f64 = 3.0;
/// What to run when a change is meant.
pub const ACCEPT: &str = "make accept-cost";

/// What one request of a scenario takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The name of the scenario.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Instructions of the module.
    pub instructions: f64,
    /// Bytes copied between proxy and module.
    pub bytes: f64,
    /// Calls from the module to the proxy, by name.
    pub calls: BTreeMap<String, f64>,
    /// Calls from the proxy to the module, by name.
    pub callbacks: BTreeMap<String, f64>,
}

/// What taking a policy takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakingCost {
    /// The name of the policy.
    pub name: String,
    /// Its contexts.
    pub contexts: usize,
    /// Its pinned tenants.
    pub tenants: usize,
    /// Bytes of its document.
    pub document: usize,
    /// Instructions of the module.
    pub instructions: f64,
    /// Bytes of the VM's memory after that.
    pub memory: f64,
    /// The same after other policies of this size have replaced it, one after another.
    pub replaced: f64,
}

/// All figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What a request takes.
    pub requests: Vec<Cost>,
    /// What taking a policy takes.
    pub taking: Vec<TakingCost>,
}

/// Where the table is.
pub fn file() -> PathBuf {
    workspace::root().join("benches/cost/table.json")
}

/// Where the part about policies is.
fn taking_file() -> PathBuf {
    workspace::root().join("benches/cost/taking.json")
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}: {ACCEPT} writes it", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not a table of costs: {ACCEPT} writes it", file.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Where it can be read by people.
pub fn page() -> PathBuf {
    workspace::root().join("benches/cost.md")
}

// === impl Cost ===

impl Cost {
    fn new(scenario: &Scenario, measured: Measured) -> Self {
        // Means of whole numbers; three decimals are enough for a thousandth of a batch.
        let mean = |total: u64| (total as f64 / measured.requests as f64 * 1000.0).round() / 1000.0;
        let means =
            |totals: BTreeMap<String, u64>| totals.into_iter().map(|(name, total)| (name, mean(total))).collect();
        Self {
            name: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
            instructions: mean(measured.instructions).round(),
            bytes: mean(measured.tally.bytes).round(),
            calls: means(measured.tally.calls.into_iter().map(|(name, total)| (name.to_owned(), total)).collect()),
            callbacks: means(measured.tally.callbacks),
        }
    }
}

// === impl TakingCost ===

impl TakingCost {
    fn new(taking: &Taking, taken: Taken) -> Self {
        Self {
            name: taking.name.to_owned(),
            contexts: taking.contexts,
            tenants: taking.tenants,
            document: taken.document,
            instructions: taken.instructions as f64,
            memory: taken.memory as f64,
            replaced: taken.replaced as f64,
        }
    }

    /// What a tenant adds to `figure`, beside a policy without tenants.
    fn of_a_tenant(&self, without: &Self, figure: impl Fn(&Self) -> f64) -> Option<f64> {
        (self.tenants > without.tenants)
            .then(|| (figure(self) - figure(without)) / (self.tenants - without.tenants) as f64)
    }
}

// === impl Table ===

impl Table {
    /// Measures all scenarios with the module in `file`.
    ///
    /// # Errors
    /// When a scenario cannot be run, or does not do what it is about.
    pub fn measure(file: &Path) -> Result<Self> {
        let compiled = Compiled::load(file)?;
        let costs = scenario::all()?.into_iter().map(|scenario| {
            let (measured, _) = scenario.measure(&compiled)?;
            Ok(Cost::new(&scenario, measured))
        });
        let requests = costs.collect::<Result<_>>()?;
        let taking = taking::ALL.iter().map(|taking| Ok(TakingCost::new(taking, taking.measure(&compiled)?.0)));
        Ok(Self { requests, taking: taking.collect::<Result<_>>()? })
    }

    /// Reads the committed table.
    ///
    /// # Errors
    /// When it is not there, or is none.
    pub fn committed() -> Result<Self> {
        Ok(Self { requests: read(&file())?, taking: read(&taking_file())? })
    }

    /// Writes it to where the committed one is, and the page beside it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn commit(&self) -> Result<()> {
        let json = |figures: Result<String, serde_json::Error>| figures.map(|text| text + "\n");
        write(&file(), &json(serde_json::to_string_pretty(&self.requests))?)?;
        write(&taking_file(), &json(serde_json::to_string_pretty(&self.taking))?)?;
        write(&page(), &self.page())
    }

    /// What differs from `committed`, one line each; none when nothing does that matters.
    #[must_use]
    pub fn differences(&self, committed: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let unknown = |name: &str| format!("{name}: not in the table; to add it, run {ACCEPT}");
        for now in &self.requests {
            let name = &now.name;
            let Some(then) = committed.cost(name) else {
                differences.push(unknown(name));
                continue;
            };
            differences.extend(
                [("instructions", now.instructions, then.instructions), ("bytes copied", now.bytes, then.bytes)]
                    .into_iter()
                    .filter_map(|figure| difference(name, figure)),
            );
            for (now, then) in [(&now.calls, &then.calls), (&now.callbacks, &then.callbacks)] {
                differences.extend(calls(now, then).map(|difference| format!("{name}: {difference}")));
            }
        }
        for now in &self.taking {
            let name = &now.name;
            let Some(then) = committed.taking(name) else {
                differences.push(unknown(name));
                continue;
            };
            let figures = [
                ("instructions", now.instructions, then.instructions),
                ("memory", now.memory, then.memory),
                ("memory after a second policy", now.replaced, then.replaced),
            ];
            differences.extend(figures.into_iter().filter_map(|figure| difference(name, figure)));
        }
        let gone = committed.requests.iter().map(|cost| &cost.name).filter(|name| self.cost(name).is_none());
        let gone =
            gone.chain(committed.taking.iter().map(|taking| &taking.name).filter(|name| self.taking(name).is_none()));
        differences.extend(gone.map(|name| format!("{name}: in the table, and no scenario; run {ACCEPT}")));
        differences
    }

    fn taking(&self, name: &str) -> Option<&TakingCost> {
        self.taking.iter().find(|taking| taking.name == name)
    }

    fn cost(&self, name: &str) -> Option<&Cost> {
        self.requests.iter().find(|cost| cost.name == name)
    }

    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = PREFACE.to_owned();
        page += "| scenario | instructions | host calls | callbacks | bytes copied | what it is |\n\
                 |---|--:|--:|--:|--:|---|\n";
        for cost in &self.requests {
            let (calls, callbacks) = (sum(&cost.calls), sum(&cost.callbacks));
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | {} |",
                cost.name,
                thousands(cost.instructions),
                decimals(calls),
                decimals(callbacks),
                thousands(cost.bytes),
                cost.about
            );
        }
        page += "\n## Which calls\n\n\
                 From the module to the proxy (`proxy_…`, `random_get`) and from the proxy to the module \
                 (`proxy_on_…`).\n\n";
        let mut names: Vec<&String> =
            self.requests.iter().flat_map(|cost| cost.calls.keys().chain(cost.callbacks.keys())).collect();
        names.sort_unstable();
        names.dedup();
        let heads = self.requests.iter().map(|cost| format!(" `{}` |", cost.name)).collect::<String>();
        let _ = writeln!(page, "| call |{heads}\n|---|{}", "--:|".repeat(self.requests.len()));
        for name in names {
            let cell = |cost: &Cost| {
                cost.calls
                    .get(name)
                    .or(cost.callbacks.get(name))
                    .map_or(" |".to_owned(), |calls| format!(" {} |", decimals(*calls)))
            };
            let _ = writeln!(page, "| `{name}` |{}", self.requests.iter().map(cell).collect::<String>());
        }
        page += TAKING;
        let without = self.taking.first();
        for taking in &self.taking {
            let of_a_tenant = |figure: fn(&TakingCost) -> f64| {
                without.and_then(|without| taking.of_a_tenant(without, figure)).map_or(String::new(), thousands)
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                taking.name,
                thousands(taking.contexts as f64),
                thousands(taking.tenants as f64),
                thousands(taking.document as f64 / 1e3),
                thousands(taking.instructions / 1e3),
                of_a_tenant(|taking| taking.instructions),
                thousands(taking.memory / 1e3),
                of_a_tenant(|taking| taking.memory),
                thousands(taking.replaced / 1e3),
                of_a_tenant(|taking| taking.replaced),
            );
        }
        page
    }
}

/// What `name` says when a figure is not what it was.
fn difference(name: &str, (what, now, then): (&str, f64, f64)) -> Option<String> {
    let percent = (now - then) / then * 100.0;
    if percent > TOLERANCE {
        Some(format!("{name}: {what} rose from {then} to {now} ({percent:+.1} %); if that is worth it, run {ACCEPT}"))
    } else if percent < -TOLERANCE {
        Some(format!("{name}: {what} fell from {then} to {now} ({percent:+.1} %): the table is stale; run {ACCEPT}"))
    } else {
        None
    }
}

const TAKING: &str = "
## Taking a policy

`proxy_on_configure`, during which the worker serves no request, and the memory of the VM afterwards, which never
shrinks. *Replaced*: the memory after a second policy of the same size has come and the first has gone, twice. *A
tenant*: what one adds to the first line.

| policy | contexts | tenants | document kB | instructions, thousands | a tenant | VM kB | bytes a tenant | replaced, \
VM kB | bytes a tenant |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

const PREFACE: &str = "# Instructions and host calls of a request

Written by `make accept-cost` and held by `make test`: more than 3 % more instructions, or any more calls, fails. The
release module runs in wasmtime, on a proxy in memory that answers as Envoy 1.40 does. Means of 1,024 requests after \
512.
How to read it: [README.md](README.md).

";

/// More calls than before, and a sum that is less.
fn calls<'a>(now: &'a BTreeMap<String, f64>, then: &'a BTreeMap<String, f64>) -> impl Iterator<Item = String> + 'a {
    let more = now.iter().filter_map(|(name, now)| {
        let then = then.get(name).copied().unwrap_or_default();
        (*now > then).then(|| format!("{name} is called {now} times, was {then}; if that is worth it, run {ACCEPT}"))
    });
    let (sum_now, sum_then) = (sum(now), sum(then));
    let less = (sum_now < sum_then)
        .then(|| format!("{} calls, were {}: the table is stale; run {ACCEPT}", decimals(sum_now), decimals(sum_then)));
    more.chain(less)
}

fn sum(calls: &BTreeMap<String, f64>) -> f64 {
    calls.values().sum()
}

/// Three decimals, where there are any.
fn decimals(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12345` → `12,345`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(instructions: f64, writes: f64) -> Table {
        let calls = BTreeMap::from([("proxy_set_property".to_owned(), writes)]);
        let (name, about) = ("read".to_owned(), "a read".to_owned());
        Table {
            requests: vec![Cost { name, about, instructions, bytes: 100.0, calls, callbacks: BTreeMap::new() }],
            taking: Vec::new(),
        }
    }

    #[test]
    fn what_matters_is_told_and_what_to_do_about_it() {
        for (instructions, writes, expected) in [
            (1000.0, 2.0, None),
            (1030.0, 2.0, None),
            (970.0, 2.0, None),
            (
                1031.0,
                2.0,
                Some("read: instructions rose from 1000 to 1031 (+3.1 %); if that is worth it, run make accept-cost"),
            ),
            (
                969.0,
                2.0,
                Some("read: instructions fell from 1000 to 969 (-3.1 %): the table is stale; run make accept-cost"),
            ),
            (
                1000.0,
                2.001,
                Some(
                    "read: proxy_set_property is called 2.001 times, was 2; if that is worth it, run make accept-cost",
                ),
            ),
            (1000.0, 1.0, Some("read: 1 calls, were 2: the table is stale; run make accept-cost")),
        ] {
            let differences = table(instructions, writes).differences(&table(1000.0, 2.0));
            assert_eq!(differences, expected.into_iter().collect::<Vec<_>>(), "{instructions}, {writes}");
        }
    }

    #[test]
    fn scenarios_come_and_go_by_command() {
        assert_eq!(
            Table::default().differences(&table(1.0, 1.0)),
            ["read: in the table, and no scenario; run make accept-cost"]
        );
        assert_eq!(
            table(1.0, 1.0).differences(&Table::default()),
            ["read: not in the table; to add it, run make accept-cost"]
        );
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0.0, 999.0, 1000.0, 1234567.0].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([2.0, 2.5, 0.004].map(decimals), ["2", "2.5", "0.004"]);
    }
}

//! What requests notice of a change of policy: the longest of them while a real Envoy takes another listener.
//!
//! Each Envoy watches a file of listeners. A change replaces the file, under a steady load. All Envoys have the same
//! listener but for the filter in it, and one change each in every round.

use std::{
    fmt::Write,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use careplane_integration::{Client, Request, client::Caller, poll::until};
use careplane_load::{
    contender::{self, BUNDLE, Contender, EMPTY, Places, ROUTER},
    machine::Machine,
    process::Cores,
    running::{Proxy, directory, nowhere},
    stats::Summary,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval_at, sleep},
};

/// Connections of the load, each with one request at a time.
const CONNECTIONS: u32 = 10;
/// How often each of them sends.
const PERIOD: Duration = Duration::from_millis(10);
/// Load before and after a change.
const AROUND: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(30);
/// What the longest request may take more than without careplane, in milliseconds.
const TARGET: f64 = 5.0;
/// The policy that the target is about: contexts, tenants.
const LARGE: (usize, usize) = (500, 10_000);
const ACCEPTED: &str = "listener_manager.lds.update_success";
const REJECTED: &str = "listener_manager.lds.update_rejected";
const CREATED: &str = "listener_manager.listener_create_success";

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Changes {
    /// Where and with what.
    pub machine: Machine,
    /// Changes of each Envoy.
    pub changes: usize,
    /// The Envoys.
    pub rows: Vec<Row>,
}

/// What was measured of one Envoy.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is changed.
    pub name: String,
    /// Bytes of the document in it.
    pub document: usize,
    /// The longest request of a change, in milliseconds.
    pub longest: Summary,
    /// Milliseconds from the change of the file until the worker has the listener.
    pub taken: Summary,
    /// Requests that were sent.
    pub requests: usize,
}

/// One kind of change.
struct Subject {
    name: String,
    contender: &'static str,
    /// Contexts and tenants of the policy.
    size: Option<(usize, usize)>,
    /// Whether anything changes.
    changes: bool,
}

/// An Envoy whose listeners are in a file.
struct Watching {
    subject: Subject,
    proxy: Proxy,
    document: usize,
    longest: Vec<f64>,
    taken: Vec<f64>,
    requests: usize,
}

fn subjects() -> Vec<Subject> {
    let of = |name: String, contender, size| Subject { name, contender, size, changes: true };
    let sized = |contender: &'static str, what: &str, size: (usize, usize)| {
        of(format!("{what}, {} contexts, {} tenants", size.0, size.1), contender, Some(size))
    };
    vec![
        Subject { changes: false, ..of("nothing changes".to_owned(), ROUTER, None) },
        of("without careplane".to_owned(), ROUTER, None),
        sized(EMPTY, "an empty module with the same configuration", LARGE),
        sized(BUNDLE, "careplane", (10, 1)),
        sized(BUNDLE, "careplane", (LARGE.0, 0)),
        sized(BUNDLE, "careplane", (10, LARGE.1)),
        sized(BUNDLE, "careplane", LARGE),
    ]
}

// === impl Changes ===

impl Changes {
    /// Measures it. Says on standard error how far it has come.
    ///
    /// # Errors
    /// When an Envoy does not start, refuses a policy, or does not answer a request with 200.
    pub async fn measure(machine: Machine, cores: &Cores, changes: usize) -> Result<Self> {
        let mut all = Vec::new();
        for subject in subjects() {
            let name = subject.name.clone();
            let watching = Watching::start(subject).await.with_context(|| format!("the Envoy of {name:?}"))?;
            cores.give_workers(watching.proxy.pid())?;
            all.push(watching);
        }
        // The first change warms up.
        for number in 0..=changes {
            eprintln!("change {number} of {changes}");
            for watching in &mut all {
                watching.change(number).await.with_context(|| format!("change of {:?}", watching.subject.name))?;
            }
        }
        let rows = all.into_iter().map(|watching| Row {
            name: watching.subject.name,
            document: watching.document,
            longest: Summary::of(&watching.longest),
            taken: Summary::of(&watching.taken),
            requests: watching.requests,
        });
        Ok(Self { machine, changes, rows: rows.collect() })
    }

    /// As Markdown.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = "# The longest request while a policy changes\n\n".to_owned();
        page += &self.machine.paragraph();
        let rate = f64::from(CONNECTIONS) / PERIOD.as_secs_f64();
        let _ = writeln!(
            page,
            "Envoy's worker has a core for itself; its main thread shares the others with the load: {rate:.0} \
             requests/s over {CONNECTIONS} connections. Each listener changes {} times, in turn; medians and \
             quartiles, in milliseconds.\n",
            self.changes
        );
        page +=
            "| change | document kB | longest request | quartiles | more than without careplane | in force after |\n";
        page += "|---|--:|--:|--:|--:|--:|\n";
        let without = self.rows.iter().find(|row| row.name == "without careplane").map(|row| row.longest.median);
        for row in &self.rows {
            let more = without.map(|without| row.longest.median - without);
            let _ = writeln!(
                page,
                "| {} | {:.0} | {:.1} | {:.1} to {:.1} | {:.1} | {:.0} |",
                row.name,
                row.document as f64 / 1e3,
                row.longest.median,
                row.longest.low,
                row.longest.high,
                more.unwrap_or_default(),
                row.taken.median
            );
        }
        if let (Some(without), Some(large)) = (without, self.rows.last()) {
            let more = large.longest.median - without;
            let verdict = if more <= TARGET { "reached" } else { "missed" };
            let _ = writeln!(
                page,
                "\nTarget: no more than {TARGET:.0} ms more for the last line. It is {verdict}: {more:.1} ms."
            );
        }
        page
    }
}

// === impl Subject ===

impl Subject {
    /// The bootstrap, with listeners of this number; and the size of the policy in it.
    fn bootstrap(&self, contender: &Contender, number: usize) -> Result<(Value, usize)> {
        let document = self.size.map(|(contexts, tenants)| {
            let mut policy = careplane_benches::policy(contexts, tenants);
            // A policy that was never there before, for Envoy does not try the same one twice.
            policy["defaultContext"] = json!({"name": format!("general-{number}")});
            policy.to_string()
        });
        let places =
            Places { upstream: None, collector: nowhere(), ext_proc: nowhere(), log: PathBuf::from("/dev/null") };
        let mut bootstrap = contender.bootstrap_with(&places, document.as_deref())?;
        let manager =
            &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        manager["server_name"] = format!("bench-{number}").into();
        // What all but careplane have no place for.
        if self.contender == EMPTY
            && let Some(document) = &document
        {
            let filters = manager["http_filters"].as_array_mut().context("no filters")?;
            let empty = filters.iter_mut().find(|filter| filter["name"] == "empty").context("no empty module")?;
            empty["typed_config"]["config"]["configuration"] =
                json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": document});
        }
        Ok((bootstrap, document.map_or(0, |document| document.len())))
    }
}

// === impl Watching ===

impl Watching {
    async fn start(subject: Subject) -> Result<Self> {
        let directory = directory()?;
        let (mut bootstrap, document) = subject.bootstrap(&of(&subject)?, 0)?;
        replace(directory.path(), &bootstrap)?;
        let resources = bootstrap["static_resources"].as_object_mut().context("no static_resources")?;
        resources.remove("listeners");
        bootstrap["dynamic_resources"] = json!({"lds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": listeners(directory.path())},
        }});
        let proxy = Proxy::start_in(directory, &bootstrap, "bench").await?;
        Ok(Self { subject, proxy, document, longest: Vec::new(), taken: Vec::new(), requests: 0 })
    }

    async fn change(&mut self, number: usize) -> Result<()> {
        let (bootstrap, _) = self.subject.bootstrap(&of(&self.subject)?, number + 1)?;
        let (stop, stopped) = watch::channel(false);
        let load = tokio::spawn(load(self.proxy.address(), stopped));
        sleep(AROUND).await;
        let mut taken = Duration::ZERO;
        if self.subject.changes {
            let before = self.counters().await?;
            let began = Instant::now();
            replace(self.proxy.directory(), &bootstrap)?;
            until("the worker to have the listener", DEADLINE, async || {
                let now = self.counters().await?;
                ensure!(now[1] == before[1], "it is refused:\n{}", self.proxy.envoy().log().warnings(0)?);
                Ok((now[0] > before[0] && now[2] > before[2]).then_some(()))
            })
            .await?;
            taken = began.elapsed();
        }
        sleep(AROUND).await;
        let _ = stop.send(true);
        let latencies = load.await??;
        if number > 0 {
            self.longest.push(latencies.iter().copied().fold(0.0, f64::max));
            self.taken.push(taken.as_secs_f64() * 1e3);
            self.requests += latencies.len();
        }
        Ok(())
    }

    async fn counters(&self) -> Result<[u64; 3]> {
        let stats = self.proxy.envoy().stats("listener_manager.").await?;
        Ok([ACCEPTED, REJECTED, CREATED].map(|name| stats.get(name).copied().unwrap_or_default()))
    }
}

fn of(subject: &Subject) -> Result<Contender> {
    let found = contender::all().into_iter().find(|contender| contender.name == subject.contender);
    found.context("no such contender")
}

fn listeners(directory: &Path) -> PathBuf {
    directory.join("listeners.json")
}

/// Puts the listeners of a bootstrap in the place of the file at once: Envoy watches for files that are moved there.
fn replace(directory: &Path, bootstrap: &Value) -> Result<()> {
    let mut listener = bootstrap["static_resources"]["listeners"][0].clone();
    listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
    let file = listeners(directory);
    let beside = file.with_extension("new");
    fs::write(&beside, json!({"resources": [listener]}).to_string())?;
    Ok(fs::rename(&beside, &file)?)
}

/// Sends requests, evenly spaced, until it is told to stop. Returns how long each took, in milliseconds.
async fn load(address: SocketAddr, stopped: watch::Receiver<bool>) -> Result<Vec<f64>> {
    let start = tokio::time::Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (stopped, client) =
            (stopped.clone(), Client::plain(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())));
        let mut due = interval_at(start + PERIOD * number / CONNECTIONS, PERIOD);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        callers.spawn(async move {
            let (mut caller, mut latencies) = (Caller::new(client), Vec::new());
            while !*stopped.borrow() {
                due.tick().await;
                let sent = Instant::now();
                let response = caller.send(Request::get("/api/v1/service-7/1732")).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                ensure!(response.status == 200, "{} instead of 200", response.status);
            }
            Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(latencies) = callers.join_next().await {
        all.extend(latencies??);
    }
    Ok(all)
}

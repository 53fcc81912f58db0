//! A server that is well, new, wrong, slow, or away; and plugins that come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use careplane_exchange::HttpAnswer;
use careplane_exchange::memory::{Call, MemoryHost};
use careplane_policy::directory::{Built, Entry, build};
use careplane_policy::{DirectorySource, Policy};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{AGE, Driver, FAILURES, Fetches, MISSING, TENANTS, UPDATES};

const MINUTE: Duration = Duration::from_secs(60);

fn source(directory: Value) -> DirectorySource {
    let mut written = json!({"cluster": "directory", "authority": "directory.test", "path": "/d"});
    written.as_object_mut().unwrap().extend(directory.as_object().unwrap().clone());
    let policy = json!({
        "version": "careplane/v1", "tenants": {"directory": written}, "routing": {"pools": ["pool-a", "pool-b"]},
    });
    Policy::from_json(policy.to_string().as_bytes()).unwrap().routing.directory.unwrap()
}

fn directory(tenants: usize, pool: &str) -> Built {
    let entry = Entry { pool: Some(pool), ..Entry::default() };
    let tenants: BTreeMap<_, _> = (0..tenants).map(|number| (format!("home-{number:05}"), entry)).collect();
    build(&tenants).unwrap()
}

fn good(body: &str, etag: Option<&str>) -> HttpAnswer {
    let etag = etag.map(|etag| etag.as_bytes().to_vec());
    HttpAnswer { status: Some(200), etag, size: body.len(), body: body.as_bytes().to_vec(), ..HttpAnswer::default() }
}

fn status(status: u16) -> HttpAnswer {
    HttpAnswer { status: Some(status), ..HttpAnswer::default() }
}

/// A VM with one plugin.
struct Vm {
    host: MemoryHost,
    fetches: Fetches,
    driver: Driver,
}

impl Vm {
    fn new(source: &DirectorySource) -> Self {
        let (host, fetches) = (MemoryHost::default(), Fetches::default());
        let driver = fetches.attach(source, &host);
        Self { host, fetches, driver }
    }

    fn last_call(&self) -> u32 {
        u32::try_from(self.host.calls().len()).unwrap()
    }

    fn last_path(&self) -> String {
        self.host.calls().last().unwrap().path.clone()
    }

    fn answer(&self, mut answer: HttpAnswer) {
        let call = self.last_call();
        assert!(self.driver.awaits(call).is_some(), "nothing is waited for");
        self.driver.answered(call, &mut answer, &self.host);
    }

    /// Lets a minute pass, and answers all that is asked. Returns how many parts were.
    fn round(&self, built: &Built, etag: Option<&str>) -> usize {
        self.host.wait(MINUTE.saturating_mul(2));
        self.driver.tick(&self.host);
        assert_eq!(self.last_path(), "/d/index.json");
        self.answer(good(&built.index, etag));
        let mut parts = 0_usize;
        while self.driver.awaits(self.last_call()).is_some() {
            let path = self.last_path();
            let name = path.strip_prefix("/d/parts/").unwrap();
            let part = built.parts.iter().find(|part| part.name == name).unwrap();
            self.answer(good(&part.lines, None));
            parts = parts.saturating_add(1);
        }
        parts
    }

    fn tenants(&self) -> u64 {
        self.driver.view().get().map_or(0, |directory| directory.tenants())
    }

    fn pool(&self, tenant: &str) -> Option<String> {
        self.driver.view().get()?.find(tenant)?.pool.map(str::to_owned)
    }

    fn failures(&self, kind: &str) -> u64 {
        self.host.metric(&[FAILURES, kind].concat())
    }
}

#[test]
fn a_directory_is_fetched_part_by_part_and_taken_as_a_whole() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    assert!(built.parts.len() > 2);
    assert_eq!(vm.host.metric(MISSING), 0, "until it ticks, it may be a VM that serves nothing");
    vm.driver.tick(&vm.host);
    assert_eq!(vm.host.metric(MISSING), 1);
    vm.answer(good(&built.index, Some("\"one\"")));
    for (number, part) in built.parts.iter().enumerate() {
        assert_eq!(vm.last_path(), format!("/d/parts/{}", part.name));
        assert_eq!((vm.tenants(), vm.host.calls().len()), (0, number + 2), "one call at a time");
        vm.answer(good(&part.lines, None));
    }
    assert_eq!((vm.tenants(), vm.host.metric(UPDATES), vm.host.metric(MISSING)), (5_000, 1, 0));
    assert_eq!(vm.pool("home-04999").as_deref(), Some("pool-a"));
    vm.driver.tick(&vm.host);
    assert_eq!((vm.host.metric(TENANTS), vm.host.metric(AGE)), (5_000, 0));
}

#[test]
fn what_has_not_changed_is_not_fetched_again() {
    let vm = Vm::new(&source(json!({})));
    let mut tenants: BTreeMap<_, _> = (0..5_000).map(|n| (format!("home-{n:05}"), Entry::default())).collect();
    let built = build(&tenants).unwrap();
    vm.round(&built, Some("\"one\""));
    // Nothing at all.
    vm.host.wait(MINUTE * 2);
    vm.driver.tick(&vm.host);
    let sent = vm.host.calls().pop().unwrap();
    assert_eq!(sent.headers, [("if-none-match".to_owned(), "\"one\"".to_owned())]);
    vm.answer(status(304));
    // A server that knows no ETags.
    assert_eq!(vm.round(&built, None), 0);
    assert_eq!((vm.host.metric(UPDATES), vm.failures("status")), (1, 0));
    // One tenant.
    tenants.get_mut("home-00017").unwrap().pool = Some("pool-b");
    assert_eq!(vm.round(&build(&tenants).unwrap(), Some("\"two\"")), 1);
    assert_eq!((vm.host.metric(UPDATES), vm.pool("home-00017").as_deref()), (2, Some("pool-b")));
}

#[test]
fn it_is_asked_for_every_interval_give_or_take_an_eighth() {
    let vm = Vm::new(&source(json!({"interval": "100s"})));
    vm.round(&directory(1, "pool-a"), None);
    let calls = vm.host.calls().len();
    vm.host.wait(Duration::from_secs(87));
    vm.driver.tick(&vm.host);
    assert_eq!(vm.host.calls().len(), calls);
    vm.host.wait(Duration::from_secs(26));
    vm.driver.tick(&vm.host);
    assert_eq!(vm.host.calls().len(), calls + 1);
}

#[test]
fn whatever_is_wrong_the_directory_stays_and_the_failure_is_counted() {
    let new = directory(5_000, "pool-b");
    let index = |patch: &dyn Fn(&mut Value)| {
        let mut index: Value = serde_json::from_str(&new.index).unwrap();
        patch(&mut index);
        good(&index.to_string(), Some("\"new\""))
    };
    let unknown = directory(5_000, "pool-z");
    let first = |built: &Built| vec![good(&built.index, None), good(&built.parts[0].lines, None)];
    let large = HttpAnswer { status: Some(200), size: 1 << 20, ..HttpAnswer::default() };
    for (kind, answers) in [
        ("unreachable", vec![HttpAnswer::default()]),
        ("status", vec![status(500)]),
        ("status", vec![status(404)]),
        ("status", vec![status(302)]),
        ("size", vec![large.clone()]),
        ("format", vec![good("<html>", None)]),
        ("format", vec![good("", None)]),
        ("format", vec![index(&|index| index["schema"] = "x".into())]),
        ("status", vec![good(&new.index, None), status(404)]),
        ("unreachable", vec![good(&new.index, None), HttpAnswer::default()]),
        ("size", vec![good(&new.index, None), large]),
        ("size", vec![good(&new.index, None), good("", None)]),
        ("digest", vec![good(&new.index, None), good(&new.parts[0].lines.replace("pool-b", "pool-a"), None)]),
        ("format", first(&unknown)),
        ("shrink", vec![good(&directory(2_000, "pool-b").index, None)]),
    ] {
        let vm = Vm::new(&source(json!({})));
        vm.round(&directory(5_000, "pool-a"), Some("\"old\""));
        vm.host.wait(MINUTE * 2);
        vm.driver.tick(&vm.host);
        answers.into_iter().for_each(|answer| vm.answer(answer));
        assert_eq!((vm.failures(kind), vm.host.metric(UPDATES)), (1, 1), "{kind}: {:?}", vm.host.log_lines());
        assert_eq!(vm.pool("home-00017").as_deref(), Some("pool-a"), "{kind}");
        let line = vm.host.log_lines().pop().unwrap();
        assert!(line.starts_with("careplane: directory directory/d: "), "{line}");
        assert!(line.contains("stays, with 5000 tenants"), "{line}");
        // It is asked for again soon, and what was refused is not taken for what is here.
        vm.host.wait(Duration::from_secs(2));
        vm.driver.tick(&vm.host);
        let sent = vm.host.calls().pop().unwrap();
        assert_eq!((&*sent.path, &*sent.headers[0].1), ("/d/index.json", "\"old\""), "{kind}");
        vm.answer(good(&new.index, None));
        while vm.driver.awaits(vm.last_call()).is_some() {
            let path = vm.last_path();
            let part = new.parts.iter().find(|part| path.ends_with(&part.name)).unwrap();
            vm.answer(good(&part.lines, None));
        }
        assert_eq!(vm.pool("home-00017").as_deref(), Some("pool-b"), "{kind}");
    }
}

#[test]
fn an_index_that_says_something_false_of_a_part_that_is_here_is_refused() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    vm.round(&built, None);
    let mut index: Value = serde_json::from_str(&built.index).unwrap();
    let more = |number: &Value| json!(number.as_u64().unwrap() + 10_000);
    index["tenants"] = more(&index["tenants"]);
    index["parts"][1]["tenants"] = more(&index["parts"][1]["tenants"]);
    let wrong = Built { index: index.to_string(), ..directory(5_000, "pool-a") };
    assert_eq!(vm.round(&wrong, None), 1);
    assert_eq!((vm.failures("format"), vm.tenants()), (1, 5_000));
    // So the true one is not taken for one that has shrunk.
    assert_eq!(vm.round(&built, None), 0);
    assert_eq!((vm.failures("shrink"), vm.tenants()), (0, 5_000));
}

#[test]
fn parts_stay_beside_an_index_that_is_refused() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    vm.round(&built, None);
    vm.round(&directory(10, "pool-a"), None);
    assert_eq!((vm.failures("shrink"), vm.tenants()), (1, 5_000));
    assert_eq!(vm.round(&built, None), 0, "all parts are here");
}

#[test]
fn a_directory_may_shrink_where_the_policy_says_so() {
    let vm = Vm::new(&source(json!({"shrink": "allow"})));
    vm.round(&directory(5_000, "pool-a"), None);
    vm.round(&directory(10, "pool-a"), None);
    assert_eq!((vm.tenants(), vm.failures("shrink")), (10, 0));
    // Half is not less than half.
    let vm = Vm::new(&source(json!({})));
    vm.round(&directory(1_000, "pool-a"), None);
    vm.round(&directory(500, "pool-a"), None);
    assert_eq!(vm.tenants(), 500);
}

#[test]
fn parts_that_came_before_a_failure_are_not_fetched_again() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    vm.driver.tick(&vm.host);
    vm.answer(good(&built.index, None));
    vm.answer(good(&built.parts[0].lines, None));
    vm.answer(status(503));
    assert_eq!(vm.round(&built, None), built.parts.len() - 1);
    assert_eq!(vm.tenants(), 5_000);
}

#[test]
fn a_directory_whose_new_parts_came_before_a_failure_is_taken() {
    let tenant = |number: usize, pool| (format!("home-{number:05}"), Entry { pool: Some(pool), ..Entry::default() });
    let all = |pool: &dyn Fn(usize) -> &'static str| {
        build(&(0..5_000).map(|number| tenant(number, pool(number))).collect::<BTreeMap<_, _>>()).unwrap()
    };
    let old = all(&|_| "pool-a");
    // A tenant of the first part that changes, and one of the second with a pool that does not exist.
    let has = |part: usize, number: usize| old.parts[part].lines.contains(&tenant(number, "").0);
    let [first, second] = [0, 1].map(|part| (0..5_000).find(|number| has(part, *number)).unwrap());
    let changed = |number| if number == first { "pool-b" } else { "pool-a" };
    let wrong = all(&|number| if number == second { "pool-z" } else { changed(number) });
    let corrected = all(&changed);
    let vm = Vm::new(&source(json!({})));
    vm.round(&old, None);
    vm.host.wait(MINUTE * 2);
    vm.driver.tick(&vm.host);
    vm.answer(good(&wrong.index, None));
    vm.answer(good(&wrong.parts[0].lines, None));
    vm.answer(good(&wrong.parts[1].lines, None));
    assert_eq!((vm.failures("format"), vm.host.metric(UPDATES)), (1, 1));
    assert_eq!(vm.round(&corrected, None), 0, "all parts are here");
    let pool = vm.pool(&tenant(first, "").0);
    assert_eq!((pool.as_deref(), vm.host.metric(UPDATES)), (Some("pool-b"), 2));
    assert_eq!(vm.round(&corrected, None), 0);
    assert_eq!(vm.host.metric(UPDATES), 2, "it is taken once");
}

#[test]
fn while_the_server_is_away_it_is_asked_less_and_less_and_the_log_has_a_line_a_minute() {
    let vm = Vm::new(&source(json!({"interval": "30s"})));
    let built = directory(100, "pool-a");
    vm.round(&built, None);
    let calls = vm.last_call();
    let mut call = calls + 1;
    for _ in 0..86_400 {
        vm.host.wait(Duration::from_secs(1));
        vm.driver.tick(&vm.host);
        if vm.driver.awaits(call).is_some() {
            vm.driver.answered(call, &mut HttpAnswer::default(), &vm.host);
            call += 1;
        }
    }
    // Pauses of 1, 2, 4, 8, 16 seconds, and then of 30.
    let asked = vm.last_call() - calls;
    assert!((2_600..3_300).contains(&asked), "{asked}");
    let lines = vm.host.log_lines().len();
    assert!((1_000..=1_440).contains(&lines), "{lines}");
    assert_eq!((vm.failures("unreachable"), vm.tenants()), (u64::from(asked), 100));
    let age = vm.host.metric(AGE);
    assert!((86_300..86_600).contains(&age), "{age}");
    // The server is back.
    assert_eq!(vm.round(&built, None), 0);
    vm.driver.tick(&vm.host);
    assert!(vm.host.metric(AGE) < 10, "{}", vm.host.metric(AGE));
}

#[test]
fn a_cluster_that_is_not_there_is_asked_again() {
    let vm = Vm::new(&source(json!({})));
    vm.host.fail(Call::HttpCall);
    vm.driver.tick(&vm.host);
    assert_eq!((vm.failures("unreachable"), vm.host.metric(MISSING)), (1, 1));
    vm.host.mend(Call::HttpCall);
    vm.round(&directory(1, "pool-a"), None);
    assert_eq!(vm.tenants(), 1);
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let vm = Vm::new(&source(json!({"timeout": "5s"})));
    vm.driver.tick(&vm.host);
    vm.host.wait(Duration::from_secs(5));
    vm.driver.tick(&vm.host);
    assert_eq!(vm.failures("unreachable"), 0, "the proxy's own timeout comes first");
    vm.host.wait(Duration::from_secs(1));
    vm.driver.tick(&vm.host);
    assert_eq!(vm.failures("unreachable"), 1);
    // Too late.
    vm.driver.answered(1, &mut status(500), &vm.host);
    assert_eq!(vm.failures("status"), 0);
}

#[test]
fn plugins_of_one_vm_share_a_directory_and_one_may_go_while_its_call_is_under_way() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    vm.driver.tick(&vm.host);
    vm.answer(good(&built.index, None));
    vm.answer(good(&built.parts[0].lines, None));
    let other = vm.fetches.attach(&source(json!({})), &vm.host);
    other.tick(&vm.host);
    assert_eq!(vm.host.calls().len(), 3, "the other waits for the same call");
    // Its call ends with it.
    vm.fetches.detach(&vm.driver, &vm.host);
    other.tick(&vm.host);
    assert_eq!((vm.host.calls().len(), &*vm.last_path()), (4, "/d/index.json"));
    let vm = Vm { driver: other, ..vm };
    vm.answer(good(&built.index, None));
    assert_eq!(vm.last_path(), format!("/d/parts/{}", built.parts[1].name), "the first part is here");
}

fn with_pools(pools: Value) -> DirectorySource {
    let policy = json!({
        "version": "careplane/v1", "tenants": {"directory": {"cluster": "c"}}, "routing": {"pools": pools},
    });
    let pools = Policy::from_json(policy.to_string().as_bytes()).unwrap().routing.directory.unwrap().pools;
    DirectorySource { pools, ..source(json!({})) }
}

#[test]
fn with_a_plugin_its_pools_go() {
    let vm = Vm::new(&source(json!({})));
    let [built, other_pool] = ["pool-a", "pool-b"].map(|pool| directory(5_000, pool));
    vm.round(&built, Some("\"one\""));
    let newer = vm.fetches.attach(&with_pools(json!(["pool-b"])), &vm.host);
    newer.tick(&vm.host);
    // Its pools are in force as long as it is here, whichever plugin ticks.
    vm.driver.tick(&vm.host);
    vm.answer(good(&built.index, Some("\"one\"")));
    vm.answer(good(&built.parts[0].lines, None));
    assert_eq!((vm.failures("format"), vm.tenants()), (1, 5_000));
    vm.fetches.detach(&newer, &vm.host);
    assert_eq!(vm.round(&built, Some("\"one\"")), built.parts.len());
    assert_eq!((vm.failures("format"), vm.tenants()), (1, 5_000));
    // One that came earlier changes nothing when it goes, and neither does one that never ticks.
    let newest = vm.fetches.attach(&with_pools(json!(["pool-a"])), &vm.host);
    vm.fetches.detach(&vm.driver, &vm.host);
    let idle = vm.fetches.attach(&with_pools(json!(["pool-b"])), &vm.host);
    vm.fetches.detach(&idle, &vm.host);
    let vm = Vm { driver: newest, ..vm };
    assert_eq!(vm.round(&built, Some("\"two\"")), built.parts.len());
    vm.host.wait(MINUTE * 2);
    vm.driver.tick(&vm.host);
    vm.answer(good(&other_pool.index, None));
    vm.answer(good(&other_pool.parts[0].lines, None));
    assert_eq!(vm.failures("format"), 2);
}

#[test]
fn a_new_policy_keeps_the_directory_that_is_here() {
    let vm = Vm::new(&source(json!({})));
    let built = directory(5_000, "pool-a");
    vm.round(&built, Some("\"one\""));
    // Another interval: nothing is fetched again.
    let driver = vm.fetches.attach(&source(json!({"interval": "10s"})), &vm.host);
    vm.fetches.detach(&vm.driver, &vm.host);
    let vm = Vm { driver, ..vm };
    assert_eq!((vm.tenants(), vm.host.metric(MISSING)), (5_000, 0));
    vm.host.wait(MINUTE * 2);
    vm.driver.tick(&vm.host);
    assert_eq!(vm.host.calls().pop().unwrap().headers[0].1, "\"one\"");
    vm.answer(status(304));
    // Other pools: each part is checked again, and meanwhile the directory is in force.
    let driver = vm.fetches.attach(&with_pools(json!(["pool-b"])), &vm.host);
    vm.fetches.detach(&vm.driver, &vm.host);
    let vm = Vm { driver, ..vm };
    vm.driver.tick(&vm.host);
    assert_eq!(vm.host.calls().pop().unwrap().headers, []);
    vm.answer(good(&built.index, Some("\"one\"")));
    vm.answer(good(&built.parts[0].lines, None));
    assert_eq!((vm.failures("format"), vm.tenants()), (1, 5_000));
    // Another place has another directory.
    let elsewhere = vm.fetches.attach(&source(json!({"path": "/e"})), &vm.host);
    assert!(elsewhere.view().get().is_none());
    elsewhere.tick(&vm.host);
    assert_eq!(vm.host.metric(MISSING), 1);
    vm.fetches.detach(&elsewhere, &vm.host);
    assert_eq!(vm.host.metric(MISSING), 0);
}

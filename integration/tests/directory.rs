//! The directory of tenants: fetched by workers, checked, replaced as a whole, and kept whatever its server does.

mod support;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use careplane_integration::{
    DirectoryServer, Lab, Reload, Request,
    directory::{Answer, Fetch},
    lab::Builder,
    poll::until,
};
use careplane_policy::{
    directory::{Built, Entry, build},
    document::{Cohort, Jurisdiction},
};
use serde_json::{Value, json};
use support::{SOON, TRUSTED, health::finish, observe_one, ready, versions};

const INDEX: &str = "/d/index.json";
const UPDATES: &str = "wasmcustom.careplane.directory.updates";
const TENANTS: &str = "wasmcustom.careplane.directory.tenants";
const AGE: &str = "wasmcustom.careplane.directory.age_seconds";
const MISSING: &str = "wasmcustom.careplane.directory.missing";
/// VMs of a proxy with one worker: the main thread has one too, which ticks and fetches as a worker's does.
const VMS: u64 = 2;

/// What a server does from then on.
type Change<'c> = Box<dyn Fn() + 'c>;

/// A proxy whose policy has the directory of this server, asks for it each second, and knows no tenant itself.
fn builder(server: &DirectoryServer) -> Builder {
    let address = server.address();
    Lab::builder()
        .policy(|policy| {
            policy["tenants"] = json!({"unknown": "deny", "directory": {
                "cluster": "directory", "authority": "directory.test", "path": "/d/", "interval": "1s", "timeout": "2s",
            }});
        })
        .patch(move |document| {
            let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
            let clusters = document["static_resources"]["clusters"].as_array_mut().expect("clusters");
            clusters.push(json!({
                "name": "directory", "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": "directory", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": socket}}},
                ]}]},
            }));
        })
}

fn directory(tenants: usize, pool: &str) -> Built {
    let entry = Entry {
        pool: Some(pool),
        jurisdiction: Some(Jurisdiction::Wales),
        cohort: Some(Cohort::Stable),
        group: Some("willow"),
    };
    let tenants: BTreeMap<_, _> = (0..tenants).map(|number| (format!("home-{number:05}"), entry)).collect();
    build(&tenants).expect("entries of a test")
}

fn file(body: &str, etag: Option<&str>) -> Answer {
    Answer::File { body: body.into(), etag: etag.map(str::to_owned) }
}

/// Serves a directory; the index last, as a publisher should.
fn serve(server: &DirectoryServer, built: &Built, etag: Option<&str>) {
    for part in &built.parts {
        server.set(format!("/d/parts/{}", part.name), file(&part.lines, None));
    }
    server.set(INDEX, file(&built.index, etag));
}

async fn failures(lab: &Lab, kind: &str) -> Result<u64> {
    lab.envoy().stat(&format!("wasmcustom.careplane.directory.failures.{kind}")).await
}

/// What the policy says of a tenant now: the pool, the jurisdiction and the regulator of its record.
async fn seen(lab: &Lab, tenant: &str) -> Result<[Value; 3]> {
    let request = Request::get("/elsewhere").header("x-tenant-id", tenant);
    let seen = observe_one(lab, &lab.sidecar(TRUSTED)?, request).await?;
    let tenant = &seen.record()["tenant"];
    Ok(["pool", "jurisdiction", "regulator"].map(|member| tenant[member].clone()))
}

async fn status(lab: &Lab, tenant: &str) -> Result<u16> {
    let peer = lab.sidecar(TRUSTED)?;
    Ok(peer.send(Request::get("/elsewhere").header("x-tenant-id", tenant)).await?.status)
}

/// Waits until the server has answered a request for `path` with `status`.
async fn fetched(server: &DirectoryServer, path: &str, status: u16) -> Result<Fetch> {
    until(&format!("{path} to be answered with {status}"), SOON, async || {
        Ok(server.fetches().into_iter().find(|fetch| fetch.path == path && fetch.status == status))
    })
    .await
}

#[tokio::test]
async fn without_a_directory_unknown_tenants_are_refused_and_with_it_they_are_placed() -> Result<()> {
    for version in versions() {
        let server = DirectoryServer::start().await?;
        let lab = builder(&server).version(version).start().await?;
        fetched(&server, INDEX, 404).await?;
        assert_eq!(status(&lab, "home-00017").await?, 403, "{version}");
        assert_eq!(lab.envoy().admin().wait_for_stat(MISSING, VMS, SOON).await?, VMS, "{version}");

        let built = directory(3_000, "dedicated-a");
        assert!(built.parts.len() > 2, "{}", built.parts.len());
        serve(&server, &built, Some("\"one\""));
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        assert_eq!(lab.envoy().stat(MISSING).await?, 0, "{version}");
        assert_eq!(seen(&lab, "home-00017").await?, ["dedicated-a", "wales", "CIW"], "{version}");
        assert_eq!(status(&lab, "home-99999").await?, 403, "{version}");
        assert!(failures(&lab, "status").await? > 0, "{version}");
        // Each part once, whichever listeners share the worker.
        let parts = server.fetches().iter().filter(|fetch| fetch.path.starts_with("/d/parts/")).count();
        assert_eq!(parts as u64, VMS * built.parts.len() as u64, "{version}");

        // Nothing new.
        let _ = server.take();
        let again = fetched(&server, INDEX, 304).await?;
        assert_eq!(again.etag.as_deref(), Some("\"one\""), "{version}");
        assert_eq!((lab.envoy().stat(UPDATES).await?, lab.envoy().stat(TENANTS).await?), (VMS, 3_000), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn whatever_is_wrong_with_an_answer_the_directory_stays() -> Result<()> {
    for version in versions() {
        let server = DirectoryServer::start().await?;
        let lab = builder(&server).version(version).start().await?;
        let (old, new) = (directory(3_000, "pool-a"), directory(3_000, "pool-b"));
        serve(&server, &old, Some("\"old\""));
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        let part = format!("/d/parts/{}", new.parts[1].name);
        let unknown = directory(3_000, "pool-z");
        let unsorted = {
            let mut lines: Vec<&str> = new.parts[0].lines.split_inclusive('\n').collect();
            lines.reverse();
            one_part(&lines.concat(), &new)?
        };
        let word = one_part(&new.parts[0].lines.replacen("wales", "mars", 1), &new)?;
        let wrong_index = |etag| file(&new.index.replace("/v1", "/v9"), etag);
        let large = Answer::File { body: vec![b'x'; 3 << 20], etag: None };
        let bad: [(&str, &str, Change<'_>); 11] = [
            ("status", "503", Box::new(|| server.set(INDEX, Answer::Status(503)))),
            ("status", "302", Box::new(|| server.set(INDEX, Answer::Status(302)))),
            ("format", "another schema", Box::new(|| server.set(INDEX, wrong_index(Some("\"x\""))))),
            ("format", "an empty index", Box::new(|| server.set(INDEX, file("", None)))),
            ("size", "a large index", Box::new(|| server.set(INDEX, large.clone()))),
            ("status", "a part that is missing", Box::new(|| server.set(part.as_str(), Answer::Status(404)))),
            ("size", "a large part", Box::new(|| server.set(part.as_str(), large.clone()))),
            (
                "digest",
                "an altered part",
                Box::new(|| server.set(part.as_str(), file(&new.parts[1].lines.replace("pool-b", "pool-c"), None))),
            ),
            ("format", "not sorted", Box::new(|| serve(&server, &unsorted, None))),
            ("format", "an unknown word", Box::new(|| serve(&server, &word, None))),
            ("format", "an unknown pool", Box::new(|| serve(&server, &unknown, None))),
        ];
        for (kind, what, set) in bad {
            let before = failures(&lab, kind).await?;
            server.clear();
            serve(&server, &new, Some("\"new\""));
            // Not for a moment whole.
            server.set(INDEX, Answer::Status(404));
            set();
            if what.contains("part") {
                server.set(INDEX, file(&new.index, Some("\"new\"")));
            }
            let name = format!("wasmcustom.careplane.directory.failures.{kind}");
            lab.envoy().admin().wait_for_stat(&name, before + 2 * VMS, SOON).await?;
            assert_eq!(seen(&lab, "home-00017").await?[0], "pool-a", "{version}: {what}");
            assert_eq!(lab.envoy().stat(UPDATES).await?, VMS, "{version}: {what}");
        }
        serve(&server, &new, Some("\"new\""));
        lab.envoy().admin().wait_for_stat(UPDATES, 2 * VMS, SOON).await?;
        assert_eq!(seen(&lab, "home-00017").await?[0], "pool-b", "{version}");
        let lines = lab.envoy().log().text()?.lines().filter(|line| line.contains("directory directory/d: ")).count();
        assert_eq!(lines as u64, VMS, "{version}: one line a minute");
        finish(lab).await?;
    }
    Ok(())
}

/// The directory with another part 0, its name and size as they have to be.
fn one_part(lines: &str, built: &Built) -> Result<Built> {
    let mut index: Value = serde_json::from_str(&built.index)?;
    let name = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(lines.as_bytes()));
    index["parts"][0]["name"] = name.clone().into();
    index["parts"][0]["bytes"] = lines.len().into();
    let mut parts: Vec<_> = built.parts.iter().map(|part| (part.name.clone(), part.lines.clone())).collect();
    parts[0] = (name, lines.to_owned());
    let parts = parts.into_iter().map(|(name, lines)| careplane_policy::directory::BuiltPart { name, lines });
    Ok(Built { index: index.to_string(), parts: parts.collect() })
}

#[tokio::test]
async fn half_of_the_homes_do_not_close_at_once_unless_the_policy_says_so() -> Result<()> {
    for version in versions() {
        let server = DirectoryServer::start().await?;
        let lab = builder(&server).version(version).start().await?;
        serve(&server, &directory(3_000, "pool-a"), None);
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        serve(&server, &directory(1_400, "pool-b"), None);
        lab.envoy().admin().wait_for_stat("wasmcustom.careplane.directory.failures.shrink", 2, SOON).await?;
        assert_eq!(seen(&lab, "home-02999").await?[0], "pool-a", "{version}");
        let mut policy = lab.policy().clone();
        policy["tenants"]["directory"]["shrink"] = "allow".into();
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted, "{version}");
        lab.envoy().admin().wait_for_stat(UPDATES, 2 * VMS, SOON).await?;
        assert_eq!(seen(&lab, "home-00017").await?[0], "pool-b", "{version}");
        assert_eq!(status(&lab, "home-02999").await?, 403, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn while_the_server_is_away_the_directory_stays_and_its_age_shows() -> Result<()> {
    for version in versions() {
        let server = DirectoryServer::start().await?;
        let lab = builder(&server).version(version).start().await?;
        serve(&server, &directory(3_000, "pool-a"), None);
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        // The port is closed.
        drop(server);
        lab.envoy().admin().wait_for_stat(AGE, 4, SOON).await?;
        // Envoy answers for a server that it cannot reach.
        assert!(failures(&lab, "status").await? > 0, "{version}");
        assert_eq!(seen(&lab, "home-00017").await?[0], "pool-a", "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_changes_while_a_fetch_is_under_way_keeps_the_directory() -> Result<()> {
    for version in versions() {
        let server = DirectoryServer::start().await?;
        let lab = builder(&server).version(version).start().await?;
        serve(&server, &directory(3_000, "pool-a"), Some("\"one\""));
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        // A new directory, of which one part takes long.
        let new = directory(3_000, "pool-b");
        serve(&server, &new, Some("\"two\""));
        let slow = format!("/d/parts/{}", new.parts[2].name);
        let part = file(&new.parts[2].lines, None);
        let _ = server.take();
        server.set(slow.as_str(), Answer::After(Duration::from_millis(1_500), Box::new(part.clone())));
        fetched(&server, &format!("/d/parts/{}", new.parts[1].name), 200).await?;
        let mut policy = lab.policy().clone();
        policy["defaultContext"]["name"] = "another".into();
        assert_eq!(lab.reload(&policy).await?, Reload::Accepted, "{version}");
        assert_eq!(status(&lab, "home-00017").await?, 200, "{version}: the directory is not lost");
        lab.envoy().admin().wait_for_stat(UPDATES, 2 * VMS, SOON).await?;
        assert_eq!(seen(&lab, "home-00017").await?[0], "pool-b", "{version}");
        assert_eq!(lab.envoy().stat(MISSING).await?, 0, "{version}");
        // And the directory is fetched on under the new policy.
        serve(&server, &directory(3_000, "pool-c"), Some("\"three\""));
        lab.envoy().admin().wait_for_stat(UPDATES, 3 * VMS, SOON).await?;
        assert_eq!(seen(&lab, "home-00017").await?[0], "pool-c", "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_worker_has_the_directory_and_asks_for_itself() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let server = DirectoryServer::start().await?;
    let built = directory(3_000, "pool-a");
    serve(&server, &built, Some("\"one\""));
    let lab = builder(&server).concurrency(2).start().await?;
    lab.envoy().admin().wait_for_stat(UPDATES, 3, SOON).await?;
    assert_eq!(lab.envoy().stat(MISSING).await?, 0);
    let parts = server.fetches().iter().filter(|fetch| fetch.path.starts_with("/d/parts/")).count();
    assert_eq!(parts, 3 * built.parts.len(), "of two workers and the main thread");
    // Connections are spread over the workers.
    for _ in 0..20 {
        ensure!(status(&lab, "home-02999").await? == 200, "a worker has no directory");
    }
    finish(lab).await
}

/// Tenants of the directory, with their jurisdiction and group.
fn homes(of: &[(&str, Jurisdiction, &'static str)]) -> Built {
    let entry =
        |jurisdiction, group| Entry { pool: None, jurisdiction: Some(jurisdiction), cohort: None, group: Some(group) };
    let tenants: BTreeMap<_, _> =
        of.iter().map(|(home, nation, group)| ((*home).to_owned(), entry(*nation, group))).collect();
    build(&tenants).expect("entries of a test")
}

#[tokio::test]
async fn a_grant_reaches_the_homes_whose_group_or_jurisdiction_the_directory_names() -> Result<()> {
    use Jurisdiction::{Scotland, Wales};
    for version in versions() {
        let server = DirectoryServer::start().await?;
        // An entry of the policy comes first, member by member.
        let entries = json!({"cardiff-1": {"jurisdiction": "scotland"}});
        let lab = builder(&server)
            .version(version)
            .policy(move |policy| {
                policy["tenants"]["unknown"] = "route".into();
                policy["tenants"]["entries"] = entries;
                policy["identity"]["tenant"]["sources"] = json!([{"claim": "homes"}, {"path": "tenant"}]);
                policy["identity"]["grants"] = json!([
                    {
                        "name": "inspector", "when": {"claim": "roles", "contains": "inspector"},
                        "tenants": {"jurisdiction": {"claim": "jurisdiction"}},
                    },
                    {
                        "name": "manager", "when": {"claim": "roles", "contains": "manager"},
                        "tenants": {"group": {"claim": "groups"}},
                    },
                ]);
            })
            .start()
            .await?;
        let token = |claims: Value| {
            let mut claims = claims;
            claims["tenant_id"] = Value::Null;
            lab.identity().token("", "ann", claims)
        };
        let inspector = token(json!({"homes": ["home-0"], "roles": ["inspector"], "jurisdiction": "scotland"}))?;
        let manager = token(json!({"homes": ["home-0"], "roles": ["manager"], "groups": ["north", "west"]}))?;
        let grant = async |token: &str, home: &str| -> Result<Value> {
            let request = Request::get(format!("/api/v1/tenants/{home}/staff")).bearer(token);
            let seen = observe_one(&lab, &lab.gateway(), request).await?;
            let decision = &seen.record()["decision"];
            ensure!((seen.response.status == 200) == (decision["result"] == "allowed"), "{home}: {decision}");
            Ok(if seen.response.status == 200 { decision["grant"].clone() } else { decision["reason"].clone() })
        };
        // Without a directory, all that is known is what the policy says.
        fetched(&server, INDEX, 404).await?;
        assert_eq!(grant(&inspector, "glasgow-1").await?, "tenant-conflict", "{version}");
        assert_eq!(grant(&inspector, "cardiff-1").await?, "inspector", "{version}");

        let old =
            homes(&[("glasgow-1", Scotland, "north"), ("leith-1", Scotland, "south"), ("cardiff-1", Wales, "north")]);
        serve(&server, &old, Some("\"old\""));
        lab.envoy().admin().wait_for_stat(UPDATES, VMS, SOON).await?;
        for (home, by_inspector, by_manager) in [
            ("glasgow-1", "inspector", "manager"),
            ("leith-1", "inspector", "tenant-conflict"),
            ("cardiff-1", "inspector", "manager"),
            ("unlisted-1", "tenant-conflict", "tenant-conflict"),
        ] {
            assert_eq!(grant(&inspector, home).await?, by_inspector, "{version}: {home}");
            assert_eq!(grant(&manager, home).await?, by_manager, "{version}: {home}");
        }

        // A home changes hands, another one its nation on paper, and a third closes.
        serve(&server, &homes(&[("glasgow-1", Wales, "north"), ("leith-1", Scotland, "west")]), Some("\"new\""));
        lab.envoy().admin().wait_for_stat(UPDATES, 2 * VMS, SOON).await?;
        assert_eq!(grant(&inspector, "glasgow-1").await?, "tenant-conflict", "{version}");
        assert_eq!(grant(&manager, "leith-1").await?, "manager", "{version}");
        assert_eq!(grant(&manager, "cardiff-1").await?, "tenant-conflict", "{version}");
        assert_eq!(grant(&inspector, "cardiff-1").await?, "inspector", "{version}");
        finish(lab).await?;
    }
    Ok(())
}

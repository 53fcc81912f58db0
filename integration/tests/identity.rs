//! The identity of a request: which sources careplane believes in Envoy, which it does not, and contradictions.

mod support;

use anyhow::Result;
use careplane_integration::{Client, Lab, Request};
use hyper::Method;
use serde_json::{Value, json};
use support::{SOON, STRANGER, TENANT, TRUSTED, USER, health::finish, observe, request_id, status, token, versions};

/// A caller, what they send, what becomes of it.
struct Case {
    about: &'static str,
    client: Client,
    request: Request,
    /// 200, or the code of the problem.
    outcome: &'static str,
}

fn case(about: &'static str, client: &Client, request: Request, outcome: &'static str) -> Case {
    Case { about, client: client.clone(), request, outcome }
}

/// Asserts that each case ends as it says, at the caller, in the record, and upstream.
async fn assert_outcomes(lab: &Lab, cases: Vec<Case>, about: impl std::fmt::Display) -> Result<()> {
    let probes = cases.iter().map(|case| (case.client.clone(), case.request.clone()));
    let seen = observe(lab, probes).await?;
    for (case, seen) in cases.iter().zip(seen) {
        let about = format!("{about}: {}", case.about);
        if case.outcome == "200" {
            assert_eq!((seen.response.status, seen.refusal()), (200, None), "{about}");
            assert_eq!(seen.record()["decision"], json!({"result": "allowed"}), "{about}");
            continue;
        }
        let status = if case.outcome.ends_with("malformed") || case.outcome.ends_with("repeated") { 400 } else { 403 };
        assert_eq!(seen.refusal().as_deref(), Some(case.outcome), "{about}");
        assert_eq!(seen.response.status, status, "{about}");
        assert!(seen.upstream.is_none(), "{about}: it went upstream");
        let decision = json!({"by": "careplane", "reason": case.outcome, "result": "denied"});
        assert_eq!(seen.record()["decision"], decision, "{about}");
        assert_eq!(seen.record()["outcome"]["status"], status, "{about}");
        // A violation is kept, whatever the tier says.
        assert_eq!(seen.record()["trace"]["sampled"], true, "{about}");
        assert!(seen.span.is_some(), "{about}: no span");
    }
    Ok(())
}

/// `base` with other claims: a token that Envoy verifies.
fn claims(lab: &Lab, extra: Value) -> Result<Request> {
    Ok(Request::get("/elsewhere").bearer(&lab.identity().token(TENANT, USER, extra)?))
}

#[tokio::test]
async fn identity_headers_of_callers_who_are_not_trusted_are_removed_and_the_removal_is_recorded() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let (outside, stranger) = (lab.gateway(), lab.sidecar(STRANGER)?);
        let forge = |request: Request| request.header("x-tenant-id", "care-home-0042").header("x-user-id", "manager");
        // `/health` needs no tenant; POST there is not the health check, and needs one.
        let rows: [(&Client, Request, &[&str], &[&str]); 4] = [
            (&outside, forge(Request::get("/elsewhere").bearer(&token)), &[TENANT], &[USER]),
            (&stranger, forge(Request::get("/elsewhere").bearer(&token)), &[TENANT], &[USER]),
            (&outside, forge(Request::get("/health")), &[], &[]),
            (&stranger, forge(Request::get("/health")), &[], &[]),
        ];
        let probes = rows.iter().map(|(client, request, ..)| ((*client).clone(), request.clone()));
        for (row, ((.., tenant, user), seen)) in rows.iter().zip(observe(&lab, probes).await?).enumerate() {
            assert_eq!(seen.response.status, 200, "{version}, row {row}");
            assert_eq!(&seen.forwarded("x-tenant-id"), tenant, "{version}, row {row}");
            assert_eq!(&seen.forwarded("x-user-id"), user, "{version}, row {row}");
            if let Some(record) = &seen.record {
                assert_eq!(record["who"]["forgedHeaders"], json!(["x-tenant-id", "x-user-id"]), "{version}, row {row}");
            }
        }
        assert_outcomes(
            &lab,
            vec![
                case("an outsider's word alone", &outside, forge(Request::get("/elsewhere")), "tenant-missing"),
                case("a stranger's word alone", &stranger, forge(Request::get("/elsewhere")), "tenant-missing"),
            ],
            version,
        )
        .await?;
        // Six requests with two headers each, and the two of the request that ends `observe`, twice.
        assert!(lab.envoy().stat("wasmcustom.careplane.identity_headers_removed").await? >= 12, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

/// Other spellings of careplane's headers: applications behind CGI, WSGI and PHP take them for these.
const SPELLINGS: [&str; 5] = ["x_tenant_id", "X_Tenant_Id", "x.tenant.id", "x-tenant_id", "x~tenant~id"];

#[tokio::test]
async fn no_spelling_of_an_identity_header_arrives_whoever_sends_it() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let (outside, trusted) = (lab.gateway(), lab.sidecar(TRUSTED)?);
        let mut probes = Vec::new();
        for spelling in SPELLINGS {
            let forge = |request: Request| {
                let request = request.header(spelling, "care-home-0042").header("x_user_id", "manager-1");
                // No valid identity, but the record would name another one than the application reads.
                request.header("X_Correlation_Id", "another")
            };
            // With a token of one's own, without any where none is needed, and from a peer whose headers are believed.
            probes.push((outside.clone(), forge(Request::get("/elsewhere").bearer(&token))));
            probes.push((outside.clone(), forge(Request::get("/health"))));
            probes.push((trusted.clone(), forge(Request::get("/elsewhere").header("x-tenant-id", TENANT))));
        }
        let requests: Vec<String> = probes.iter().map(|(_, request)| format!("{request:?}")).collect();
        for (request, seen) in requests.iter().zip(observe(&lab, probes).await?) {
            let about = format!("{version}: {request}");
            assert_eq!(seen.response.status, 200, "{about}");
            let upstream = seen.upstream.as_ref().expect("it went upstream");
            let folded = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            let taken: Vec<_> = upstream
                .headers
                .iter()
                .filter(|(name, _)| {
                    ["x-tenant-id", "x-user-id"].contains(&&*folded(name))
                        || name.eq_ignore_ascii_case("x_correlation_id")
                })
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value).into_owned()))
                .collect();
            assert!(taken.iter().all(|(_, value)| value == TENANT || value == USER), "{about}: {taken:?}");
            if let Some(record) = &seen.record {
                assert_eq!(record["who"]["forgedHeaders"], json!(["x-tenant-id", "x-user-id"]), "{about}");
            }
        }
        // Two of each request, and the tenant of the one that `observe` sends behind them.
        assert_eq!(lab.envoy().stat("wasmcustom.careplane.identity_headers_removed").await?, 31, "{version}");
        finish(lab).await?;
    }
    Ok(())
}

/// `Connection` names headers that end at the next hop (RFC 9110 §7.6.1), which is the proxy and not the application.
#[tokio::test]
async fn no_caller_has_careplanes_headers_taken_off_on_their_way() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let id = request_id(9_999);
        let head = format!(
            "GET /elsewhere HTTP/1.1\r\nhost: care\r\nx-request-id: {id}\r\nauthorization: Bearer {}\r\n\
             connection: close, x-tenant-id, x-user-id, x-tenant-pool, x-healthcare-context\r\n\
             te: trailers\r\nx-tenant-id: care-home-0042\r\n\r\n",
            token(&lab)?
        );
        let answer = lab.gateway().raw(head.as_bytes(), SOON).await?;
        assert_eq!(status(&answer), Some(200), "{version}: {}", String::from_utf8_lossy(&answer));
        let received = lab.upstream().received();
        let [received] = &received[..] else { panic!("{version}: {received:?}") };
        let arrived = ["x-tenant-id", "x-user-id", "x-tenant-pool", "x-healthcare-context"]
            .map(|name| received.header(name).unwrap_or_default());
        let user = USER.as_bytes().escape_ascii().to_string();
        assert_eq!(arrived, [TENANT, &user, "pool-c", "general"], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_outsider_overrides_the_method_or_the_url() -> Result<()> {
    // The last one is a prefix that gunicorn takes off the path of a request that comes over loopback, as from a
    // sidecar.
    const OVERRIDES: [&str; 7] = [
        "X-HTTP-Method-Override",
        "x-method-override",
        "x_http_method_override",
        "x-http-method",
        "x-original-url",
        "X-Rewrite-URL",
        "SCRIPT_NAME",
    ];
    for version in versions() {
        for (pass, expected) in [(false, 0), (true, OVERRIDES.len())] {
            let lab = Lab::builder()
                .version(version)
                .policy(move |policy| {
                    if pass {
                        policy["identity"]["overrides"] = "pass".into();
                    }
                })
                .start()
                .await?;
            let token = token(&lab)?;
            let request =
                |request: Request| OVERRIDES.iter().fold(request, |request, name| request.header(*name, "/admin"));
            let outside = request(Request::get("/api/v1/medications/administer").bearer(&token));
            let peer = request(Request::get("/elsewhere").header("x-tenant-id", TENANT));
            let seen = observe(&lab, [(lab.gateway(), outside), (lab.sidecar(TRUSTED)?, peer)]).await?;
            let arrived = |at: usize| {
                OVERRIDES.iter().map(|name| seen[at].forwarded(&name.to_ascii_lowercase()).len()).sum::<usize>()
            };
            assert_eq!((arrived(0), arrived(1)), (expected, OVERRIDES.len()), "{version}, pass {pass}");
            let removed = &seen[0].record()["who"]["overrideHeaders"];
            let names = json!([
                "x-http-method-override",
                "x-method-override",
                "x-http-method",
                "x-original-url",
                "x-rewrite-url",
                "script-name"
            ]);
            assert_eq!(removed, if pass { &Value::Null } else { &names }, "{version}, pass {pass}");
            assert_eq!(seen[1].record()["who"].get("overrideHeaders"), None, "{version}, pass {pass}");
            finish(lab).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn callers_who_say_of_themselves_what_is_so_forge_nothing() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let own =
            Request::get("/elsewhere").bearer(&token(&lab)?).header("x-tenant-id", TENANT).header("x-user-id", USER);
        for seen in observe(&lab, [(lab.gateway(), own.clone()), (lab.sidecar(STRANGER)?, own)]).await? {
            assert_eq!(
                (seen.forwarded("x-tenant-id"), seen.forwarded("x-user-id")),
                (vec![TENANT.into()], vec![USER.into()])
            );
            assert_eq!(seen.record()["who"]["forgedHeaders"], Value::Null, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn identity_headers_are_believed_from_the_peers_that_the_policy_trusts() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let request =
            || Request::get("/elsewhere").header("x-tenant-id", "care-home-0233").header("x-user-id", "nurse-7");
        let trusted = lab.sidecar(TRUSTED)?;
        for seen in observe(&lab, [(trusted.clone(), request()), (trusted.http2(), request())]).await? {
            assert_eq!(seen.response.status, 200);
            assert_eq!(seen.forwarded("x-tenant-id"), ["care-home-0233"], "{version}");
            assert_eq!(seen.forwarded("x-user-id"), ["nurse-7"], "{version}");
            let record = seen.record();
            assert_eq!(
                (&record["tenant"]["id"], &record["tenant"]["source"]),
                (&json!("care-home-0233"), &json!("header"))
            );
            assert_eq!(record["who"]["peer"], TRUSTED, "{version}");
            assert_eq!(record["who"]["forgedHeaders"], Value::Null, "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn headers_that_the_policy_omits_never_arrive_and_the_record_says_what_they_would() -> Result<()> {
    let omitted = ["x-user-id", "x-healthcare-context", "x-compliance-level", "x-compliance-flags", "x-tenant-pool"];
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(move |policy| policy["headers"]["omit"] = json!(omitted))
            .start()
            .await?;
        let (outside, trusted) = (lab.gateway(), lab.sidecar(TRUSTED)?);
        let plain = || Request::new(Method::POST, "/api/v1/medications/administer");
        let forge = |request: Request| {
            let request = request.header("x-healthcare-context", "general").header("X_Compliance_Level", "low");
            let request = request.header("x-compliance-flags", "a").header("x-compliance-flags", "b");
            request.header("x-compliance-level", "low").header("x-tenant-pool", "pool-b")
        };
        let token = token(&lab)?;
        let probes = [
            (outside.clone(), plain().bearer(&token)),
            (outside, forge(plain().bearer(&token).header("x-user-id", "manager-1"))),
            // The user is read from a trusted peer, and goes no further.
            (trusted, forge(plain().header("x-tenant-id", TENANT).header("x-user-id", USER))),
        ];
        for (row, seen) in observe(&lab, probes).await?.iter().enumerate() {
            let about = format!("{version}, row {row}");
            assert_eq!(seen.response.status, 200, "{about}");
            assert_eq!(seen.forwarded("x-tenant-id"), [TENANT], "{about}");
            let upstream = seen.upstream.as_ref().expect("it went upstream");
            let arrived: Vec<&String> = upstream
                .headers
                .iter()
                .map(|(name, _)| name)
                .filter(|name| omitted.contains(&&*name.to_ascii_lowercase().replace('_', "-")))
                .collect();
            assert!(arrived.is_empty(), "{about}: {arrived:?}");
            let record = seen.record();
            assert_eq!(record["context"]["name"], "medication-administration", "{about}");
            assert_eq!(record["context"]["complianceLevel"], "critical", "{about}");
            assert!(record["context"]["flags"].is_array() && record["who"]["user"].is_string(), "{about}: {record}");
            assert!(record["tenant"]["pool"].is_string(), "{about}: {record}");
            assert_eq!(seen.tag("user_id"), record["who"]["user"].as_str(), "{about}");
            // Where tags can only be read from headers, those of omitted ones are not there; `careplane check` says so.
            let tags = [("healthcare_context", "medication-administration"), ("compliance_level", "critical")];
            for (tag, value) in tags {
                assert_eq!(seen.tag(tag), version.has_formatter_tags().then_some(value), "{about}: {tag}");
            }
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn trust_ends_exactly_where_the_pattern_says() -> Result<()> {
    let rows = [
        ("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway", true),
        ("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway2", false),
        ("spiffe://cluster.local/ns/core-healthcare/sa/API-gateway", false),
        ("spiffe://cluster.local/ns/core-healthcare/sa/api-gateway/", false),
        ("spiffe://cluster.local/ns/core-healthcare", false),
        ("spiffe://cluster.local/ns/mesh/sa/anyone", true),
        ("spiffe://cluster.local/ns/mesh/", true),
        ("spiffe://cluster.local/ns/mesh2/sa/anyone", false),
    ];
    for version in versions() {
        let lab = Lab::builder()
            .version(version)
            .policy(|policy| {
                policy["identity"]["trustedPeers"] = json!([
                    "spiffe://cluster.local/ns/core-healthcare/sa/api-gateway",
                    "spiffe://cluster.local/ns/mesh/*"
                ]);
            })
            .start()
            .await?;
        for (peer, trusted) in rows {
            let request = Request::get("/elsewhere").header("x-tenant-id", TENANT);
            let status = lab.sidecar(peer)?.send(request).await?.status;
            assert_eq!(status, if trusted { 200 } else { 403 }, "{version}: {peer}");
        }
        // A word instead of a list: every caller is the workload itself.
        let mut open = lab.policy().clone();
        open["identity"]["trustedPeers"] = "any".into();
        lab.reload(&open).await?;
        for client in [lab.gateway(), lab.sidecar(STRANGER)?] {
            assert_eq!(client.send(Request::get("/elsewhere").header("x-tenant-id", TENANT)).await?.status, 200);
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_identity_header_that_comes_twice_is_refused_whoever_sends_it_and_whatever_it_says() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let (outside, trusted, stranger) = (lab.gateway(), lab.sidecar(TRUSTED)?, lab.sidecar(STRANGER)?);
        let bare = || Request::get("/elsewhere");
        let tenants = |a: &str, b: &str| bare().header("x-tenant-id", a).header("x-tenant-id", b);
        let users =
            |a: &str, b: &str| bare().header("x-tenant-id", TENANT).header("x-user-id", a).header("x-user-id", b);
        let repeated = "identity-repeated";
        let mut cases = vec![case(
            "on a path without tenant",
            &outside,
            Request::get("/health").header("x-tenant-id", "a").header("X-Tenant-ID", "a"),
            repeated,
        )];
        for (who, client) in [
            ("outsider", &outside),
            ("trusted", &trusted),
            ("stranger", &stranger),
            ("HTTP/2", &trusted.clone().http2()),
        ] {
            cases.extend([
                case(who, client, tenants("care-home-0001", "care-home-0042"), repeated),
                case(who, client, tenants(TENANT, TENANT), repeated),
                case(who, client, tenants(TENANT, "").bearer(&token), repeated),
                case(who, client, tenants("", ""), repeated),
                case(who, client, tenants("9434765919", "\u{e9}"), repeated),
                case(who, client, users("ann", "bob"), repeated),
                case(who, client, users("ann", "ann").bearer(&token), repeated),
            ]);
        }
        assert_outcomes(&lab, cases, version).await?;
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn identities_that_cannot_be_one_are_refused_from_those_who_would_be_believed() -> Result<()> {
    let long_tenant = "t".repeat(129);
    let long_user = "u".repeat(257);
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let (outside, trusted) = (lab.gateway(), lab.sidecar(TRUSTED)?);
        let header = |name: &str, value: &[u8]| Request::get("/elsewhere").header(name, value);
        let user = |value: &[u8]| header("x-user-id", value).header("x-tenant-id", TENANT);
        let mut cases = Vec::new();
        for bad in ["care home", "a,b", "a/b", "a\"b", "café", "9434765919", "943-476-5919", &long_tenant, "a=b", "{a}"]
        {
            cases.push(case("tenant header", &trusted, header("x-tenant-id", bad.as_bytes()), "tenant-malformed"));
            cases.push(case("tenant claim", &outside, claims(&lab, json!({"tenant_id": bad}))?, "tenant-malformed"));
        }
        cases.push(case("tenant bytes", &trusted, header("x-tenant-id", b"\xff\x80"), "tenant-malformed"));
        for path in [
            "/api/v1/tenants/a%20b/x",
            "/api/v1/tenants/a,b/x",
            "/api/v1/tenants/9434765919/x",
            "/api/v1/tenants/%FF/x",
        ] {
            cases.push(case("tenant path", &outside, Request::get(path), "tenant-malformed"));
        }
        cases.push(case("user header", &trusted, user(long_user.as_bytes()), "user-malformed"));
        cases.push(case("user bytes", &trusted, user(b"ann\xff"), "user-malformed"));
        for bad in [" ann", "ann\n", "a\u{0}b", &long_user] {
            cases.push(case("user claim", &outside, claims(&lab, json!({"sub": bad}))?, "user-malformed"));
        }
        // Sources that are not believed are not read either.
        let unread = claims(&lab, json!({}))?.header("x-tenant-id", "care home").header("x-user-id", b"\xff");
        cases.push(case("unread", &outside, unread, "200"));
        // Empty is how some proxies say "none".
        cases.push(case("empty", &trusted, claims(&lab, json!({}))?.header("x-tenant-id", ""), "200"));
        assert_outcomes(&lab, cases, version).await?;
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn identifiers_that_are_unusual_but_good_pass() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let long_tenant = "t".repeat(128);
        let long_user = "u".repeat(256);
        let rows = [
            (json!("A.b_c:d-9"), json!("auth0|1234"), "A.b_c:d-9", "auth0|1234"),
            (json!(long_tenant), json!(long_user), long_tenant.as_str(), long_user.as_str()),
            // Envoy hands numbers over as eight bytes of IEEE 754.
            (json!(42), json!("42"), "42", "42"),
            (json!(9_007_199_254_740_991_u64), json!("a"), "9007199254740991", "a"),
            // Eight bytes of text are not a number.
            (json!("eightchr"), json!("12345678"), "eightchr", "12345678"),
            (json!("home-001"), json!("José Ås"), "home-001", "José Ås"),
        ];
        let requests = rows.iter().map(|(tenant, user, ..)| claims(&lab, json!({"tenant_id": tenant, "sub": user})));
        let probes: Vec<_> = requests.map(|request| Ok((lab.gateway(), request?))).collect::<Result<_>>()?;
        for ((.., tenant, user), seen) in rows.iter().zip(observe(&lab, probes).await?) {
            assert_eq!(seen.response.status, 200, "{version}: {tenant} {user}");
            assert_eq!(seen.forwarded("x-tenant-id"), [*tenant], "{version}");
            assert_eq!(seen.forwarded("x-user-id"), [*user], "{version}");
        }
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn sources_that_disagree_are_a_violation() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let token = token(&lab)?;
        let (outside, trusted) = (lab.gateway(), lab.sidecar(TRUSTED)?);
        let other = "care-home-0042";
        let path = |tenant: &str| Request::get(format!("/api/v1/tenants/{tenant}/rooms"));
        let cases = vec![
            case("claim and path", &outside, path(other).bearer(&token), "tenant-conflict"),
            case("claim and path, which agree", &outside, path(TENANT).bearer(&token), "200"),
            case("claim and path, by case", &outside, path("Care-Home-0107").bearer(&token), "tenant-conflict"),
            case("claim and path, escaped", &outside, path("care%2Dhome-0107").bearer(&token), "200"),
            case(
                "claim and header",
                &trusted,
                claims(&lab, json!({}))?.header("x-tenant-id", other),
                "tenant-conflict",
            ),
            case("header and path", &trusted, path(other).header("x-tenant-id", TENANT), "tenant-conflict"),
            case("header and path, which agree", &trusted, path(other).header("x-tenant-id", other), "200"),
            case("all three agree", &trusted, path(TENANT).bearer(&token).header("x-tenant-id", TENANT), "200"),
            case("users", &trusted, claims(&lab, json!({}))?.header("x-user-id", "ann"), "user-conflict"),
            case("users, who agree", &trusted, claims(&lab, json!({}))?.header("x-user-id", USER), "200"),
            case("users, by an outsider", &outside, claims(&lab, json!({}))?.header("x-user-id", "ann"), "200"),
        ];
        assert_outcomes(&lab, cases, version).await?;

        // The record says who reached for what.
        let seen = observe(&lab, [(outside, path(other).bearer(&token))]).await?;
        let tenant = &seen[0].record()["tenant"];
        assert_eq!((&tenant["id"], &tenant["other"]), (&json!(TENANT), &json!(other)), "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_path_confirms_a_tenant_and_makes_none_unless_a_trusted_peer_sent_it() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let path = || Request::get("/api/v1/tenants/care-home-0042/rooms");
        let cases = vec![
            case("an outsider without a token", &lab.gateway(), path(), "tenant-missing"),
            case("a stranger without a token", &lab.sidecar(STRANGER)?, path(), "tenant-missing"),
            case("a trusted peer", &lab.sidecar(TRUSTED)?, path(), "200"),
        ];
        assert_outcomes(&lab, cases, version).await?;
        let seen = observe(&lab, [(lab.gateway(), path()), (lab.sidecar(TRUSTED)?, path())]).await?;
        // The attempt is recorded, although the caller is not certain.
        assert_eq!(seen[0].record()["tenant"], json!({"other": "care-home-0042"}), "{version}");
        assert_eq!(seen[1].forwarded("x-tenant-id"), ["care-home-0042"], "{version}");
        assert_eq!(seen[1].record()["tenant"]["source"], "path", "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cors_preflight_needs_no_tenant_and_gets_none() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let options = || Request::new(Method::OPTIONS, "/api/v1/residents/7");
        let preflight = || options().header("origin", "https://app.care.example");
        let asks = |request: Request| request.header("access-control-request-method", "POST");
        let cases = vec![
            case("a preflight", &lab.gateway(), asks(preflight()), "200"),
            case("without a method", &lab.gateway(), preflight(), "tenant-missing"),
            case("without an origin", &lab.gateway(), asks(options()), "tenant-missing"),
            case(
                "twice a tenant",
                &lab.gateway(),
                asks(preflight()).header("x-tenant-id", "a").header("x-tenant-id", "b"),
                "identity-repeated",
            ),
        ];
        assert_outcomes(&lab, cases, version).await?;
        let seen = observe(&lab, [(lab.gateway(), asks(preflight()).header("x-tenant-id", TENANT))]).await?;
        assert_eq!(seen[0].forwarded("x-tenant-id"), [""; 0], "{version}");
        assert_eq!(seen[0].forwarded("x-tenant-pool"), [""; 0], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_without_tenant_is_refused_unless_its_context_can_do_without() -> Result<()> {
    for version in versions() {
        let lab = Lab::builder().version(version).start().await?;
        let gateway = lab.gateway();
        let without = claims(&lab, json!({"tenant_id": null}))?;
        let cases = vec![
            case("no token", &gateway, Request::get("/api/v1/residents"), "tenant-missing"),
            case("no claim", &gateway, without, "tenant-missing"),
            case("an empty claim", &gateway, claims(&lab, json!({"tenant_id": ""}))?, "tenant-missing"),
        ];
        assert_outcomes(&lab, cases, version).await?;
        assert_eq!(gateway.send(Request::get("/health")).await?.status, 200, "{version}");

        // Where no tenant is needed, the span says `unknown`.
        let mut open = lab.policy().clone();
        open["identity"]["tenant"]["required"] = false.into();
        lab.reload(&open).await?;
        let seen = observe(&lab, [(gateway, Request::get("/api/v1/residents"))]).await?;
        assert_eq!((seen[0].response.status, seen[0].tag("tenant_id")), (200, Some("unknown")), "{version}");
        assert_eq!(seen[0].record()["tenant"], json!({}), "{version}");
        assert_eq!(seen[0].forwarded("x-tenant-id"), [""; 0], "{version}");
        finish(lab).await?;
    }
    Ok(())
}

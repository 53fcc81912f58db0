//! The decisions of [`Table`], held against those of a real Envoy over random route tables.

use careplane_integration::{Client, Plugins, Request as HttpRequest, prerequisites, workspace};
use hyper::Method;
use serde_json::{Value, json};

use super::*;
use crate::check::envoy;
use crate::{manifest, yaml};

/// Each is a virtual host of one Envoy.
const TABLES: usize = 400;
const REQUESTS: usize = 40;
const SEED: u64 = 16;
const PORT: u64 = 8080;

/// The manifests of a text, and its tables.
fn with_tables<T>(text: &str, then: impl FnOnce(&[Table<'_>]) -> T) -> T {
    let documents = manifest::documents(yaml::read(&"routes.yaml".into(), text).unwrap());
    then(&tables(&Mesh::new(&documents)))
}

// === Random tables, and what Istio makes of them ===

fn pick<T: Clone>(random: &mut fastrand::Rng, of: &[T]) -> T {
    random.choice(of).unwrap().clone()
}

fn path(random: &mut fastrand::Rng) -> String {
    let segments = random.usize(..4);
    let mut path: String =
        (0..segments).map(|_| format!("/{}", pick(random, &["a", "b", "api", "API", "17", "a.b"]))).collect();
    if path.is_empty() || random.u8(..6) == 0 {
        path.push('/');
    }
    path
}

const REGEXES: [&str; 7] = ["/api/.*", "/a|/b", "/[a-z]+", ".*", r"/api/\d+", "(/a)+/?", "/(?i:api)/[^/]+"];
const VALUES: [&str; 5] = ["pool-a", "pool-b", "canary", "", "pool-ab"];
const VALUE_REGEXES: [&str; 4] = ["pool-.*", "pool-a|canary", ".+", "*"];
const HEADERS: [&str; 3] = ["x-tenant-pool", "x-release-cohort", "x-other"];
const METHODS: [&str; 3] = ["GET", "POST", "DELETE"];

fn text_match(random: &mut fastrand::Rng, values: &[&str], regexes: &[&str]) -> Value {
    match random.u8(..7) {
        0 => json!({}),
        // Envoy refuses an empty one.
        1 | 2 => json!({"prefix": pick(random, &values.iter().filter(|it| !it.is_empty()).collect::<Vec<_>>())}),
        3 => json!({"regex": pick(random, regexes)}),
        _ => json!({"exact": pick(random, values)}),
    }
}

/// An HTTPMatchRequest.
fn alternative(random: &mut fastrand::Rng) -> Value {
    let mut one = json!({});
    if random.bool() {
        one["uri"] = match random.u8(..5) {
            0 => json!({"regex": pick(random, &REGEXES)}),
            1 | 2 => json!({"exact": path(random)}),
            _ => json!({"prefix": path(random)}),
        };
        if random.u8(..5) == 0 {
            one["ignoreUriCase"] = json!(true);
        }
    }
    if random.u8(..3) == 0 {
        one["method"] = match random.bool() {
            true => json!({"exact": pick(random, &METHODS)}),
            false => json!({"regex": pick(random, &["GET|HEAD", "P.*", "[A-Z]+"])}),
        };
    }
    for (key, chance) in [("headers", 2), ("withoutHeaders", 6)] {
        if random.u8(..chance) == 0 {
            let mut headers = json!({});
            for _ in 0..random.u8(1..3) {
                headers[pick(random, &HEADERS)] = text_match(random, &VALUES, &VALUE_REGEXES);
            }
            one[key] = headers;
        }
    }
    if random.u8(..6) == 0 {
        one["queryParams"] = json!({pick(random, &["v", "debug"]): text_match(random, &["1", "12"], &["[0-9]+", "*"])});
    }
    if random.u8(..8) == 0 {
        one["authority"] = json!({pick(random, &["exact", "prefix"]): "AUTHORITY.api"});
    }
    if random.u8(..10) == 0 {
        one["scheme"] = json!({"exact": pick(random, &["http", "https"])});
    }
    if random.u8(..10) == 0 {
        one["port"] = json!(pick(random, &[PORT, 9090]));
    }
    if random.u8(..10) == 0 {
        one["gateways"] = pick(random, &[json!(["mesh"]), json!(["other"]), json!(["other", "mesh"])]);
    }
    if random.u8(..10) == 0 {
        one["sourceLabels"] = json!({"app": pick(random, &["web", "api"])});
    }
    if random.u8(..12) == 0 {
        one["sourceNamespace"] = json!(pick(random, &["core", "other"]));
    }
    one
}

fn virtual_service(random: &mut fastrand::Rng) -> Value {
    let rule = |random: &mut fastrand::Rng, index: usize| {
        let mut rule = json!({"name": format!("r{index}"), "route": [{"destination": {"host": "a"}}]});
        if random.u8(..12) > 0 {
            rule["match"] = (0..random.u8(1..4)).map(|_| alternative(random)).collect();
        }
        rule
    };
    let rules: Vec<Value> = (0..random.usize(1..9)).map(|index| rule(random, index)).collect();
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"hosts": ["a"], "http": rules},
    })
}

/// A StringMatch as a StringMatcher, or as presence (none).
fn string_match(value: &Value) -> Option<Value> {
    if value["regex"] == "*" || value.as_object().unwrap().is_empty() {
        return None;
    }
    let regex = value.get("regex").map(|regex| json!({"safe_regex": {"regex": regex}}));
    Some(regex.unwrap_or_else(|| value.clone()))
}

fn header_match(name: &str, value: &Value) -> Value {
    match string_match(value) {
        None => json!({"name": name, "present_match": true}),
        Some(value) => json!({"name": name, "string_match": value}),
    }
}

/// Istio's TranslateRouteMatch for a sidecar of `{app: web}` in namespace `core`, on its listener for [`PORT`]. None
/// where it leaves the route out.
fn route_match(one: &Value) -> Option<Value> {
    let is_other = |key: &str, own: &Value| one.get(key).is_some_and(|value| value != own);
    if is_other("port", &json!(PORT)) {
        return None;
    }
    if let Some(gateways) = one["gateways"].as_array() {
        if !gateways.contains(&json!("mesh")) {
            return None;
        }
    } else if is_other("sourceLabels", &json!({"app": "web"})) || is_other("sourceNamespace", &json!("core")) {
        return None;
    }
    let mut route = json!({"case_sensitive": one["ignoreUriCase"] != true, "headers": [], "query_parameters": []});
    match one["uri"].as_object().and_then(|uri| uri.iter().next()) {
        None => route["prefix"] = json!("/"),
        Some((key, value)) => match key.as_str() {
            "exact" => route["path"] = value.clone(),
            "prefix" => route["prefix"] = value.clone(),
            "regex" => route["safe_regex"] = json!({"regex": value}),
            other => unreachable!("{other}"),
        },
    }
    let headers = route["headers"].as_array_mut().unwrap();
    for (name, value) in one["headers"].as_object().into_iter().flatten() {
        headers.push(header_match(name, value));
    }
    for (name, value) in one["withoutHeaders"].as_object().into_iter().flatten() {
        let mut header = header_match(name, value);
        header["invert_match"] = json!(true);
        if header.get("present_match").is_none() {
            header["treat_missing_header_as_empty"] = json!(true);
        }
        headers.push(header);
    }
    for key in ["method", "authority", "scheme"] {
        if let Some(value) = one.get(key) {
            headers.push(header_match(&format!(":{key}"), value));
        }
    }
    for (name, value) in one["queryParams"].as_object().into_iter().flatten() {
        route["query_parameters"].as_array_mut().unwrap().push(match string_match(value) {
            None => json!({"name": name, "present_match": true}),
            Some(value) => json!({"name": name, "string_match": value}),
        });
    }
    Some(route)
}

fn answering(route_match: Value, rule: &Value) -> Value {
    json!({"match": route_match, "direct_response": {"status": 200, "body": {"inline_string": rule["name"]}}})
}

fn envoy_routes_of_service(service: &Value) -> Vec<Value> {
    let mut routes = Vec::new();
    for rule in service["spec"]["http"].as_array().unwrap() {
        match rule["match"].as_array() {
            None => routes.push(answering(json!({"prefix": "/"}), rule)),
            Some(alternatives) => {
                routes.extend(alternatives.iter().filter_map(route_match).map(|one| answering(one, rule)));
            }
        }
    }
    routes
}

/// An HTTPRoute.
fn http_route(random: &mut fastrand::Rng) -> Value {
    let one = |random: &mut fastrand::Rng| {
        let mut one = json!({});
        if random.u8(..4) > 0 {
            one["path"] = match random.u8(..5) {
                0 => json!({"type": "RegularExpression", "value": pick(random, &REGEXES)}),
                1 => json!({"type": "Exact", "value": path(random)}),
                _ => json!({"type": "PathPrefix", "value": path(random)}),
            };
        }
        let mut headers = HEADERS.to_vec();
        random.shuffle(&mut headers);
        headers.truncate(random.usize(..3));
        let header = |name: &&str| match random.u8(..4) {
            0 => json!({"name": name, "type": "RegularExpression", "value": pick(random, &["pool-.*", ".+"])}),
            _ => json!({"name": name, "value": pick(random, &["pool-a", "pool-b", "canary"])}),
        };
        one["headers"] = headers.iter().map(header).collect();
        if random.u8(..3) == 0 {
            one["method"] = json!(pick(random, &METHODS));
        }
        if random.u8(..5) == 0 {
            one["queryParams"] = json!([{"name": "v", "value": pick(random, &["1", "12"])}]);
        }
        one
    };
    let rule = |random: &mut fastrand::Rng, index: usize| {
        let matches: Vec<Value> = (0..random.u8(1..3)).map(|_| one(random)).collect();
        json!({"name": format!("r{index}"), "matches": matches, "backendRefs": [{"name": "a", "port": 80}]})
    };
    let rules: Vec<Value> = (0..random.usize(1..8)).map(|index| rule(random, index)).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"parentRefs": [{"name": "g"}], "hostnames": ["a"], "rules": rules},
    })
}

/// Istio's conversion: an HTTPMatchRequest each, sorted, a prefix of whole segments.
fn envoy_routes_of_http_route(route: &Value) -> Vec<Value> {
    let mut sorted = Vec::new();
    for rule in route["spec"]["rules"].as_array().unwrap() {
        for one in rule["matches"].as_array().unwrap() {
            let value = one["path"]["value"].as_str().unwrap_or("/");
            let cut = if value == "/" { value } else { value.strip_suffix('/').unwrap_or(value) };
            let (rank, length, mut out) = match one["path"]["type"].as_str() {
                Some("Exact") => (3, value.len(), json!({"path": value})),
                Some("RegularExpression") => (1, value.len(), json!({"safe_regex": {"regex": value}})),
                _ if cut == "/" => (2, 1, json!({"prefix": "/"})),
                _ => (2, cut.len(), json!({"path_separated_prefix": cut})),
            };
            let mut headers = Vec::new();
            let text = |it: &Value| match it["type"].as_str() {
                Some(_) => json!({"safe_regex": {"regex": it["value"]}}),
                None => json!({"exact": it["value"]}),
            };
            for header in one["headers"].as_array().unwrap() {
                headers.push(json!({"name": header["name"], "string_match": text(header)}));
            }
            let length_of_headers = headers.len();
            if let Some(method) = one.get("method") {
                headers.push(json!({"name": ":method", "string_match": {"exact": method}}));
            }
            out["headers"] = headers.into();
            let query: Vec<Value> = one["queryParams"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| json!({"name": it["name"], "string_match": text(it)}))
                .collect();
            let order = (rank, length, one.get("method").is_some(), length_of_headers, query.len());
            out["query_parameters"] = query.into();
            sorted.push((order, answering(out, rule)));
        }
    }
    sorted.sort_by(|(one, _), (other, _)| other.cmp(one));
    sorted.into_iter().map(|(_, route)| route).collect()
}

fn request(random: &mut fastrand::Rng, table: usize) -> Request {
    let mut request = Request::new(pick(random, &["GET", "POST", "DELETE", "HEAD", "PUT"]), &path(random));
    request.authority = format!("t{table}.{}", pick(random, &["api", "app"]));
    request.port = Some(PORT);
    for name in HEADERS {
        if random.bool() {
            request = request.with(name, pick(random, &VALUES));
        }
    }
    for name in ["v", "debug"] {
        if random.u8(..3) == 0 {
            request.query.push((name.to_owned(), pick(random, &["1", "12", ""]).to_owned()));
        }
    }
    // As a sidecar's own application is.
    request.with("@source.labels.app", "web").with("@source.namespace", "core")
}

/// A virtual host for each table.
fn manager(tables: &[Vec<Value>]) -> Value {
    let host = |(index, routes): (usize, &Vec<Value>)| {
        let domain = format!("t{index}.*");
        json!({"name": format!("t{index}"), "domains": [domain], "routes": routes})
    };
    json!({"route_config": {"virtual_hosts": tables.iter().enumerate().map(host).collect::<Vec<_>>()}})
}

/// Asks a real Envoy for its decision: the name of the rule.
async fn ask(connection: &mut careplane_integration::client::Connection, request: &Request) -> Option<String> {
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = if query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, query.join("&")) };
    let method = Method::from_bytes(request.method.as_bytes()).unwrap();
    let mut http = HttpRequest::new(method, target).header("host", &request.authority);
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.starts_with('@')) {
        http = http.header(name, value);
    }
    // An answer to HEAD has no body, so its name travels in a header too.
    let response = connection.send(http).await.unwrap();
    match response.status {
        200 => response.header("x-rule"),
        404 => None,
        other => panic!("{other}: {request:?}"),
    }
}

#[tokio::test]
async fn a_route_is_decided_as_envoy_decides_it() {
    if !prerequisites(workspace::version(), Plugins::None) {
        return;
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    let manifests: Vec<Value> = (0..TABLES)
        .map(|index| {
            let manifest = if index % 3 == 0 { http_route(&mut random) } else { virtual_service(&mut random) };
            serde_json::from_str(&manifest.to_string().replace("AUTHORITY", &format!("t{index}"))).unwrap()
        })
        .collect();
    let routes: Vec<Vec<Value>> = manifests
        .iter()
        .map(|manifest| {
            let mut routes = match manifest["kind"].as_str() {
                Some("HTTPRoute") => envoy_routes_of_http_route(manifest),
                _ => envoy_routes_of_service(manifest),
            };
            for route in &mut routes {
                let name = route["direct_response"]["body"]["inline_string"].clone();
                route["response_headers_to_add"] = json!([{"header": {"key": "x-rule", "value": name}}]);
            }
            routes
        })
        .collect();

    let mut running = envoy::start(&[("routes", manager(&routes))]).await;
    let client = Client::plain(running.envoy.admin().listener("routes").await.unwrap().unwrap());
    let mut connection = client.connect().await.unwrap();

    let (mut taken, mut refused) = (0, 0);
    for (index, manifest) in manifests.iter().enumerate() {
        let requests: Vec<Request> = (0..REQUESTS).map(|_| request(&mut random, index)).collect();
        let text = manifest.to_string();
        let ours = with_tables(&text, |tables| {
            let name = |request| Some(tables[0].decide(request)?.rule.text(&["name"]).unwrap().to_owned());
            requests.iter().map(name).collect::<Vec<_>>()
        });
        for (request, ours) in requests.iter().zip(ours) {
            let seen = ask(&mut connection, request).await;
            assert_eq!(ours, seen, "{request:?}\n{text}\n{:#}", json!(routes[index]));
            if seen.is_some() { taken += 1 } else { refused += 1 }
        }
    }
    // A test that only ever saw one answer would have shown nothing.
    assert!(taken > TABLES * REQUESTS / 4 && refused > TABLES * REQUESTS / 20, "{taken} taken, {refused} refused");
    running.envoy.stop().await.unwrap();
}

#[test]
fn a_delegate_takes_what_its_parent_and_it_ask_for() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: a}
spec:
  hosts: [api.example]
  gateways: [edge]
  http:
    - {match: [{uri: {prefix: /residents}}, {uri: {exact: /people}}], delegate: {name: residents, namespace: b}}
    - {match: [{uri: {prefix: /medications}}], delegate: {name: absent, namespace: b}}
    - {name: rest, route: [{destination: {host: rest}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: residents, namespace: b}
spec:
  http:
    - {name: notes, match: [{uri: {prefix: /residents/notes}}], route: [{destination: {host: notes}}]}
    - {name: contradicts, match: [{uri: {prefix: /elsewhere}}], route: [{destination: {host: elsewhere}}]}
    - {name: canary, match: [{headers: {x-release-cohort: {exact: canary}}}], route: [{destination: {host: canary}}]}
    - {name: stable, route: [{destination: {host: stable}}]}
";
    let table = [
        ("/residents/notes", "", "notes"),
        ("/residents/17", "", "stable"),
        ("/residents/17", "canary", "canary"),
        ("/people", "canary", "canary"),
        ("/people/17", "canary", "rest"),
        ("/elsewhere", "", "rest"),
        ("/medications", "", "rest"),
    ];
    with_tables(text, |tables| {
        assert_eq!(tables.len(), 1);
        for (path, cohort, expected) in table {
            let request = Request::new("GET", path).with("x-release-cohort", cohort);
            let decided = tables[0].decide(&request).unwrap().rule.text(&["name"]).unwrap();
            assert_eq!(decided, expected, "{path} {cohort}");
        }
    });
}

#[test]
fn a_grpc_route_takes_services_and_methods() {
    let text = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: records, namespace: care}
spec:
  parentRefs: [{kind: Service, group: '', name: records}]
  rules:
    - {name: any, backendRefs: [{name: any}]}
    - {name: pattern, matches: [{method: {type: RegularExpression, service: 'care\\.[a-z]+', method: Get}}]}
    - {name: service, matches: [{method: {service: care.Records}}]}
    - {name: method, matches: [{method: {method: List}}]}
    - {name: both, matches: [{method: {service: care.Records, method: Get}}]}
    - {name: canary, matches: [{method: {service: care.Records, method: Get}, \
    headers: [{name: X-Cohort, value: canary}]}]}
";
    let table = [
        ("/care.Records/Get", "stable", "both"),
        ("/care.Records/Get", "canary", "canary"),
        ("/care.Records/Put", "canary", "service"),
        ("/care.plans/Get", "", "pattern"),
        ("/other/List", "", "method"),
        ("/other/Get", "", "any"),
    ];
    with_tables(text, |tables| {
        for (path, cohort, expected) in table {
            let request = Request::new("POST", path).with("x-cohort", cohort);
            let decided = tables[0].decide(&request).unwrap().rule.text(&["name"]).unwrap();
            assert_eq!(decided, expected, "{path} {cohort}");
        }
    });
}

#[test]
fn examples_are_accepted_by_what_they_are_examples_of() {
    let mut random = fastrand::Rng::with_seed(SEED);
    for _ in 0..300 {
        let text = virtual_service(&mut random).to_string();
        with_tables(&text, |tables| {
            for route in tables.iter().flat_map(|table| &table.routes) {
                for example in route.conditions.examples() {
                    assert!(route.conditions.accept(&example), "{example:?}\n{text}");
                }
            }
        });
    }
    for regex in REGEXES {
        assert!(TextMatch::regex(regex).example().is_some(), "{regex}");
    }
    // Envoy takes none that is so large, and the example of it would fill the memory.
    for regex in ["/a{4000000000}", "/((a{9999}){9999}){9999}"] {
        assert_eq!(TextMatch::regex(regex).example(), None, "{regex}");
    }
}

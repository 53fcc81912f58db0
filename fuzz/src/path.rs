//! Paths: normal form and classification, beside a model of each.
//!
//! Input: method, path, then the routes of a policy, one a part: `GET,POST /templates/{id}`.

use careplane_policy::{Method, Policy, path};
use serde_json::{Value, json};

use crate::input;

const ROUTES_MAX: usize = 12;

/// A route as the model sees it.
struct Route {
    methods: Vec<String>,
    segments: Vec<String>,
    text: String,
}

pub(crate) fn run(data: &[u8]) {
    let [method, path, routes] = input::parts(data);
    let normal = path::normalise(path);
    assert_eq!(normal, normal_form(path), "{:?}", String::from_utf8_lossy(path));
    assert!(path::is_normal(&normal) || normal.contains(['%', ';', '\\', '?', '#']), "{normal:?}");

    let routes: Vec<Route> = routes.split(|byte| *byte == 0x1e).take(ROUTES_MAX).filter_map(Route::read).collect();
    let Ok(policy) = Policy::from_json(document(&routes).to_string().as_bytes()) else { return };
    let about = policy.classify(Method::new(method), path);
    let expected = winner(&routes, &String::from_utf8_lossy(method), &normal);
    let found = about.template.as_ref().map(|template| template.text().to_string());
    assert_eq!(found.as_deref(), expected.map(|route| &*route.text), "{method:?} {normal:?}");
    for (index, name) in expected.into_iter().flat_map(Route::parameters) {
        let segments: Vec<&str> = normal.split('/').skip(1).collect();
        let captured = match name.strip_prefix('*') {
            Some(_) => segments[index..].join("/"),
            None => segments[index].to_owned(),
        };
        assert_eq!(about.capture(name.trim_start_matches('*')), Some(&*captured), "{name} of {normal:?}");
    }
}

/// A policy in which each route is a context of its own.
fn document(routes: &[Route]) -> Value {
    let context = |(index, route): (usize, &Route)| {
        let mut matched = json!({"path": route.text});
        if !route.methods.is_empty() {
            matched["methods"] = json!(route.methods);
        }
        json!({"name": format!("c{index}"), "complianceLevel": "low", "match": [matched]})
    };
    let contexts: Vec<Value> = routes.iter().enumerate().map(context).collect();
    json!({"version": careplane_policy::VERSION, "contexts": contexts})
}

impl Route {
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (methods, path) = text.split_once(' ')?;
        let methods = methods.split(',').filter(|method| !method.is_empty()).map(str::to_owned).collect();
        let segments = path.split('/').skip(1).map(str::to_owned).collect();
        Some(Self { methods, segments, text: path.to_owned() })
    }

    fn takes(&self, method: &str) -> bool {
        // A policy that says GET means HEAD too.
        self.methods.is_empty() || self.methods.iter().any(|own| own == method || (own == "GET" && method == "HEAD"))
    }

    /// Place and name of each parameter; the name of the rest with its star.
    fn parameters(&self) -> impl Iterator<Item = (usize, &str)> {
        let name = |segment: &'_ str| segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')).map(str::len);
        self.segments
            .iter()
            .enumerate()
            .filter(move |(_, segment)| name(segment).is_some())
            .map(|(index, segment)| (index, &segment[1..segment.len() - 1]))
    }

    /// How specific each segment of the match is: written, a parameter, the rest; none when it does not match.
    fn matches(&self, path: &str) -> Option<Vec<u8>> {
        let path: Vec<&str> = path.split('/').skip(1).collect();
        let mut ranks = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let sent = path.get(index).filter(|sent| !sent.is_empty() || path.len() == 1)?;
            if segment.starts_with("{*") {
                return (!sent.is_empty()).then(|| [ranks, vec![2]].concat());
            }
            if segment.starts_with('{') && !sent.is_empty() {
                ranks.push(1);
            } else if segment.eq_ignore_ascii_case(sent) {
                ranks.push(0);
            } else {
                return None;
            }
        }
        (self.segments.len() == path.len()).then_some(ranks)
    }
}

/// The most specific of the routes that match: segment by segment from the left, then by method.
fn winner<'r>(routes: &'r [Route], method: &str, path: &str) -> Option<&'r Route> {
    let same_path = |one: &Route, other: &Route| {
        one.segments.len() == other.segments.len()
            && one.segments.iter().zip(&other.segments).all(|(a, b)| {
                let kind = |segment: &str| (segment.starts_with("{*"), segment.starts_with('{'));
                kind(a) == kind(b) && (a.starts_with('{') || a.eq_ignore_ascii_case(b))
            })
    };
    let candidates = routes.iter().filter(|route| route.takes(method));
    // The methods that a path names are not those of the same path without methods.
    let candidates = candidates.filter(|route| {
        !route.methods.is_empty()
            || !routes.iter().any(|other| !other.methods.is_empty() && same_path(route, other) && other.takes(method))
    });
    candidates
        .filter_map(|route| Some((route.matches(path)?, route)))
        .min_by(|a, b| a.0.cmp(&b.0))
        .map(|(_, route)| route)
}

/// The normal form, by rewriting a text until no rule of the table in `path.rs` applies any more.
fn normal_form(raw: &[u8]) -> String {
    let end = raw.iter().position(|byte| *byte == b'?' || *byte == b'#').unwrap_or(raw.len());
    let mut text = String::from("/");
    for chunk in decode_once(&raw[..end]).utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend((!chunk.invalid().is_empty()).then_some('\u{fffd}'));
    }
    text = text.replace('\\', "/");
    while let Some(start) = text.find(';') {
        let end = text[start..].find('/').map_or(text.len(), |length| start + length);
        text.replace_range(start..end, "");
    }
    text.push('/');
    loop {
        while text.contains("//") || text.contains("/./") {
            text = text.replace("//", "/").replace("/./", "/");
        }
        let Some(at) = text.find("/../") else { break };
        let parent = text[..at].rfind('/').unwrap_or(0);
        text.replace_range(parent..at + 3, "");
    }
    if text.len() > 1 {
        text.pop();
    }
    text
}

fn decode_once(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut index = 0;
    while index < raw.len() {
        let escape = raw
            .get(index..index + 3)
            .filter(|escape| escape[0] == b'%' && escape[1..].iter().all(u8::is_ascii_hexdigit));
        match escape.and_then(|escape| std::str::from_utf8(&escape[1..]).ok()) {
            Some(hex) => {
                decoded.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
                index += 3;
            }
            None => {
                decoded.push(raw[index]);
                index += 1;
            }
        }
    }
    decoded
}

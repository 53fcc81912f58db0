//! Requests that stand for many: those that a route is for.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::Request;
use super::matching::{Conditions, PathMatch, TextMatch};

/// What stands for a parameter of a path template: digits are words, segments and numbers.
const PARAMETER: &str = "17";
/// What stands for a value of which any will do.
const ANY: &str = "x1";
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A path of a template: `/residents/{id}` → `/residents/17`.
pub fn sample_path(template: &str) -> String {
    let segment = |segment: &str| if segment.starts_with('{') { PARAMETER.to_owned() } else { segment.to_owned() };
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

// === impl Conditions ===

impl Conditions<'_> {
    /// Requests that these conditions accept: each with another path or method. Empty where an example of a regular
    /// expression cannot be made.
    pub fn examples(&self) -> Vec<Request> {
        let methods: Vec<String> = match &self.method {
            Some(method) => METHODS
                .iter()
                .filter(|known| method.accepts(Some(known)))
                .map(|known| (*known).to_owned())
                .chain(method.example())
                .collect(),
            None => METHODS.map(ToOwned::to_owned).to_vec(),
        };
        let mut requests = Vec::new();
        for path in self.path.examples() {
            for method in &methods {
                let request = self.fit(Request::new(method, &path));
                if self.accept(&request) && !requests.contains(&request) {
                    requests.push(request);
                }
            }
        }
        requests
    }

    /// The request with all that these conditions ask for besides method and path.
    pub fn fit(&self, mut request: Request) -> Request {
        if let Some(authority) = self.authority.as_ref().and_then(TextMatch::example) {
            request.authority = authority;
        }
        if let Some(scheme) = self.scheme.as_ref().and_then(TextMatch::example) {
            request.scheme = scheme;
        }
        request.port = self.port;
        for (name, value) in &self.query {
            if let Some(value) = value.example() {
                request.query.push((name.clone(), value));
            }
        }
        for header in self.headers.iter().filter(|header| !header.inverted) {
            if let Some(value) = header.value.example() {
                request = request.with(&header.name, &value);
            }
        }
        request
    }
}

impl PathMatch {
    fn examples(&self) -> Vec<String> {
        match self {
            Self::Exact(path) => vec![path.clone()],
            Self::Prefix(prefix) => vec![prefix.clone(), format!("{prefix}{ANY}")],
            Self::Segments(prefix) => vec![prefix.clone(), format!("{}/{ANY}", prefix.trim_end_matches('/'))],
            Self::Regex(regex) => regex.example().into_iter().collect(),
        }
    }
}

impl TextMatch {
    /// A value that it accepts.
    pub fn example(&self) -> Option<String> {
        match self {
            Self::Present => Some(ANY.to_owned()),
            Self::Exact(text) => Some(text.clone()),
            // One of its own, so that it is not what another one takes exactly.
            Self::Prefix(text) => Some(format!("{text}{ANY}")),
            Self::Regex { compiled: None, .. } => None,
            Self::Regex { text, .. } => {
                let example = shortest(&regex_syntax::parse(text).ok()?)?;
                self.accepts(Some(&example)).then_some(example)
            }
        }
    }
}

/// A text that a regular expression matches, without what it may leave out.
fn shortest(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(String::new()),
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
        HirKind::Class(Class::Unicode(class)) => {
            // A letter or a digit where there is one: what people write stands for itself.
            let usual = ('a'..='z')
                .chain('0'..='9')
                .chain('A'..='Z')
                .find(|character| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(character)));
            usual.or(class.ranges().first().map(|range| range.start())).map(String::from)
        }
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().first().map(|range| char::from(range.start()).to_string())
        }
        HirKind::Repetition(repetition) => {
            Some(shortest(&repetition.sub)?.repeat(usize::try_from(repetition.min).ok()?))
        }
        HirKind::Capture(capture) => shortest(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(shortest).collect(),
        HirKind::Alternation(parts) => parts.iter().find_map(shortest),
    }
}

//! Method and path → the route that is most specific.
//!
//! What does not take the method does not count: `GET /medications/administer` has to find `/medications/{id}` although
//! `POST /medications/administer` has a route of its own, or a request could leave its context by its method.

mod tree;

use std::fmt::{self, Display};
use std::sync::Arc;

use self::tree::{NONE, Tree, at, at_mut};
use crate::problem::Problems;
use crate::template::Template;

/// The methods of RFC 9110 and RFC 5789; any other is [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `CONNECT`.
    Connect,
    /// One that no policy can name.
    Other,
}

/// A set of methods, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Methods(u16);

/// A route of the document: which methods, which paths, where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) methods: Methods,
    pub(crate) template: Arc<Template>,
    /// Where it is written.
    pub(crate) place: MatchPath,
}

/// `contexts[2].match[0].path`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatchPath {
    pub(crate) context: usize,
    pub(crate) index: usize,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    tree: Tree,
    /// In the order in which they were given to [`Router::new`].
    routes: Vec<Methodical>,
}

/// What the router keeps of a route.
#[derive(Debug, Clone)]
struct Methodical {
    methods: Methods,
    /// The next route with the same path.
    next: u32,
}

// === impl Method ===

impl Method {
    /// The method that `:method` names. Names are case-sensitive (RFC 9110 §9.1).
    pub fn new(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// The name of the method; `OTHER` for one that no policy can name, whose real name a caller chose.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "OTHER",
        }
    }
}

// === impl Methods ===

impl Methods {
    pub(crate) const ALL: Self = Self(u16::MAX);
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn with(self, method: Method) -> Self {
        Self(self.0 | Self::bit(method))
    }

    fn bit(method: Method) -> u16 {
        1 << method as u16
    }

    fn has(self, method: Method) -> bool {
        self.0 & Self::bit(method) != 0
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Display for MatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "contexts[{}].match[{}].path", self.context, self.index)
    }
}

// === impl Router ===

impl Router {
    /// Builds the tree. Routes that could both claim a request are problems, at the place of the later one.
    ///
    /// A path written for all methods and again for some of them is fine: the named methods win.
    #[inline(never)]
    pub(crate) fn new(routes: &[Route], problems: &mut Problems) -> Self {
        let mut router = Self { tree: Tree::new(), routes: Vec::with_capacity(routes.len()) };
        let ends: Vec<u32> = routes.iter().map(|route| router.add(route, routes, problems)).collect();
        if router.tree.contested(|first| router.chain(first).fold(0, |all, (_, route)| all | route.methods.0)) {
            router.report_overlaps(routes, &ends, problems);
        }
        router
    }

    /// The number of the route of a request whose path is in normal form, as it was given to [`Router::new`].
    pub(crate) fn find(&self, method: Method, normal_path: &str) -> Option<usize> {
        // Without regard to case; see `path`.
        usize::try_from(self.tree.find(normal_path.as_bytes(), |first| self.taking(first, method))?).ok()
    }

    /// Adds the next of `routes`, and returns where its path ends.
    fn add(&mut self, route: &Route, routes: &[Route], problems: &mut Problems) -> u32 {
        let end = self.tree.insert(route.template.text());
        let mut last = NONE;
        for (number, other) in self.chain(self.tree.first(end)) {
            let repeats = (other.methods == Methods::ALL) == (route.methods == Methods::ALL);
            if repeats
                && other.methods.meets(route.methods)
                && let Some(other) = at(routes, number)
            {
                let message =
                    format!("{:?} repeats {} ({:?})", route.template.text(), other.place, other.template.text());
                problems.add(route.place.to_string(), message);
            }
            last = number;
        }
        let number = u32::try_from(self.routes.len()).unwrap_or(NONE);
        match at_mut(&mut self.routes, last) {
            Some(last) => last.next = number,
            None => self.tree.set_first(end, number),
        }
        self.routes.push(Methodical { methods: route.methods, next: NONE });
        end
    }

    /// Reports each route that has a parameter where one before it has its rest, or the other way round, if both take
    /// a method.
    #[inline(never)]
    fn report_overlaps(&self, routes: &[Route], ends: &[u32], problems: &mut Problems) {
        let takes: Vec<Methods> = routes.iter().zip(ends).map(|(route, end)| self.taken(route.methods, *end)).collect();
        let mut accepted: Vec<(&Route, u32, Methods)> = Vec::with_capacity(routes.len());
        for ((route, end), takes) in routes.iter().zip(ends).zip(takes) {
            let overlaps = |(_, other_end, other_takes): &&(&Route, u32, Methods)| {
                takes.meets(*other_takes) && self.tree.contest(*end, *other_end)
            };
            let Some((other, _, _)) = accepted.iter().find(overlaps) else {
                accepted.push((route, *end, takes));
                continue;
            };
            if !problems.covers(&route.place.to_string()) {
                let message = format!(
                    "{:?} overlaps with {} ({:?}): neither is more specific",
                    route.template.text(),
                    other.place,
                    other.template.text()
                );
                problems.add(route.place.to_string(), message);
            }
        }
    }

    /// Which methods a route with these takes in the end: one for all leaves the methods to those that name them.
    fn taken(&self, methods: Methods, end: u32) -> Methods {
        let others = self.chain(self.tree.first(end)).map(|(_, route)| route.methods);
        let named = others.filter(|methods| *methods != Methods::ALL).fold(0, |all, methods| all | methods.0);
        if methods == Methods::ALL { Methods(methods.0 & !named) } else { methods }
    }

    /// The routes with one path.
    fn chain(&self, first: u32) -> impl Iterator<Item = (u32, &Methodical)> {
        std::iter::successors(self.numbered(first), |(_, route)| self.numbered(route.next))
    }

    fn numbered(&self, number: u32) -> Option<(u32, &Methodical)> {
        at(&self.routes, number).map(|route| (number, route))
    }

    /// Of the routes with one path, the one that takes a method.
    fn taking(&self, first: u32, method: Method) -> Option<u32> {
        let mut general = None;
        for (number, route) in self.chain(first) {
            if route.methods == Methods::ALL {
                general = Some(number);
            } else if route.methods.has(method) {
                return Some(number);
            }
        }
        general
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn router(routes: &[(&[Method], &str)]) -> (Router, Problems) {
        let routes: Vec<Route> = routes
            .iter()
            .enumerate()
            .map(|(index, (methods, path))| Route {
                methods: match methods {
                    [] => Methods::ALL,
                    some => some.iter().fold(Methods::NONE, |set, method| set.with(*method)),
                },
                template: Template::new(path).unwrap().into(),
                place: MatchPath { context: 0, index },
            })
            .collect();
        let mut problems = Problems::default();
        let router = Router::new(&routes, &mut problems);
        (router, problems)
    }

    #[test]
    fn the_most_specific_route_of_the_method_wins() {
        use Method::{Delete, Get, Post};
        let (router, problems) = router(&[
            (&[Post], "/medications/administer"),
            (&[], "/medications/{id}"),
            (&[], "/medications/{id}/{*rest}"),
            (&[Get], "/medications"),
            (&[], "/medications"),
        ]);
        assert_eq!(problems.to_string(), "");
        for (method, path, expected) in [
            (Post, "/medications/administer", Some(0)),
            (Get, "/medications/administer", Some(1)),
            (Method::Other, "/medications/administer", Some(1)),
            (Post, "/MEDICATIONS/Administer", Some(0)),
            (Post, "/medications/administer/x", Some(2)),
            (Get, "/medications", Some(3)),
            (Delete, "/medications", Some(4)),
            (Get, "/", None),
            (Get, "/medication", None),
            (Get, "/medications/\u{fffd}", Some(1)),
        ] {
            assert_eq!(router.find(method, path), expected, "{method:?} {path}");
        }
    }

    #[test]
    fn a_deeper_template_does_not_hide_a_parameter() {
        let (router, _) = router(&[(&[], "/a/{id}/x"), (&[], "/a/b/y")]);
        assert_eq!(router.find(Method::Get, "/a/b/x"), Some(0));
        assert_eq!(router.find(Method::Get, "/a/b/y"), Some(1));
    }

    #[test]
    fn a_rest_takes_what_no_parameter_leads_to_and_never_nothing() {
        use Method::{Get, Post};
        let (router, problems) =
            router(&[(&[Post], "/files/{*rest}"), (&[Get], "/files/{id}/raw"), (&[], "/files/a"), (&[], "/")]);
        assert_eq!(problems.to_string(), "");
        for (method, path, expected) in [
            (Post, "/files/x/raw", Some(0)),
            (Get, "/files/x/raw", Some(1)),
            (Get, "/files/x", None),
            (Post, "/files/a/b", Some(0)),
            (Post, "/files/A", Some(2)),
            (Post, "/files", None),
            (Post, "/files/", None),
            (Get, "/files//raw", None),
            (Get, "/", Some(3)),
            (Get, "", None),
        ] {
            assert_eq!(router.find(method, path), expected, "{method:?} {path}");
        }
    }

    #[test]
    fn each_of_many_routes_is_found() {
        let paths: Vec<String> =
            (0..3_000).map(|number| format!("/service-{}/{{id}}/{number}", number % 700)).collect();
        let routes: Vec<(&[Method], &str)> = paths.iter().map(|path| (&[][..], path.as_str())).collect();
        let (router, problems) = router(&routes);
        assert_eq!(problems.to_string(), "");
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(router.find(Method::Get, &path.replace("{id}", "x")), Some(number));
        }
        assert_eq!(router.find(Method::Get, "/service-1/x/2"), None);
    }

    #[test]
    fn repetitions_and_overlaps_are_problems_once() {
        let (_, problems) = router(&[
            (&[], "/a/{id}"),
            (&[], "/a/{name}"),
            (&[Method::Get], "/b"),
            (&[Method::Get, Method::Post], "/B"),
            (&[], "/c/{*rest}"),
            (&[], "/c/{id}"),
            (&[Method::Get], "/d/{*rest}"),
            (&[Method::Post], "/d/{id}"),
            (&[], "/d/{id}/x"),
        ]);
        let listed: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            listed,
            [
                r#"contexts[0].match[1].path: "/a/{name}" repeats contexts[0].match[0].path ("/a/{id}")"#,
                r#"contexts[0].match[3].path: "/B" repeats contexts[0].match[2].path ("/b")"#,
                concat!(
                    r#"contexts[0].match[5].path: "/c/{id}" overlaps with contexts[0].match[4].path "#,
                    r#"("/c/{*rest}"): neither is more specific"#,
                ),
                concat!(
                    r#"contexts[0].match[8].path: "/d/{id}/x" overlaps with contexts[0].match[6].path "#,
                    r#"("/d/{*rest}"): neither is more specific"#,
                ),
            ]
        );
    }
}

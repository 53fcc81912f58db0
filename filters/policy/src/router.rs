//! Method and path → the route that is most specific: radix trees, one for each set of methods that differs.
//!
//! One tree for each method rather than one tree with methods at its leaves: `GET /medications/administer` has to find
//! `/medications/{id}` although `POST /medications/administer` has a leaf of its own, or a request could leave its
//! context by its method.

use std::fmt::{self, Display};

use crate::problem::Problems;
use crate::slots::Slots;
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
    pub(crate) template: Template,
    /// Where it is written.
    pub(crate) place: MatchPath,
}

/// `contexts[2].match[0].path`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MatchPath {
    pub(crate) context: usize,
    pub(crate) index: usize,
}

/// Where each method's requests go. `usize` is the index of the route that was given to [`Router::new`].
#[derive(Debug, Clone)]
pub(crate) struct Router {
    trees: Vec<matchit::Router<usize>>,
    /// Method → index into `trees`.
    tree_of: [u8; Method::ALL.len()],
}

// === impl Method ===

impl Method {
    const ALL: [Self; 10] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Trace,
        Self::Connect,
        Self::Other,
    ];

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
    /// Builds the trees. Routes that could both claim a request are problems, at the place of the later one.
    ///
    /// A path written for all methods and again for some of them is fine: the named methods win.
    #[inline(never)]
    pub(crate) fn new(routes: &[Route], problems: &mut Problems) -> Self {
        let keys: Vec<String> = routes.iter().map(|route| route.template.key()).collect();
        // The routes of one path, in groups by their keys.
        let mut groups: Vec<Vec<usize>> = Vec::with_capacity(routes.len());
        let mut slots = Slots::for_texts(routes.len());
        let mut methods: Vec<Methods> = routes.iter().map(|route| route.methods).collect();
        for (index, (route, key)) in routes.iter().zip(&keys).enumerate() {
            let key_of = |group: u32| {
                let group = usize::try_from(group).ok().and_then(|group| groups.get(group));
                group.and_then(|group| keys.get(*group.first()?)).map_or(&[][..], String::as_bytes)
            };
            let group = slots.find(key.as_bytes(), &key_of).unwrap_or_else(|| {
                let new = u32::try_from(groups.len()).unwrap_or_default();
                slots.put(new, key.as_bytes(), &key_of);
                new
            });
            let group = usize::try_from(group).unwrap_or_default();
            if group == groups.len() {
                groups.push(Vec::new());
            }
            let Some(others) = groups.get_mut(group) else { continue };
            let named = route.methods != Methods::ALL;
            for other in others.iter().filter_map(|other| routes.get(*other)) {
                if (other.methods != Methods::ALL) == named && other.methods.meets(route.methods) {
                    let message =
                        format!("{:?} repeats {} ({:?})", route.template.text(), other.place, other.template.text());
                    problems.add(route.place.to_string(), message);
                }
            }
            others.push(index);
        }
        // Take the named methods out of the routes for all.
        for group in &groups {
            let named = group
                .iter()
                .filter_map(|index| routes.get(*index))
                .filter(|route| route.methods != Methods::ALL)
                .fold(0, |all, route| all | route.methods.0);
            for index in group {
                if let Some(methods) = methods.get_mut(*index).filter(|methods| **methods == Methods::ALL) {
                    methods.0 &= !named;
                }
            }
        }
        let mut router = Self { trees: Vec::new(), tree_of: [0; Method::ALL.len()] };
        let mut representatives: Vec<Method> = Vec::new();
        for (method, tree) in Method::ALL.into_iter().zip(router.tree_of.iter_mut()) {
            let known = representatives
                .iter()
                .position(|other| methods.iter().all(|methods| methods.has(method) == methods.has(*other)));
            let index = known.unwrap_or_else(|| {
                let accepting = methods.iter().map(|methods| methods.has(method));
                let accepting = routes.iter().zip(&keys).zip(accepting).enumerate();
                let accepting =
                    accepting.filter(|(_, (_, accepts))| *accepts).map(|(index, (route, _))| (index, route));
                router.trees.push(tree_for(accepting, problems));
                representatives.push(method);
                representatives.len().saturating_sub(1)
            });
            *tree = u8::try_from(index).unwrap_or_default();
        }
        router
    }

    /// The route of a request whose path is in normal form.
    pub(crate) fn find(&self, method: Method, normal_path: &str) -> Option<usize> {
        let tree = self.trees.get(usize::from(*self.tree_of.get(method as usize)?))?;
        // Case does not matter to the applications that matter; see `path`.
        let found = if normal_path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            *tree.at(&normal_path.to_ascii_lowercase()).ok()?.value
        } else {
            *tree.at(normal_path).ok()?.value
        };
        Some(found)
    }
}

#[inline(never)]
fn tree_for<'a>(
    accepting: impl Iterator<Item = (usize, (&'a Route, &'a String))> + Clone,
    problems: &mut Problems,
) -> matchit::Router<usize> {
    let mut tree = matchit::Router::new();
    for (index, (route, key)) in accepting.clone() {
        match tree.insert(key, index) {
            Ok(()) => {}
            // Reported for one method, it need not be repeated for the others; nor what was reported as a repetition.
            Err(_) if problems.covers(&route.place.to_string()) => {}
            Err(matchit::InsertError::Conflict { with }) => {
                let other = accepting.clone().find(|(_, (_, key))| **key == with);
                let (place, text) = other.map_or(("another match".into(), with.as_str()), |(_, (other, _))| {
                    (other.place.to_string(), other.template.text())
                });
                let message =
                    format!("{:?} overlaps with {place} ({text:?}): neither is more specific", route.template.text());
                problems.add(route.place.to_string(), message);
            }
            Err(error) => {
                problems.add(route.place.to_string(), format!("{:?} cannot be matched: {error}", route.template.text()))
            }
        }
    }
    tree
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
                template: Template::new(path).unwrap(),
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
    fn repetitions_and_overlaps_are_problems_once() {
        let (_, problems) = router(&[
            (&[], "/a/{id}"),
            (&[], "/a/{name}"),
            (&[Method::Get], "/b"),
            (&[Method::Get, Method::Post], "/B"),
            (&[], "/c/{*rest}"),
            (&[], "/c/{id}"),
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
            ]
        );
    }
}

//! What is asked for.

use jiff::Timestamp;
use memchr::memmem;

use crate::report::{Ending, Scope};
use crate::{Kind, Record};

/// Somebody, by the pseudonyms under each of the keys there have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// Who acted.
    User(Vec<String>),
    /// Whose data it was.
    Subject(Vec<String>),
    /// Either.
    Any(Vec<String>),
}

/// What is asked for. What is absent limits nothing; of several people each has to be there.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The people.
    pub people: Vec<Person>,
    /// The tenant that it was for, or that was named beside it.
    pub tenant: Option<String>,
    /// The healthcare context.
    pub context: Option<String>,
    /// `create`, `read`, `update`, `delete`, `execute`.
    pub action: Option<String>,
    /// Refused requests alone.
    pub denied: bool,
    /// The grant under which the caller acted beyond their own tenants.
    pub grant: Option<String>,
    /// The purposes of use, of which each will do; any when empty.
    pub purposes: Vec<String>,
    /// The first instant.
    pub from: Option<Timestamp>,
    /// The first instant after it.
    pub to: Option<Timestamp>,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// The id of a trace.
    pub trace: Option<String>,
}

// === impl Query ===

impl Query {
    /// The period.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope { from: self.from, to: self.to, ..Scope::default() }
    }

    /// Whether the text of a record can be of one that matches: a quick look, before anything is parsed.
    #[must_use]
    pub fn may_match(&self, text: &[u8]) -> bool {
        let has = |wanted: &str| !is_plain(wanted) || memmem::find(text, wanted.as_bytes()).is_some();
        let texts = [&self.tenant, &self.context, &self.action, &self.grant, &self.request_id, &self.trace];
        has(r#""kind":"request""#)
            && texts.into_iter().flatten().all(|wanted| has(wanted))
            && (self.purposes.is_empty() || self.purposes.iter().any(|wanted| has(wanted)))
            && self.people.iter().all(|person| person.pseudonyms().iter().any(|it| has(it)))
    }

    /// Whether a record is asked for.
    #[must_use]
    pub fn matches(&self, record: &Record<'_>, time: Timestamp) -> bool {
        self.scope().contains(time) && self.matches_at_any_time(record)
    }

    /// As [`Self::matches`], also before and after the period.
    pub(super) fn matches_at_any_time(&self, record: &Record<'_>) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|it| value == Some(it));
        let context = record.context.as_ref();
        let tenant = record.tenant.as_ref();
        let is_of_tenant = self.tenant.as_deref().is_none_or(|wanted| {
            tenant.is_some_and(|it| [it.id.as_deref(), it.other.as_deref()].contains(&Some(wanted)))
        });
        record.kind == Kind::Request
            && self.people.iter().all(|person| person.is_in(record))
            && is_of_tenant
            && is(&self.context, context.map(|it| &*it.name))
            && is(&self.action, context.map(|it| &*it.action))
            && is(&self.grant, record.grant())
            && (self.purposes.is_empty() || record.purpose().is_some_and(|it| self.purposes.iter().any(|of| of == it)))
            && is(&self.request_id, record.request.as_ref().and_then(|it| it.id.as_deref()))
            && is(&self.trace, record.trace.as_ref().and_then(|it| it.id.as_deref()))
            && (!self.denied || Ending::of(record) == Ending::Refused)
    }
}

/// Whether JSON has the text as it is: without escapes.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|char| char < ' ' || char == '"' || char == '\\')
}

// === impl Person ===

impl Person {
    fn pseudonyms(&self) -> &[String] {
        let (Self::User(pseudonyms) | Self::Subject(pseudonyms) | Self::Any(pseudonyms)) = self;
        pseudonyms
    }

    fn is_in(&self, record: &Record<'_>) -> bool {
        let is = |name: Option<&str>| name.is_some_and(|name| self.pseudonyms().iter().any(|it| it == name));
        let user = || is(record.who.as_ref().and_then(|who| who.user.as_deref()));
        let subject = || is(record.context.as_ref().and_then(|context| context.subject.as_deref()));
        match self {
            Self::User(_) => user(),
            Self::Subject(_) => subject(),
            Self::Any(_) => user() || subject(),
        }
    }
}

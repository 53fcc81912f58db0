//! One request of the day: who sends it, and what should become of it.

use anyhow::Result;
use careplane_integration::{Client, IdentityProvider, Lab, Request};
use serde_json::json;

/// A request and its place in the story.
#[derive(Clone, Debug)]
pub struct Step {
    /// The time of day in the story, `HH:MM`.
    pub at: &'static str,
    /// Who wants what.
    pub story: &'static str,
    /// Through which listener.
    pub listener: Listener,
    /// GET or POST.
    pub method: &'static str,
    /// The path as it is sent.
    pub path: &'static str,
    /// The token that is sent with it.
    pub token: Token,
    /// Further headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The number from which Envoy and careplane derive whether the trace is kept, 0 to 9999: a tier of 50 % keeps what
    /// is below 5000. It is the first part of `x-request-id`, so that every run of the demo decides alike.
    pub draw: u16,
    /// What should become of it.
    pub expect: Expect,
}

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// As an outsider.
    Gateway,
    /// As a peer in the mesh, with this SPIFFE id in its certificate.
    Sidecar(&'static str),
}

/// Which token a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// None.
    None,
    /// One of the identity provider.
    Of {
        /// Its `tenant_id`.
        tenant: &'static str,
        /// Its `sub`.
        user: &'static str,
    },
    /// One with claims of its own: no home, several, or a role that a grant is for.
    With {
        /// Its claims beside `sub`, as JSON; `null` leaves one out.
        claims: &'static str,
        /// Its `sub`.
        user: &'static str,
    },
    /// One with the same claims, signed with another key.
    Forged {
        /// Its `tenant_id`.
        tenant: &'static str,
        /// Its `sub`.
        user: &'static str,
    },
}

/// What should become of a request.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The status answered.
    pub status: u16,
    /// The context it is classified as.
    pub context: &'static str,
    /// The tenant it is attributed to.
    pub tenant: Option<&'static str>,
    /// Whether its trace is kept.
    pub kept: bool,
    /// How it ends.
    pub end: End,
    /// What else should be so.
    pub checks: Vec<Check>,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream of this cluster answers.
    Answered(&'static str),
    /// Envoy or a filter refuses it.
    Refused {
        /// A filter of Envoy, or careplane.
        by: &'static str,
        /// How the reason begins.
        reason: &'static str,
    },
    /// It is let through, and Envoy answers for an upstream that does not, with this response flag.
    Unanswered(&'static str),
}

/// What else should be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// This text reaches the upstream, and neither record nor span.
    OnlyUpstream(&'static str),
    /// These headers are called forged in the record, and no longer what was sent when they reach the upstream.
    Forged(&'static str),
    /// The record says from what the tenant was known.
    TenantFrom(&'static str),
    /// The record has this grant, and this purpose of use.
    Granted(&'static str, Option<&'static str>),
    /// The record says of how many homes the user is, and what selected one.
    Selected(u64, &'static str),
    /// The record names the tenant that was reached for.
    ReachedFor(&'static str),
    /// The policy wants no record.
    NoRecord,
}

// === impl Step ===

impl Step {
    /// GET `path`, by an outsider without a token, without an expectation yet.
    pub fn get(at: &'static str, story: &'static str, path: &'static str) -> Self {
        let end = End::Unanswered("");
        let expect = Expect { status: 0, context: "", tenant: None, kept: false, end, checks: Vec::new() };
        let (listener, token) = (Listener::Gateway, Token::None);
        Self { at, story, listener, method: "GET", path, token, headers: Vec::new(), draw: 0, expect }
    }

    /// POST `path`, likewise.
    pub fn post(at: &'static str, story: &'static str, path: &'static str) -> Self {
        Self { method: "POST", ..Self::get(at, story, path) }
    }

    /// With a token of `tenant` for `user`.
    pub fn token(self, tenant: &'static str, user: &'static str) -> Self {
        Self { token: Token::Of { tenant, user }, ..self }
    }

    /// With a token for `user` with these claims, in JSON.
    pub fn token_with(self, claims: &'static str, user: &'static str) -> Self {
        Self { token: Token::With { claims, user }, ..self }
    }

    /// With a token of `tenant` for `user` that the identity provider did not sign.
    pub fn forged_token(self, tenant: &'static str, user: &'static str) -> Self {
        Self { token: Token::Forged { tenant, user }, ..self }
    }

    /// From a peer in the mesh.
    pub fn peer(self, spiffe_id: &'static str) -> Self {
        Self { listener: Listener::Sidecar(spiffe_id), ..self }
    }

    /// With a header more.
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With this number to decide about its trace.
    pub fn draw(self, draw: u16) -> Self {
        Self { draw, ..self }
    }

    /// Should be answered 200 by the upstream of `cluster`.
    pub fn answered(self, context: &'static str, cluster: &'static str) -> Self {
        self.ends(200, context, End::Answered(cluster))
    }

    /// Should be refused.
    pub fn refused(self, status: u16, context: &'static str, by: &'static str, reason: &'static str) -> Self {
        self.ends(status, context, End::Refused { by, reason })
    }

    /// Should get Envoy's own answer for an upstream.
    pub fn unanswered(self, status: u16, context: &'static str, flag: &'static str) -> Self {
        self.ends(status, context, End::Unanswered(flag))
    }

    fn ends(mut self, status: u16, context: &'static str, end: End) -> Self {
        self.expect = Expect { status, context, end, ..self.expect };
        self
    }

    /// Should be attributed to `tenant`.
    pub fn tenant(mut self, tenant: &'static str) -> Self {
        self.expect.tenant = Some(tenant);
        self
    }

    /// Its trace should be kept.
    pub fn kept(mut self) -> Self {
        self.expect.kept = true;
        self
    }

    /// This should be so, too.
    pub fn check(mut self, check: Check) -> Self {
        self.expect.checks.push(check);
        self
    }

    /// Whether there should be a record.
    pub fn is_recorded(&self) -> bool {
        !self.expect.checks.contains(&Check::NoRecord)
    }

    /// The `x-request-id` of this step, the `index`-th of the day: a UUID that begins with the draw.
    pub fn request_id(&self, index: usize) -> String {
        format!("{:08x}-0000-4000-8000-{index:012x}", self.draw)
    }

    /// The request, and the client to send it with. `stranger` signs what the identity provider would not.
    pub fn prepare(&self, index: usize, lab: &Lab, stranger: &IdentityProvider) -> Result<(Client, Request)> {
        let client = match self.listener {
            Listener::Gateway => lab.gateway(),
            Listener::Sidecar(spiffe_id) => lab.sidecar(spiffe_id)?,
        };
        let mut request = match self.method {
            "POST" => Request::post(self.path, "{}").header("content-type", "application/json"),
            _ => Request::get(self.path),
        };
        request = request.header("x-request-id", self.request_id(index));
        request = match self.token {
            Token::None => request,
            Token::Of { tenant, user } => request.bearer(&lab.identity().token(tenant, user, json!({}))?),
            Token::With { claims, user } => {
                request.bearer(&lab.identity().token("", user, serde_json::from_str(claims)?)?)
            }
            Token::Forged { tenant, user } => request.bearer(&stranger.token(tenant, user, json!({}))?),
        };
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        Ok((client, request))
    }
}

//! Refusals: why, and the answer that the caller gets (RFC 9457).

use std::fmt::Write;

use careplane_policy::Purpose;
use careplane_policy::id::CorrelationId;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// An identity header came more than once: which one counts would be a guess.
    IdentityRepeated,
    /// An application may read the path as that of another context.
    PathAmbiguous,
    /// A source names a tenant that cannot be one.
    TenantMalformed,
    /// A source names a user that cannot be one.
    UserMalformed,
    /// Two sources name different tenants: an attempt to cross a tenant boundary.
    TenantConflict,
    /// Two sources name different users.
    UserConflict,
    /// No source names a tenant, and the context needs one.
    TenantMissing,
    /// The caller may act for several tenants, and the request selects none.
    TenantUnselected,
    /// The grant that reaches the tenant does not cover the act.
    GrantAction,
    /// The grant needs a purpose of use that the request does not say.
    GrantPurpose,
    /// The user has acted under the grant as often as it allows.
    GrantLimit,
    /// The policy knows its tenants, and this is none of them.
    TenantUnknown,
    /// The policy wants the intent acknowledged first, and it was not.
    EvidenceUnavailable,
}

/// An answer in place of the upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status, for callers that speak gRPC.
    pub grpc_status: i32,
    /// Envoy's response code details (`%RESPONSE_CODE_DETAILS%`).
    pub details: String,
    /// The headers beside `:status`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

// === impl Denial ===

impl Denial {
    /// Every reason, for tables and metrics.
    pub const ALL: [Self; 13] = [
        Self::IdentityRepeated,
        Self::PathAmbiguous,
        Self::TenantMalformed,
        Self::UserMalformed,
        Self::TenantConflict,
        Self::UserConflict,
        Self::TenantMissing,
        Self::TenantUnselected,
        Self::GrantAction,
        Self::GrantPurpose,
        Self::GrantLimit,
        Self::TenantUnknown,
        Self::EvidenceUnavailable,
    ];

    /// The word for records, metrics and the type of the problem.
    pub fn code(self) -> &'static str {
        let code = self.details().strip_prefix(DETAILS_PREFIX).and_then(|code| code.strip_suffix(DETAILS_SUFFIX));
        code.unwrap_or_default()
    }

    /// What went wrong, for the person who reads the answer. Names no value that the caller sent.
    pub fn title(self) -> &'static str {
        match self {
            Self::IdentityRepeated => "An identity header was sent more than once",
            Self::PathAmbiguous => {
                "The path can be read in more than one way: send it without encoded separators, suffixes or parameters"
            }
            Self::TenantMalformed => "The tenant is not a valid tenant id",
            Self::UserMalformed => "The user is not a valid user id",
            Self::TenantConflict => "The request names a tenant that is not the caller's",
            Self::UserConflict => "The request names a user that is not the caller",
            Self::TenantMissing => "The request names no tenant",
            Self::TenantUnselected => "The caller may act for several tenants, and the request selects none",
            Self::GrantAction => "The caller's access to this tenant does not cover what the request does",
            Self::GrantPurpose => "The caller's access to this tenant needs a purpose of use",
            Self::GrantLimit => "The caller has used this access as often as it allows for now",
            Self::TenantUnknown => "The tenant is not known here",
            Self::EvidenceUnavailable => "The request cannot be recorded now, so it is not carried out",
        }
    }

    /// Whether a grant that reaches the tenant is what refuses.
    pub fn is_of_grant(self) -> bool {
        matches!(self, Self::GrantAction | Self::GrantPurpose | Self::GrantLimit)
    }

    /// 400 when the request is malformed, 403 when it is forbidden, 503 when there would be no evidence of it.
    pub fn status(self) -> u16 {
        match self {
            Self::IdentityRepeated | Self::PathAmbiguous | Self::TenantMalformed | Self::UserMalformed => 400,
            Self::TenantConflict
            | Self::UserConflict
            | Self::TenantMissing
            | Self::TenantUnselected
            | Self::GrantAction
            | Self::GrantPurpose
            | Self::GrantLimit
            | Self::TenantUnknown => 403,
            Self::EvidenceUnavailable => 503,
        }
    }

    /// The answer. `correlation` is the name of the correlation header and the id, where there is one. A caller that
    /// speaks gRPC gets the body as `grpc-message`, so for it that is the title alone.
    pub fn reply(self, correlation: Option<(&str, &CorrelationId)>, is_grpc: bool) -> LocalReply {
        let mut body = format!(
            r#"{{"type":"urn:problem-type:careplane:{}","title":"{}","status":{}"#,
            self.code(),
            self.title(),
            self.status(),
        );
        let mut headers = vec![
            ("content-type".into(), "application/problem+json".into()),
            ("cache-control".into(), "no-store".into()),
        ];
        if let Some((header, id)) = correlation {
            // A correlation id has no character that JSON would escape.
            let _ = write!(body, r#","correlationId":"{}""#, id.as_str());
            headers.push((header.into(), id.as_str().into()));
        }
        body.push('}');
        LocalReply {
            status: self.status(),
            grpc_status: match self.status() {
                400 => INVALID_ARGUMENT,
                503 => UNAVAILABLE,
                _ => PERMISSION_DENIED,
            },
            details: self.details().into(),
            headers,
            body: if is_grpc { self.title().into() } else { body },
        }
    }

    /// The answer to a request that does not say a purpose which a grant needs: it says which are accepted, and how to
    /// send one.
    pub(crate) fn reply_with_purposes(
        self,
        correlation: Option<(&str, &CorrelationId)>,
        is_grpc: bool,
        accepted: &[Purpose],
        header: Option<&str>,
    ) -> LocalReply {
        let mut reply = self.reply(correlation, is_grpc);
        let codes: Vec<&str> = accepted.iter().map(|purpose| purpose.as_str()).collect();
        if is_grpc {
            reply.body = [&reply.body, ": one of ", &codes.join(", ")].concat();
        } else if reply.body.pop().is_some() {
            // A header name has no character that JSON would escape, and neither has a code.
            let how = header.map_or_else(|| "in the token".into(), |header| ["in the header ", header].concat());
            let _ = write!(
                reply.body,
                r#","detail":"Send one of the accepted purposes of use {how}","acceptedPurposes":["{}"]}}"#,
                codes.join(r#"",""#),
            );
        }
        reply
    }

    /// What Envoy is told as response code details, so that every plugin in the chain and every access log knows who
    /// refused, and why.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::IdentityRepeated => "careplane{identity-repeated}",
            Self::PathAmbiguous => "careplane{path-ambiguous}",
            Self::TenantMalformed => "careplane{tenant-malformed}",
            Self::UserMalformed => "careplane{user-malformed}",
            Self::TenantConflict => "careplane{tenant-conflict}",
            Self::UserConflict => "careplane{user-conflict}",
            Self::TenantMissing => "careplane{tenant-missing}",
            Self::TenantUnselected => "careplane{tenant-unselected}",
            Self::GrantAction => "careplane{grant-action}",
            Self::GrantPurpose => "careplane{grant-purpose}",
            Self::GrantLimit => "careplane{grant-limit}",
            Self::TenantUnknown => "careplane{tenant-unknown}",
            Self::EvidenceUnavailable => "careplane{evidence-unavailable}",
        }
    }

    /// The denial behind response code details, if a careplane filter wrote them.
    pub fn from_details(details: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|denial| denial.details() == details)
    }
}

const DETAILS_PREFIX: &str = "careplane{";
const DETAILS_SUFFIX: &str = "}";
/// `google.rpc.Code`.
const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
const UNAVAILABLE: i32 = 14;

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_denial_is_found_again_in_its_details() {
        for denial in Denial::ALL {
            assert_eq!(Denial::from_details(&denial.reply(None, false).details), Some(denial));
        }
        for other in ["via_upstream", "careplane{}", "careplane{tenant-conflict", "rbac_access_denied", ""] {
            assert_eq!(Denial::from_details(other), None);
        }
    }

    #[test]
    fn the_answer_is_problem_json() {
        let id = CorrelationId::new(b"c-1").unwrap();
        let reply = Denial::TenantConflict.reply(Some(("x-correlation-id", &id)), false);
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["type"], "urn:problem-type:careplane:tenant-conflict");
        assert_eq!((body["status"].as_u64(), &body["correlationId"]), (Some(403), &"c-1".into()));
        assert_eq!(Denial::TenantMissing.reply(None, true).body, "The request names no tenant");
        serde_json::from_str::<serde_json::Value>(&Denial::TenantMissing.reply(None, false).body).unwrap();
    }

    #[test]
    fn an_answer_says_which_purposes_are_accepted_and_how_to_send_one() {
        let accepted = ["BTG", "ETREAT"].map(|code| Purpose::new(code.as_bytes()).unwrap());
        let id = CorrelationId::new(b"c-1").unwrap();
        let reply = |is_grpc, header| {
            Denial::GrantPurpose.reply_with_purposes(Some(("x-correlation-id", &id)), is_grpc, &accepted, header)
        };
        let body: serde_json::Value = serde_json::from_str(&reply(false, Some("x-purpose-of-use")).body).unwrap();
        assert_eq!(body["acceptedPurposes"], serde_json::json!(["BTG", "ETREAT"]));
        assert_eq!(body["detail"], "Send one of the accepted purposes of use in the header x-purpose-of-use");
        assert_eq!((body["status"].as_u64(), &body["correlationId"]), (Some(403), &"c-1".into()));
        let body: serde_json::Value = serde_json::from_str(&reply(false, None).body).unwrap();
        assert_eq!(body["detail"], "Send one of the accepted purposes of use in the token");
        let message = reply(true, None).body;
        assert_eq!(message, "The caller's access to this tenant needs a purpose of use: one of BTG, ETREAT");
    }
}

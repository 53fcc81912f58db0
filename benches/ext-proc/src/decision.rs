//! What is decided about a request, and how it is said in the protocol.

use std::collections::HashMap;

use careplane_policy::{Method, Policy, id::TenantId};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::ext_proc::v3::{
            CommonResponse, HeaderMutation, HeadersResponse, HttpHeaders, ImmediateResponse, ProcessingRequest,
            ProcessingResponse, processing_request::Request, processing_response::Response,
        },
        r#type::v3::HttpStatus,
    },
    google::protobuf::{Struct, Value, value::Kind},
};
use serde_json::json;

const JWT: &str = "envoy.filters.http.jwt_authn";
const NAMESPACE: &str = "careplane";

/// What was decided when the request came.
pub(crate) struct Decision {
    tenant: String,
    user: String,
    correlation: String,
    context: String,
    level: String,
    resource: Option<String>,
    pool: String,
    cohort: String,
    request_id: String,
    method: String,
}

/// The answer to one message of the proxy.
pub(crate) fn answer(
    policy: &Policy,
    message: &ProcessingRequest,
    decision: &mut Option<Decision>,
) -> ProcessingResponse {
    match &message.request {
        Some(Request::RequestHeaders(request)) => match decide(policy, message, request) {
            Ok(decided) => {
                let response = headers(Response::RequestHeaders, decided.request_headers(), true, decided.tags());
                *decision = Some(decided);
                response
            }
            Err(reason) => refusal(reason),
        },
        Some(Request::ResponseHeaders(response)) => match decision {
            Some(decision) => {
                let status = value(response.headers.as_ref(), ":status").unwrap_or_default();
                let echo = vec![("x-correlation-id".to_owned(), decision.correlation.clone())];
                headers(Response::ResponseHeaders, echo, false, vec![("record", decision.record(&status))])
            }
            None => headers(Response::ResponseHeaders, Vec::new(), false, Vec::new()),
        },
        _ => ProcessingResponse::default(),
    }
}

fn decide(policy: &Policy, message: &ProcessingRequest, request: &HttpHeaders) -> Result<Decision, &'static str> {
    let header = |name| value(request.headers.as_ref(), name);
    let method = header(":method").unwrap_or_default();
    let about = policy.classify(Method::new(method.as_bytes()), header(":path").unwrap_or_default().as_bytes());
    let claims = message.metadata_context.as_ref().and_then(|all| all.filter_metadata.get(JWT)?.fields.get("payload"));
    let claim = |name| match claims?.kind.as_ref()? {
        Kind::StructValue(claims) => match claims.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    let tenant = claim("tenant_id").ok_or("tenant-missing")?;
    if header("x-tenant-id").is_some_and(|claimed| claimed != tenant) {
        return Err("tenant-conflict");
    }
    let known = TenantId::new(tenant.as_bytes()).ok_or("tenant-malformed")?;
    let place = policy.routing.place(&known, None).map_err(|_| "tenant-unknown")?;
    let request_id = header("x-request-id").unwrap_or_default();
    Ok(Decision {
        tenant,
        user: claim("sub").unwrap_or_default(),
        correlation: header("x-correlation-id").unwrap_or_else(|| request_id.clone()),
        context: about.context.name.to_string(),
        level: about.context.compliance_level.as_str().to_owned(),
        resource: about.context.resource.as_ref().map(ToString::to_string),
        pool: place.pool.map(|pool| pool.to_string()).unwrap_or_default(),
        cohort: place.cohort.map(|cohort| cohort.as_str().to_owned()).unwrap_or_default(),
        request_id,
        method,
    })
}

// === impl Decision ===

impl Decision {
    fn request_headers(&self) -> Vec<(String, String)> {
        let all = [
            ("x-tenant-id", &self.tenant),
            ("x-user-id", &self.user),
            ("x-correlation-id", &self.correlation),
            ("x-healthcare-context", &self.context),
            ("x-compliance-level", &self.level),
            ("x-tenant-pool", &self.pool),
            ("x-release-cohort", &self.cohort),
        ];
        all.map(|(name, value)| (name.to_owned(), value.clone())).to_vec()
    }

    fn tags(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tenant_id", self.tenant.clone()),
            ("user_id", self.user.clone()),
            ("correlation_id", self.correlation.clone()),
            ("healthcare_context", self.context.clone()),
            ("compliance_level", self.level.clone()),
        ]
    }

    fn record(&self, status: &str) -> String {
        json!({
            "context": {"name": self.context, "complianceLevel": self.level, "resource": self.resource},
            "outcome": {"status": status},
            "request": {"id": self.request_id, "correlationId": self.correlation, "method": self.method},
            "tenant": {"id": self.tenant, "pool": self.pool, "cohort": self.cohort},
            "who": {"user": self.user},
        })
        .to_string()
    }
}

fn value(headers: Option<&HeaderMap>, name: &str) -> Option<String> {
    let header = headers?.headers.iter().find(|header| header.key == name)?;
    // Envoy fills one of the two, by version.
    match header.raw_value.is_empty() {
        true => Some(header.value.clone()),
        false => Some(String::from_utf8_lossy(&header.raw_value).into_owned()),
    }
}

fn headers(
    phase: fn(HeadersResponse) -> Response,
    set: Vec<(String, String)>,
    clear_route_cache: bool,
    metadata: Vec<(&'static str, String)>,
) -> ProcessingResponse {
    let set_headers = set.into_iter().map(|(key, value)| HeaderValueOption {
        header: Some(HeaderValue { key, raw_value: value.into_bytes(), ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    });
    let mutation = HeaderMutation { set_headers: set_headers.collect(), remove_headers: Vec::new() };
    let common = CommonResponse { header_mutation: Some(mutation), clear_route_cache, ..CommonResponse::default() };
    let text = |text| Value { kind: Some(Kind::StringValue(text)) };
    let object = |fields: HashMap<String, Value>| Struct { fields };
    let fields = object(metadata.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect());
    let namespaces = HashMap::from([(NAMESPACE.to_owned(), Value { kind: Some(Kind::StructValue(fields)) })]);
    ProcessingResponse {
        response: Some(phase(HeadersResponse { response: Some(common) })),
        dynamic_metadata: Some(object(namespaces)),
        ..ProcessingResponse::default()
    }
}

fn refusal(reason: &str) -> ProcessingResponse {
    let body = json!({"type": format!("urn:problem-type:careplane:{reason}")}).to_string().into_bytes();
    let refusal = ImmediateResponse {
        status: Some(HttpStatus { code: 403 }),
        body,
        details: reason.to_owned(),
        ..ImmediateResponse::default()
    };
    ProcessingResponse { response: Some(Response::ImmediateResponse(refusal)), ..ProcessingResponse::default() }
}

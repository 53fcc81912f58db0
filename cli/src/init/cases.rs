//! The tests beside a first policy: what it says now, so that a change of it is seen.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use careplane_policy::{Method, Policy};

use super::contexts::Context;
use super::write::quoted;
use crate::diff::sample;
use crate::test::SUFFIX;

/// `policy.yaml` → `policy_test.yaml`
pub fn path(policy: &Path) -> PathBuf {
    let stem = policy.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = policy.extension().map_or_else(|| "yaml".into(), |extension| extension.to_string_lossy());
    policy.with_file_name(format!("{stem}{SUFFIX}.{extension}"))
}

/// The tests of a policy as text.
pub fn text(name: &Path, contexts: &[Context], policy: &Policy) -> String {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# Tests of {name}, made by `careplane init`: careplane test\n\
         # They expect what was proposed. Where you decide otherwise, change the policy and the test: then a \
         later change\n\
         # that was not meant is seen. docs/test.md says what can be expected.\n\
         policy: {}\n\
         defaults:\n  \
         claims: {{tenant_id: tenant-1, sub: user-1}}\n\
         cases:\n",
        quoted(&name)
    );
    let mut rows = String::new();
    let mut needs_tenant = None;
    let mut needs_none = None;
    for context in contexts {
        for one in &context.matches {
            let method = one.methods.first().map_or("GET", String::as_str);
            let Some(rest) = sample::reach(&one.path, &[method], &[policy]) else { continue };
            let path = sample::path(Some(&one.path), rest, None);
            let about = policy.classify(Method::new(method.as_bytes()), path.as_bytes());
            let request = quoted(&format!("{method} {path}"));
            let (name, level) = (quoted(&about.context.name), about.context.compliance_level.as_str());
            let _ = writeln!(rows, "      - {{request: {request}, context: {name}, level: {level}}}");
            let found = if about.context.tenant_required { &mut needs_tenant } else { &mut needs_none };
            found.get_or_insert(request);
        }
    }
    if !rows.is_empty() {
        text += "  - name: What a request is about\n    request: <request>\n    \
                 expect: {context: <context>, level: <level>, decision: allowed}\n    table:\n";
        text += &rows;
    }
    if let Some(request) = needs_tenant {
        let _ = write!(
            text,
            "  - name: A caller without a tenant is refused\n    request: {request}\n    claims: null\n    \
               expect: {{decision: tenant-missing, status: 403}}\n  \
             - name: The header of a caller that is not trusted is not believed\n    request: {request}\n    \
               headers: {{x-tenant-id: tenant-2}}\n    \
               expect: {{tenant: tenant-1, headers: {{x-tenant-id: tenant-1}}}}\n",
        );
    }
    if let Some(request) = needs_none {
        let _ = write!(
            text,
            "  - name: What runs the service needs no tenant\n    request: {request}\n    claims: null\n    \
             expect: {{decision: allowed, tenant: null}}\n",
        );
    }
    let unmatched = sample::path(None, 1, None);
    let default = policy.classify(Method::Get, unmatched.as_bytes());
    if default.template.is_none() {
        let _ = write!(
            text,
            "  - name: What no context matches\n    request: {}\n    expect: {{context: {}}}\n",
            quoted(&format!("GET {unmatched}")),
            quoted(&default.context.name)
        );
    }
    text
}

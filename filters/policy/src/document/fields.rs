//! How the fields and the words of the document are written.
//!
//! [`serde::Serialize`] says the same for the schema; a test holds the two together.

use super::{
    Action, AmbiguousPath, Audit, AuditLevel, Batch, Canary, Cohort, ComplianceLevel, Condition, Context, Correlation,
    DefaultContext, Directory, Document, Enforcement, Export, Grant, GrantLimit, Headers, Identity, Jurisdiction, Late,
    Match, Overrides, Paths, ProxyLog, ProxyPlacement, Pseudonyms, Purpose, Requirements, Routing, Sampling, Shrink,
    Sinks, TenantCase, TenantEntry, TenantIdentity, TenantRequirement, Tenants, UnknownTenant, UserIdentity,
};
use crate::decode::{fields, words};

fields! {
    Document {
        "version": version,
        "enforcement": enforcement,
        "identity": identity,
        "headers": headers,
        "paths": paths,
        "pseudonyms": pseudonyms,
        "contexts": contexts,
        "defaultContext": default_context,
        "sampling": sampling,
        "tenants": tenants,
        "routing": routing,
        "audit": audit,
        "export": export,
    }
    Identity {
        "trustedPeers": trusted_peers,
        "tenant": tenant,
        "user": user,
        "purpose": purpose,
        "grants": grants,
        "correlation": correlation,
        "overrides": overrides,
    }
    Paths { "ambiguous": ambiguous }
    TenantIdentity { "required": required, "sources": sources, "case": case }
    Purpose { "sources": sources }
    Grant {
        "name": name,
        "when": when,
        "tenants": tenants,
        "actions": actions,
        "contexts": contexts,
        "requires": requires,
        "flags": flags,
        "atMost": at_most,
        "writeAhead": write_ahead,
    }
    Condition { "claim": claim, "issuer": issuer, "equals": equals, "contains": contains, "anyOf": any_of }
    Requirements { "purpose": purpose }
    GrantLimit { "perUser": per_user, "within": within }
    UserIdentity { "sources": sources, "pseudonymise": pseudonymise }
    Correlation { "header": header, "echo": echo }
    Headers {
        "tenantId": tenant_id,
        "userId": user_id,
        "healthcareContext": healthcare_context,
        "complianceLevel": compliance_level,
        "complianceFlags": compliance_flags,
        "userPseudonym": user_pseudonym,
        "omit": omit,
    }
    Pseudonyms { "keyEnv": key_env }
    Context {
        "name": name,
        "complianceLevel": compliance_level,
        "tier": tier,
        "action": action,
        "resource": resource,
        "subject": subject,
        "flags": flags,
        "retention": retention,
        "audit": audit,
        "tenant": tenant,
        "enforcement": enforcement,
        "match": matches,
    }
    Match { "methods": methods, "path": path }
    DefaultContext {
        "name": name,
        "complianceLevel": compliance_level,
        "tier": tier,
        "audit": audit,
        "tenant": tenant,
        "enforcement": enforcement,
    }
    Sampling { "tiers": tiers, "late": late }
    Late {
        "denied": denied,
        "serverErrors": server_errors,
        "slowerThan": slower_than,
        "unsampledParents": unsampled_parents,
    }
    Tenants { "unknown": unknown, "entries": entries, "directory": directory }
    Directory {
        "cluster": cluster,
        "authority": authority,
        "path": path,
        "interval": interval,
        "timeout": timeout,
        "shrink": shrink,
    }
    TenantEntry { "pool": pool, "jurisdiction": jurisdiction, "cohort": cohort, "group": group }
    Routing { "poolHeader": pool_header, "pools": pools, "dedicated": dedicated, "canary": canary }
    Canary { "percent": percent, "header": header }
    Audit { "sinks": sinks, "writeAhead": write_ahead, "chainKeyEnv": chain_key_env, "placement": placement }
    Sinks { "accessLog": access_log, "otlp": otlp, "proxyLog": proxy_log }
    Export { "cluster": cluster, "authority": authority, "timeout": timeout, "batch": batch, "queueBytes": queue_bytes }
    Batch { "records": records, "interval": interval }
}

words! {
    TenantCase { "exact": Exact, "lower": Lower }
    Enforcement { "enforce": Enforce, "shadow": Shadow }
    Overrides { "remove": Remove, "pass": Pass }
    AmbiguousPath { "accept": Accept, "reject": Reject }
    ComplianceLevel { "critical": Critical, "high": High, "standard": Standard, "low": Low }
    Action { "create": Create, "read": Read, "update": Update, "delete": Delete, "execute": Execute }
    AuditLevel { "full": Full, "none": None }
    TenantRequirement { "required": Required, "optional": Optional }
    UnknownTenant { "route": Route, "deny": Deny }
    Shrink { "refuse": Refuse, "allow": Allow }
    Jurisdiction { "england": England, "scotland": Scotland, "wales": Wales, "northern-ireland": NorthernIreland }
    Cohort { "canary": Canary, "stable": Stable }
    ProxyPlacement { "gateway": Gateway, "inbound": Inbound, "outbound": Outbound }
    ProxyLog { "overflow": Overflow, "all": All, "off": Off }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use serde::Serialize;
    use serde_json::{Value, json, to_value};

    use super::*;
    use crate::decode::{Read, Tree};

    #[test]
    fn every_field_is_read_under_the_name_that_it_is_written_under() {
        let written = json!({
            "version": "careplane/v1",
            "enforcement": "shadow",
            "identity": {
                "trustedPeers": ["spiffe://a/b"],
                "tenant": {"required": false, "sources": [
                    {"claim": "t"}, {"claim": ["a", "b"], "issuer": "i"}, {"path": "p"}, {"host": "{tenant}.example"},
                    {"query": "q"},
                ], "case": "lower"},
                "user": {"sources": [{"header": "h"}], "pseudonymise": false},
                "purpose": {"sources": [{"header": "p"}]},
                "grants": [{
                    "name": "g",
                    "when": [{"claim": "r", "issuer": "i", "equals": "e", "contains": "c", "anyOf": ["a"]}],
                    "tenants": {"group": {"claim": "g", "issuer": "i"}}, "actions": ["read"], "contexts": ["n"],
                    "requires": {"purpose": ["BTG"]}, "flags": ["f"], "atMost": {"perUser": 5, "within": "1h"},
                    "writeAhead": true,
                }],
                "correlation": {"header": "c", "echo": false},
                "overrides": "pass",
            },
            "headers": {
                "tenantId": "1", "userId": "2", "healthcareContext": "3", "complianceLevel": "4",
                "complianceFlags": "5", "userPseudonym": "6", "omit": ["5"],
            },
            "paths": {"ambiguous": "reject"},
            "pseudonyms": {"keyEnv": "K"},
            "contexts": [{
                "name": "n", "complianceLevel": "low", "tier": "t", "action": "update", "resource": "R",
                "subject": "s", "flags": ["f"], "retention": "P1Y", "audit": "none", "tenant": "optional",
                "enforcement": "enforce", "match": [{"methods": ["GET"], "path": "/"}],
            }],
            "defaultContext": {
                "name": "d", "complianceLevel": "high", "tier": "u", "audit": "none", "tenant": "required",
                "enforcement": "shadow",
            },
            "sampling": {
                "tiers": {"t": 12.5},
                "late": {"denied": false, "serverErrors": false, "slowerThan": "2s", "unsampledParents": true},
            },
            "tenants": {
                "unknown": "deny",
                "entries": {"e": {"pool": "p", "jurisdiction": "wales", "cohort": "stable", "group": "g"}},
                "directory": {
                    "cluster": "c", "authority": "a", "path": "/d", "interval": "9s", "timeout": "3s",
                    "shrink": "allow",
                },
            },
            "routing": {
                "poolHeader": "p", "pools": [{"name": "a", "weight": 2}], "dedicated": ["b"],
                "canary": {"percent": 1.5, "header": "r"},
            },
            "audit": {
                "sinks": {"accessLog": false, "otlp": true, "proxyLog": "all"},
                "writeAhead": ["critical"], "chainKeyEnv": "C", "placement": "inbound",
            },
            "export": {
                "cluster": "c", "authority": "a", "timeout": "1s", "batch": {"records": 1, "interval": "2s"},
                "queueBytes": 3,
            },
        });
        // What is written has all fields, so one that the document above leaves out would show.
        assert_eq!(to_value(Document::read(&Tree::from(&written)).unwrap()).unwrap(), written);
    }

    #[test]
    fn every_word_is_read_as_it_is_written() {
        fn check<T: Read + Serialize>() {
            // The refusal names them all.
            let refusal = T::read(&Tree::Null).err().unwrap().to_string();
            let (_, words) = refusal.split_once("one of ").unwrap();
            for word in words.split(", ").map(Value::from) {
                assert_eq!(to_value(T::read(&Tree::from(&word)).unwrap()).unwrap(), word);
            }
        }
        check::<TenantCase>();
        check::<Enforcement>();
        check::<Overrides>();
        check::<AmbiguousPath>();
        check::<ComplianceLevel>();
        check::<Action>();
        check::<AuditLevel>();
        check::<TenantRequirement>();
        check::<UnknownTenant>();
        check::<Shrink>();
        check::<Jurisdiction>();
        check::<Cohort>();
        check::<ProxyPlacement>();
        check::<ProxyLog>();
    }
}

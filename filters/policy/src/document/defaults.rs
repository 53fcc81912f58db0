//! What a document means where it says nothing.

use std::collections::BTreeMap;

use super::{
    AuditLevel, COHORT_HEADER, Canary, Claim, ClaimPath, ComplianceLevel, Correlation, DefaultContext, Headers, Late,
    ProxyLog, Pseudonyms, Routing, Sampling, Sinks, Source, TenantCase, TenantIdentity, TrustedPeers, UserIdentity,
};

impl Default for TrustedPeers {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Claim {
    /// A claim at the top of a token, of any issuer.
    pub fn named(name: &str) -> Self {
        Self { path: ClaimPath::Name(name.into()), issuer: None }
    }
}

impl Default for TenantIdentity {
    fn default() -> Self {
        Self {
            required: true,
            sources: vec![Source::Claim(Claim::named("tenant_id")), Source::Header("x-tenant-id".into())],
            case: TenantCase::Exact,
        }
    }
}

impl Default for UserIdentity {
    fn default() -> Self {
        Self {
            sources: vec![Source::Claim(Claim::named("sub")), Source::Header("x-user-id".into())],
            pseudonymise: true,
        }
    }
}

impl Default for Correlation {
    fn default() -> Self {
        Self { header: "x-correlation-id".into(), echo: true }
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self {
            tenant_id: "x-tenant-id".into(),
            user_id: "x-user-id".into(),
            healthcare_context: "x-healthcare-context".into(),
            compliance_level: "x-compliance-level".into(),
            compliance_flags: "x-compliance-flags".into(),
            user_pseudonym: None,
            omit: Vec::new(),
        }
    }
}

impl Default for Pseudonyms {
    fn default() -> Self {
        Self { key_env: "CAREPLANE_PSEUDONYM_KEY".into() }
    }
}

impl Default for DefaultContext {
    fn default() -> Self {
        Self {
            name: "general".into(),
            compliance_level: ComplianceLevel::Standard,
            tier: "default".into(),
            audit: AuditLevel::Full,
            tenant: None,
            enforcement: None,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        let tiers = [("always", 100), ("clinical", 50), ("assessment", 30), ("default", 10), ("never", 0)];
        let mut sampling = Self { tiers: BTreeMap::new(), late: Late::default() };
        for (name, percent) in tiers {
            sampling.tiers.insert(name.into(), percent.into());
        }
        sampling
    }
}

impl Default for Late {
    fn default() -> Self {
        Self { denied: true, server_errors: true, slower_than: None, unsampled_parents: false }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self { pool_header: "x-tenant-pool".into(), pools: Vec::new(), dedicated: Vec::new(), canary: None }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self { percent: 0.0, header: COHORT_HEADER.into() }
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Self { access_log: true, otlp: false, proxy_log: ProxyLog::Overflow }
    }
}

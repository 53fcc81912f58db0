//! What is tested, in the order of the table in `docs/mesh.md`.

use std::{future::Future, pin::Pin};

use anyhow::Result;
use careplane_mesh::{Mesh, Proof};

use crate::{breakers, careplane, deploy, egress, observability, routing, security};

/// A test, and what it proves.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub proof: Proof,
    pub test: Test,
    /// Whether it changes the mesh for others.
    pub alone: bool,
}

type Test = for<'m> fn(&'m Mesh) -> Pin<Box<dyn Future<Output = Result<()>> + 'm>>;

macro_rules! case {
    ($test:path, $about:literal, $manifest:literal, $seen:literal) => {
        Case {
            name: stringify!($test),
            proof: Proof { about: $about, manifest: $manifest, seen: $seen },
            test: |mesh| Box::pin($test(mesh)),
            alone: false,
        }
    };
    (alone $test:path, $about:literal, $manifest:literal, $seen:literal) => {
        Case { alone: true, ..case!($test, $about, $manifest, $seen) }
    };
}

/// Everything but the end.
pub fn all() -> Vec<Case> {
    vec![
        case!(
            security::plaintext_is_refused,
            "Mutual TLS",
            "base/security/istio-system/mesh.yaml",
            "a pod that connects without a certificate of the mesh is cut off by each sidecar; through the gateway \
             the same request gets 200"
        ),
        case!(
            security::old_tls_is_refused,
            "TLS at the edge",
            "base/traffic/gateway.yaml",
            "TLS 1.2 fails in the handshake, 1.3 works, for api., app. and admin.writecarenotes.com; another name \
             gets no certificate"
        ),
        case!(
            security::http_is_redirected,
            "TLS at the edge",
            "base/traffic/gateway.yaml",
            "HTTP is answered 301 with the https address, and nothing else"
        ),
        case!(
            security::only_the_gateway_may_call,
            "Service accounts",
            "base/security/core-healthcare/medication-service.yaml",
            "a foreign service account with a certificate of the mesh and a nurse's token gets 403 from each sidecar; \
             the gateway 200"
        ),
        case!(
            security::prometheus_sees_metrics_only,
            "Prometheus",
            "base/security/every-namespace/prometheus.yaml",
            "with its certificate: GET /metrics and /health 200, POST /metrics 403, GET /api/v1/medications 403; a \
             foreign account 403 on all"
        ),
        case!(
            security::each_role_may_do_its_own,
            "Roles",
            "base/security/core-healthcare/medication-service.yaml",
            "carer, nurse, manager, inspector, clinician and an unknown role on twelve acts: each allowed one 200, \
             each forbidden one 403, no other status"
        ),
        case!(
            security::people_reach_the_homes_of_their_grants,
            "Grants",
            "base/careplane/policy/policy.yaml",
            "an agency nurse, an inspector, a group manager and a clinician in an emergency on thirteen acts in three \
             homes: each gets what grant and role allow, else 403 with the reason"
        ),
        case!(
            security::a_spelling_is_no_way_around,
            "Roles",
            "base/security/core-healthcare/medication-service.yaml",
            "a carer does not administer by any of six spellings of the path; a nurse does"
        ),
        case!(
            security::without_a_token_nobody_enters,
            "Tokens",
            "base/security/every-namespace/request-authentication.yaml",
            "no token 403, a forged one 401, one of another issuer 401, an expired one 401, a good one 200"
        ),
        case!(
            security::what_outsiders_say_of_themselves_is_not_believed,
            "Identity headers",
            "base/careplane/bundle/gateway.yaml",
            "an outsider's x-user-id, x-tenant-pool, x-release-cohort, x-compliance-level and x-forwarded-client-cert \
             do not reach the application, and the record names the attempt; an x-tenant-id of another home is a 403"
        ),
        case!(
            breakers::each_service_has_its_numbers,
            "Circuit breakers",
            "base/traffic/routing/destination-rule.yaml",
            "of ten services, each subset's cluster in the gateway's Envoy has the table's connections, errors and \
             ejection time"
        ),
        case!(
            alone breakers::too_much_overflows,
            "Circuit breakers",
            "base/traffic/services/nhs-integration-service/destination-rule.yaml",
            "what connections and queue cannot hold is answered 503 and counted as overflow, for medication and for \
             the NHS service; the others get 200"
        ),
        case!(
            alone breakers::a_failing_pod_is_ejected,
            "Circuit breakers",
            "base/traffic/services/medication-service/destination-rule.yaml",
            "a medication pod that answers 503 is ejected, and its sister serves everything; a pod of the NHS service \
             likewise"
        ),
        case!(
            routing::a_read_is_tried_again_and_a_write_is_not,
            "Retries",
            "base/traffic/routing/virtual-services.yaml",
            "a 503 on GET becomes 200 by the second attempt; on POST administer it stays 503, and the application saw \
             it once"
        ),
        case!(
            routing::timeouts_are_as_asked,
            "Timeouts",
            "base/traffic/routing/virtual-services.yaml",
            "each route of the gateway's Envoy has 30 s, each read 3 retries of 10 s"
        ),
        case!(
            alone routing::a_timeout_takes_effect,
            "Timeouts",
            "base/traffic/routing/virtual-services.yaml",
            "scaled down to 300 ms, a slow read ends with 504 after that time; as shipped, it gets 200"
        ),
        case!(
            routing::a_canary_gets_its_share,
            "Canary",
            "base/traffic/routing/virtual-services.yaml",
            "of 2,000 requests without a cohort, 5 % go to the canary's subset, within 4 standard errors"
        ),
        case!(
            routing::a_tenant_has_its_pool,
            "Pools",
            "base/traffic/routing/virtual-services.yaml",
            "the pod that answers is of the pool that careplane named, the pinned tenant's is the canary, and always \
             the same"
        ),
        case!(
            egress::only_the_nhs_is_outside,
            "Egress",
            "base/traffic/egress/nhs-api/service-entry.yaml",
            "nhs-integration-service reaches api. and sandbox.api.service.nhs.uk over TLS by the egress gateway, \
             without the mesh's headers; nothing else, and no other service"
        ),
        case!(
            careplane::crossing_a_tenant_is_refused_recorded_and_traced,
            "Tenant boundary",
            "base/careplane/bundle/gateway.yaml",
            "403 tenant-conflict, one record at the collector, one trace in Jaeger although the tier keeps 10 %"
        ),
        case!(
            careplane::every_request_has_its_record,
            "Audit",
            "install/istio.yaml",
            "of 200 requests through two hops, 400 records are at the collector; each chain is whole"
        ),
        case!(
            observability::five_tags_are_in_jaeger,
            "Tracing",
            "base/observability/telemetry/telemetry.yaml",
            "the spans of gateway and sidecar, of one trace, have tenant_id, user_id, correlation_id, \
             healthcare_context and compliance_level"
        ),
        case!(
            observability::tiers_are_kept,
            "Tracing",
            "base/careplane/policy/policy.yaml",
            "of 400 requests each, the share of traces in Jaeger is that of the tier, within 4 standard errors, and \
             100 % are 100 %"
        ),
        case!(
            alone careplane::a_policy_changes_without_losing_a_request,
            "Live policy",
            "base/careplane/policy/policy.yaml",
            "under load a policy is replaced five times; every request gets 200, and the new policy's digest is on \
             the records"
        ),
        case!(
            careplane::a_bad_policy_is_refused_at_the_door,
            "Admission",
            "base/careplane/admission/refuse.yaml",
            "eleven bad plugins are refused by the API server, each with what to write instead; the shipped ones are \
             taken"
        ),
        case!(
            alone careplane::a_key_is_rotated,
            "Pseudonyms",
            "base/careplane/kustomization.yaml",
            "a sidecar has its key from the Secret; after the Secret is replaced and the pods are, records carry \
             pseudonyms of another key id"
        ),
        case!(
            alone careplane::a_panic_stays_alone,
            "Isolation",
            "overlays/isolated/kustomization.yaml",
            "with the overlay in place of base, and a module for sampling that crashes on every request, the other \
             filters go on: headers, pools, records"
        ),
        case!(
            alone careplane::a_traffic_extension_does_the_same,
            "TrafficExtension",
            "overlays/traffic-extension/kustomization.yaml",
            "with the overlay in place of base, twenty requests get the same statuses, pools and headers"
        ),
        case!(
            alone careplane::proxies_fetch_the_directory,
            "Directory of tenants",
            "overlays/tenant-directory/kustomization.yaml",
            "with the overlay, gateway and sidecars, the server's own among them, have the 300 homes that its pods \
             serve: pool and regulator are the directory's; other methods and paths of the server are a 403"
        ),
        case!(
            deploy::every_manifest_is_accepted,
            "Manifests",
            "base/kustomization.yaml",
            "base and every overlay: istioctl validate, careplane check, and a dry run of the API server with \
             istiod's webhook take them (ambient without the dry run: the cluster has no Gateway API); istioctl \
             analyze -A finds nothing in what is deployed but that these workloads are few and an EnvoyFilter is one"
        ),
        case!(
            deploy::the_installation_is_as_asked,
            "Installation",
            "install/istio.yaml",
            "istioctl manifest generate renders the mesh id, TLS 1.3, REGISTRY_ONLY and the resources of pilot, \
             gateways and sidecars"
        ),
        case!(
            deploy::nobody_objects,
            "Proxies",
            "base/kustomization.yaml",
            "of eleven or more proxies, none rejected an update of clusters, listeners, routes or filters; istiod \
             logged no ACK ERROR"
        ),
        case!(
            alone deploy::a_second_run_changes_nothing,
            "Deployment",
            "deploy-service-mesh.sh",
            "the script again: nothing is changed, and it verifies injection, mutual TLS, proxies in sync, plugins \
             loaded and a trace in Jaeger; exit 0"
        ),
        case!(
            alone deploy::drift_is_set_right,
            "Deployment",
            "deploy-service-mesh.sh",
            "a timeout that another manager changed and a deleted DestinationRule are in the plan; --apply refuses to \
             take the timeout, and mends both with --force-conflicts"
        ),
    ]
}

/// Takes the mesh down.
pub const LAST: Case = case!(
    alone deploy::undo_takes_it_out,
    "Deployment",
    "deploy-service-mesh.sh",
    "--undo removes what --apply made, keeps keys and data, says so; a second --undo finds nothing to do"
);

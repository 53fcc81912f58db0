//! The day of four care homes, from the first probe to the night round.

use careplane_integration::upstream::DELAY_HEADER;

use super::step::{Check, Step};

/// Not in the policy's list of tenants: hashed into pool-a.
const FIRST: &str = "care-home-0010";
/// Not in the list either: hashed into pool-b.
const SECOND: &str = "care-home-0012";
/// In Scotland, with a pool of its own, and in the canary cohort.
const SCOTTISH: &str = "care-home-0042";
/// In Wales, hashed into pool-c.
const WELSH: &str = "care-home-0107";
/// In Northern Ireland, hashed into pool-c.
const NORTHERN_IRISH: &str = "care-home-0233";

/// An NHS number with a valid check digit that is not issued.
const NHS_NUMBER: &str = "9434765919";

/// A workload that `trustedPeers` of the policy names.
const TRUSTED_PEER: &str = "spiffe://cluster.local/ns/integration/sa/nhs-integration-service";
/// A workload of the mesh that it does not name.
const OTHER_PEER: &str = "spiffe://cluster.local/ns/catering/sa/menu-planner";

/// The day. The last request is one whose trace is kept: its span comes after all others, so that when it is there, a
/// span that is not there is not coming.
pub fn day() -> Vec<Step> {
    let mut day = morning();
    day.extend(boundaries());
    day.extend(people());
    day.extend(mesh());
    day.extend(proxy());
    day.extend(night());
    day
}

/// What the software is there for.
fn morning() -> Vec<Step> {
    vec![
        Step::get("06:55", "A probe asks whether all is well", "/health")
            .answered("health-check", "pool-a")
            .check(Check::NoRecord),
        Step::get("07:00", "A carer lists the residents", "/api/v1/residents")
            .token(FIRST, "carer")
            .draw(1_204)
            .answered("resident-search", "pool-a")
            .tenant(FIRST)
            .kept()
            .check(Check::TenantFrom("claim")),
        Step::get("07:01", "A carer elsewhere does the same", "/api/v1/residents")
            .token(SECOND, "carer")
            .draw(7_310)
            .answered("resident-search", "pool-b")
            .tenant(SECOND),
        Step::get("07:30", "A carer in Scotland reads a plan", "/api/v1/care-plans/cp-118")
            .token(SCOTTISH, "carer")
            .draw(4_999)
            .answered("care-plan", "canary")
            .tenant(SCOTTISH)
            .kept(),
        Step::post("08:00", "A nurse gives a controlled drug", "/api/v1/medications/administer")
            .token(SCOTTISH, "nurse")
            .draw(9_999)
            .answered("medication-administration", "canary")
            .tenant(SCOTTISH)
            .kept(),
        Step::get("09:15", "A nurse opens a resident's record", "/api/v1/residents/9434765919?view=full")
            .token(NORTHERN_IRISH, "nurse")
            .draw(2_500)
            .answered("resident", "pool-c")
            .tenant(NORTHERN_IRISH)
            .kept()
            .check(Check::OnlyUpstream(NHS_NUMBER)),
        Step::post("10:00", "A manager admits a resident", "/api/v1/residents")
            .token(WELSH, "manager")
            .draw(8_000)
            .answered("resident-admission", "pool-c")
            .tenant(WELSH)
            .kept(),
        Step::post("10:40", "A nurse writes an assessment", "/api/v1/assessments")
            .token(WELSH, "nurse")
            .draw(3_000)
            .answered("assessment", "pool-c")
            .tenant(WELSH),
    ]
}

/// What must not get through.
fn boundaries() -> Vec<Step> {
    let carer = |at, story, path| Step::get(at, story, path).token(SECOND, "carer").draw(6_000).tenant(SECOND);
    vec![
        Step::get("11:05", "A manager reaches for another home", "/api/v1/tenants/care-home-0001/staff")
            .token(SCOTTISH, "manager")
            .draw(9_000)
            .refused(403, "tenant-administration", "careplane", "tenant-conflict")
            .tenant(SCOTTISH)
            .kept()
            .check(Check::ReachedFor("care-home-0001")),
        carer("11:20", "A carer claims to be another", "/api/v1/care-plans")
            .header("x-user-id", "manager")
            .answered("care-plan", "pool-b")
            .check(Check::Forged("x-user-id")),
        carer("11:21", "A carer claims two tenants", "/api/v1/care-plans")
            .header("x-tenant-id", SECOND)
            .header("x-tenant-id", SCOTTISH)
            .refused(400, "care-plan", "careplane", "identity-repeated")
            .kept(),
        carer("11:22", "A client garbles its tenant", "/api/v1/tenants/care%20home%200012/staff")
            .refused(400, "tenant-administration", "careplane", "tenant-malformed")
            .kept(),
        Step::get("11:30", "Somebody without any identity", "/api/v1/residents/res-31")
            .draw(6_000)
            .refused(403, "resident", "careplane", "tenant-missing")
            .kept(),
        Step::get("11:31", "Somebody signed their own token", "/api/v1/residents/res-31")
            .forged_token(SECOND, "carer")
            .draw(6_000)
            .refused(401, "resident", "jwt_authn", "jwt_authn_access_denied"),
    ]
}

/// People who work in more than one home, and beyond: by the grants of the manifests.
fn people() -> Vec<Step> {
    let agency = |at, story| {
        Step::get(at, story, "/api/v1/care-plans/cp-31")
            .token_with(r#"{"tenant_id": ["care-home-0107", "care-home-0042"], "roles": ["nurse"]}"#, "agency-nurse")
            .draw(6_100)
    };
    let inspector = |step: Step| {
        step.token_with(r#"{"tenant_id": null, "roles": ["inspector"], "jurisdiction": "wales"}"#, "inspector")
            .header("x-tenant-id", WELSH)
            .draw(4_100)
    };
    let emergency = |at, story| {
        Step::get(at, story, "/api/v1/health-records/hr-12")
            .token_with(r#"{"tenant_id": "care-home-0012", "roles": ["nurse"]}"#, "nurse-on-call")
            .header("x-tenant-id", NORTHERN_IRISH)
            .draw(9_900)
    };
    vec![
        agency("12:00", "An agency nurse works in Wales")
            .header("x-tenant-id", WELSH)
            .answered("care-plan", "pool-c")
            .tenant(WELSH)
            .check(Check::Selected(2, "header")),
        agency("12:01", "And in Scotland, with one token")
            .header("x-tenant-id", SCOTTISH)
            .answered("care-plan", "canary")
            .tenant(SCOTTISH)
            .check(Check::Selected(2, "header")),
        agency("12:02", "And says in neither").refused(403, "care-plan", "careplane", "tenant-unselected").kept(),
        inspector(Step::get("12:10", "An inspector reads in Wales", "/api/v1/residents/res-8"))
            .answered("resident", "pool-c")
            .tenant(WELSH)
            .kept()
            .check(Check::Granted("inspector", None)),
        inspector(Step::post("12:11", "An inspector writes there", "/api/v1/assessments"))
            .refused(403, "assessment", "careplane", "grant-action")
            .kept()
            .check(Check::Granted("inspector", None))
            .check(Check::ReachedFor(WELSH)),
        emergency("12:40", "A nurse looks into another home")
            .refused(403, "health-record", "careplane", "grant-purpose")
            .tenant(SECOND)
            .kept()
            .check(Check::Granted("emergency", None)),
        emergency("12:41", "And says that it is an emergency")
            .header("x-purpose-of-use", "BTG")
            .answered("health-record", "pool-c")
            .tenant(NORTHERN_IRISH)
            .kept()
            .check(Check::Granted("emergency", Some("BTG"))),
    ]
}

/// Peers by their certificates.
fn mesh() -> Vec<Step> {
    let read = |at, story, peer| {
        Step::get(at, story, "/api/v1/health-records/hr-7")
            .peer(peer)
            .header("x-tenant-id", NORTHERN_IRISH)
            .header("x-user-id", "record-sync")
            .draw(3_333)
    };
    vec![
        read("13:00", "A peer that the policy trusts", TRUSTED_PEER)
            .answered("health-record", "pool-c")
            .tenant(NORTHERN_IRISH)
            .kept()
            .check(Check::TenantFrom("header")),
        read("13:01", "A peer that it does not trust", OTHER_PEER)
            .refused(403, "health-record", "careplane", "tenant-missing")
            .kept()
            .check(Check::Forged("x-tenant-id"))
            .check(Check::Forged("x-user-id")),
    ]
}

/// What others in the chain refuse, and what fails behind it: careplane records it all.
fn proxy() -> Vec<Step> {
    let manager = |at, story, path| Step::get(at, story, path).token(FIRST, "manager").draw(5_000).tenant(FIRST);
    vec![
        manager("14:00", "A manager where nobody may go", "/forbidden/settings").refused(
            403,
            "general",
            "rbac",
            "rbac_access_denied",
        ),
        manager("15:00", "A dashboard asks", "/limited/occupancy").answered("general", "pool-a"),
        manager("15:01", "A dashboard asks again too soon", "/limited/occupancy").refused(
            429,
            "general",
            "rate_limit",
            "local_rate_limited",
        ),
        manager("16:00", "A report whose service is down", "/failing/report")
            .draw(410)
            .unanswered(503, "general", "UF")
            .kept(),
        manager("16:30", "A report that takes too long", "/slow/report")
            .header(DELAY_HEADER, "5000")
            .unanswered(504, "general", "UT"),
    ]
}

/// A path that reads as another to a careless reader. It is treated as what the application will take it for.
fn night() -> Vec<Step> {
    let spelled = "/api/v1//residents/..;/Medications;v=1/%61dminister";
    vec![
        Step::post("22:00", "A script spells its way to drugs", spelled)
            .token(SECOND, "night-carer")
            .draw(9_999)
            .answered("medication-administration", "pool-b")
            .tenant(SECOND)
            .kept(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_goes_forward_and_ends_with_a_trace_that_is_kept() {
        let day = day();
        assert!(day.iter().map(|step| step.at).is_sorted());
        assert!(day.last().unwrap().expect.kept);
    }

    #[test]
    fn every_story_fits_its_column() {
        assert!(day().iter().all(|step| step.story.chars().count() <= 34));
    }

    #[test]
    fn every_request_can_be_told_apart() {
        let day = day();
        let ids: std::collections::BTreeSet<String> =
            day.iter().enumerate().map(|(index, step)| step.request_id(index)).collect();
        assert_eq!(ids.len(), day.len());
        assert!(day.iter().all(|step| step.draw < 10_000));
    }
}

//! Where a plugin stands, and what its policy says of that place.

use careplane_policy::document::{Overrides, ProxyPlacement};

use super::finding::{Findings, Related};
use super::mesh::{Mesh, Plugin};
use super::rules;
use crate::filters;

pub fn check(mesh: &Mesh<'_>, findings: &mut Findings) {
    let places: Vec<Option<ProxyPlacement>> = mesh.plugins.iter().map(|plugin| of(mesh, plugin)).collect();
    let records = |plugin: &Plugin<'_>| plugin.has(filters::AUDIT);
    // One request passes two of them.
    let several = [ProxyPlacement::Gateway, ProxyPlacement::Inbound, ProxyPlacement::Outbound]
        .into_iter()
        .filter(|place| mesh.plugins.iter().zip(&places).any(|(plugin, it)| records(plugin) && *it == Some(*place)))
        .count()
        > 1;
    for (plugin, place) in mesh.plugins.iter().zip(&places) {
        let Some(policy) = plugin.policy.map(|index| &mesh.policies[index]) else { continue };
        let Some(document) = &policy.document else { continue };
        let related = || vec![Related::new(plugin.manifest.place(), "the plugin")];
        match (document.audit.placement, *place) {
            (Some(said), Some(place)) if said != place && records(plugin) => findings.add_related(
                &rules::PLACEMENT,
                policy.place("audit.placement"),
                format!("{} stands {}: expected {}", plugin.manifest.title(), phrase(place), word(place)),
                related(),
            ),
            (None, Some(place)) if several && records(plugin) => findings.add_related(
                &rules::PLACEMENT_MISSING,
                policy.place("audit"),
                format!(
                    "{} stands {}, and its records do not say so: expected `audit: {{placement: {}}}`",
                    plugin.manifest.title(),
                    phrase(place),
                    word(place)
                ),
                related(),
            ),
            _ => {}
        }
        if document.identity.overrides == Overrides::Pass && plugin.serves_others(mesh) {
            findings.add_related(
                &rules::OVERRIDES_PASS,
                policy.place("identity.overrides"),
                format!(
                    "{} passes headers such as x-http-method-override of any caller on: expected `remove`, or an \
                     application \
                     that does not read them",
                    plugin.manifest.title()
                ),
                related(),
            );
        }
    }
}

/// None where `match` and selector leave it open.
pub fn of(mesh: &Mesh<'_>, plugin: &Plugin<'_>) -> Option<ProxyPlacement> {
    let modes: Vec<_> = plugin
        .spec("match")
        .map(|node| node.elements())
        .unwrap_or_default()
        .iter()
        .map(|one| one.text(&["mode"]).unwrap_or("CLIENT_AND_SERVER"))
        .collect();
    let all = |mode| !modes.is_empty() && modes.iter().all(|known| *known == mode);
    if plugin.is_at_waypoints(mesh) || all("SERVER") {
        Some(ProxyPlacement::Inbound)
    } else if all("CLIENT") {
        let gateway = plugin.serves_others(mesh);
        Some(if gateway { ProxyPlacement::Gateway } else { ProxyPlacement::Outbound })
    } else {
        None
    }
}

fn word(place: ProxyPlacement) -> &'static str {
    match place {
        ProxyPlacement::Gateway => "gateway",
        ProxyPlacement::Inbound => "inbound",
        ProxyPlacement::Outbound => "outbound",
    }
}

fn phrase(place: ProxyPlacement) -> &'static str {
    match place {
        ProxyPlacement::Gateway => "at a gateway",
        ProxyPlacement::Inbound => "in front of workloads",
        ProxyPlacement::Outbound => "behind workloads, for what they send",
    }
}

//! Static Analysis Results Interchange Format 2.1.0 (OASIS).

use serde_json::json;
use serde_sarif::sarif::{
    ArtifactLocation, Location, Message, MultiformatMessageString, PhysicalLocation, Region, ReportingConfiguration,
    ReportingDescriptor, Result, ResultLevel, Run, Sarif, Tool, ToolComponent,
};

use crate::check::finding::{Finding, Related};
use crate::check::rules::{self, Level, Rule};
use crate::yaml;

/// The published schema; the one that `serde-sarif` names is a copy elsewhere.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log of one run.
pub fn log(findings: &[Finding]) -> Sarif {
    let driver = ToolComponent::builder()
        .name("careplane")
        .version(env!("CARGO_PKG_VERSION"))
        .rules(rules::ALL.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>())
        .build();
    let run = Run::builder()
        .tool(Tool::from(driver))
        .column_kind("unicodeCodePoints")
        .results(findings.iter().map(result).collect::<Vec<_>>())
        .build();
    Sarif::builder().schema(SCHEMA).version("2.1.0").runs(vec![run]).build()
}

fn descriptor(rule: &Rule) -> ReportingDescriptor {
    ReportingDescriptor::builder()
        .id(rule.id)
        .short_description(MultiformatMessageString::from(&rule.about.to_owned()))
        .default_configuration(ReportingConfiguration::builder().level(json!(rule.level)).build())
        .build()
}

fn result(finding: &Finding) -> Result {
    let index = rules::ALL.iter().position(|rule| rule.id == finding.rule.id).unwrap_or_default();
    Result::builder()
        .rule_id(finding.rule.id)
        .rule_index(i64::try_from(index).unwrap_or_default())
        .level(match finding.rule.level {
            Level::Error => ResultLevel::Error,
            Level::Warning => ResultLevel::Warning,
            Level::Note => ResultLevel::Note,
        })
        .message(Message::from(finding.message.as_str()))
        .locations(vec![location(&finding.place)])
        .related_locations(finding.related.iter().map(related).collect::<Vec<_>>())
        .build()
}

fn related(related: &Related) -> Location {
    Location { message: Some(Message::from(related.message.as_str())), ..location(&related.place) }
}

fn location(place: &yaml::Location) -> Location {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let region = Region::builder().start_line(number(place.line)).start_column(number(place.column)).build();
    let artifact = ArtifactLocation::builder().uri(uri(&place.file)).build();
    let physical = PhysicalLocation::builder().artifact_location(artifact).region(region).build();
    Location::builder().physical_location(physical).build()
}

/// A path as a relative URI (RFC 3986): what has a meaning there, or none, is escaped.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

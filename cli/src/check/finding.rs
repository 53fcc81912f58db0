//! What `check` finds.

use super::rules::Rule;
use crate::yaml::Location;

/// One thing to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub rule: &'static Rule,
    pub place: Location,
    /// What is the matter, and what would be right.
    pub message: String,
    /// The other places that have to do with it.
    pub related: Vec<Related>,
}

/// Another place, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Related {
    pub place: Location,
    pub message: String,
}

#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

// === impl Findings ===

impl Findings {
    pub fn add(&mut self, rule: &'static Rule, place: &Location, message: impl Into<String>) {
        self.add_related(rule, place, message, Vec::new());
    }

    pub fn add_related(
        &mut self,
        rule: &'static Rule,
        place: &Location,
        message: impl Into<String>,
        related: Vec<Related>,
    ) {
        let finding = Finding { rule, place: place.clone(), message: message.into(), related };
        // Plugins with one policy, and kustomizations with one base, have their problems in common.
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// In the order of files and lines.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by(|a, b| (&a.place, a.rule.id).cmp(&(&b.place, b.rule.id)));
        self.0
    }
}

impl Related {
    pub fn new(place: &Location, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into() }
    }
}

//! What the page shows.

use careplane_cli::check::rules::{self, Level};
use careplane_cli::check::{check, finding};
use careplane_cli::explain::explanation::Explanation;
use careplane_cli::explain::{Human, Judged};
use careplane_cli::input::Input;
use careplane_cli::yaml;
use serde::Serialize;

use crate::facts::{self, Fact};
use crate::{FILE, Question};

/// An answer to a [`Question`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// What `check` finds, in the order of lines.
    pub findings: Vec<FindingView>,
    /// What `explain` says; none when it says nothing.
    pub explanation: Option<ExplanationView>,
    /// Why it says nothing.
    pub problem: Option<String>,
    /// Why there is nothing to compare with, when the version before is refused.
    pub problem_before: Option<String>,
}

/// One thing to look at.
#[derive(Debug, Serialize)]
pub struct FindingView {
    /// The id of the rule: `careplane/policy`.
    pub rule: &'static str,
    /// `error`, `warning` or `note`.
    pub level: Level,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// What comes of it: the text of the rule.
    pub about: &'static str,
    /// Where it is.
    pub place: TextSpan,
    /// Other places that have to do with it, and what they say.
    pub related: Vec<(TextSpan, String)>,
}

/// Where something is in the text. Lines and columns count from 1; columns are characters, not bytes.
#[derive(Debug, PartialEq, Serialize)]
pub struct TextSpan {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
    /// So many characters.
    pub length: u64,
}

/// What `explain` says.
#[derive(Debug, Serialize)]
pub struct ExplanationView {
    /// The decision in a few words: `allowed`, or `denied with 403, tenant-conflict`.
    pub decision: String,
    /// Whether a filter denied the request.
    pub denied: bool,
    /// All of it, as the command prints it.
    pub text: String,
    /// The decisions one by one, each with what it was before.
    pub facts: Vec<Fact>,
}

// === impl Answer ===

impl Answer {
    /// Checks the policy, and runs the request through it and through the version before.
    pub fn to(question: &Question) -> Self {
        let input = Input::of_text(FILE, &question.policy);
        let (findings, _) = check(&input);
        let refused = findings.iter().any(|it| it.rule == &rules::POLICY || it.rule == &rules::NOT_YAML);
        let (now, problem) = match explain(&input, question) {
            Ok(explanation) => (Some(explanation), None),
            Err(_) if refused => (None, Some("A proxy would refuse this policy: see the findings.".to_owned())),
            Err(error) => (None, Some(error)),
        };
        let unchanged = question.before == question.policy;
        let before = if unchanged { Ok(None) } else { before(question).map(Some) };
        let (before, problem_before) = match before {
            Ok(before) => (before, None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            findings: findings.into_iter().map(FindingView::from).collect(),
            explanation: now.map(|now| ExplanationView::new(&now, before.as_ref())),
            problem,
            problem_before,
        }
    }
}

/// What `explain` would print as an error is a text here.
fn explain(input: &Input, question: &Question) -> Result<Explanation, String> {
    let judged = Judged::of(input, FILE, None);
    let asked = judged.and_then(|judged| {
        let request = question.request.read()?;
        judged.explain(&request, question.plugin.as_deref(), question.collector)
    });
    asked.map_err(|error| format!("{error:#}"))
}

fn before(question: &Question) -> Result<Explanation, String> {
    explain(&Input::of_text(FILE, &question.before), question)
}

// === impl ExplanationView ===

impl ExplanationView {
    fn new(now: &Explanation, before: Option<&Explanation>) -> Self {
        Self {
            decision: facts::decision(now),
            denied: now.decision.code.is_some(),
            text: Human(now).to_string(),
            facts: facts::compare(now, before),
        }
    }
}

// === impl FindingView ===

impl From<finding::Finding> for FindingView {
    fn from(finding: finding::Finding) -> Self {
        Self {
            rule: finding.rule.id,
            level: finding.rule.level,
            message: finding.message,
            about: finding.rule.about,
            place: TextSpan::from(&finding.place),
            related: finding.related.into_iter().map(|it| (TextSpan::from(&it.place), it.message)).collect(),
        }
    }
}

// === impl TextSpan ===

impl From<&yaml::Location> for TextSpan {
    fn from(place: &yaml::Location) -> Self {
        Self { line: place.line, column: place.column, length: place.length }
    }
}

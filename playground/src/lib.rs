//! The playground: what `careplane check` and `careplane explain` say, for a page in a browser.
//!
//! The page asks with one JSON text and gets another one. It is the Rust of the command line, so the page cannot differ
//! from it.

mod answer;
mod facts;
#[cfg(test)]
mod tests;

use careplane_cli::explain::{CollectorAnswer, RequestArguments};
use serde::Deserialize;
use wasm_bindgen::prelude::wasm_bindgen;

pub use answer::{Answer, ExplanationView, FindingView, TextSpan};
pub use facts::Fact;

/// The name that places in the policy have.
pub const FILE: &str = "policy.yaml";

/// What the page asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Question {
    /// The text in the editor: a policy, or manifests with one inside.
    pub policy: String,
    /// The version before.
    pub before: String,
    /// The request, as on the command line of `explain`.
    pub request: RequestArguments,
    /// The filters to run; those of the manifest, else all, when absent.
    pub plugin: Option<String>,
    /// The collector's answer to an intent.
    pub collector: CollectorAnswer,
}

/// Answers a [`Question`] in JSON with an [`Answer`] in JSON.
///
/// # Errors
/// When the text is not a question.
#[wasm_bindgen]
pub fn look(question: &str) -> Result<String, String> {
    let question: Question = serde_json::from_str(question).map_err(|error| error.to_string())?;
    serde_json::to_string(&Answer::to(&question)).map_err(|error| error.to_string())
}

/// Throws what panics, so that the page can say it, and start the module anew.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|panic| wasm_bindgen::throw_str(&panic.to_string())));
}

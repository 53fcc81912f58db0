//! What a run prints: a label and a line, and a spinner while it waits.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::out;

/// Columns of the label.
const LABEL: usize = 14;

/// Prints for people; nothing when the output is JSON.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    quiet: bool,
}

impl Printer {
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub fn say(&self, label: &str, text: &str) {
        if self.quiet {
            return;
        }
        let mut lines = String::new();
        for (number, line) in text.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            let _ = writeln!(lines, "{label:LABEL$} {line}");
        }
        // A closed pipe is no reason to stop half way through a change.
        let _ = out::print(&lines);
    }

    pub fn more(&self, text: &str) {
        self.say("", text);
    }

    pub fn warn(&self, text: &str) {
        if self.quiet {
            eprintln!("careplane: warning: {text}");
        } else {
            self.say("warning", text);
        }
    }

    /// A spinner while something takes its time; gone when the value is dropped. None without a terminal.
    pub fn waiting(&self, what: &str) -> Option<Waiting> {
        if self.quiet || !std::io::stderr().is_terminal() {
            return None;
        }
        let style = ProgressStyle::with_template(&format!("{:LABEL$} {{spinner}} {{msg}} ({{elapsed}})", "")).ok()?;
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Some(Waiting(bar))
    }
}

/// A spinner.
pub struct Waiting(ProgressBar);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub fn prompt(question: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(question.as_bytes()).and_then(|()| out.flush());
}

/// The first five of a list, and how many more there are.
pub fn first_five(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

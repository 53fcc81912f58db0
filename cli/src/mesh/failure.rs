//! How a run ends that did not do what it was asked to.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit codes. 0 is: done, or nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Applied, but a check failed.
    Unverified = 1,
    Usage = 2,
    /// A program is missing, or too old.
    Prerequisite = 3,
    /// The cluster does not answer, or a read failed.
    Unreachable = 4,
    /// The cluster refused something, or fields belong to others.
    Refused = 5,
    TimedOut = 6,
    /// By `careplane check`, or by the admission policy.
    PolicyRefused = 7,
    /// The question was not answered with yes.
    Declined = 8,
}

/// Why, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    message: String,
    advice: Vec<String>,
}

impl Failure {
    pub fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string(), advice: Vec::new() }
    }

    pub fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    pub fn declined(message: impl Display) -> Self {
        Self::new(Code::Declined, message)
    }

    /// Adds a line that says what to do.
    pub fn advise(mut self, advice: impl Display) -> Self {
        self.advice.push(advice.to_string());
        self
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prints it.
    pub fn report(&self) -> ExitCode {
        eprintln!("careplane: {}", self.message);
        for line in self.advice.iter().flat_map(|advice| advice.lines()) {
            eprintln!("           {line}");
        }
        ExitCode::from(self.code as u8)
    }
}

//! Events one after another, as a file that FHIR knows.

use std::io::{self, Write};

use serde::Serialize;
use uuid::Uuid;

use super::AuditEvent;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One resource a line, as FHIR's bulk data has it: `application/fhir+ndjson`.
    Ndjson,
    /// One `Bundle` of type `collection`.
    Collection,
    /// One `Bundle` of type `transaction`, which puts each event at its id: sent twice, it changes nothing.
    Transaction,
}

/// Writes events as they come; none is kept.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    form: Form,
    written: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'e> {
    full_url: String,
    resource: &'e AuditEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
}

#[derive(Serialize)]
struct Request {
    method: &'static str,
    url: String,
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    /// Begins to write to `out`.
    pub fn new(out: W, form: Form) -> Self {
        Self { out, form, written: 0 }
    }

    /// Writes an event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, event: &AuditEvent) -> io::Result<()> {
        match self.form {
            Form::Ndjson => serde_json::to_writer(&mut self.out, event)?,
            Form::Collection | Form::Transaction => {
                if self.written == 0 {
                    self.begin()?;
                    self.out.write_all(b",\"entry\":[\n")?;
                } else {
                    self.out.write_all(b",")?;
                }
                serde_json::to_writer(&mut self.out, &Entry::of(event, self.form))?;
            }
        }
        self.written += 1;
        self.out.write_all(b"\n")
    }

    /// Writes the end, and returns how many events there are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        match (self.form, self.written) {
            (Form::Ndjson, _) => {}
            // FHIR has no empty lists.
            (_, 0) => {
                self.begin()?;
                self.out.write_all(b"}\n")?;
            }
            _ => self.out.write_all(b"]}\n")?,
        }
        self.out.flush()?;
        Ok(self.written)
    }

    fn begin(&mut self) -> io::Result<()> {
        let r#type = if self.form == Form::Transaction { "transaction" } else { "collection" };
        write!(self.out, r#"{{"resourceType":"Bundle","type":"{type}""#)
    }
}

// === impl Entry ===

impl<'e> Entry<'e> {
    fn of(event: &'e AuditEvent, form: Form) -> Self {
        let request = || Request { method: "PUT", url: format!("AuditEvent/{}", event.id) };
        Self {
            // An entry needs a URL of its own, and no server is known: one made from the id alone (RFC 9562, version
            // 5).
            full_url: Uuid::new_v5(&Uuid::NAMESPACE_OID, event.id.as_bytes()).urn().to_string(),
            resource: event,
            request: (form == Form::Transaction).then(request),
        }
    }
}

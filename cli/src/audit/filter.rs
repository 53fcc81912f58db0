//! Which records: what `search` and `follow` have in common.

use careplane_evidence::purpose;
use careplane_evidence::report::Scope;
use careplane_evidence::search::{Person, Query};
use careplane_exchange::Role;
use jiff::Timestamp;

use super::people::{Named, PeopleArguments, refuse_number};

#[derive(clap::Args)]
pub struct FilterArguments {
    #[command(flatten)]
    pub people: PeopleArguments,
    /// A pseudonym as it is in records, of a user or a subject
    #[arg(long, value_name = "PSEUDONYM")]
    pseudonym: Vec<String>,
    /// A tenant, also one that was only named
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// A healthcare context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// What was done
    #[arg(long, value_parser = ["create", "read", "update", "delete", "execute"])]
    action: Option<String>,
    /// Only refused requests
    #[arg(long)]
    denied: bool,
    /// Requests under this grant, beyond the caller's own tenants; also those that it did not allow
    #[arg(long, value_name = "NAME")]
    grant: Option<String>,
    /// Requests for one of these purposes of use, in the codes of HL7 v3; emergency access is `BTG,ETREAT`
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = purpose_of_use)]
    purpose: Vec<String>,
    /// Requests from then on: a date, from its midnight UTC, or an instant of RFC 3339
    #[arg(long, value_name = "TIME", value_parser = Scope::bound)]
    from: Option<Timestamp>,
    /// Requests before then: a date, until its midnight UTC, or an instant
    #[arg(long, value_name = "TIME", value_parser = Scope::bound)]
    to: Option<Timestamp>,
    /// A request, by `x-request-id`
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// A trace, by its id
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
}

impl FilterArguments {
    /// The query, and what it asks for in words that hold no number.
    pub fn query(&self) -> anyhow::Result<(Query, Vec<String>)> {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            anyhow::ensure!(from < to, "--from {from} is not before --to {to}: the period would be empty");
        }
        for pseudonym in &self.pseudonym {
            refuse_number("--pseudonym", pseudonym, "--subject")?;
        }
        let named = self.people.read()?;
        let mut asked: Vec<String> = named.iter().map(describe).collect();
        asked.extend(self.pseudonym.iter().map(|it| format!("pseudonym {it}")));
        let texts = [
            ("tenant", &self.tenant),
            ("context", &self.context),
            ("action", &self.action),
            ("grant", &self.grant),
            ("request", &self.request_id),
            ("trace", &self.trace),
        ];
        asked.extend(texts.into_iter().filter_map(|(name, text)| Some(format!("{name} {}", text.as_ref()?))));
        if !self.purpose.is_empty() {
            asked.push(format!("purpose {}", self.purpose.join(" or ")));
        }
        if self.denied {
            asked.push("refused requests".to_owned());
        }
        let mut people: Vec<Person> = named.into_iter().map(Person::from).collect();
        people.extend(self.pseudonym.iter().map(|it| Person::Any(vec![it.clone()])));
        let query = Query {
            people,
            tenant: self.tenant.clone(),
            context: self.context.clone(),
            action: self.action.clone(),
            denied: self.denied,
            grant: self.grant.clone(),
            purposes: self.purpose.clone(),
            from: self.from,
            to: self.to,
            request_id: self.request_id.clone(),
            trace: self.trace.clone(),
        };
        Ok((query, asked))
    }
}

/// A code of the list, in any case.
fn purpose_of_use(text: &str) -> Result<String, String> {
    let code = text.trim().to_ascii_uppercase();
    purpose::display(&code)
        .is_some()
        .then_some(code)
        .ok_or_else(|| "expected a code of HL7 v3 PurposeOfUse, such as TREAT, ETREAT or BTG".to_owned())
}

fn describe(named: &Named) -> String {
    let role = match named.role {
        Role::User => "user",
        Role::Subject => "person in care",
    };
    let pseudonyms: Vec<&str> = named.pseudonyms.iter().map(|(_, pseudonym)| pseudonym.as_str()).collect();
    format!("{role} {}", pseudonyms.join(" or "))
}

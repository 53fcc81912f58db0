//! The tenants as an operator has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use careplane_policy::directory::Entry;
use careplane_policy::document::{Cohort, Jurisdiction};

use crate::input;
use crate::yaml::{self, Value};

const COLUMNS: [&str; 5] = ["tenant", "pool", "jurisdiction", "cohort", "group"];

/// Tenants, and where each is written.
pub struct Entries {
    file: String,
    tenants: BTreeMap<String, Written>,
}

struct Written {
    place: String,
    /// Pool, jurisdiction, cohort and group; empty when absent.
    values: [String; 4],
}

/// Reads them, and says what is wrong with them, each with its place.
pub fn read(file: &Path) -> anyhow::Result<(Entries, Vec<String>)> {
    let name = file.display().to_string();
    let text = input::read_text(file)?;
    let mut entries = Entries { file: name.clone(), tenants: BTreeMap::new() };
    let mut problems = Vec::new();
    if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
        entries.csv(&text, &mut problems)?;
    } else {
        entries.yaml(&name, &text, &mut problems)?;
    }
    Ok((entries, problems))
}

// === impl Entries ===

impl Entries {
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    pub fn tenants(&self) -> BTreeMap<String, Entry<'_>> {
        self.tenants.iter().map(|(tenant, written)| (tenant.clone(), written.entry())).collect()
    }

    /// Where a tenant is written.
    pub fn place(&self, tenant: Option<&str>) -> &str {
        tenant.and_then(|tenant| self.tenants.get(tenant)).map_or(&self.file, |written| &written.place)
    }

    fn add(&mut self, tenant: &str, place: String, values: [String; 4], problems: &mut Vec<String>) {
        let [_, jurisdiction, cohort, _] = &values;
        if !jurisdiction.is_empty() && Jurisdiction::from_word(jurisdiction.as_bytes()).is_none() {
            problems.push(format!(
                "{place}: {jurisdiction:?} is not a jurisdiction: expected england, scotland, wales or northern-ireland"
            ));
        }
        if !cohort.is_empty() && Cohort::from_word(cohort.as_bytes()).is_none() {
            problems.push(format!("{place}: {cohort:?} is not a cohort: expected canary or stable"));
        }
        if let Some(other) = self.tenants.get(tenant) {
            problems.push(format!("{place}: {tenant:?} is at {} already: expected each tenant once", other.place));
            return;
        }
        self.tenants.insert(tenant.to_owned(), Written { place, values });
    }

    fn csv(&mut self, text: &str, problems: &mut Vec<String>) -> anyhow::Result<()> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().with_context(|| format!("{} is not CSV", self.file))?.clone();
        if let Some(unknown) = header.iter().find(|name| !COLUMNS.contains(name)) {
            bail!("{}:1: unknown column {unknown:?}: expected {}", self.file, COLUMNS.join(", "));
        }
        let repeated = header.iter().enumerate().find(|(index, name)| header.iter().take(*index).any(|it| it == *name));
        if let Some((_, repeated)) = repeated {
            bail!("{}:1: the column {repeated:?} is there twice: expected each once", self.file);
        }
        let column = |name: &str| header.iter().position(|known| known == name);
        let Some(tenant) = column("tenant") else {
            bail!("{}:1: there is no column `tenant`: expected {}", self.file, COLUMNS.join(", "));
        };
        let columns = ["pool", "jurisdiction", "cohort", "group"].map(column);
        for record in reader.records() {
            let record = record.with_context(|| format!("{} is not CSV", self.file))?;
            let line = record.position().map_or(0, csv::Position::line);
            let value = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
            let values = columns.map(|column| value(column).to_owned());
            self.add(value(Some(tenant)), format!("{}:{line}", self.file), values, problems);
        }
        Ok(())
    }

    fn yaml(&mut self, name: &str, text: &str, problems: &mut Vec<String>) -> anyhow::Result<()> {
        let nodes = yaml::read(&Arc::from(name), text)
            .map_err(|broken| anyhow::anyhow!("{}: {}", broken.place, broken.message))?;
        let [node] = nodes.as_slice() else { bail!("{name} has {} documents: expected one", nodes.len()) };
        if node.entries().is_empty() {
            bail!("{name}: expected a map of tenants, as tenants.entries of a policy has it");
        }
        for entry in node.entries() {
            let place = entry.key_place.to_string();
            if !matches!(entry.value.value, Value::Map(_) | Value::Null) {
                let found = entry.value.to_json();
                problems.push(format!("{}: {found} is no entry: expected such as {{pool: pool-a}}", entry.value.place));
            }
            for field in entry.value.entries() {
                if !matches!(field.value.value, Value::Text(_) | Value::Null) {
                    let (place, found) = (&field.value.place, field.value.to_json());
                    problems.push(format!("{place}: {} is {found}: expected a text", field.key));
                }
            }
            for field in entry.value.entries().iter().filter(|field| !COLUMNS[1..].contains(&field.key.as_str())) {
                let known = COLUMNS[1..].join(", ");
                problems.push(format!("{}: unknown field `{}`: expected one of {known}", field.key_place, field.key));
            }
            let value = |name: &str| entry.value.text(&[name]).unwrap_or_default().to_owned();
            let values = ["pool", "jurisdiction", "cohort", "group"].map(value);
            self.add(&entry.key, place, values, problems);
        }
        Ok(())
    }
}

// === impl Written ===

impl Written {
    fn entry(&self) -> Entry<'_> {
        let [pool, jurisdiction, cohort, group] = &self.values;
        Entry {
            pool: Some(pool.as_str()).filter(|pool| !pool.is_empty()),
            jurisdiction: Jurisdiction::from_word(jurisdiction.as_bytes()),
            cohort: Cohort::from_word(cohort.as_bytes()),
            group: Some(group.as_str()).filter(|group| !group.is_empty()),
        }
    }
}

//! Whom a search is about. A number never comes from the command line, which shells and process lists keep.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use careplane_evidence::search::Person;
use careplane_exchange::{KEY_MIN, Key, Pseudonyms, Role};
use careplane_policy::nhs;

use super::input::without_mark;

/// The environment variable that the proxies have the key in, unless a policy names another one.
const KEY_ENV: &str = "CAREPLANE_PSEUDONYM_KEY";
/// What stands for the standard input.
const STDIN: &str = "-";

#[derive(clap::Args)]
pub struct PeopleArguments {
    /// The person whose data was used: an NHS number or another id of the application. `-` reads it from the standard
    /// input; an NHS number has to come that way
    #[arg(long, value_name = "ID|-")]
    subject: Option<String>,
    /// The user who acted, by the id of the application. `-` reads it from the standard input
    #[arg(long, value_name = "ID|-")]
    user: Option<String>,
    #[command(flatten)]
    keys: PseudonymKeys,
}

#[derive(clap::Args)]
pub struct PseudonymKeys {
    /// An environment variable with a pseudonym key, as the proxies have it; repeat it for each key. Default:
    /// CAREPLANE_PSEUDONYM_KEY
    #[arg(long, value_name = "NAME")]
    pseudonym_key_env: Vec<String>,
    /// A file with such a key, byte for byte
    #[arg(long, value_name = "FILE")]
    pseudonym_key_file: Vec<PathBuf>,
}

/// A role, and the pseudonyms under each key.
pub struct Named {
    pub role: Role,
    /// The key's id, and the pseudonym.
    pub pseudonyms: Vec<(String, String)>,
    /// What records have of a user under `pseudonymise: false`.
    plain: Vec<String>,
}

// === impl PeopleArguments ===

impl PeopleArguments {
    /// Whether one of the people is to be read from the standard input.
    pub fn take_stdin(&self) -> bool {
        [&self.subject, &self.user].into_iter().flatten().any(|it| it == STDIN)
    }

    /// The pseudonyms of the people.
    pub fn read(&self) -> anyhow::Result<Vec<Named>> {
        let people = [(Role::Subject, "--subject", &self.subject), (Role::User, "--user", &self.user)];
        let people: Vec<_> =
            people.into_iter().filter_map(|(role, name, id)| Some((role, name, id.as_deref()?))).collect();
        if people.is_empty() {
            return Ok(Vec::new());
        }
        ensure!(
            people.iter().filter(|(.., id)| *id == STDIN).count() < 2,
            "--subject - and --user - both want the standard input: give one of them in another way"
        );
        let keys = self.keys.read()?;
        people
            .into_iter()
            .map(|(role, option, id)| {
                let id = if id == STDIN { read_id(option)? } else { argument(option, id)? };
                let pseudonyms = keys.iter().map(|key| (key.key_id().to_owned(), key.of(role, &id))).collect();
                let is_user = role == Role::User;
                let plain = keys.iter().filter(|_| is_user).map(|key| key.redact(&id).into_owned()).collect();
                Ok(Named { role, pseudonyms, plain })
            })
            .collect()
    }
}

/// Refuses an NHS number on the command line; `instead` takes one.
pub fn refuse_number(option: &str, id: &str, instead: &str) -> anyhow::Result<()> {
    let holds_number = nhs::find(id.as_bytes()).is_some() || nhs::find_escaped(id.as_bytes()).is_some();
    ensure!(
        !holds_number,
        "{option}: an NHS number on the command line stays in the history of the shell, and shows in the list of \
         processes: give `{instead} -`, and the number on the standard input"
    );
    Ok(())
}

/// An id that may be on the command line.
fn argument(option: &str, id: &str) -> anyhow::Result<String> {
    refuse_number(option, id, option)?;
    ensure!(!id.is_empty(), "{option}: the id is empty");
    Ok(id.to_owned())
}

fn read_id(option: &str) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        eprint!("{option}: ");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).with_context(|| format!("{option}: the standard input cannot be read"))?;
    let id = without_mark(&line).trim().to_owned();
    ensure!(!id.is_empty(), "{option}: there is no id on the standard input");
    Ok(id)
}

impl From<Named> for Person {
    fn from(named: Named) -> Self {
        let pseudonyms = named.pseudonyms.into_iter().map(|(_, pseudonym)| pseudonym).chain(named.plain).collect();
        match named.role {
            Role::User => Self::User(pseudonyms),
            Role::Subject => Self::Subject(pseudonyms),
        }
    }
}

// === impl PseudonymKeys ===

impl PseudonymKeys {
    fn read(&self) -> anyhow::Result<Vec<Pseudonyms>> {
        let mut keys = Vec::new();
        for name in &self.pseudonym_key_env {
            let value = env::var_os(name).with_context(|| format!("{name} is not in the environment"))?;
            keys.push(key(value.as_encoded_bytes(), name)?);
        }
        for path in &self.pseudonym_key_file {
            let name = path.display().to_string();
            keys.push(key(&fs::read(path).with_context(|| name.clone())?, &name)?);
        }
        if keys.is_empty() {
            let value = env::var_os(KEY_ENV).with_context(|| {
                format!(
                    "without the key there are no pseudonyms: {KEY_ENV}, --pseudonym-key-env or --pseudonym-key-file"
                )
            })?;
            keys.push(key(value.as_encoded_bytes(), KEY_ENV)?);
        }
        Ok(keys)
    }
}

fn key(bytes: &[u8], name: &str) -> anyhow::Result<Pseudonyms> {
    match Key::new(bytes) {
        Some(key) => Ok(Pseudonyms::new(key)),
        None => bail!("{name}: the key has {} bytes, and has to have {KEY_MIN} or more", bytes.len()),
    }
}

//! The pseudonym key: one for all namespaces, because with two a person has two pseudonyms.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;

use super::Context;
use super::cluster::Cluster;
use super::difference::refused;
use super::failure::{Code, Failure};

pub const SECRET: &str = "careplane-pseudonym-key";

/// What the namespaces of the mesh have.
pub struct Keys {
    pub missing: Vec<String>,
    /// Those whose key is another one than the first.
    pub different: Vec<String>,
    /// In base64. It is never printed, and never an argument of a program.
    key: Option<String>,
}

/// What a namespace has under the name of the Secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// A Secret without the field `key`. No proxy starts with it, and none can be made beside it.
    WithoutKey,
    /// In base64.
    Key(String),
}

impl Keys {
    pub fn read(context: &Context<'_>) -> Result<Self, Failure> {
        let mut keys = Self { missing: Vec::new(), different: Vec::new(), key: None };
        for namespace in context.manifests.mesh_namespaces() {
            let found = match key_of(context.cluster, namespace)? {
                Held::Key(found) => found,
                Held::Nothing => {
                    keys.missing.push(namespace.to_owned());
                    continue;
                }
                Held::WithoutKey => {
                    let message = format!("Secret {SECRET} in {namespace} has no field key: nothing was changed");
                    return Err(Failure::new(Code::Refused, message)
                        .advise("give it the key of the other namespaces, or delete it: apply then makes one"));
                }
            };
            match &keys.key {
                None => keys.key = Some(found),
                Some(key) if *key != found => keys.different.push(namespace.to_owned()),
                Some(_) => {}
            }
        }
        Ok(keys)
    }

    pub fn print(&self, context: &Context<'_>, verb: &str) {
        let printer = context.printer;
        if !self.different.is_empty() {
            let names = self.different.join(" ");
            printer.warn(&format!("Secret {SECRET} differs in {names}: a person has another pseudonym there"));
        }
        if self.missing.is_empty() {
            printer.say("keys", &format!("unchanged: Secret {SECRET} is in every namespace of the mesh"));
        } else {
            let names = self.missing.join(" ");
            printer.say("keys", &format!("{verb}: Secret {SECRET}, the same random key in {names}"));
        }
    }

    /// Makes those that are missing.
    pub fn make(&self, context: &Context<'_>) -> Result<(), Failure> {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => random()?,
        };
        for namespace in &self.missing {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"name": SECRET, "namespace": namespace}, "data": {"key": key},
            });
            // On its standard input: every process of this machine can see arguments.
            let ended = context.cluster.feed(&["create", "-f", "-"], &secret.to_string())?;
            if !ended.status.success() {
                return Err(refused(context.cluster, "keys", "made", &ended));
            }
        }
        self.print(context, "made");
        Ok(())
    }
}

pub fn key_of(cluster: &Cluster, namespace: &str) -> Result<Held, Failure> {
    // The name tells a Secret without the field from none.
    let fields = "jsonpath={.metadata.name} {.data.key}";
    let found = cluster.read(&["-n", namespace, "get", "secret", SECRET, "--ignore-not-found", "-o", fields])?;
    Ok(match found.trim().split_once(' ') {
        Some((_, key)) => Held::Key(key.trim().to_owned()),
        None if found.trim().is_empty() => Held::Nothing,
        None => Held::WithoutKey,
    })
}

/// 256 bits in hexadecimal, in base64.
fn random() -> Result<String, Failure> {
    Ok(BASE64.encode(HEXLOWER.encode(&random_bytes::<32>()?).as_bytes()))
}

pub fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Code::Prerequisite, format!("this machine gives no random numbers: {error}")))?;
    Ok(bytes)
}

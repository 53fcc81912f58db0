//! Where the keys of chains come from. Never from the command line: every user of a machine can read that.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use careplane_evidence::verify::{KEY_MIN, Key, Keyring};

#[derive(clap::Args)]
pub struct KeyArguments {
    /// An environment variable with a chain key, as the proxies have it; repeat it for each key
    #[arg(long, value_name = "NAME")]
    key_env: Vec<String>,
    /// A file with such a key, byte for byte
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

impl KeyArguments {
    /// The files that it reads.
    pub fn files(&self) -> &[PathBuf] {
        &self.key_file
    }

    pub fn read(&self) -> anyhow::Result<Keyring> {
        let mut keys = Keyring::default();
        for name in &self.key_env {
            let value = env::var_os(name).with_context(|| format!("{name} is not in the environment"))?;
            keys.add(key(value.as_encoded_bytes(), name)?);
        }
        for path in &self.key_file {
            let name = path.display().to_string();
            keys.add(key(&fs::read(path).with_context(|| name.clone())?, &name)?);
        }
        Ok(keys)
    }
}

fn key(bytes: &[u8], name: &str) -> anyhow::Result<Key> {
    match Key::new(bytes) {
        Some(key) => Ok(key),
        None => bail!("{name}: the key has {} bytes, and has to have {KEY_MIN} or more", bytes.len()),
    }
}

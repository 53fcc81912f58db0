//! The texts that links refer to by numbers, and the proxies that chains name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use uuid::Uuid;

/// How many keys are told apart. Proxies have a few; only made-up records have more.
const KEYS_MAX: usize = 1 << 10;
/// The longest name of a proxy that is kept, in bytes.
const PROXY_MAX: usize = 256;

/// What is remembered of texts that links only refer to.
#[derive(Debug, Default)]
pub(super) struct Notes {
    keys: Vec<String>,
    key_numbers: HashMap<String, u32>,
    pub(super) proxies: HashMap<Uuid, String>,
}

// === impl Notes ===

impl Notes {
    /// The number of a key id, from 1.
    pub(super) fn key(&mut self, id: &str) -> u32 {
        if let Some(number) = self.key_numbers.get(id) {
            return *number;
        }
        if self.keys.len() == KEYS_MAX {
            return KEYS_MAX as u32;
        }
        self.keys.push(id.to_owned());
        let number = self.keys.len() as u32;
        self.key_numbers.insert(id.to_owned(), number);
        number
    }

    /// The id of a key; none for number 0.
    pub(super) fn key_id(&self, number: u32) -> Option<&str> {
        self.keys.get((number as usize).checked_sub(1)?).map(String::as_str)
    }

    pub(super) fn proxy(&mut self, chain: Uuid, id: &str) {
        if let Entry::Vacant(entry) = self.proxies.entry(chain) {
            entry.insert(id[..id.floor_char_boundary(PROXY_MAX)].to_owned());
        }
    }
}

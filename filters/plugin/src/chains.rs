//! The chains of this VM: one for each key.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use careplane_audit::Chain;
use careplane_exchange::Key;

thread_local! {
    /// Plugins of a VM run on one thread, and the records of those with the same key are in one order. A chain ends with the last of them.
    static CHAINS: RefCell<Vec<Weak<Chain>>> = const { RefCell::new(Vec::new()) };
}

/// The chain of this key, which begins if there is none; without a key, the chain whose hashes are not keyed.
pub(crate) fn of(key: Option<Key>) -> Rc<Chain> {
    CHAINS.with_borrow_mut(|chains| {
        chains.retain(|chain| chain.strong_count() > 0);
        let id = key.as_ref().map(Key::id);
        if let Some(chain) = chains.iter().filter_map(Weak::upgrade).find(|chain| chain.key_id() == id) {
            return chain;
        }
        let chain = Rc::new(key.map_or_else(Chain::default, Chain::keyed));
        chains.push(Rc::downgrade(&chain));
        chain
    })
}

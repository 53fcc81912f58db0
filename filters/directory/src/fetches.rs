//! The directories of one VM.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use careplane_exchange::{Host, HttpAnswer};
use careplane_policy::DirectorySource;
use careplane_policy::directory::DirectoryView;

use crate::fetch::Fetch;

/// The directories of one VM. Plugins that name the same one share it.
#[derive(Default)]
pub struct Fetches(Cell<Vec<Rc<Fetch>>>);

/// A plugin that drives the fetching of a directory, until it is detached.
#[derive(Debug)]
pub struct Driver {
    id: u32,
    source: Rc<DirectorySource>,
    fetch: Rc<Fetch>,
}

// === impl Fetches ===

impl Fetches {
    /// No directories.
    pub const fn new() -> Self {
        Self(Cell::new(Vec::new()))
    }

    /// A plugin drives the directory of `source` from now on. The plugin that came last says how, from its first tick
    /// on; the directory that is here stays.
    #[inline(never)]
    pub fn attach(&self, source: &DirectorySource, host: &dyn Host) -> Driver {
        let mut known = self.0.take();
        let source = Rc::new(source.clone());
        let fetch = match known.iter().find(|fetch| fetch.is_of(&source)) {
            Some(fetch) => Rc::clone(fetch),
            None => {
                let fetch = Rc::new(Fetch::new(&source, host));
                known.push(Rc::clone(&fetch));
                fetch
            }
        };
        self.0.set(known);
        Driver { id: fetch.attach(), source, fetch }
    }

    /// A plugin ends, and with it the call that it has made. With the last plugin, the directory goes.
    #[inline(never)]
    pub fn detach(&self, driver: &Driver, host: &dyn Host) {
        let mut known = self.0.take();
        if driver.fetch.detach(driver.id, host) {
            known.retain(|fetch| !Rc::ptr_eq(fetch, &driver.fetch));
        }
        self.0.set(known);
    }
}

// === impl Driver ===

impl Driver {
    /// What requests see.
    pub fn view(&self) -> Arc<DirectoryView> {
        self.fetch.view()
    }

    /// Does what is due.
    pub fn tick(&self, host: &dyn Host) {
        self.fetch.tick(self.id, &self.source, host);
    }

    /// How many bytes the answer to a call may have; `None` when the call is not one of these.
    pub fn awaits(&self, call: u32) -> Option<usize> {
        self.fetch.awaits(call)
    }

    /// The answer to a call.
    pub fn answered(&self, call: u32, answer: &mut HttpAnswer, host: &dyn Host) {
        self.fetch.answered(self.id, call, answer, host);
    }
}

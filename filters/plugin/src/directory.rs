//! The directories of tenants of this VM, and what drives the fetching of them.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use careplane_directory::{Driver, Fetches};
use careplane_policy::DirectorySource;
use careplane_policy::directory::DirectoryView;

use crate::export::TICK;
use crate::host::EnvoyHost;

/// Until the directory is asked for the first time. Not while the plugin is configured: the proxy also does that on a
/// VM that serves nothing.
const FIRST_TICK: Duration = Duration::from_millis(10);

thread_local! {
    /// Shared by the plugins of this VM, so that a directory is in it once.
    static FETCHES: Fetches = const { Fetches::new() };
}

/// A plugin that drives a directory as long as it lives.
pub(crate) struct DirectoryDriver {
    driver: Driver,
    /// Whether the first tick is to come.
    begins: Cell<bool>,
}

// === impl DirectoryDriver ===

impl DirectoryDriver {
    pub(crate) fn attach(source: &DirectorySource) -> Self {
        let driver = FETCHES.with(|fetches| fetches.attach(source, &EnvoyHost));
        EnvoyHost.tick_every(FIRST_TICK);
        Self { driver, begins: Cell::new(true) }
    }

    pub(crate) fn view(&self) -> Arc<DirectoryView> {
        self.driver.view()
    }

    pub(crate) fn tick(&self) {
        if self.begins.take() {
            EnvoyHost.tick_every(TICK);
        }
        self.driver.tick(&EnvoyHost);
    }

    /// Takes the answer to a call, if it is one of these.
    pub(crate) fn answered(&self, call: u32, headers: usize, body: usize) -> bool {
        let Some(max) = self.driver.awaits(call) else { return false };
        self.driver.answered(call, &mut EnvoyHost.answer(headers, body, max, true), &EnvoyHost);
        true
    }
}

impl Drop for DirectoryDriver {
    fn drop(&mut self) {
        FETCHES.with(|fetches| fetches.detach(&self.driver, &EnvoyHost));
    }
}

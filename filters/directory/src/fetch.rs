//! One directory: asked for, fetched part by part, checked, and taken as a whole.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use careplane_exchange::{Host, HttpAnswer, HttpCall};
use careplane_policy::DirectorySource;
use careplane_policy::directory::{
    Directory, DirectoryView, Fault, FaultKind, INDEX_BYTES_MAX, Index, PART_BYTES_MAX, Part,
};

use crate::{AGE, FAILURES, MISSING, TENANTS, UPDATES};

/// The first pause after an attempt that failed; it doubles, up to the interval.
const FIRST_PAUSE: Millis = 1_000;
/// The proxy's own timeout comes first; when not even that comes, the plugin that called is gone.
const OVERDUE: Millis = 1_000;
const LOG_INTERVAL: Millis = 60_000;
const GAUGE_INTERVAL: Millis = 1_000;
/// The longest ETag that is sent back, in bytes.
const ETAG_MAX: usize = 256;

/// Of [`Host::elapsed`], or a length of time. A `Duration` is twice the code.
type Millis = u64;

/// One directory of one VM.
#[derive(Debug)]
pub struct Fetch {
    view: Arc<DirectoryView>,
    /// Plugins that drive it, and the number of the last one.
    drivers: Cell<(usize, u32)>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// As the plugin has it that came last, of those that are here.
    source: Rc<DirectorySource>,
    /// Which plugin that is; 0 when none has ticked, or it has gone.
    source_of: u32,
    phase: Phase,
    /// Of the index of the directory that was taken. Not of one that was refused: it has to be looked at again.
    etag: Option<String>,
    /// Parts that have been checked, by their numbers: of the directory that was taken, and of one that is on its way.
    parts: Vec<Option<Arc<Part>>>,
    /// Whether one of them may not be of the directory that was taken.
    is_new: bool,
    /// Whether a tick has come. None does on the VM that a proxy tries a configuration on, and whose end it does not
    /// tell.
    begun: bool,
    /// Attempts in a row that failed.
    failures: u32,
    /// When the server last confirmed the directory; before that, when this began.
    confirmed: Millis,
    reported: Option<Millis>,
    logged: Option<Millis>,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until: Millis,
    },
    Calling {
        call: u32,
        /// The plugin whose call it is.
        driver: u32,
        until: Millis,
        /// What it asks for: the index, or a part of this one.
        update: Option<Update>,
    },
}

/// A directory on its way.
#[derive(Debug)]
struct Update {
    index: Index,
    etag: Option<String>,
    /// The number of the part that was asked for.
    part: usize,
}

/// Why an attempt failed: the end of the counter's name, and for people.
struct Failure(&'static str, String);

// === impl Fetch ===

impl Fetch {
    #[inline(never)]
    pub(crate) fn new(source: &Rc<DirectorySource>, host: &dyn Host) -> Self {
        let now = now(host).unwrap_or_default();
        let state = State {
            source: Rc::clone(source),
            source_of: 0,
            phase: Phase::Waiting { until: now },
            etag: None,
            parts: Vec::new(),
            is_new: false,
            begun: false,
            failures: 0,
            confirmed: now,
            reported: None,
            logged: None,
        };
        Self { view: Arc::default(), drivers: Cell::default(), state: RefCell::new(state) }
    }

    /// Whether it is at the place that `source` names.
    pub(crate) fn is_of(&self, source: &DirectorySource) -> bool {
        self.state.try_borrow().is_ok_and(|state| {
            let DirectorySource { cluster, authority, path, .. } = &*state.source;
            *cluster == source.cluster && *authority == source.authority && *path == source.path
        })
    }

    pub(crate) fn view(&self) -> Arc<DirectoryView> {
        Arc::clone(&self.view)
    }

    fn tenants(&self) -> u64 {
        self.view.get().map_or(0, |directory| directory.tenants())
    }

    /// Returns the number of a plugin that drives it from now on.
    pub(crate) fn attach(&self) -> u32 {
        let (count, last) = self.drivers.get();
        let id = last.wrapping_add(1);
        self.drivers.set((count.saturating_add(1), id));
        id
    }

    /// Returns whether it was the last plugin.
    #[inline(never)]
    pub(crate) fn detach(&self, driver: u32, host: &dyn Host) -> bool {
        let (count, last) = self.drivers.get();
        let left = count.saturating_sub(1);
        self.drivers.set((left, last));
        let Ok(mut state) = self.state.try_borrow_mut() else { return left == 0 };
        if matches!(&state.phase, Phase::Calling { driver: caller, .. } if *caller == driver) {
            state.phase = Phase::Waiting { until: 0 };
        }
        if state.source_of == driver {
            state.source_of = 0;
        }
        if left == 0 && state.begun {
            host.gauge(AGE, 0);
            host.gauge(TENANTS, 0);
            if self.view.get().is_none() {
                host.add_to_gauge(MISSING, -1);
            }
        }
        left == 0
    }

    pub(crate) fn awaits(&self, sent: u32) -> Option<usize> {
        match &self.state.try_borrow().ok()?.phase {
            Phase::Calling { call, update, .. } if *call == sent => {
                Some(if update.is_some() { PART_BYTES_MAX } else { INDEX_BYTES_MAX })
            }
            _ => None,
        }
    }

    #[inline(never)]
    pub(crate) fn tick(&self, driver: u32, source: &Rc<DirectorySource>, host: &dyn Host) {
        let (Some(now), Ok(mut state)) = (now(host), self.state.try_borrow_mut()) else { return };
        if driver > state.source_of {
            // Under other pools, each part has to be checked again.
            if state.source.pools != source.pools {
                state.parts.clear();
                state.etag = None;
                state.phase = Phase::Waiting { until: 0 };
            }
            state.source = Rc::clone(source);
            state.source_of = driver;
        }
        if !std::mem::replace(&mut state.begun, true) {
            host.add_to_gauge(MISSING, 1);
        }
        match &state.phase {
            Phase::Waiting { until } if *until <= now => self.ask(&mut state, None, driver, now, host),
            Phase::Calling { until, .. } if *until <= now => {
                self.take(&mut state, &mut HttpAnswer::default(), driver, now, host);
            }
            _ => {}
        }
        if state.reported.is_none_or(|reported| now.saturating_sub(reported) >= GAUGE_INTERVAL) {
            state.reported = Some(now);
            host.gauge(AGE, seconds(now, state.confirmed));
            host.gauge(TENANTS, self.tenants());
        }
    }

    #[inline(never)]
    pub(crate) fn answered(&self, driver: u32, sent: u32, answer: &mut HttpAnswer, host: &dyn Host) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        if matches!(&state.phase, Phase::Calling { call, .. } if *call == sent) {
            self.take(&mut state, answer, driver, now(host).unwrap_or_default(), host);
        }
    }

    /// Sends a request: for a part of an update, or else for the index.
    fn ask(&self, state: &mut State, update: Option<Update>, driver: u32, now: Millis, host: &dyn Host) {
        let DirectorySource { cluster, authority, path, timeout, .. } = &*state.source;
        let wanted = update.as_ref().and_then(|update| update.index.parts.get(update.part));
        let etag = state.etag.as_deref().filter(|_| wanted.is_none());
        let call = HttpCall {
            cluster,
            authority,
            method: "GET",
            path: &match wanted {
                Some(part) => [path, "/parts/", &part.name].concat(),
                None => [path, "/index.json"].concat(),
            },
            headers: &etag.map(|etag| ("if-none-match", etag)).into_iter().collect::<Vec<_>>(),
            body: &[],
            timeout: *timeout,
        };
        match host.http_call(&call) {
            Ok(call) => {
                let until = now.saturating_add(millis(*timeout)).saturating_add(OVERDUE);
                state.phase = Phase::Calling { call, driver, until, update };
            }
            // There is no such cluster, now; there can be one later.
            Err(_) => {
                let failure = Failure("unreachable", "the proxy cannot send to the cluster".to_owned());
                self.fail(state, &failure, now, host);
            }
        }
    }

    /// Takes the answer that was waited for.
    fn take(&self, state: &mut State, answer: &mut HttpAnswer, driver: u32, now: Millis, host: &dyn Host) {
        let phase = std::mem::replace(&mut state.phase, Phase::Waiting { until: now });
        let Phase::Calling { update, .. } = phase else { return };
        let taken = match update {
            None => self.index(state, answer),
            Some(update) => self.part(state, update, answer).map(Some),
        };
        match taken {
            Ok(Some(update)) => self.go_on(state, update, driver, now, host),
            Ok(None) => self.confirm(state, now, host),
            Err(failure) => self.fail(state, &failure, now, host),
        }
    }

    /// The directory that an answer begins; none when it is the one that is here.
    fn index(&self, state: &mut State, answer: &mut HttpAnswer) -> Result<Option<Update>, Failure> {
        let current = self.view.get();
        if answer.status == Some(304) && state.etag.is_some() && current.is_some() {
            return Ok(None);
        }
        let index = Index::read(&body("index.json", answer, INDEX_BYTES_MAX)?)?;
        let etag = answer.etag.take().filter(|etag| etag.len() <= ETAG_MAX);
        let etag = etag.and_then(|etag| String::from_utf8(etag).ok());
        if let Some(current) = current {
            let (before, after) = (current.tenants(), index.tenants);
            if after.saturating_mul(2) < before && !state.source.may_shrink {
                return Err(Failure(
                    "shrink",
                    format!("index.json has {after} tenants: expected at least half of {before}"),
                ));
            }
        }
        if state.parts.len() != index.parts.len() {
            // Tenants are in other parts then.
            state.parts = vec![None; index.parts.len()];
        }
        Ok(Some(Update { index, etag, part: 0 }))
    }

    /// Checks the part that was asked for.
    fn part(&self, state: &mut State, update: Update, answer: &mut HttpAnswer) -> Result<Update, Failure> {
        let name = update.index.parts.get(update.part).map_or("", |part| &part.name);
        let body = body(name, answer, PART_BYTES_MAX)?;
        let part = Part::read(body, update.part, &update.index, &state.source.pools)?;
        if let Some(place) = state.parts.get_mut(update.part) {
            *place = Some(Arc::new(part));
        }
        // Also when this attempt fails further on: the next one finds the part here.
        state.is_new = true;
        Ok(update)
    }

    /// Asks for the next part that is not here. When all are, the directory is taken.
    fn go_on(&self, state: &mut State, mut update: Update, driver: u32, now: Millis, host: &dyn Host) {
        while let (Some(wanted), Some(place)) = (update.index.parts.get(update.part), state.parts.get(update.part)) {
            if place.as_ref().is_none_or(|part| !part.is(wanted)) {
                return self.ask(state, Some(update), driver, now, host);
            }
            update.part = update.part.saturating_add(1);
        }
        if std::mem::take(&mut state.is_new) || self.view.get().is_none() {
            if self.view.get().is_none() {
                host.add_to_gauge(MISSING, -1);
            }
            let parts = state.parts.iter().flatten().cloned().collect();
            self.view.set(Directory::new(parts, update.index.tenants));
            host.count(UPDATES, 1);
        }
        state.etag = update.etag;
        self.confirm(state, now, host);
    }

    fn confirm(&self, state: &mut State, now: Millis, host: &dyn Host) {
        state.failures = 0;
        state.reported = None;
        state.confirmed = now;
        state.phase = Phase::Waiting { until: now.saturating_add(with_jitter(millis(state.source.interval), host)) };
    }

    fn fail(&self, state: &mut State, Failure(kind, message): &Failure, now: Millis, host: &dyn Host) {
        host.count(&[FAILURES, kind].concat(), 1);
        if state.logged.is_none_or(|logged| now.saturating_sub(logged) >= LOG_INTERVAL) {
            state.logged = Some(now);
            let age = seconds(now, state.confirmed);
            let tenants = self.tenants();
            let DirectorySource { cluster, path, .. } = &*state.source;
            // A log whose level drops it has no other place.
            let _ = host.log(&format!(
                "careplane: directory {cluster}{path}: {message}; the one of {age} s ago stays, with {tenants} \
                 tenants; further failures are counted only, for a minute"
            ));
        }
        let longest = FIRST_PAUSE << state.failures.min(16);
        state.failures = state.failures.saturating_add(1);
        let pause = with_jitter(longest.min(millis(state.source.interval)), host);
        state.phase = Phase::Waiting { until: now.saturating_add(pause) };
    }
}

// === impl Failure ===

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let kind = match fault.kind {
            FaultKind::Size => "size",
            FaultKind::Digest => "digest",
            FaultKind::Format => "format",
        };
        Self(kind, fault.message)
    }
}

/// The body of a good answer.
fn body(name: &str, answer: &mut HttpAnswer, max: usize) -> Result<Vec<u8>, Failure> {
    let (kind, seen) = match answer.status {
        Some(200) if answer.size <= max => return Ok(std::mem::take(&mut answer.body)),
        Some(200) => ("size", answer.size),
        Some(status) => ("status", status.into()),
        None => ("unreachable", 0),
    };
    Err(Failure(kind, format!("{name}: {kind} {seen}: expected an answer of status 200 with at most {max} bytes")))
}

/// Seven to nine eighths of it, so that workers do not ask all at once.
fn with_jitter(time: Millis, host: &dyn Host) -> Millis {
    let mut random = [127];
    // Without random numbers there is no jitter, and no harm.
    let _ = host.random(&mut random);
    let [random] = random;
    let eighth = time >> 3;
    time.saturating_sub(eighth).saturating_add(eighth.saturating_mul(random.into()) >> 7)
}

fn now(host: &dyn Host) -> Option<Millis> {
    host.elapsed().ok().map(millis)
}

fn millis(time: Duration) -> Millis {
    time.as_secs().saturating_mul(1_000).saturating_add(time.subsec_millis().into())
}

/// Whole seconds between two moments.
fn seconds(now: Millis, then: Millis) -> u64 {
    now.saturating_sub(then) / 1_000
}

//! The module's side of proxy-wasm ABI 0.2.1: from the proxy's callbacks to the context that each is for.
//!
//! Envoy calls every callback that a module exports, so these are the ones that do something. A callback for a context
//! that is not there (never created, ended, or busy further up the stack) does nothing, and lets the stream go on: the
//! SDK's dispatcher would panic.

// Exporting a function under a name is unsafe in edition 2024: no other function may have it. These are the ABI's.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use careplane_pipeline::{Action, Stream};

use crate::abi;
use crate::host::EnvoyHost;
use crate::log;
use crate::root::Root;

/// Contexts in the order of the proxy's numbers for them, which only ever rise: a new one is the last, and there are
/// few enough to close ranks when one goes. Shared, so that none is looked up while another is at work.
struct Contexts<C>(Cell<Vec<(u32, Rc<RefCell<C>>)>>);

thread_local! {
    static ROOTS: Contexts<Root> = const { Contexts(Cell::new(Vec::new())) };
    static STREAMS: Contexts<Stream> = const { Contexts(Cell::new(Vec::new())) };
    /// Streams that wait for the answer to a call: its number, and theirs. The proxy hands answers to the root of the
    /// caller.
    static WAITING: Cell<Vec<(u32, u32)>> = const { Cell::new(Vec::new()) };
}

impl<C> Contexts<C> {
    fn insert(&self, id: u32, context: C) {
        let mut contexts = self.0.take();
        let replaced = find(&contexts, id).map(|place| contexts.remove(place)).ok();
        let place = find(&contexts, id).unwrap_or_else(|place| place);
        contexts.insert(place, (id, Rc::new(RefCell::new(context))));
        self.0.set(contexts);
        // Dropped last, for a root has something to say when it goes.
        drop(replaced);
    }

    fn remove(&self, id: u32) -> bool {
        let mut contexts = self.0.take();
        let removed = find(&contexts, id).map(|place| contexts.remove(place));
        self.0.set(contexts);
        removed.is_ok()
    }

    fn with<T>(&self, id: u32, act: impl FnOnce(&mut C) -> T) -> Option<T> {
        let contexts = self.0.take();
        let context =
            find(&contexts, id).ok().and_then(|place| contexts.get(place)).map(|(_, context)| Rc::clone(context));
        self.0.set(contexts);
        let context = context?;
        context.try_borrow_mut().ok().map(|mut context| act(&mut context))
    }
}

/// Where a context is, or would be.
fn find<C>(contexts: &[(u32, C)], id: u32) -> Result<usize, usize> {
    contexts.binary_search_by_key(&id, |(known, _)| *known)
}

unsafe extern "C" {
    /// Runs what libc has to do first: among others, it reads the environment.
    safe fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    __wasm_call_ctors();
    log::install();
}

/// That it is there says which ABI this is.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Memory for the proxy to write into; [`crate::abi`] takes it back.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    // Its bytes are the proxy's to write: zeros would be work for nothing.
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, root: u32) {
    if root == 0 {
        ROOTS.with(|roots| roots.insert(id, Root::default()));
    } else if let Some(stream) = ROOTS.with(|roots| roots.with(root, |root| root.stream())).flatten() {
        STREAMS.with(|streams| streams.insert(id, stream));
    }
}

/// Returns whether the configuration was taken.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    ROOTS.with(|roots| roots.with(root, |root| root.configure(size))).unwrap_or_default().into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    ROOTS.with(|roots| roots.with(root, |root| root.tick()));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(stream: u32, _count: u32, _end_of_stream: u32) -> u32 {
    let act = |stream: &mut Stream| (stream.on_request_headers(&EnvoyHost), stream.awaited_call());
    let (action, call) = STREAMS.with(|streams| streams.with(stream, act)).unwrap_or((Action::Continue, None));
    if let Some(call) = call {
        let mut waiting = WAITING.take();
        waiting.push((call, stream));
        WAITING.set(waiting);
    }
    action as u32
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(stream: u32, _count: u32) -> u32 {
    STREAMS.with(|streams| streams.with(stream, |stream| stream.on_request_trailers(&EnvoyHost)));
    Action::Continue as u32
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(stream: u32, _count: u32, _end_of_stream: u32) -> u32 {
    STREAMS.with(|streams| streams.with(stream, |stream| stream.on_response_headers(&EnvoyHost)));
    Action::Continue as u32
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(root: u32, call: u32, headers: usize, body: usize, _trailers: u32) {
    match stop_waiting(|(awaited, _)| awaited == call) {
        // What follows is of the stream: without this, the proxy would take it for the root's.
        Some((_, stream)) if abi::set_effective_context(stream).is_ok() => {
            let answer = EnvoyHost.collector_answer(headers, body);
            STREAMS.with(|streams| streams.with(stream, |stream| stream.on_answer(call, &answer, &EnvoyHost)));
        }
        // It has ended in between.
        Some(_) => {}
        None => {
            ROOTS.with(|roots| roots.with(root, |root| root.answered(call, headers, body)));
        }
    }
}

fn stop_waiting(is_it: impl Fn((u32, u32)) -> bool) -> Option<(u32, u32)> {
    let mut waiting = WAITING.take();
    let place = waiting.iter().position(|entry| is_it(*entry));
    let found = place.map(|place| waiting.swap_remove(place));
    WAITING.set(waiting);
    found
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(stream: u32) {
    STREAMS.with(|streams| streams.with(stream, |stream| stream.on_log(&EnvoyHost)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    stop_waiting(|(_, stream)| stream == context);
    STREAMS.with(|streams| streams.with(context, |stream| stream.on_delete(&EnvoyHost)));
    if !STREAMS.with(|streams| streams.remove(context)) {
        ROOTS.with(|roots| roots.remove(context));
    }
}

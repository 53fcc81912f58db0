//! One request on its way through the proxy.

use std::sync::Arc;

use careplane_exchange::{Ending, Filter, Handled, HeaderMap, Host, HttpAnswer, Incoming, MapType};
use careplane_policy::id::CorrelationId;

use crate::filters::Plugin;

/// What becomes of a request after a callback: Envoy's `FilterHeadersStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It waits, or has been answered: `StopAllIterationAndWatermark`. The ABI's own word, 1, would hold the headers
    /// alone where the operator sets `allow_on_headers_stop_iteration`, and the body would carry them on.
    Pause = 4,
}

/// The stream of one request.
pub struct Stream {
    plugin: Plugin,
    phase: Phase,
}

/// How far it is.
enum Phase {
    /// The request headers have not come. They need not: the request may be answered before.
    New,
    /// It waits for the answer to a call.
    Held(Box<Incoming>),
    /// The request phase is over.
    Concluded {
        /// What the response is told.
        correlation: Option<CorrelationId>,
        /// Whether trailers and response pass unchanged.
        is_shadow: bool,
        /// What is known of the request, when a filter wants to know how it ends.
        handled: Option<Box<Handled>>,
    },
    /// It has been logged.
    Over,
}

/// What the filters made of a request.
pub struct Decided {
    /// The request, with their decisions; nothing of it has been applied yet.
    pub request: Incoming,
    /// The filter that refused it.
    pub refused_by: Option<&'static str>,
}

// === impl Plugin ===

impl Plugin {
    /// Reads the request and asks the filters, until one refuses it.
    pub fn decide(&self, host: &dyn Host) -> Decided {
        let request = Incoming::open(Arc::clone(&self.rules), host);
        let refuses = |filter: &dyn Filter| {
            filter.on_request(&request, host);
            request.denial().is_some()
        };
        let refused_by = match request.is_readable() {
            true => self.filters.iter().find(|(_, filter)| refuses(*filter)).map(|(name, _)| name),
            false => None,
        };
        Decided { request, refused_by }
    }
}

// === impl Stream ===

impl Stream {
    /// The stream of a request to this plugin.
    pub fn new(plugin: Plugin) -> Self {
        Self { plugin, phase: Phase::New }
    }

    /// The request came in.
    pub fn on_request_headers(&mut self, host: &dyn Host) -> Action {
        let request = self.plugin.decide(host).request;
        if request.awaited_call().is_some() {
            self.phase = Phase::Held(Box::new(request));
            return Action::Pause;
        }
        self.conclude(&request, host)
    }

    /// The call whose answer it waits for, if it is held.
    pub fn awaited_call(&self) -> Option<u32> {
        match &self.phase {
            Phase::Held(request) => request.awaited_call(),
            Phase::New | Phase::Concluded { .. } | Phase::Over => None,
        }
    }

    /// The answer to a call. Only a held request that waits for this call takes notice.
    pub fn on_answer(&mut self, call: u32, answer: &HttpAnswer, host: &dyn Host) {
        if self.awaited_call() != Some(call) {
            return;
        }
        let Phase::Held(request) = std::mem::replace(&mut self.phase, Phase::New) else { return };
        request.release();
        self.plugin.filters.iter().for_each(|(_, filter)| filter.on_answer(&request, answer, host));
        if self.conclude(&request, host) == Action::Continue && host.resume().is_err() {
            // It would hang for ever.
            host.reset();
        }
    }

    /// Ends the request phase.
    fn conclude(&mut self, request: &Incoming, host: &dyn Host) -> Action {
        let reply = request.conclude(host);
        let keep = self.plugin.filters.follows();
        self.phase = Phase::Concluded {
            correlation: request.correlation_if_known().cloned(),
            is_shadow: request.is_shadow(),
            handled: keep.then(|| Box::new(request.handled(host))),
        };
        let Some(reply) = reply else { return Action::Continue };
        if host.reply(&reply).is_err() {
            // Refused is refused: better no answer than the upstream's.
            host.reset();
        }
        Action::Pause
    }

    /// The request has trailers. An application may take them for headers, so what would be removed there is removed
    /// here.
    pub fn on_request_trailers(&mut self, host: &dyn Host) {
        let policy = &self.plugin.rules.policy;
        let Ok(trailers) = host.header_map(MapType::RequestTrailers).and_then(HeaderMap::new) else { return };
        let watched = trailers.iter().filter(|(name, _)| policy.identity.watched_headers.find(name).is_some());
        let unwanted: Vec<String> =
            watched.filter_map(|(name, _)| std::str::from_utf8(name).ok()).map(Into::into).collect();
        if unwanted.is_empty() {
            return;
        }
        let is_shadow = matches!(self.phase, Phase::Concluded { is_shadow: true, .. });
        if let Phase::Concluded { handled: Some(handled), .. } = &mut self.phase {
            unwanted.iter().for_each(|name| handled.identity.note_trailer(policy, name));
        }
        let rules = &self.plugin.rules;
        let filters = &self.plugin.filters;
        filters.iter().for_each(|(_, filter)| filter.on_unwanted_trailers(rules, &unwanted, is_shadow, host));
    }

    /// The response is on its way out.
    pub fn on_response_headers(&self, host: &dyn Host) {
        let correlation = match &self.phase {
            Phase::Concluded { correlation, is_shadow: false, .. } => correlation.as_ref(),
            // The proxy answers by itself: time is up.
            Phase::Held(request) => request.correlation_if_known(),
            Phase::New | Phase::Concluded { .. } | Phase::Over => return,
        };
        let rules = &self.plugin.rules;
        self.plugin.filters.iter().for_each(|(_, filter)| filter.on_response(rules, correlation, host));
    }

    /// The stream is over. One that is logged twice is recorded once.
    pub fn on_log(&mut self, host: &dyn Host) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        if !self.plugin.filters.follows() {
            return;
        }
        let handled = match phase {
            Phase::New => Box::new(Incoming::never_seen(Arc::clone(&self.plugin.rules), host)),
            Phase::Held(request) => Box::new(request.handled(host)),
            Phase::Concluded { handled: Some(handled), .. } => handled,
            Phase::Concluded { handled: None, .. } | Phase::Over => return,
        };
        let ending = Ending::read(&handled, host);
        self.plugin.filters.iter().for_each(|(_, filter)| filter.on_log(&ending, host));
    }

    /// The stream goes. One that is held and was not logged is logged now, so that its intent is settled.
    pub fn on_delete(&mut self, host: &dyn Host) {
        if matches!(self.phase, Phase::Held(_)) {
            self.on_log(host);
        }
    }
}

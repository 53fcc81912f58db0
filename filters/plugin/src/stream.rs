//! One request on its way through the proxy.

use std::sync::Arc;

use careplane_exchange::{Exchange, Host, Rules};

use crate::filters::Filters;
use crate::host::EnvoyHost;
use crate::outlet;

/// What becomes of a request after a callback: `proxy_action_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    Continue = 0,
    /// It waits, or has been answered.
    Pause = 1,
}

/// The HTTP context of one stream.
pub(crate) struct Stream {
    plugin: Option<(Filters, Arc<Rules>)>,
    /// None until the request headers came, which need not happen: another filter may answer before.
    exchange: Option<Exchange>,
}

impl Stream {
    pub(crate) fn new(plugin: Option<(Filters, Arc<Rules>)>) -> Self {
        Self { plugin, exchange: None }
    }

    /// The request came in.
    pub(crate) fn request_headers(&mut self) -> Next {
        let Some((filters, rules)) = &self.plugin else { return Next::Continue };
        let mut exchange = Exchange::open(Arc::clone(rules), &EnvoyHost);
        if exchange.is_readable() {
            for filter in filters.iter() {
                filter.on_request(&exchange, &EnvoyHost);
                if exchange.denial().is_some() {
                    break;
                }
            }
        }
        let passes = !exchange.is_held() && conclude(&mut exchange);
        self.exchange = Some(exchange);
        if passes { Next::Continue } else { Next::Pause }
    }

    /// The call that it waits for the answer to, if it is held.
    pub(crate) fn awaited_call(&self) -> Option<u32> {
        let exchange = self.exchange.as_ref().filter(|exchange| exchange.is_held())?;
        exchange.intent().map(|intent| intent.call)
    }

    /// The answer that a held request waits for.
    pub(crate) fn answered(&mut self, call: u32, headers: usize, body: usize) {
        let (Some((filters, _)), Some(exchange)) = (&self.plugin, &mut self.exchange) else { return };
        if !exchange.is_held() || exchange.intent().is_none_or(|intent| intent.call != call) {
            return;
        }
        exchange.release();
        let answer = EnvoyHost.answer(headers, body);
        filters.iter().for_each(|filter| filter.on_answer(exchange, &answer, &EnvoyHost));
        if conclude(exchange) && EnvoyHost.resume().is_err() {
            // It would hang for ever.
            EnvoyHost.reset();
        }
    }

    /// The response is on its way out.
    pub(crate) fn response_headers(&self) {
        if let (Some((filters, _)), Some(exchange)) = (&self.plugin, &self.exchange) {
            filters.iter().for_each(|filter| filter.on_response(exchange, &EnvoyHost));
        }
    }

    /// The stream is over.
    pub(crate) fn log(&mut self) {
        // Taken, so that a stream that is logged twice is recorded once.
        let Some((filters, rules)) = self.plugin.take() else { return };
        let exchange = self.exchange.take().unwrap_or_else(|| Exchange::open_late(rules, &EnvoyHost));
        filters.iter().for_each(|filter| filter.on_log(&exchange, &EnvoyHost));
        outlet::hurry();
    }
}

impl Drop for Stream {
    /// A held stream that ends without having been logged: its intent is settled all the same, and kept by nobody.
    fn drop(&mut self) {
        if self.exchange.as_ref().is_some_and(Exchange::is_held) {
            self.log();
        }
    }
}

/// Ends the request phase. Says whether the request goes on; if not, it has been answered.
fn conclude(exchange: &mut Exchange) -> bool {
    let refusal = exchange.apply(&EnvoyHost);
    exchange.forget_headers();
    let Some(reply) = refusal else { return true };
    if EnvoyHost.reply(&reply).is_err() {
        // Refused is refused: better no answer than the upstream's.
        EnvoyHost.reset();
    }
    false
}

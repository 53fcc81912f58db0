//! One request on its way through the proxy.

use std::sync::Arc;

use careplane_exchange::{Exchange, Host, Rules};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::filters::Filters;
use crate::host::EnvoyHost;

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
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Some((filters, rules)) = &self.plugin else { return Action::Continue };
        let mut exchange = Exchange::open(Arc::clone(rules), &EnvoyHost);
        if exchange.is_readable() {
            for filter in filters.iter() {
                filter.on_request(&exchange, &EnvoyHost);
                if exchange.denial().is_some() {
                    break;
                }
            }
        }
        let refusal = exchange.apply(&EnvoyHost);
        exchange.forget_headers();
        self.exchange = Some(exchange);
        match refusal {
            None => Action::Continue,
            Some(reply) => {
                if EnvoyHost.reply(&reply).is_err() {
                    // Refused is refused: better no answer than the upstream's.
                    EnvoyHost.reset();
                }
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let (Some((filters, _)), Some(exchange)) = (&self.plugin, &self.exchange) {
            filters.iter().for_each(|filter| filter.on_response(exchange, &EnvoyHost));
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        // Taken, so that a stream that is logged twice is recorded once.
        let Some((filters, rules)) = self.plugin.take() else { return };
        let exchange = self.exchange.take().unwrap_or_else(|| Exchange::open_late(rules, &EnvoyHost));
        filters.iter().for_each(|filter| filter.on_log(&exchange, &EnvoyHost));
    }
}

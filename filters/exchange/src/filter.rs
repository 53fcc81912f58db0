//! What a filter is.

use crate::exchange::Exchange;
use crate::host::{Host, HttpAnswer};

/// One of the four filters. It reads the exchange, adds its decisions to it, and may refuse the request.
pub trait Filter {
    /// The request came in. Not called when the request is refused already.
    fn on_request(&self, _exchange: &Exchange, _host: &dyn Host) {}

    /// The response is on its way out.
    fn on_response(&self, _exchange: &Exchange, _host: &dyn Host) {}

    /// What [`Exchange::hold`] waited for: the answer to that call. The request goes on unless it is denied here.
    fn on_answer(&self, _exchange: &Exchange, _answer: &HttpAnswer, _host: &dyn Host) {}

    /// The stream is over. Called once, also for streams whose request this plugin never saw, because somebody before it refused.
    fn on_log(&self, _exchange: &Exchange, _host: &dyn Host) {}

    /// Time has passed. Called in the plugin, not in a stream, about as often as the policy exports.
    fn on_tick(&self, _host: &dyn Host) {}

    /// The plugin ends.
    fn on_end(&self, _host: &dyn Host) {}
}

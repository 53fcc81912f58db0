//! What a filter is.

use crate::exchange::Exchange;
use crate::host::Host;

/// One of the four filters. It reads the exchange, adds its decisions to it, and may refuse the request.
pub trait Filter {
    /// The request came in. Not called when the request is refused already.
    fn on_request(&self, _exchange: &Exchange, _host: &dyn Host) {}

    /// The response is on its way out.
    fn on_response(&self, _exchange: &Exchange, _host: &dyn Host) {}

    /// The stream is over. Called once, also for streams whose request this plugin never saw, because somebody before it refused.
    fn on_log(&self, _exchange: &Exchange, _host: &dyn Host) {}
}

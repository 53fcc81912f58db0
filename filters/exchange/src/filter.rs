//! What a filter is.

use careplane_policy::id::CorrelationId;

use crate::ending::Ending;
use crate::host::{Host, HttpAnswer};
use crate::incoming::Incoming;
use crate::rules::Rules;

/// One of the four filters. It reads the request, adds its decisions to it, and may refuse it.
pub trait Filter {
    /// The request came in. Not called when the request is refused already.
    fn on_request(&self, _request: &Incoming, _host: &dyn Host) {}

    /// What [`Incoming::hold`] waited for: the answer to that call. The request goes on unless it is denied here.
    fn on_answer(&self, _request: &Incoming, _answer: &HttpAnswer, _host: &dyn Host) {}

    /// The request has trailers that have to be removed: names as they were sent. In shadow they stay.
    fn on_unwanted_trailers(&self, _rules: &Rules, _names: &[String], _is_shadow: bool, _host: &dyn Host) {}

    /// The response is on its way out.
    fn on_response(&self, _rules: &Rules, _correlation: Option<&CorrelationId>, _host: &dyn Host) {}

    /// Whether it wants to know how requests end, so that what is known of them has to be kept: whether
    /// [`Self::on_log`] does something.
    fn follows(&self) -> bool {
        false
    }

    /// The stream is over. Called once, also for streams whose request this plugin never saw, because it was answered
    /// before.
    fn on_log(&self, _ending: &Ending<'_>, _host: &dyn Host) {}

    /// Time has passed. Called in the plugin, not in a stream.
    fn on_tick(&self, _host: &dyn Host) {}

    /// The plugin ends.
    fn on_end(&self, _host: &dyn Host) {}
}

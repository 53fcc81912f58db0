//! Log lines and panics, into the proxy's log.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::abi;

/// `LogLevel::Critical`.
pub(crate) const CRITICAL: u32 = 5;

struct ProxyLog;

static PROXY_LOG: ProxyLog = ProxyLog;

/// Sends the lines of the `log` crate to the proxy from now on, and says where the module panics, if ever it does.
pub(crate) fn install() {
    // A second root of the same VM finds the logger in place.
    let _ = log::set_logger(&PROXY_LOG);
    log::set_max_level(LevelFilter::Info);
    std::panic::set_hook(Box::new(|panic| {
        // The place, not the message: that may quote what a caller sent.
        let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
        let _ = abi::log(CRITICAL, &format!("careplane: panicked at {place}; this VM is lost"));
    }));
}

/// `LogLevel`.
pub(crate) const fn number(level: Level) -> u32 {
    match level {
        Level::Trace => 0,
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

impl Log for ProxyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // There is nowhere to complain about a log that does not take lines.
            let _ = abi::log(number(record.level()), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

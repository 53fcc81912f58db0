//! The correlation id of a request: the caller's if it can be one, else a new one.

use std::time::UNIX_EPOCH;

use careplane_policy::id::CorrelationId;

use crate::headers::HeaderMap;
use crate::host::{Host, HostError};

/// A correlation id, and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Correlation {
    pub(crate) id: CorrelationId,
    /// Not what the caller sent, so the upstream has to be told.
    pub(crate) generated: bool,
}

impl Correlation {
    /// What the caller sent under `header`, if that is one value and a valid id.
    pub(crate) fn sent(headers: &HeaderMap, header: &str) -> Option<Self> {
        let mut sent = headers.all(header);
        let id = sent.next().filter(|_| sent.next().is_none()).and_then(CorrelationId::new)?;
        Some(Self { id, generated: false })
    }

    /// A UUIDv7 (RFC 9562): it sorts by time, and tells nothing else.
    ///
    /// # Errors
    /// When the proxy has no random numbers or no clock.
    pub(crate) fn generate(host: &dyn Host) -> Result<Self, HostError> {
        let mut random = [0; 10];
        host.random(&mut random)?;
        let since_epoch = host.now()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Ok(Self { id: CorrelationId::from_uuid(uuid), generated: true })
    }
}

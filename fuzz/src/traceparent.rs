//! `traceparent`: W3C Trace Context §3.2, read by position.

use careplane_exchange::TraceContext;

pub(crate) fn run(data: &[u8]) {
    assert_eq!(TraceContext::read(data), model(data), "{:?}", String::from_utf8_lossy(data));
}

fn model(data: &[u8]) -> Option<TraceContext> {
    const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;
    let (known, later) = data.split_at_checked(LENGTH)?;
    for (position, byte) in known.iter().enumerate() {
        let fits = match position {
            2 | 35 | 52 => *byte == b'-',
            _ => b"0123456789abcdef".contains(byte),
        };
        if !fits {
            return None;
        }
    }
    let text = String::from_utf8(known.to_vec()).expect("ASCII");
    let (version, trace_id, span_id, flags) = (&text[..2], &text[3..35], &text[36..52], &text[53..]);
    // A later version can add members after a dash; this one cannot.
    let is_whole = later.is_empty() || (version != "00" && later[0] == b'-' && std::str::from_utf8(later).is_ok());
    let is_good = version != "ff" && trace_id != "0".repeat(32) && span_id != "0".repeat(16);
    (is_whole && is_good).then(|| TraceContext {
        trace_id: trace_id.into(),
        span_id: span_id.into(),
        sampled: "13579bdf".contains(&flags[1..]),
    })
}

//! Envoy's response flags.

/// Envoy's response flags: the bits of the attribute `response.flags` and the words of `%RESPONSE_FLAGS%`
/// (`StreamInfo::CoreResponseFlag`).
const FLAGS: &[&str] = &[
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];
/// Flags of a stream that was cut off.
const RESETS: &[&str] = &["LR", "UR", "UC", "DC", "DPE", "UPE", "DR"];

/// The flags of one response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(Vec<&'static str>);

// === impl Flags ===

impl Flags {
    /// The attribute `response.flags`.
    pub fn read(bits: u64) -> Self {
        // Nearly always.
        if bits == 0 {
            return Self::default();
        }
        let set = |(bit, flag): (u32, &&'static str)| (bits.checked_shr(bit)? & 1 == 1).then_some(*flag);
        Self((0..).zip(FLAGS).filter_map(set).collect())
    }

    /// Their words.
    pub fn words(&self) -> &[&'static str] {
        &self.0
    }

    /// Whether they say that the stream was cut off, by whichever side.
    pub fn say_reset(&self) -> bool {
        self.0.iter().any(|flag| RESETS.contains(flag))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn flags_have_the_words_of_the_access_log() {
        let words = |bits| Flags::read(bits).0;
        assert_eq!(words(0), [""; 0]);
        assert_eq!(words(0x20), ["UF"]);
        assert_eq!(words(0x8820), ["UF", "RL", "URX"]);
        assert_eq!(words(u64::MAX).len(), FLAGS.len());
    }

    #[test]
    fn a_stream_that_a_caller_resets_is_cut_off() {
        // DR: bit 28.
        assert!(Flags::read(1 << 28).say_reset());
        assert!(!Flags::read(1 << 12).say_reset());
    }
}

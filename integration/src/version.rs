//! Which Envoy, and what it can do.

use std::{fmt, str::FromStr};

use anyhow::{Context, Error, Result, bail};

/// A release of Envoy, ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvoyVersion {
    major: u16,
    minor: u16,
    patch: u16,
}

impl EnvoyVersion {
    /// What Istio 1.32 carries: the version everything is tested with.
    pub const V1_40_0: Self = Self::new(1, 40, 0);

    /// The oldest Envoy that careplane supports, older than Istio 1.29's.
    pub const V1_36_2: Self = Self::new(1, 36, 2);

    /// Every version that careplane is tested with: one of each minor release since the oldest, newest first. 1.38.0
    /// and 1.38.1 are not published as wheels, and 1.38.3 was built without V8.
    pub const TESTED: [Self; 5] =
        [Self::V1_40_0, Self::new(1, 39, 3), Self::new(1, 38, 2), Self::new(1, 37, 0), Self::V1_36_2];

    /// The version `major.minor.patch`.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Whether a span's custom tag may be a formatter (`value: "%FILTER_STATE(…)%"`): since 1.37.
    #[must_use]
    pub fn has_formatter_tags(self) -> bool {
        self >= Self::new(1, 37, 0)
    }
}

impl fmt::Display for EnvoyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for EnvoyVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<u16> = text
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| format!("{text:?} is not an Envoy version like 1.40.0"))?;
        let [major, minor, patch] = parts[..] else {
            bail!("{text:?} is not an Envoy version like 1.40.0");
        };
        Ok(Self::new(major, minor, patch))
    }
}

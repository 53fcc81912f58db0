//! A few numbers for many.

use serde::Serialize;

/// The middle of a sample, and how far it spreads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Summary {
    /// Of any numbers; of none, zero.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { median: quantile(&sorted, 0.5), low: quantile(&sorted, 0.25), high: quantile(&sorted, 0.75) }
    }
}

/// A quantile of sorted numbers, between two of them where it falls there; 0 of none.
#[must_use]
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = part * last as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_samples() {
        let of = |samples: &[f64]| Summary::of(samples);
        assert_eq!(of(&[]), Summary::default());
        assert_eq!(of(&[7.0]), Summary { median: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0, 5.0]), Summary { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(of(&[1.0, 2.0]).median, 1.5);
    }
}

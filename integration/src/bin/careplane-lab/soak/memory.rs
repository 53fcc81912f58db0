//! How much memory Envoy has, second by second.

use std::{
    fmt,
    fs::File,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use careplane_integration::plot::{FONT, INK, svg};
use plotters::prelude::*;

/// Memory is flat when the median of the end is at most so much larger than that of the beginning: 5 %.
pub const GROWTH_MAX: f64 = 0.05;

/// When it is warm, and when it ends, as parts of the whole: of twenty minutes the third to the fifth, and the last
/// two.
const WARM: Range<f64> = 0.15..0.25;
const LAST: Range<f64> = 0.9..1.0;

const SIZE: (u32, u32) = (900, 360);
const MEGABYTE: f64 = 1e6;

/// One second.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the beginning.
    pub at: Duration,
    /// Bytes of Envoy in RAM.
    pub resident: u64,
    /// Requests begun so far.
    pub requests: u64,
}

/// All samples, which are in `rss.csv` as soon as they are taken.
#[derive(Debug)]
pub struct Memory {
    csv: File,
    plot: PathBuf,
    samples: Vec<Sample>,
}

/// Where memory goes. Bytes, and bytes an hour.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    warm: f64,
    last: f64,
    peak: f64,
    slope: f64,
}

// === impl Memory ===

impl Memory {
    /// No samples yet; they will be in `directory`.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn create(directory: &Path) -> Result<Self> {
        let path = directory.join("rss.csv");
        let mut csv = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        writeln!(csv, "seconds,rss_bytes,requests")?;
        Ok(Self { csv, plot: directory.join("rss.svg"), samples: Vec::new() })
    }

    /// One more.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub fn add(&mut self, sample: Sample) -> Result<()> {
        writeln!(self.csv, "{:.1},{},{}", sample.at.as_secs_f64(), sample.resident, sample.requests)?;
        self.samples.push(sample);
        Ok(())
    }

    /// From when it is warm to the end; `None` when there is nothing in between.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        let residents = |part: Range<f64>| self.part(part).map(|sample| sample.resident as f64).collect();
        let peak = self.samples.iter().map(|sample| sample.resident as f64).fold(0.0, f64::max);
        let points: Vec<_> = self.part(WARM.start..LAST.end).map(point).collect();
        Some(Trend { warm: median(residents(WARM))?, last: median(residents(LAST))?, peak, slope: slope(&points)? })
    }

    /// The samples in this part of the time.
    fn part(&self, part: Range<f64>) -> impl Iterator<Item = &Sample> {
        let end = self.samples.last().map_or(Duration::ZERO, |last| last.at);
        let (from, to) = (end.mul_f64(part.start), end.mul_f64(part.end));
        self.samples.iter().filter(move |sample| (from..=to).contains(&sample.at))
    }

    /// Draws it; returns where.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn plot(&self) -> Result<PathBuf> {
        let minutes = |sample: &Sample| sample.at.as_secs_f64() / 60.0;
        let megabytes = |sample: &Sample| sample.resident as f64 / MEGABYTE;
        let across = self.samples.last().map_or(1.0, minutes);
        let up = self.samples.iter().map(megabytes).fold(1.0, f64::max) * 1.15;
        svg(&self.plot, SIZE, |area| {
            let mut chart = ChartBuilder::on(area)
                .caption("Envoy's resident memory in MB over minutes; grey: what is compared", (FONT, 16))
                .margin(12)
                .x_label_area_size(28)
                .y_label_area_size(48)
                .build_cartesian_2d(0.0..across, 0.0..up)?;
            let shades = [WARM, LAST].map(|part| {
                Rectangle::new([(part.start * across, 0.0), (part.end * across, up)], INK.mix(0.12).filled())
            });
            chart.draw_series(shades)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .x_label_formatter(&|minute| format!("{minute:.0}"))
                .y_label_formatter(&|megabytes| format!("{megabytes:.0}"))
                .draw()?;
            let line = self.samples.iter().map(|sample| (minutes(sample), megabytes(sample)));
            chart.draw_series(LineSeries::new(line, INK.stroke_width(2)))?;
            Ok(())
        })?;
        Ok(self.plot.clone())
    }
}

// === impl Trend ===

impl Trend {
    /// Of the median from when it is warm to the end: 0.05 is 5 %.
    #[must_use]
    pub fn growth(&self) -> f64 {
        self.last / self.warm - 1.0
    }
}

impl fmt::Display for Trend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: f64| bytes / MEGABYTE;
        write!(
            f,
            "{:.1} MB warm, {:.1} MB at the end: {:+.1} % (limit {:+.0} %), peak {:.1} MB, slope {:+.1} MB an hour",
            megabytes(self.warm),
            megabytes(self.last),
            self.growth() * 100.0,
            GROWTH_MAX * 100.0,
            megabytes(self.peak),
            megabytes(self.slope),
        )
    }
}

/// Hours and bytes.
fn point(sample: &Sample) -> (f64, f64) {
    (sample.at.as_secs_f64() / 3600.0, sample.resident as f64)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(directory: &Path, resident: impl Fn(u64) -> u64) -> Memory {
        let mut memory = Memory::create(directory).unwrap();
        for second in 0..=1200 {
            let sample = Sample { at: Duration::from_secs(second), resident: resident(second), requests: second };
            memory.add(sample).unwrap();
        }
        memory
    }

    #[test]
    fn what_warms_up_is_flat_and_what_leaks_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let warming = |second: u64| 100_000_000 + second.min(120) * 500_000;
        let flat = memory(directory.path(), warming).trend().unwrap();
        assert_eq!((flat.warm, flat.last, flat.growth()), (160e6, 160e6, 0.0));
        assert!(flat.slope.abs() < 1.0, "{flat}");

        // 36 MB an hour.
        let leak = memory(directory.path(), |second| warming(second) + second * 10_000).trend().unwrap();
        assert!((leak.slope - 36e6).abs() < 1e3, "{leak}");
        assert!(leak.growth() > GROWTH_MAX, "{leak}");
    }

    #[test]
    fn a_plot_and_a_table_are_written() {
        let directory = tempfile::tempdir().unwrap();
        let memory = memory(directory.path(), |_| 1_000_000);
        let plot = std::fs::read_to_string(memory.plot().unwrap()).unwrap();
        assert!(plot.contains("<svg") && plot.contains("polyline"), "{plot}");
        let table = std::fs::read_to_string(directory.path().join("rss.csv")).unwrap();
        assert_eq!(table.lines().nth(2), Some("1.0,1000000,1"));
    }

    #[test]
    fn nothing_has_no_trend() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Memory::create(directory.path()).unwrap().trend().is_none());
    }
}

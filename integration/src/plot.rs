//! Pictures, as SVG.

use std::{io, path::Path};

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

/// For what a picture is about.
pub const INK: RGBColor = RGBColor(40, 60, 90);
/// For what stands beside it.
pub const GREEN: RGBColor = RGBColor(60, 140, 110);
/// For what stands out.
pub const ORANGE: RGBColor = RGBColor(200, 120, 60);
/// Of captions and the names of bars.
pub const FONT: &str = "sans-serif";

/// Where a picture is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing ends with.
pub type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// Draws a picture of this width and height, in pixels, on white.
///
/// # Errors
/// When the file cannot be written.
pub fn svg(file: &Path, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let area = SVGBackend::new(file, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area)).and_then(|()| area.present());
    drawn.map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
}

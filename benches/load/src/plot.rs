//! Pictures, as SVG.

use std::path::Path;

use anyhow::Result;
use careplane_integration::plot::{Area, Drawn, FONT, INK, ORANGE, svg};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::report::Table;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (900, 480);

/// The added CPU time of each contender, with its quartiles; what a server beside the proxy takes is in another colour.
///
/// # Errors
/// When the file cannot be written.
pub fn added(table: &Table, file: &Path) -> Result<()> {
    svg(file, SIZE, |area| draw(table, area))
}

fn draw(table: &Table, area: &Area<'_>) -> Drawn {
    let rows: Vec<_> = table.rows.iter().skip(1).collect();
    let most = rows.iter().map(|row| row.added.high).fold(1.0, f64::max) * 1.08;
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!(
                "Added CPU time of a request, in microseconds (orange: in a server beside the proxy): {}",
                table.traffic
            ),
            (FONT, 16),
        )
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(130)
        .build_cartesian_2d(0.0..most, count..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|micros| format!("{micros:.0}"))
        .draw()?;
    let text = |size: i32, side| (FONT, size).into_text_style(area).pos(Pos::new(side, VPos::Center));
    for (index, row) in rows.iter().enumerate() {
        let (top, middle, bottom) = (index as f64 + 0.2, index as f64 + 0.5, index as f64 + 0.8);
        let border = row.added.median - row.server.median.min(row.added.median);
        let bar = |from: f64, to: f64, colour: RGBColor| {
            Rectangle::new([(from.max(0.0), top), (to.max(0.0), bottom)], colour.filled())
        };
        let spread = [(row.added.low.max(0.0), middle), (row.added.high.max(0.0), middle)];
        chart.draw_series([bar(0.0, border, INK), bar(border, row.added.median, ORANGE)])?;
        chart.draw_series([PathElement::new(spread, BLACK.stroke_width(2))])?;
        let (left, y) = chart.backend_coord(&(0.0, middle));
        area.draw_text(&row.contender, &text(15, HPos::Right), (left - 8, y))?;
        let (right, _) = chart.backend_coord(&(row.added.high.max(0.0), middle));
        area.draw_text(&format!("{:.1}", row.added.median), &text(13, HPos::Left), (right + 6, y))?;
    }
    Ok(())
}

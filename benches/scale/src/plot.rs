//! The picture, as SVG.

use std::path::Path;

use anyhow::Result;
use careplane_integration::plot::{Area, Drawn, FONT, GREEN, INK, ORANGE, svg};
use plotters::prelude::*;

use crate::scale::{Point, Scale};

const SIZE: (u32, u32) = (900, 760);
const SERIES: [RGBColor; 3] = [INK, GREEN, ORANGE];

/// What is drawn of a point.
type Figure = fn(&Point) -> f64;

/// How four figures grow with the number of tenants: a line for each number of contexts.
///
/// # Errors
/// When the file cannot be written.
pub fn growth(scale: &Scale, file: &Path) -> Result<()> {
    svg(file, SIZE, |area| draw(scale, area))
}

fn draw(scale: &Scale, area: &Area<'_>) -> Drawn {
    let panels = area.split_evenly((2, 2));
    let figures: [(&str, Figure); 4] = [
        ("instructions of a request", |point| point.request),
        ("milliseconds until it serves", |point| point.ready.median),
        ("resident memory of Envoy, MB", |point| point.memory.median),
        ("memory of one VM, MB", |point| point.vm),
    ];
    for (panel, (title, figure)) in panels.iter().zip(figures) {
        let most = scale.points.iter().map(figure).fold(1.0, f64::max) * 1.35;
        let tenants = scale.points.iter().map(|point| point.tenants as f64).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .caption(title, (FONT, 16))
            .margin(16)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d((1.0..tenants).log_scale(), 0.0..most)?;
        chart
            .configure_mesh()
            .x_desc("pinned tenants")
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|tenants| format!("{tenants:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (contexts, colour) in scale.contexts().into_iter().zip(SERIES) {
            let line: Vec<(f64, f64)> = scale
                .points
                .iter()
                .filter(|point| point.contexts == contexts)
                .map(|point| (point.tenants as f64, figure(point)))
                .collect();
            chart.draw_series(line.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                .label(format!("{contexts} contexts"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).border_style(TRANSPARENT).draw()?;
    }
    Ok(())
}

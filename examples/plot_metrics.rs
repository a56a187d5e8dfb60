//! Learning curves of an experiment's trials as a picture: `cargo run --example plot_metrics -- [EXPERIMENT [METRIC [FILE]]]`.

#[macro_use]
mod support;

use std::env;

use anyhow::{Result, ensure};
use plotters::prelude::*;

fn main() -> Result<()> {
    let _master = support::login()?;
    let experiment = support::experiment()?;
    let argument = |n: usize, default: &str| env::args().nth(n).unwrap_or(default.to_owned());
    let (metric, file) = (argument(2, "loss"), argument(3, "learning-curves.svg"));

    let mut curves = Vec::new();
    let (mut width, mut top, mut bottom) = (1.0_f64, f64::NEG_INFINITY, 0.0_f64);
    for trial in experiment.get_trials()? {
        let mut points = Vec::new();
        for report in trial.iter_metrics("training")? {
            let report = report?;
            // What is NaN or infinite cannot be drawn.
            if let Some(value) = report.metric(&metric).filter(|value| value.is_finite()) {
                let steps = f64::from(report.steps_completed);
                (width, top, bottom) = (width.max(steps), top.max(value), bottom.min(value));
                points.push((steps, value));
            }
        }
        curves.push((trial.id, points));
    }
    ensure!(top.is_finite(), "no trial has reported {metric:?}");
    let top = top + 0.05 * (top - bottom).max(1e-9);
    let picture = SVGBackend::new(&file, (800, 500)).into_drawing_area();
    picture.fill(&WHITE)?;
    let title = format!("{metric} of experiment {} by steps", experiment.id);
    let mut chart = ChartBuilder::on(&picture)
        .caption(title, ("sans-serif", 24))
        .margin_right(20)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..width, bottom..top)?;
    chart.configure_mesh().max_light_lines(0).draw()?;
    for (n, (trial, points)) in curves.into_iter().enumerate() {
        let color = Palette99::pick(n).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, color))?
            .label(format!("trial {trial}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .draw()?;
    picture.present()?;
    println!("{file}");
    Ok(())
}

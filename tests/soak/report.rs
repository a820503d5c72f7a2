//! The report: memory, threads, open files, lag and latencies over time, as a table, as JSON, and drawn.

use std::{error::Error, path::Path};

use plotters::{
    prelude::*,
    style::{FontStyle, register_font},
};
use serde_json::{Value, json};

const INK: RGBColor = RGBColor(29, 78, 216);
const SIZE: (u32, u32) = (1000, 1080);
/// Beginning and end of the time, as parts of it, that are held against each other: the first fifth is for warming up.
const BEGINNING: [f64; 2] = [0.2, 0.4];
const END: [f64; 2] = [0.8, 1.0];

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    Memory,
    Threads,
    Files,
    Lag,
    Median,
    Late,
}

impl Curve {
    pub const ALL: [Self; 6] = [Self::Memory, Self::Threads, Self::Files, Self::Lag, Self::Median, Self::Late];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "resident memory, MiB",
            Self::Threads => "threads",
            Self::Files => "open files",
            Self::Lag => "lag, records",
            Self::Median => "latency, median, ms",
            Self::Late => "latency, 99th percentile, ms",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory_mib",
            Self::Threads => "threads",
            Self::Files => "open_files",
            Self::Lag => "lag_records",
            Self::Median => "latency_p50_ms",
            Self::Late => "latency_p99_ms",
        }
    }

    /// The most that the end may be above the beginning: a part of that, and so much more.
    fn tolerance(self, rate: f64) -> (f64, f64) {
        match self {
            Self::Memory => (0.05, 1.0),
            Self::Threads | Self::Files => (0.0, 1.0),
            // What comes in a tenth of a second.
            Self::Lag => (0.25, rate / 10.0),
            Self::Median => (0.25, 2.0),
            Self::Late => (0.5, 10.0),
        }
    }
}

/// One look at everything; the latencies are those since the look before.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Seconds since the beginning.
    pub at: f64,
    /// In the order of [`Curve::ALL`].
    pub values: [f64; 6],
}

/// The figures of a whole run.
pub struct Report {
    pub minutes: f64,
    pub series: u64,
    /// Records a second: the most that there could be, and what there were.
    pub peak: f64,
    pub rate: f64,
    pub looks: Vec<Look>,
    pub records_in: u64,
    /// Of the watched partition.
    pub forecasts: u64,
    pub lost: u64,
    pub doubled: u64,
    pub trainings: f64,
    pub promotions: f64,
}

impl Report {
    /// The mean over a part of the time.
    fn mean(&self, curve: Curve, [from, to]: [f64; 2]) -> f64 {
        let seconds = self.minutes * 60.0;
        let within = self.looks.iter().filter(|look| (from * seconds..=to * seconds).contains(&look.at));
        let (sum, count) =
            within.fold((0.0, 0.0), |(sum, count), look| (sum + look.values[curve as usize], count + 1.0));
        sum / count
    }

    fn most(&self, curve: Curve) -> f64 {
        self.looks.iter().map(|look| look.values[curve as usize]).fold(0.0, f64::max)
    }

    /// Which of these are not flat, with the figures.
    pub fn rising(&self, curves: &[Curve]) -> Vec<String> {
        let rises = |curve: &&Curve| {
            let (part, more) = curve.tolerance(self.rate);
            // Said so that a curve without any looks rises.
            let flat = self.mean(**curve, END) <= self.mean(**curve, BEGINNING) * (1.0 + part) + more;
            !flat
        };
        let text = |curve: &Curve| {
            format!("{}: {:.1}, in the end {:.1}", curve.name(), self.mean(*curve, BEGINNING), self.mean(*curve, END))
        };
        curves.iter().filter(rises).map(text).collect()
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let round = |number: f64| (number * 100.0).round() / 100.0;
        let mut object = json!({
            "minutes": self.minutes, "series": self.series, "peak": self.peak.round(), "rate": self.rate.round(),
            "records_in": self.records_in, "forecasts_watched": self.forecasts,
            "lost": self.lost, "doubled": self.doubled, "trainings": self.trainings, "promotions": self.promotions,
            "rising": self.rising(&Curve::ALL),
        });
        for curve in Curve::ALL {
            object[curve.key()] = json!({
                "beginning": round(self.mean(curve, BEGINNING)),
                "end": round(self.mean(curve, END)),
                "most": round(self.most(curve)),
            });
        }
        object
    }

    /// The same as a table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "soak of {} minutes: {:.0} records a second of {} series, of {:.0} at most; {:.0} trainings, \
             {:.0} promotions\n\
             {:<34}{:>12}{:>12}{:>12}\n",
            self.minutes,
            self.rate,
            self.series,
            self.peak,
            self.trainings,
            self.promotions,
            "",
            "beginning",
            "end",
            "most"
        );
        for curve in Curve::ALL {
            let [beginning, end] = [BEGINNING, END].map(|part| self.mean(curve, part));
            text += &format!("  {:<32}{beginning:>12.1}{end:>12.1}{:>12.1}\n", curve.name(), self.most(curve));
        }
        text += &format!(
            "  records in {}; of one partition {} forecasts, {} lost, {} doubled\n",
            self.records_in, self.forecasts, self.lost, self.doubled
        );
        let rising = self.rising(&Curve::ALL);
        text + &if rising.is_empty() { "  all flat\n".to_owned() } else { format!("  rising: {}\n", rising.join("; ")) }
    }

    /// Draws the curves over the minutes, one below the other.
    pub fn draw(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(|_| "the font")?;
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        for (curve, area) in Curve::ALL.into_iter().zip(root.split_evenly((Curve::ALL.len(), 1))) {
            let top = (self.most(curve) * 1.1).max(1.0);
            let mut chart = ChartBuilder::on(&area)
                .caption(curve.name(), ("sans-serif", 16))
                .margin(8)
                .x_label_area_size(18)
                .y_label_area_size(60)
                .build_cartesian_2d(0.0..self.minutes, 0.0..top)?;
            chart.configure_mesh().disable_x_mesh().y_labels(4).light_line_style(TRANSPARENT).draw()?;
            let points = self.looks.iter().map(|look| (look.at / 60.0, look.values[curve as usize]));
            chart.draw_series(LineSeries::new(points, &INK))?;
        }
        Ok(root.present()?)
    }
}

#[test]
fn what_rises_is_reported() {
    let report = |leak: f64| Report {
        minutes: 1.0,
        series: 1,
        peak: 2000.0,
        rate: 1000.0,
        looks: (0..=60).map(|at| Look { at: f64::from(at), values: [100.0 + leak * f64::from(at); 6] }).collect(),
        records_in: 0,
        forecasts: 0,
        lost: 0,
        doubled: 0,
        trainings: 0.0,
        promotions: 0.0,
    };
    assert!(report(0.0).rising(&Curve::ALL).is_empty());
    assert_eq!(report(0.2).rising(&Curve::ALL).len(), 3, "memory, threads and files");
    assert_eq!(report(10.0).rising(&Curve::ALL).len(), Curve::ALL.len());
    let without = Report { looks: Vec::new(), ..report(0.0) };
    assert_eq!(without.rising(&Curve::ALL).len(), Curve::ALL.len(), "nothing was looked at");
}

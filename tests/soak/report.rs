//! The report: memory, threads, open files, lag and latencies over time, as a table, as JSON, and as a chart.

use std::{error::Error, path::Path};

use plotters::{
    prelude::*,
    style::{FontStyle, register_font},
};
use serde_json::{Value, json};

const INK: RGBColor = RGBColor(29, 78, 216);
const SIZE: (u32, u32) = (1000, 1080);
/// Shares of the run that are compared. The first fifth is the warm-up.
const BEGINNING: [f64; 2] = [0.2, 0.4];
const END: [f64; 2] = [0.8, 1.0];

/// A figure that is sampled.
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

    /// Largest allowed increase from the beginning to the end: a share of the beginning, and an absolute value.
    fn tolerance(self, rate: f64) -> (f64, f64) {
        match self {
            Self::Memory => (0.05, 1.0),
            Self::Threads | Self::Files => (0.0, 0.0),
            // The records of a tenth of a second.
            Self::Lag => (0.25, rate / 10.0),
            Self::Median => (0.25, 2.0),
            Self::Late => (0.5, 10.0),
        }
    }
}

/// A sample of all figures. Latencies are those since the previous sample.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Seconds since the beginning.
    pub at: f64,
    /// In the order of [`Curve::ALL`].
    pub values: [f64; 6],
}

/// The figures of a whole run.
pub struct Report {
    pub minutes: f64,
    pub series: u64,
    /// Peak of the processed records per second.
    pub peak: f64,
    /// Produced records per second.
    pub rate: f64,
    pub samples: Vec<Sample>,
    pub records_in: u64,
    /// Forecasts in the watched partition.
    pub forecasts: u64,
    pub lost: u64,
    pub doubled: u64,
    pub trainings: f64,
    pub promotions: f64,
}

impl Report {
    /// Values of a figure over a share of the run.
    fn values(&self, curve: Curve, [from, to]: [f64; 2]) -> impl Iterator<Item = f64> {
        let seconds = self.minutes * 60.0;
        let within = self.samples.iter().filter(move |sample| (from * seconds..=to * seconds).contains(&sample.at));
        within.map(move |sample| sample.values[curve as usize])
    }

    /// Mean of a figure over a share of the run.
    fn mean(&self, curve: Curve, share: [f64; 2]) -> f64 {
        let (sum, count) = self.values(curve, share).fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    }

    /// The two levels of which the second may not be higher.
    ///
    /// They are means, but for threads and files: a training round has some of its own, so their means say how long
    /// training lasted. What leaks never goes away, and in the end even the least is above the most of the beginning.
    fn levels(&self, curve: Curve) -> [f64; 2] {
        match curve {
            Curve::Threads | Curve::Files => [
                self.values(curve, BEGINNING).fold(f64::NAN, f64::max),
                self.values(curve, END).fold(f64::NAN, f64::min),
            ],
            _ => [BEGINNING, END].map(|share| self.mean(curve, share)),
        }
    }

    fn maximum(&self, curve: Curve) -> f64 {
        self.samples.iter().map(|sample| sample.values[curve as usize]).fold(0.0, f64::max)
    }

    /// The curves that grow, each with its two levels.
    pub fn growing(&self, curves: &[Curve]) -> Vec<String> {
        let grows = |curve: &&Curve| {
            let (part, more) = curve.tolerance(self.rate);
            let [beginning, end] = self.levels(**curve);
            // Written such that a curve without samples, whose levels are NaN, counts as growing.
            let flat = end <= beginning * (1.0 + part) + more;
            !flat
        };
        let text = |curve: &Curve| {
            let [beginning, end] = self.levels(*curve);
            format!("{}: {beginning:.1}, at the end {end:.1}", curve.name())
        };
        curves.iter().filter(grows).map(text).collect()
    }

    /// The report as a JSON object.
    pub fn json(&self) -> Value {
        let round = |number: f64| (number * 100.0).round() / 100.0;
        let mut object = json!({
            "minutes": self.minutes, "series": self.series, "peak": self.peak.round(), "rate": self.rate.round(),
            "records_in": self.records_in, "forecasts_watched": self.forecasts,
            "lost": self.lost, "doubled": self.doubled, "trainings": self.trainings, "promotions": self.promotions,
            "rising": self.growing(&Curve::ALL),
        });
        for curve in Curve::ALL {
            object[curve.key()] = json!({
                "beginning": round(self.mean(curve, BEGINNING)),
                "end": round(self.mean(curve, END)),
                "most": round(self.maximum(curve)),
            });
        }
        object
    }

    /// The report as a table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "soak of {} minutes: {:.0} records per second of {} series, peak {:.0}; {:.0} training rounds, \
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
            "maximum"
        );
        for curve in Curve::ALL {
            let [beginning, end] = [BEGINNING, END].map(|part| self.mean(curve, part));
            text += &format!("  {:<32}{beginning:>12.1}{end:>12.1}{:>12.1}\n", curve.name(), self.maximum(curve));
        }
        text += &format!(
            "  {} records in; in one partition {} forecasts, {} lost, {} doubled\n",
            self.records_in, self.forecasts, self.lost, self.doubled
        );
        let growing = self.growing(&Curve::ALL);
        text + &if growing.is_empty() {
            "  nothing grows\n".to_owned()
        } else {
            format!("  growing: {}\n", growing.join("; "))
        }
    }

    /// Draws the curves over time, one below the other.
    pub fn draw(&self, file: &Path) -> Result<(), Box<dyn Error>> {
        register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).map_err(|_| "the font")?;
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        for (curve, area) in Curve::ALL.into_iter().zip(root.split_evenly((Curve::ALL.len(), 1))) {
            let top = (self.maximum(curve) * 1.1).max(1.0);
            let mut chart = ChartBuilder::on(&area)
                .caption(curve.name(), ("sans-serif", 16))
                .margin(8)
                .x_label_area_size(18)
                .y_label_area_size(60)
                .build_cartesian_2d(0.0..self.minutes, 0.0..top)?;
            chart.configure_mesh().disable_x_mesh().y_labels(4).light_line_style(TRANSPARENT).draw()?;
            let points = self.samples.iter().map(|sample| (sample.at / 60.0, sample.values[curve as usize]));
            chart.draw_series(LineSeries::new(points, &INK))?;
        }
        Ok(root.present()?)
    }
}

#[test]
fn a_growing_curve_is_reported() {
    let report = |leak: f64| Report {
        minutes: 1.0,
        series: 1,
        peak: 2000.0,
        rate: 1000.0,
        samples: (0..=60).map(|at| Sample { at: f64::from(at), values: [100.0 + leak * f64::from(at); 6] }).collect(),
        records_in: 0,
        forecasts: 0,
        lost: 0,
        doubled: 0,
        trainings: 0.0,
        promotions: 0.0,
    };
    assert!(report(0.0).growing(&Curve::ALL).is_empty());
    assert_eq!(report(0.2).growing(&Curve::ALL).len(), 3, "memory, threads and files");
    assert_eq!(report(10.0).growing(&Curve::ALL).len(), Curve::ALL.len());
    // A figure that goes up and down does not grow, as the threads with training.
    let mut training = report(0.0);
    for sample in &mut training.samples {
        let trains = f64::from(sample.at as u32 % 10 >= 8 || sample.at > 53.0);
        sample.values[Curve::Threads as usize] = 50.0 + 3.0 * trains;
    }
    assert!(training.growing(&[Curve::Threads]).is_empty());
    let without = Report { samples: Vec::new(), ..report(0.0) };
    assert_eq!(without.growing(&Curve::ALL).len(), Curve::ALL.len(), "there are no samples");
}

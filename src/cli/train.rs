//! `foretide train`: training off line, from a file or from a stream's topics.

mod diagnose;
mod screen;
mod source;

use std::{
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::{Value, json};

use self::screen::Screen;
use super::{
    data::{FileArguments, ForecastArguments},
    failure::{BAD_DATA, CANNOT_WRITE, Failure, SOFTWARE},
    files,
    interrupt::Interrupt,
    training::TrainingArguments,
};
use crate::{
    backtest::plot::PlotFile,
    env::{Clock, SystemClock},
    nn::{NetworkSpec, Weights, WeightsError},
    train::{self, Checkpoint, DeviceChoice, Outcome, TrainSpec, Verdict},
};

/// What `foretide train` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// CSV, plain or gzipped. Wide: a time stamp and one column for each series
    #[arg(required_unless_present_any = ["config", "diagnose"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    reading: FileArguments,
    #[command(flatten)]
    forecast: ForecastArguments,
    /// Seed of the initial weights and of training [default: the stream's, or 1]
    #[arg(long, value_name = "NUMBER", help_heading = "Training")]
    seed: Option<u64>,

    /// Train from the topics of a stream of this configuration instead of a file; nothing is written to them
    #[arg(
        long,
        value_name = "FILE",
        // clap gives a group of arguments that holds another one no members: those of the forecast are named.
        conflicts_with_all = [
            "file", "diagnose", "FileArguments", "NetworkArguments", "horizon", "interval", "season", "quantiles"
        ],
        help_heading = "Stream"
    )]
    config: Option<PathBuf>,
    /// The stream [default: the only one]
    #[arg(long, value_name = "NAME", requires = "config", help_heading = "Stream")]
    stream: Option<String>,

    /// Updates of the weights in all, those before --resume included [default: the stream's, or 1000; 200 to diagnose]
    #[arg(long, value_name = "UPDATES", help_heading = "Training")]
    updates: Option<usize>,
    /// auto, cpu or cuda. Only on the CPU are two runs the same to the last bit
    #[arg(long, value_name = "DEVICE", help_heading = "Training")]
    device: Option<DeviceChoice>,
    #[command(flatten)]
    training: TrainingArguments,

    /// Where the best weights go (safetensors)
    #[arg(long, value_name = "FILE", default_value = "foretide-weights.safetensors", help_heading = "Output")]
    out: PathBuf,
    /// Keep what training needs to go on here, and renew it on the way
    #[arg(long, value_name = "FILE", conflicts_with = "diagnose", help_heading = "Output")]
    checkpoint: Option<PathBuf>,
    /// Go on from such a checkpoint: with the same data and options as if there had been no pause
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "diagnose"], help_heading = "Training")]
    resume: Option<PathBuf>,
    /// Begin with these weights; the new ones are judged against them
    #[arg(long, value_name = "FILE", conflicts_with = "diagnose", help_heading = "Training")]
    from: Option<PathBuf>,
    /// One JSON object on standard output instead of a table
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Show instead how far back each recurrent cell's gradients reach, before and after training; without FILE on a
    /// built-in task with a long lag
    #[arg(long, help_heading = "Diagnosis")]
    diagnose: bool,
    /// Steps through which gradients are followed
    #[arg(long, value_name = "STEPS", default_value_t = 128, requires = "diagnose", help_heading = "Diagnosis")]
    steps: usize,
    /// Draw them
    #[arg(
        long,
        value_name = "FILE.svg|png",
        default_value = "foretide-diagnosis.svg",
        value_parser = PlotFile::parse,
        requires = "diagnose",
        help_heading = "Diagnosis"
    )]
    plot: PlotFile,
}

impl Arguments {
    /// Puts what was asked for in the place of the settings.
    fn apply(&self, spec: &mut TrainSpec) {
        if let Some(updates) = self.updates {
            // So many updates were asked for, however many passes they take.
            (spec.max_updates, spec.epochs) = (updates, usize::MAX);
        }
        spec.device = self.device.unwrap_or(spec.device);
        self.training.apply(spec);
    }
}

/// Trains, or diagnoses.
pub fn run(arguments: &Arguments) -> ExitCode {
    match if arguments.diagnose { diagnose::run(arguments) } else { whole(arguments) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide train: {what}");
            ExitCode::from(code)
        }
    }
}

fn whole(arguments: &Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen().map_err(|error| Failure(SOFTWARE, error.to_string()))?;
    let clock = SystemClock::new();
    let mut screen = Screen::open(&clock);
    files::check_writable(&arguments.out)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), files::check_writable)?;
    let material = source::read(arguments, &interrupt)?;
    screen.say(&material.about);
    let begin = begin(arguments, &material.network)?;
    // A checkpoint that cannot be written ends training: whoever asked for it counts on it.
    let mut broken = None;
    let outcome = train::resume(&material.spec, &material.network, &begin, &material.lanes, &mut |progress| {
        screen.show(progress);
        if let (Some(path), Some(checkpoint)) = (&arguments.checkpoint, &progress.checkpoint) {
            broken = keep(path, checkpoint).err();
        }
        if interrupt.asked() || broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    screen.close();
    let outcome = outcome?;
    broken.map_or(Ok(()), Err)?;
    files::write(&arguments.out, &to_bytes(outcome.challenger.to_bytes())?)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), |path| keep(path, &outcome.checkpoint))?;
    if outcome.interrupted {
        eprintln!("interrupted after {} updates; the best weights so far were judged and kept", outcome.updates);
    }
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    tell(&if arguments.json { json(arguments, &outcome, seconds) } else { table(arguments, &outcome, seconds) })
}

/// Where training begins.
fn begin(arguments: &Arguments, network: &NetworkSpec) -> Result<Checkpoint, Failure> {
    let fits = |path: &Path, error: WeightsError| Failure(BAD_DATA, format!("{}: {error}", path.display()));
    if let Some(path) = &arguments.resume {
        let bytes = files::read(path, "a checkpoint of foretide train --checkpoint")?;
        let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|error| fits(path, error))?;
        checkpoint.weights.check(network).map_err(|error| fits(path, error))?;
        return Ok(checkpoint);
    }
    let champion = match &arguments.from {
        Some(path) => {
            let bytes = files::read(path, "weights of foretide train --out")?;
            Weights::from_bytes(network, &bytes).map_err(|error| fits(path, error))?
        }
        None => Weights::initial(network),
    };
    Ok(Checkpoint::new(&champion))
}

fn keep(path: &Path, checkpoint: &Checkpoint) -> Result<(), Failure> {
    files::write(path, &to_bytes(checkpoint.to_bytes())?)
}

fn to_bytes(bytes: Result<Vec<u8>, WeightsError>) -> Result<Vec<u8>, Failure> {
    bytes.map_err(|error| Failure(SOFTWARE, error.to_string()))
}

/// Why the challenger was refused, in one word and in many; nothing where it was not.
fn refusal(outcome: &Outcome) -> Option<(&'static str, String)> {
    match &outcome.verdict {
        Verdict::Promote => None,
        Verdict::Reject(refusal) => Some((refusal.name(), refusal.to_string())),
    }
}

fn json(arguments: &Arguments, outcome: &Outcome, seconds: f64) -> String {
    let refusal = refusal(outcome);
    let path = |path: &Path| path.display().to_string();
    let object: Value = json!({
        "verdict": if refusal.is_none() { "promote" } else { "refuse" },
        "reason": refusal.as_ref().map(|(name, _)| name),
        "refused": refusal.as_ref().map(|(_, text)| text),
        "champion_loss": outcome.champion_loss,
        "challenger_loss": outcome.challenger_loss,
        "judged": outcome.judged,
        "fit": {
            "champion": outcome.fit.champion,
            "challenger": outcome.fit.challenger,
            "newest": outcome.fit.newest,
        },
        "training_loss": outcome.training_loss,
        "updates": outcome.updates,
        "clipped": outcome.clipped,
        "skipped_non_finite": outcome.skipped_non_finite,
        "gradient_norm": outcome.gradient_norm,
        "clipped_gradient_norm": outcome.clipped_gradient_norm,
        "series_steps": outcome.series_steps,
        "interrupted": outcome.interrupted,
        "seconds": seconds,
        "out": path(&arguments.out),
        "checkpoint": arguments.checkpoint.as_deref().map(path),
    });
    format!("{object}\n")
}

fn table(arguments: &Arguments, outcome: &Outcome, seconds: f64) -> String {
    let Outcome { champion_loss, challenger_loss, judged, updates: steps, clipped, skipped_non_finite, fit, .. } =
        outcome;
    let verdict = match refusal(outcome) {
        None => "a clear win".to_owned(),
        Some((_, why)) => format!("no win: {why}"),
    };
    let out = arguments.out.display();
    format!(
        "mean quantile loss       before     after\n\
         held out             {champion_loss:10.5}{challenger_loss:10.5}   {judged} targets\n\
         learnt from          {:10.5}{:10.5}\n\
         {steps} updates, {clipped} clipped, {skipped_non_finite} skipped as not finite, {seconds:.1} s\n\
         {verdict}\n\
         weights in {out}\n",
        fit.champion, fit.challenger
    )
}

/// Prints to standard output.
fn tell(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure(CANNOT_WRITE, error.to_string())),
        _ => Ok(()),
    }
}

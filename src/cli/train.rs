//! `foretide train`: training offline, from a file or from a stream's topics.

mod arguments;
mod diagnose;
mod source;

use std::{ops::ControlFlow, path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{
    failure::{BAD_DATA, Failure, SOFTWARE},
    files,
    interrupt::Interrupt,
    output::print,
    training_progress::TrainingProgress,
};
use crate::{
    env::{Clock, SystemClock},
    nn::{Weights, WeightsError},
    train::{self, Checkpoint, Outcome, Verdict},
};

pub use arguments::Arguments;
use source::Material;

/// Runs the command.
pub fn run(arguments: &Arguments) -> ExitCode {
    match if arguments.diagnose { diagnose::run(arguments) } else { train(arguments) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, what)) => {
            eprintln!("foretide train: {what}");
            ExitCode::from(code)
        }
    }
}

fn train(arguments: &Arguments) -> Result<(), Failure> {
    let interrupt = Interrupt::listen().map_err(|error| Failure(SOFTWARE, error.to_string()))?;
    let clock = SystemClock::new();
    let mut progress = TrainingProgress::open(&clock);
    files::check_writable(&arguments.out)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), files::check_writable)?;
    let material = source::read(arguments, &interrupt)?;
    progress.say(&material.about);
    let start = starting_point(arguments, &material)?;
    // A checkpoint that cannot be written ends the training: the user relies on it.
    let mut broken = None;
    let outcome = train::resume(&material.spec, &material.network, &start, &material.sequences, &mut |now| {
        progress.show(now);
        if let (Some(path), Some(checkpoint)) = (&arguments.checkpoint, &now.checkpoint) {
            broken = write_checkpoint(path, checkpoint).err();
        }
        if interrupt.requested() || broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.close();
    let outcome = outcome?;
    broken.map_or(Ok(()), Err)?;
    files::write(&arguments.out, &to_bytes(outcome.challenger.to_bytes())?)?;
    arguments.checkpoint.as_deref().map_or(Ok(()), |path| write_checkpoint(path, &outcome.checkpoint))?;
    if outcome.interrupted {
        eprintln!("interrupted after {} updates; the best weights so far were evaluated and written", outcome.updates);
    }
    let seconds = clock.monotonic_micros() as f64 / 1e6;
    print(&if arguments.json { json(arguments, &outcome, seconds) } else { table(arguments, &outcome, seconds) })
}

/// The checkpoint from which training starts.
fn starting_point(arguments: &Arguments, material: &Material) -> Result<Checkpoint, Failure> {
    let network = &material.network;
    let unfit = |path: &Path, error: WeightsError| Failure(BAD_DATA, format!("{}: {error}", path.display()));
    if let Some(path) = &arguments.resume {
        let bytes = files::read(path, "a checkpoint of foretide train --checkpoint")?;
        let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|error| unfit(path, error))?;
        checkpoint.weights.check(network).map_err(|error| unfit(path, error))?;
        return Ok(checkpoint);
    }
    let champion = material.weights.clone().unwrap_or_else(|| Weights::initial(network));
    Ok(Checkpoint::new(&champion))
}

fn write_checkpoint(path: &Path, checkpoint: &Checkpoint) -> Result<(), Failure> {
    files::write(path, &to_bytes(checkpoint.to_bytes())?)
}

fn to_bytes(bytes: Result<Vec<u8>, WeightsError>) -> Result<Vec<u8>, Failure> {
    bytes.map_err(|error| Failure(SOFTWARE, error.to_string()))
}

/// Why the challenger was rejected, as a name and as a sentence; `None` if it was not.
fn rejection(outcome: &Outcome) -> Option<(&'static str, String)> {
    match &outcome.verdict {
        Verdict::Promote => None,
        Verdict::Reject(reason) => Some((reason.name(), reason.to_string())),
    }
}

fn json(arguments: &Arguments, outcome: &Outcome, seconds: f64) -> String {
    let rejection = rejection(outcome);
    let path = |path: &Path| path.display().to_string();
    let object: Value = json!({
        "verdict": if rejection.is_none() { "promote" } else { "refuse" },
        "reason": rejection.as_ref().map(|(name, _)| name),
        "refused": rejection.as_ref().map(|(_, text)| text),
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
    let Outcome { champion_loss, challenger_loss, judged, updates, clipped, skipped_non_finite, fit, .. } = outcome;
    let verdict = match rejection(outcome) {
        None => "a clear win".to_owned(),
        Some((_, why)) => format!("no win: {why}"),
    };
    let out = arguments.out.display();
    format!(
        "mean quantile loss       before     after\n\
         validation           {champion_loss:10.5}{challenger_loss:10.5}   {judged} targets\n\
         training data        {:10.5}{:10.5}\n\
         {updates} updates, {clipped} clipped, {skipped_non_finite} skipped as not finite, {seconds:.1} s\n\
         {verdict}\n\
         weights in {out}\n",
        fit.champion, fit.challenger
    )
}

//! Champion and challenger: whether newly trained weights replace the ones that serve.

use std::fmt;

/// Whether the challenger becomes the champion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The challenger is clearly better.
    Promote,
    /// It is not.
    Reject(RejectionReason),
}

/// Why a challenger is rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RejectionReason {
    /// Too few targets of the validation part have matured.
    TooFew {
        /// Matured targets.
        judged: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The challenger's loss is not a finite number.
    NotFinite,
    /// The challenger's loss is not below the champion's by the margin.
    NoClearWin {
        /// The champion's loss.
        champion: f64,
        /// The challenger's loss.
        challenger: f64,
        /// How far the challenger's loss must lie below the champion's, relative to it.
        margin: f64,
    },
    /// The training loss has improved clearly, the validation loss has not: the network has learned noise.
    Overfitting(Losses),
    /// Neither loss has improved: the network is too small, the training too short, or nothing is left to learn.
    Underfitting(Losses),
}

/// The mean pinball losses behind a rejection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// The champion's loss on a sample of the training part.
    pub champion_training: f64,
    /// The best loss of the training there.
    pub training: f64,
    /// The champion's loss on the validation part.
    pub champion_validation: f64,
    /// The challenger's loss there.
    pub validation: f64,
}

impl RejectionReason {
    /// The names of all reasons.
    pub const NAMES: [&'static str; 5] = ["too_few", "not_finite", "no_clear_win", "overfitting", "underfitting"];

    /// The name in JSON and in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "too_few",
            Self::NotFinite => "not_finite",
            Self::NoClearWin { .. } => "no_clear_win",
            Self::Overfitting(_) => "overfitting",
            Self::Underfitting(_) => "underfitting",
        }
    }
}

impl Verdict {
    /// Refines a rejection without any improvement into overfitting or underfitting, by the mean losses on the training
    /// part: the champion's, and the best of the training. It is overfitting if the training loss has improved by the
    /// margin.
    #[must_use]
    pub fn explained(self, champion_training: f64, training: f64) -> Self {
        let Self::Reject(RejectionReason::NoClearWin { champion, challenger, margin }) = self else { return self };
        if challenger < champion || !champion_training.is_finite() {
            return self;
        }
        let losses = Losses { champion_training, training, champion_validation: champion, validation: challenger };
        let improved = training < champion_training * (1.0 - margin);
        let reason = if improved { RejectionReason::Overfitting } else { RejectionReason::Underfitting };
        Self::Reject(reason(losses))
    }
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { judged, needed } => {
                write!(formatter, "only {judged} validation targets have matured, {needed} are needed")
            }
            Self::NotFinite => formatter.write_str("the challenger's validation loss is not finite"),
            Self::NoClearWin { champion, challenger, margin } => write!(
                formatter,
                "the challenger's validation loss is {challenger:.6}, the champion's {champion:.6}: it must be lower \
                 by {:.2} %",
                margin * 100.0
            ),
            Self::Overfitting(losses) => write!(
                formatter,
                "overfitting: {losses}; use more history, fewer hidden units, fewer updates or more weight decay"
            ),
            Self::Underfitting(losses) => write!(
                formatter,
                "underfitting, or nothing is left to learn: {losses}; more hidden units, more updates or another \
                 learning rate may help"
            ),
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { champion_training, training, champion_validation, validation } = self;
        write!(
            formatter,
            "the training loss went from {champion_training:.6} to {training:.6}, the validation loss from \
             {champion_validation:.6} to {validation:.6}"
        )
    }
}

/// Compares mean losses over the same `judged` matured targets. A champion whose loss is not finite loses to any
/// challenger whose loss is.
pub fn judge(champion: f64, challenger: f64, judged: u64, min_judged: u64, margin: f64) -> Verdict {
    let needed = min_judged.max(1);
    if judged < needed {
        Verdict::Reject(RejectionReason::TooFew { judged, needed })
    } else if !challenger.is_finite() {
        Verdict::Reject(RejectionReason::NotFinite)
    } else if !champion.is_finite() || challenger < champion * (1.0 - margin) {
        Verdict::Promote
    } else {
        Verdict::Reject(RejectionReason::NoClearWin { champion, challenger, margin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Promote => "promoted".to_owned(),
            Verdict::Reject(reason) => reason.to_string(),
        }
    }

    #[test]
    fn only_a_clear_win_is_promoted() {
        assert_eq!(judge(1.0, 0.9, 100, 100, 0.05), Verdict::Promote);
        let no = "the challenger's validation loss is 0.960000, the champion's 1.000000: it must be lower by 5.00 %";
        assert_eq!(reason(judge(1.0, 0.96, 100, 100, 0.05)), no);
        assert!(
            matches!(judge(1.0, 1.0, 100, 100, 0.0), Verdict::Reject(RejectionReason::NoClearWin { .. })),
            "a draw"
        );
        assert!(matches!(judge(0.5, 0.6, 100, 100, 0.0), Verdict::Reject(RejectionReason::NoClearWin { .. })));
        assert!(matches!(judge(0.0, 0.0, 100, 100, 0.01), Verdict::Reject(_)), "nothing to win");
    }

    #[test]
    fn a_rejection_says_whether_the_network_overfits_or_underfits() {
        let rejected = judge(1.0, 1.1, 100, 1, 0.05);
        let over = rejected.explained(2.0, 1.0);
        let figures = "the training loss went from 2.000000 to 1.000000, the validation loss from 1.000000 to 1.100000";
        assert!(reason(over).starts_with(&format!("overfitting: {figures}")), "{}", reason(over));
        assert!(
            matches!(over, Verdict::Reject(reason @ RejectionReason::Overfitting(_)) if reason.name() == "overfitting")
        );
        for training in [1.95, 2.0, 3.0, f64::NAN] {
            let under = rejected.explained(2.0, training);
            assert!(matches!(under, Verdict::Reject(RejectionReason::Underfitting(_))), "{training}: {under:?}");
            assert!(reason(under).starts_with("underfitting, or nothing is left to learn: the training loss"));
        }
        assert_eq!(rejected.explained(f64::NAN, 1.0), rejected, "nothing to compare with");
        for other in [judge(1.0, 0.99, 100, 1, 0.05), judge(1.0, 0.5, 100, 1, 0.05), judge(1.0, 1.0, 0, 1, 0.05)] {
            assert_eq!(other.explained(2.0, 1.0), other, "a small win, a clear one, and too little to say");
        }
    }

    #[test]
    fn too_few_targets_and_non_finite_losses_are_rejected() {
        assert_eq!(reason(judge(1.0, 0.1, 99, 100, 0.0)), "only 99 validation targets have matured, 100 are needed");
        assert_eq!(
            reason(judge(f64::NAN, f64::NAN, 0, 0, 0.0)),
            "only 0 validation targets have matured, 1 are needed"
        );
        for broken in [f64::NAN, f64::INFINITY] {
            assert_eq!(judge(1.0, broken, 100, 1, 0.0), Verdict::Reject(RejectionReason::NotFinite));
            assert_eq!(judge(broken, 1.0, 100, 1, 0.0), Verdict::Promote, "a broken champion");
        }
    }
}

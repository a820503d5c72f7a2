//! Leadership: the trainer to which the group has assigned the models topic's only partition leads.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use super::round_error::RoundError;
use crate::broker::{BrokerError, Member, MemberEvent, Publisher};
use crate::daemon::context::Context;
use crate::daemon::model_subscription::ModelSubscription;

/// The longest rest of a training: the group membership must be polled meanwhile.
const MAX_REST: Duration = Duration::from_secs(2);

/// What the leader holds.
pub struct Leader {
    /// Publishes weights under the application's trainer id, and fences earlier leaders.
    pub publisher: Box<dyn Publisher>,
    pub models: ModelSubscription,
}

impl Leader {
    /// Takes up the leadership.
    pub fn open(context: &Context) -> Result<Self, BrokerError> {
        let publisher = context.broker.publisher(&format!("{}.trainer", context.plan.app))?;
        let models = ModelSubscription::open(&context.plan.models_topic, &*context.broker)?;
        tracing::info!("this instance is the training leader");
        Ok(Self { publisher, models })
    }
}

/// Membership in the trainers' group.
pub struct Leadership {
    member: Box<dyn Member>,
    /// Whether this trainer leads.
    pub leads: bool,
}

impl Leadership {
    pub fn join(context: &Context, transactional_id: &str) -> Result<Self, BrokerError> {
        let plan = &context.plan;
        let group = format!("{}.trainer", plan.app);
        let member = context.broker.join(&group, transactional_id, std::slice::from_ref(&plan.models_topic))?;
        Ok(Self { member, leads: false })
    }

    /// Waits at most `timeout` for the group to change the leader.
    pub fn poll(&mut self, timeout: Duration) -> Result<(), BrokerError> {
        match self.member.poll(timeout, 1)? {
            Some(MemberEvent::Assigned(partitions)) => self.leads |= !partitions.is_empty(),
            Some(MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) => {
                if !partitions.is_empty() {
                    self.leads = false;
                    tracing::info!("another instance is the training leader");
                }
                self.member.release(&partitions)?;
            }
            _ => {}
        }
        Ok(())
    }

    pub fn leave(mut self) -> Result<(), BrokerError> {
        self.member.leave()
    }
}

/// Keeps a long round of training alive: its heartbeat, its membership in the group, and its share of the processor.
pub struct RoundKeeper<'a> {
    context: &'a Context,
    leadership: RefCell<&'a mut Leadership>,
    /// Share of the time in which the round computes.
    cpu_share: f64,
    /// When it began to compute, in microseconds of the monotonic clock.
    computing_since: Cell<u64>,
}

impl<'a> RoundKeeper<'a> {
    /// A round begins.
    pub fn new(context: &'a Context, leadership: &'a mut Leadership, cpu_share: f64) -> Self {
        let computing_since = Cell::new(context.clock.monotonic_micros());
        Self { context, leadership: RefCell::new(leadership), cpu_share, computing_since }
    }

    /// Must be called every few seconds. Rests, so that computing takes no more than its share of the time, and polls
    /// the group.
    ///
    /// # Errors
    /// Why the round must end: another instance leads, the process stops, or the broker's.
    pub fn keep_on(&self) -> Result<(), RoundError> {
        let Self { context, leadership, cpu_share, computing_since } = self;
        context.health.beat("trainer");
        let worked = context.clock.monotonic_micros().saturating_sub(computing_since.get());
        context.pause(rest(worked, *cpu_share));
        computing_since.set(context.clock.monotonic_micros());
        if context.stopping() {
            return Err(RoundError::Stopped);
        }
        let mut leadership = leadership.borrow_mut();
        leadership.poll(Duration::ZERO)?;
        if leadership.leads { Ok(()) } else { Err(RoundError::LeadershipLost) }
    }
}

/// How long to rest after so many microseconds of computing, so that computing takes `share` of the time.
fn rest(worked: u64, share: f64) -> Duration {
    Duration::from_micros((worked as f64 * (1.0 / share - 1.0)) as u64).min(MAX_REST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::{
        CommittedOffset, Partition, ProducerRecord, Result as Answer, kafka::KafkaBroker, kafka::KafkaOptions,
    };
    use crate::daemon::{specs, status::Status};
    use crate::dashboard::http::Health;
    use crate::env::SystemClock;
    use crate::settings::Settings;

    /// A member to which nothing happens but these events.
    struct ScriptedMember(Vec<MemberEvent>);

    impl Member for ScriptedMember {
        fn poll(&mut self, _: Duration, _: usize) -> Answer<Option<MemberEvent>> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
        fn committed(&mut self, _: &[Partition]) -> Answer<Vec<Option<CommittedOffset>>> {
            Ok(Vec::new())
        }
        fn set_commit_metadata(&mut self, _: &Partition, _: &str) {}
        fn start(&mut self, _: &Partition, _: i64) -> Answer<()> {
            Ok(())
        }
        fn stop(&mut self, _: &Partition) -> Answer<()> {
            Ok(())
        }
        fn release(&mut self, _: &[Partition]) -> Answer<()> {
            Ok(())
        }
        fn begin(&mut self) -> Answer<()> {
            Ok(())
        }
        fn send(&mut self, _: ProducerRecord<'_>) -> Answer<()> {
            Ok(())
        }
        fn commit(&mut self, _: &[(Partition, i64)]) -> Answer<()> {
            Ok(())
        }
        fn abort(&mut self) -> Answer<()> {
            Ok(())
        }
        fn delivery_positions(&mut self) -> Answer<Vec<(Partition, i64)>> {
            Ok(Vec::new())
        }
        fn leave(&mut self) -> Answer<()> {
            Ok(())
        }
    }

    #[test]
    fn a_lost_leadership_ends_the_round() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let clock = Arc::new(SystemClock::new());
        let context = Context {
            plan: Arc::new(specs::plan(&Settings::default()).unwrap()),
            broker: Arc::new(KafkaBroker::new(KafkaOptions::new("127.0.0.1:1".to_owned())).unwrap()),
            clock: clock.clone(),
            status: Arc::new(Status::default()),
            health: Arc::new(Health::new(clock)),
            shutdown: tokio_util::sync::CancellationToken::new(),
            runtime: runtime.handle().clone(),
        };
        let models = || vec![Partition::new("models", 0)];
        let events = vec![MemberEvent::Assigned(models()), MemberEvent::Revoked(models())];
        let mut leadership = Leadership { member: Box::new(ScriptedMember(events)), leads: false };
        leadership.poll(Duration::ZERO).unwrap();
        assert!(leadership.leads);
        let keeper = RoundKeeper::new(&context, &mut leadership, 1.0);
        assert!(matches!(keeper.keep_on(), Err(RoundError::LeadershipLost)));
        context.shutdown.cancel();
        assert!(matches!(keeper.keep_on(), Err(RoundError::Stopped)));
    }

    #[test]
    fn rests_make_up_the_cpu_share() {
        assert_eq!(rest(1000, 1.0), Duration::ZERO);
        assert_eq!(rest(1000, 0.25), Duration::from_micros(3000));
        assert_eq!(rest(60_000_000, 0.05), Duration::from_secs(2));
    }
}

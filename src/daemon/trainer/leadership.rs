//! Leadership: the trainer to which the group has assigned the models topic's only partition leads.

use std::time::Duration;

use crate::broker::{BrokerError, Member, MemberEvent, Publisher};
use crate::daemon::context::Context;
use crate::daemon::model_subscription::ModelSubscription;

/// What the leader holds.
pub struct Leader {
    /// Publishes weights under the application's trainer id, and fences earlier leaders.
    pub publisher: Box<dyn Publisher>,
    pub models: ModelSubscription,
}

/// Membership in the trainers' group.
pub struct Leadership {
    member: Box<dyn Member>,
    /// Set while this trainer leads.
    pub leader: Option<Leader>,
}

impl Leadership {
    pub fn join(context: &Context, transactional_id: &str) -> Result<Self, BrokerError> {
        let plan = &context.plan;
        let group = format!("{}.trainer", plan.app);
        let member = context.broker.join(&group, transactional_id, std::slice::from_ref(&plan.models_topic))?;
        Ok(Self { member, leader: None })
    }

    /// Waits at most `timeout` for the group to change the leader.
    pub fn poll(&mut self, context: &Context, timeout: Duration) -> Result<(), BrokerError> {
        match self.member.poll(timeout, 1)? {
            Some(MemberEvent::Assigned(partitions)) if !partitions.is_empty() => {
                let publisher = context.broker.publisher(&format!("{}.trainer", context.plan.app))?;
                let models = ModelSubscription::open(&context.plan.models_topic, &*context.broker)?;
                self.leader = Some(Leader { publisher, models });
                tracing::info!("this instance is the training leader");
            }
            Some(MemberEvent::Revoked(partitions) | MemberEvent::Lost(partitions)) => {
                if !partitions.is_empty() {
                    self.leader = None;
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

//! Apache Kafka through librdkafka.

mod context;
mod denial;
mod errors;
mod member;
mod options;
mod producer;
mod reader;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode as C},
};

pub use options::{KafkaOptions, PropertySource};

use super::{Broker, BrokerError, From, Member, Partition, Publisher, Reader, TopicSpec};
use context::{ConsumerNotes, Deadline};

/// Longer than the client's pause between two attempts to connect: a broker that turned us away may let us in by then.
const DOOR_TRIES: Duration = Duration::from_secs(3);

/// How long the client's log and errors are listened to where it gave no answer.
const HEARING: Duration = Duration::from_millis(50);

/// A Kafka cluster (3.0 or newer).
pub struct KafkaBroker {
    options: KafkaOptions,
    probe: Mutex<Arc<Probe>>,
    idle: Arc<reader::Idle>,
}

impl KafkaBroker {
    /// Sets the client up; the cluster is not asked for anything yet. [`BrokerError::Refused`] for a property that
    /// librdkafka does not know or that may not be set.
    pub fn new(options: KafkaOptions) -> Result<Self, BrokerError> {
        options.check()?;
        let probe = Mutex::new(Arc::new(Probe::new(&options)?));
        Ok(Self { options, probe, idle: Arc::default() })
    }

    /// The client to ask. One that was turned away is given up for another, which reads files of secrets, keys and
    /// certificates anew.
    fn probe(&self) -> Arc<Probe> {
        self.idle.tidy();
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if probe.denied.load(Ordering::Relaxed) {
            match Probe::new(&self.options) {
                Ok(renewed) => *probe = Arc::new(renewed),
                Err(error) => tracing::warn!(target: "kafka", "what the files hold now makes no client: {error}"),
            }
        }
        Arc::clone(&probe)
    }
}

impl Broker for KafkaBroker {
    fn join(&self, group: &str, transactional_id: &str, topics: &[String]) -> Result<Box<dyn Member>, BrokerError> {
        Ok(Box::new(member::KafkaMember::join(&self.options, self.probe(), group, transactional_id, topics)?))
    }

    fn reader(&self, partition: &Partition, from: From) -> Result<Box<dyn Reader>, BrokerError> {
        Ok(Box::new(reader::KafkaReader::open(&self.options, (self.probe(), Arc::clone(&self.idle)), partition, from)?))
    }

    fn publisher(&self, transactional_id: &str) -> Result<Box<dyn Publisher>, BrokerError> {
        let transactions = producer::Transactions::start(&self.options, transactional_id)?;
        Ok(Box::new(producer::KafkaPublisher { transactions }))
    }

    fn offsets(&self, partition: &Partition) -> Result<(i64, i64), BrokerError> {
        self.probe().offsets(partition)
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>, BrokerError> {
        self.probe().partitions(topic)
    }

    fn create(&self, plan: &TopicSpec) -> Result<(), BrokerError> {
        self.probe().create(plan)
    }
}

/// A client that only asks questions.
struct Probe {
    consumer: BaseConsumer<ConsumerNotes>,
    config: ClientConfig,
    servers: String,
    timeout: Duration,
    replication: Option<i32>,
    /// Whether the cluster has turned it away.
    denied: AtomicBool,
}

impl Probe {
    fn new(options: &KafkaOptions) -> Result<Self, BrokerError> {
        let config = options.probe();
        let created = config.create_with_context(ConsumerNotes::default());
        let consumer = created.map_err(|error| errors::map("setting the Kafka client up", &error))?;
        Ok(Self {
            consumer,
            config,
            servers: options.bootstrap_servers.clone(),
            timeout: options.request_timeout,
            replication: options.replication,
            denied: AtomicBool::new(false),
        })
    }

    /// Maps an error; where nobody answered it says who was asked, and what the connection complained of.
    fn explain(&self, what: &str, error: &KafkaError) -> BrokerError {
        self.hear();
        match self.consumer.context().complaints.explain(what, error) {
            BrokerError::Retriable(text) => {
                let complaint = self.consumer.context().complaints.last();
                BrokerError::Retriable(denial::advised(format!(
                    "{text}: no answer from {} within {:?}{complaint}",
                    self.servers, self.timeout
                )))
            }
            other => {
                self.denied.fetch_or(matches!(other, BrokerError::Authentication(_)), Ordering::Relaxed);
                other
            }
        }
    }

    /// Serves what has queued up meanwhile: it may tell why there is no answer. A poll without time would serve one line
    /// of the log only.
    fn hear(&self) {
        let deadline = Deadline::after(HEARING);
        while !deadline.passed() {
            // It subscribes to nothing: what comes are errors, which its context has noted.
            let _noted = self.consumer.poll(deadline.left());
        }
    }

    /// Asks until there is an answer, an error that waiting does not cure, or time is up; not for so long where the
    /// brokers turn us away.
    fn insist<T>(&self, limit: Duration, ask: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let complaints = &self.consumer.context().complaints;
        let answer = errors::insist(limit, |left| {
            let answer = ask(left.min(DOOR_TRIES));
            if answer.is_err() {
                self.hear();
            }
            match answer {
                Err(error) if errors::passing(&error) && complaints.turned_away() => {
                    Err(KafkaError::Global(C::Authentication))
                }
                answer => answer,
            }
        });
        if answer.is_ok() {
            complaints.forget();
        }
        answer
    }

    fn offsets(&self, partition: &Partition) -> Result<(i64, i64), BrokerError> {
        let Partition { topic, number } = partition;
        let deadline = Deadline::after(self.timeout);
        loop {
            let ask = |left| self.consumer.fetch_watermarks(topic, *number, left);
            let error = match self.insist(deadline.left(), ask) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let unknown = matches!(
                error.rdkafka_error_code(),
                Some(C::UnknownPartition | C::UnknownTopic | C::UnknownTopicOrPartition)
            );
            if !unknown || deadline.passed() {
                return Err(self.explain(&format!("asking for the offsets of {partition}"), &error));
            }
            // The client's picture of the cluster may be older than the topic.
            let have = self.partitions(topic)?.unwrap_or(0);
            if *number >= have {
                return Err(BrokerError::Rejected(format!(
                    "{partition} does not exist; the topic has {have} partitions"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `offset`, or the oldest offset kept where it is gone. Refused where the partition ends before it.
    fn inside(&self, partition: &Partition, offset: i64) -> Result<i64, BrokerError> {
        let (oldest, end) = self.offsets(partition)?;
        if offset > end {
            return Err(BrokerError::Rejected(format!(
                "{partition} ends at offset {end}, before the position {offset}: its records are gone or it was made \
                 anew; reset the group's offsets to go on"
            )));
        }
        Ok(offset.max(oldest))
    }

    fn partitions(&self, topic: &str) -> Result<Option<i32>, BrokerError> {
        let what = || format!("asking for topic {topic}");
        let answer = self.insist(self.timeout, |left| {
            let answer = self.consumer.fetch_metadata(Some(topic), left)?;
            // A topic that has just been created may have no leader yet.
            let error = answer.topics().first().and_then(|found| found.error()).map(C::from);
            match error {
                Some(code @ C::LeaderNotAvailable) => Err(KafkaError::MetadataFetch(code)),
                _ => Ok(answer),
            }
        });
        let answer = answer.map_err(|error| self.explain(&what(), &error))?;
        let Some(found) = answer.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(C::from) {
            None => Ok(Some(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)).filter(|count| *count > 0)),
            Some(C::UnknownTopicOrPartition | C::UnknownTopic) => Ok(None),
            Some(code) => Err(errors::map_code(&what(), code)),
        }
    }

    fn create(&self, plan: &TopicSpec) -> Result<(), BrokerError> {
        let what = format!("creating topic {}", plan.name);
        let map = |error: &KafkaError| self.explain(&what, error);
        let admin: AdminClient<ConsumerNotes> =
            self.config.create_with_context(ConsumerNotes::default()).map_err(|error| map(&error))?;
        // What a batch's header takes, generously.
        let bytes = (plan.max_record_bytes + (64 << 10)).to_string();
        // -1: as the cluster's default says.
        let copies = TopicReplication::Fixed(self.replication.unwrap_or(-1));
        let mut topic = NewTopic::new(&plan.name, plan.partitions, copies);
        if plan.max_record_bytes > 900_000 {
            topic = topic.set("max.message.bytes", &bytes);
        }
        if plan.compacted {
            // The broker packs it anew: a sixth less than what comes from the producer, which packs for speed.
            topic = topic.set("cleanup.policy", "compact").set("compression.type", "zstd");
        }
        let options = AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout));
        let answer = block_on(admin.create_topics([&topic], &options)).map_err(|error| map(&error))?;
        match answer.into_iter().find_map(Result::err) {
            None | Some((_, C::TopicAlreadyExists)) => {}
            Some((_, code)) => return Err(errors::map_code(&what, code)),
        }
        // The controller has it; the brokers hear of it a little later.
        let deadline = Deadline::after(self.timeout);
        while self.partitions(&plan.name)?.is_none() {
            if deadline.passed() {
                return Err(BrokerError::Retriable(format!(
                    "{what}: no broker has heard of it after {:?}",
                    self.timeout
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Waits for librdkafka's answer; its own threads wake us.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(answer) => return answer,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

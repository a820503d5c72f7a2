//! A pool of idle consumers for [`KafkaReader`](super::reader::KafkaReader).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::{contexts::ConsumerCallbacks, deadline::Deadline, error_recovery, options::KafkaOptions};
use crate::broker::errors::Result;

/// The consumer of a reader.
pub(super) type ReaderClient = BaseConsumer<ConsumerCallbacks>;

/// How long to serve the queued log lines and errors of a client without an answer.
const LOG_DRAIN: Duration = Duration::from_millis(50);
/// Maximum number of idle clients in the pool.
const MAX_IDLE: usize = 8;
/// Idle clients above [`MIN_IDLE`] are closed after this time.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// This many idle clients stay open. The trainer needs two at once: one for the input, one for future covariates.
const MIN_IDLE: usize = 2;

struct IdleClient {
    client: Arc<ReaderClient>,
    expiry: Deadline,
}

/// Clients of closed readers. Creating a client with its connections and threads takes longer than reading a small
/// partition, and a restore may read thousands of them. The threads of ever new clients would also fill all arenas of
/// glibc over time (docs/BENCHMARKS.md, "An hour's soak").
#[derive(Default)]
pub(super) struct ReaderPool(Mutex<Vec<IdleClient>>);

impl ReaderPool {
    /// Asks with an idle client, or a new one, until there is an answer or `options.request_timeout` is over. The
    /// answer is for readers of committed records. `operation` says what for ("asking for the end of a[0]").
    pub(super) fn ask<T>(
        &self,
        options: &KafkaOptions,
        operation: &str,
        request: impl Fn(&ReaderClient, Duration) -> Result<T, KafkaError>,
    ) -> Result<T> {
        let create = || options.reader().create_with_context(ConsumerCallbacks::default()).map(Arc::new);
        let created = self.take().map_or_else(create, Ok);
        let client = created.map_err(|error| error_recovery::broker_error(operation, &error))?;
        let answer = error_recovery::retry(options.request_timeout, |left| request(&client, left));
        match answer {
            Ok(answer) => {
                while client.poll(Duration::ZERO).is_some() {}
                self.put(client);
                Ok(answer)
            }
            Err(error) => {
                self.clear();
                // Serves the client's log, which may say why there is no answer.
                let deadline = Deadline::after(LOG_DRAIN);
                while !deadline.has_passed() {
                    let _event = client.poll(deadline.remaining());
                }
                let last_error = &client.context().last_error;
                Err(last_error.explain(&format!("{operation}{}", last_error.suffix()), &error))
            }
        }
    }

    /// Takes an idle client out of the pool.
    pub(super) fn take(&self) -> Option<Arc<ReaderClient>> {
        let IdleClient { client, .. } = self.lock().pop()?;
        client.context().last_error.clear();
        Some(client)
    }

    /// Puts a client back, unless the pool is full.
    pub(super) fn put(&self, client: Arc<ReaderClient>) {
        let mut clients = self.lock();
        if clients.len() < MAX_IDLE {
            clients.push(IdleClient { client, expiry: Deadline::after(IDLE_LIMIT) });
        }
    }

    /// Closes clients that have been idle for too long.
    pub(super) fn remove_expired(&self) {
        let expired: Vec<_> = {
            let mut clients = self.lock();
            let from = clients.len().min(MIN_IDLE);
            clients.extract_if(from.., |idle| idle.expiry.has_passed()).collect()
        };
        // Closing takes a while, so the lock is released first.
        drop(expired);
    }

    /// Closes all clients: after an error, such as a changed password, the others would fail as well.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IdleClient>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::kafka::KafkaOptions;

    #[test]
    fn two_idle_clients_stay_and_the_others_are_closed() {
        let pool = ReaderPool::default();
        let idle = || {
            let config = KafkaOptions::new("127.0.0.1:1").reader();
            let client = Arc::new(config.create_with_context(ConsumerCallbacks::default()).expect("a client"));
            IdleClient { client, expiry: Deadline::after(Duration::ZERO) }
        };
        for count in [0, 1, MIN_IDLE, MIN_IDLE + 2] {
            pool.clear();
            pool.lock().extend((0..count).map(|_| idle()));
            pool.remove_expired();
            assert_eq!(pool.lock().len(), count.min(MIN_IDLE));
        }
    }
}

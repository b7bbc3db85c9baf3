//! From an object that is due to events on disk: look, hash, emit, retry.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hikigane_trigger::model::{Event, StateWrite};
use hikigane_trigger::{CancellationToken, Clock, EmitError, EventSink, PluginState, Reports};
use tokio::sync::Semaphore;

use crate::config::{Bucket, Listener};
use crate::event::Notice;
use crate::key::ObjectKey;
use crate::ledger;
use crate::tree::{Identity, Reading, Tree};

/// Waits between attempts while events cannot be stored: the first, doubling to the last.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Files hashed at a time, so that large ones do not keep small ones waiting.
const READERS: usize = 4;

/// Numbers that grow from event to event, over restarts too as long as the clock does not go back.
#[derive(Default)]
pub(crate) struct Sequencer(AtomicU64);

impl Sequencer {
    fn next(&self, clock: &Clock) -> u64 {
        let now = clock
            .now()
            .timestamp_nanos_opt()
            .and_then(|ns| u64::try_from(ns).ok())
            .unwrap_or_default();
        let grow = |last: u64| Some(now.max(last.saturating_add(1)));
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
            Ok(last) | Err(last) => now.max(last.saturating_add(1)),
        }
    }
}

/// What is to be done for one object, and for which bindings.
#[derive(Debug)]
pub(crate) enum Job {
    /// It settled as this; with any other content it is still changing.
    Put { identity: Identity, targets: Vec<usize> },
    /// It went.
    Remove { targets: Vec<usize> },
}

/// How a job ended. The bindings not mentioned have not had their event, and keep their right to it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What bindings have now seen, on disk: by index of the binding.
    pub(crate) recorded: Vec<(usize, Option<Identity>)>,
    pub(crate) after: After,
}

impl Done {
    fn nothing_but(after: After) -> Self {
        Self {
            recorded: Vec::new(),
            after,
        }
    }
}

/// What is left to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum After {
    #[default]
    Nothing,
    /// It changed from this while we looked: try again when it is quiet.
    Unsettled(Identity),
    /// This content cannot be made into an event.
    Refused(Identity),
}

/// Delivers the events of one bucket. Clones share everything.
#[derive(Clone)]
pub(crate) struct Delivery {
    bucket: Arc<Bucket>,
    tree: Tree,
    events: EventSink,
    state: PluginState,
    clock: Clock,
    pub(crate) shutdown: CancellationToken,
    sequencer: Arc<Sequencer>,
    pub(crate) reports: Arc<Reports>,
    readers: Arc<Semaphore>,
    /// One retries at a time, and those that follow wait in line: a full disk is not asked by all of them.
    retries: Arc<Semaphore>,
}

/// Whether something was written to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Yes,
    Refused,
    /// The server stops before it could be.
    Stopped,
}

impl Delivery {
    pub(crate) fn new(
        bucket: Arc<Bucket>,
        tree: Tree,
        context: &hikigane_trigger::Context,
        sequencer: Arc<Sequencer>,
    ) -> Self {
        Self {
            bucket,
            tree,
            events: context.events.clone(),
            state: context.state.clone(),
            clock: context.clock.clone(),
            shutdown: context.shutdown.clone(),
            sequencer,
            reports: Arc::new(Reports::of(crate::KIND)),
            readers: Arc::new(Semaphore::new(READERS)),
            retries: Arc::new(Semaphore::new(1)),
        }
    }

    pub(crate) async fn run(&self, key: &ObjectKey, job: Job) -> Done {
        match job {
            Job::Put { identity, targets } => self.put(key, identity, &targets).await,
            Job::Remove { targets } => self.remove(key, &targets).await,
        }
    }

    async fn put(&self, key: &ObjectKey, identity: Identity, targets: &[usize]) -> Done {
        let (emitting, recording): (Vec<usize>, Vec<usize>) =
            targets.iter().partition(|target| self.listener(**target).wants.created);
        let mut done = Done::default();
        if !emitting.is_empty() {
            let etag = match self.read(key).await {
                Ok(Reading::Steady { identity: read, etag }) if read == identity => etag,
                Ok(Reading::CalledOff) => return done,
                Ok(Reading::Steady { .. } | Reading::Changing) => return Done::nothing_but(After::Unsettled(identity)),
                Err(error) => {
                    self.cannot_read(key, &error);
                    let forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                    let after = if forbidden {
                        After::Refused(identity)
                    } else {
                        After::Unsettled(identity)
                    };
                    return Done::nothing_but(after);
                }
            };
            for target in emitting {
                let write = self.write(target, key, Some(identity));
                match self
                    .emit(target, key, write, |notice| notice.put(identity.size, &etag))
                    .await
                {
                    Stored::Yes => done.recorded.push((target, Some(identity))),
                    Stored::Refused => done.after = After::Refused(identity),
                    Stored::Stopped => return done,
                }
            }
        }
        self.record(key, &recording, Some(identity), &mut done).await;
        done
    }

    async fn remove(&self, key: &ObjectKey, targets: &[usize]) -> Done {
        let (emitting, recording): (Vec<usize>, Vec<usize>) =
            targets.iter().partition(|target| self.listener(**target).wants.removed);
        let mut done = Done::default();
        for target in emitting {
            let write = self.write(target, key, None);
            match self.emit(target, key, write, |notice| notice.removed()).await {
                Stored::Yes => done.recorded.push((target, None)),
                // The state keeps the object, so that the next start tries again.
                Stored::Refused => {}
                Stored::Stopped => return done,
            }
        }
        self.record(key, &recording, None, &mut done).await;
        done
    }

    /// Reads the object on a thread that may wait for a disk; a few at a time.
    async fn read(&self, key: &ObjectKey) -> io::Result<Reading> {
        let _permit = self.readers.acquire().await.map_err(io::Error::other)?;
        let (tree, key, shutdown) = (self.tree.clone(), key.clone(), self.shutdown.clone());
        tokio::task::spawn_blocking(move || tree.read(&key, &shutdown))
            .await
            .map_err(io::Error::other)?
    }

    /// Emits the event of one binding together with its entry in the state.
    async fn emit(
        &self,
        target: usize,
        key: &ObjectKey,
        write: StateWrite,
        payload: impl Fn(&Notice<'_>) -> bytes::Bytes,
    ) -> Stored {
        let binding = &self.listener(target).id;
        let time = self.clock.now();
        let sequencer = self.sequencer.next(&self.clock);
        let event = Event::new(
            payload(&Notice {
                bucket: &self.bucket.name,
                key,
                binding,
                time,
                sequencer,
            }),
            time,
        );
        let attempt = || async {
            match self.events.emit(binding, event.clone(), vec![write.clone()]).await {
                Ok(_) => Ok(Stored::Yes),
                Err(EmitError::Unavailable(reason)) => Err(reason),
                Err(error) => {
                    if !self.shutdown.is_cancelled() {
                        self.reports
                            .say(&format!("object \"{key}\" of bucket \"{}\": {error}", self.bucket.name));
                    }
                    Ok(Stored::Refused)
                }
            }
        };
        self.until_stored(attempt).await
    }

    /// Writes the entries of bindings that get no event.
    async fn record(&self, key: &ObjectKey, targets: &[usize], seen: Option<Identity>, done: &mut Done) {
        if targets.is_empty() {
            return;
        }
        let writes: Vec<StateWrite> = targets.iter().map(|target| self.write(*target, key, seen)).collect();
        if self.store(writes).await {
            done.recorded.extend(targets.iter().map(|target| (*target, seen)));
        }
    }

    /// Writes to the state without an event; false when the server stops before it could.
    pub(crate) async fn store(&self, writes: Vec<StateWrite>) -> bool {
        let attempt = || async {
            self.state
                .write(writes.clone())
                .await
                .map(|()| Stored::Yes)
                .map_err(|error| error.to_string())
        };
        self.until_stored(attempt).await == Stored::Yes
    }

    /// Attempts until the store answers, in line with others that could not be stored.
    async fn until_stored<F>(&self, attempt: impl Fn() -> F) -> Stored
    where
        F: Future<Output = Result<Stored, String>>,
    {
        let mut turn = None;
        let mut wait = BACK_OFF.0;
        loop {
            if turn.is_none() && self.retries.available_permits() == 0 {
                tokio::select! {
                    permit = self.retries.acquire() => turn = permit.ok(),
                    () = self.shutdown.cancelled() => return Stored::Stopped,
                }
            }
            let reason = match attempt().await {
                Ok(stored) => return stored,
                Err(reason) => reason,
            };
            if turn.is_none() {
                turn = self.retries.try_acquire().ok();
            }
            let name = &self.bucket.name;
            self.reports.say(&format!(
                "events of bucket \"{name}\" wait until they can be stored: {reason}"
            ));
            if turn.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(BACK_OFF.1),
                    () = self.shutdown.cancelled() => return Stored::Stopped,
                }
            }
        }
    }

    pub(crate) fn cannot_read(&self, key: &ObjectKey, error: &io::Error) {
        self.reports.say(&format!(
            "cannot read object \"{key}\" of bucket \"{}\": {error}",
            self.bucket.name
        ));
    }

    fn listener(&self, target: usize) -> &Listener {
        &self.bucket.listeners[target]
    }

    fn write(&self, target: usize, key: &ObjectKey, seen: Option<Identity>) -> StateWrite {
        ledger::write(&self.bucket.name, self.listener(target), key, seen)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sequencer_grows_even_when_the_clock_stands_still() {
        let clock = Clock::virtual_at("2026-01-01T00:00:00Z".parse().unwrap());
        let sequencer = Sequencer::default();
        let numbers: Vec<u64> = (0..3).map(|_| sequencer.next(&clock)).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(numbers[0], 1_767_225_600_000_000_000);
    }
}

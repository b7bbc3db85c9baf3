//! From objects that are due to jobs, and what comes of them.

use std::collections::HashSet;
use std::ops::Range;

use tokio::time::Instant;

use super::Session;
use crate::delivery::{After, Done, Job};
use crate::key::ObjectKey;
use crate::tracker::{Due, How, Removal, What};
use crate::tree::{Identity, Look};
use crate::writers;

/// Due objects looked at before anything else gets its turn.
const DUE_AT_ONCE: usize = 256;

/// What a task has done.
pub(super) enum Finished {
    Job(ObjectKey, Done),
    /// These were doubtful, and those are being written; so often changes had been lost before.
    Check(Vec<Due>, HashSet<ObjectKey>, u64),
}

impl Session {
    /// Starts what is due, as far as there is room.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        for _ in 0..DUE_AT_ONCE {
            if self.jobs.len() >= self.limits.jobs {
                break;
            }
            let checked = self.checked.pop_front();
            let is_checked = checked.is_some();
            let Some(Due { key, what }) = checked.or_else(|| self.tracker.take_due(now)) else {
                break;
            };
            match what {
                What::Settled { how, .. } if how.is_doubtful() && !is_checked => self.doubtful.push(Due { key, what }),
                What::Settled { how, stages } => self.start_put(key, how, stages),
                What::Removed(removal) => self.start_removal(key, removal),
            }
        }
        if !self.checking && !self.doubtful.is_empty() {
            self.checking = true;
            let (doubtful, root) = (std::mem::take(&mut self.doubtful), self.tree.root().to_path_buf());
            let losses = self.losses;
            self.jobs.spawn_blocking(move || {
                let writing = writers::open_for_writing(&root);
                Finished::Check(doubtful, writing, losses)
            });
        }
    }

    /// When there is something to start.
    pub(super) fn next_start(&self) -> Option<Instant> {
        if self.jobs.len() >= self.limits.jobs {
            // Each job that ends is a reason to look again.
            return None;
        }
        if self.checked.is_empty() {
            self.tracker.next_due()
        } else {
            Some(Instant::now())
        }
    }

    fn start_put(&mut self, key: ObjectKey, how: How, stages: Range<usize>) {
        let settles = &self.tracker.settles()[stages];
        let is_due = |listener: &usize| settles.contains(&self.bucket.listeners[*listener].settle);
        let listeners: Vec<usize> = self.listening(&key).filter(is_due).collect();
        // The look is taken now: when the job gets to read the object, this is still what it must find.
        match self.tree.look(&key) {
            Ok(Look::Object { identity, .. }) => {
                let is_news = |listener: &usize| self.ledger.seen(&key, *listener) != Some(identity);
                let targets: Vec<usize> = listeners.into_iter().filter(is_news).collect();
                if how.expected().is_some_and(|expected| expected != identity) {
                    self.tracker.unsettled(&key, identity, Instant::now());
                } else if how.is_doubtful() && self.tracker.is_writing(&key) {
                    // The doubt is settled: it was written to meanwhile.
                } else if how == How::Opened && identity.size == 0 {
                    // Its writer has not begun. One that had would have been told to write.
                    self.tracker.held(&key);
                } else if !targets.is_empty() {
                    return self.start(key, Job::Put { identity, targets });
                }
            }
            Ok(_) => {}
            Err(error) => self.cannot_look(&key, &error),
        }
        self.tracker.finish(&key);
    }

    fn start_removal(&mut self, key: ObjectKey, removal: Removal) {
        let stands = match self.tree.look(&key) {
            Ok(Look::Object { identity, .. }) => Ok(Some(identity)),
            Ok(Look::Directory | Look::Other | Look::Nothing) => Ok(None),
            // A scan tells when the directory is back.
            Ok(Look::NoBucket) => Err(None),
            Err(error) => Err(Some(error)),
        };
        match stands {
            Ok(Some(_)) if removal == Removal::Missed => {}
            Ok(stands) => {
                // What stands there as it was seen has been brought back, or the news is older than its event.
                let is_gone = |seen: Option<Identity>| seen.is_some() && seen != stands;
                let targets: Vec<usize> = self
                    .listening(&key)
                    .filter(|listener| is_gone(self.ledger.seen(&key, *listener)))
                    .collect();
                if !targets.is_empty() {
                    return self.start(key, Job::Remove { targets });
                }
            }
            Err(None) => {}
            Err(Some(error)) => self.cannot_look(&key, &error),
        }
        self.tracker.finish(&key);
    }

    fn start(&mut self, key: ObjectKey, job: Job) {
        let delivery = self.delivery.clone();
        self.jobs.spawn(async move {
            let done = delivery.run(&key, job).await;
            Finished::Job(key, done)
        });
    }

    /// The disk did not answer; a later scan will tell.
    pub(super) fn cannot_look(&mut self, key: &ObjectKey, error: &std::io::Error) {
        self.delivery.cannot_read(key, error);
        self.crowded = true;
    }

    pub(super) fn finished(&mut self, finished: Option<Finished>) {
        match finished {
            Some(Finished::Job(key, done)) => {
                for (listener, seen) in done.recorded {
                    self.ledger.record(&key, listener, seen);
                }
                match done.after {
                    After::Nothing => {}
                    After::Unsettled(identity) => self.tracker.unsettled(&key, identity, Instant::now()),
                    After::Refused(identity) => self.ledger.refuse(&key, identity),
                }
                self.tracker.finish(&key);
            }
            Some(Finished::Check(doubtful, writing, losses)) => {
                self.checking = false;
                let (wait, go): (Vec<Due>, Vec<Due>) = doubtful.into_iter().partition(|due| writing.contains(&due.key));
                self.checked.extend(go);
                for Due { key, .. } in wait {
                    if let Ok(Look::Object { identity, .. }) = self.tree.look(&key) {
                        if self.polling || losses != self.losses {
                            // Its close may never be told: look again when it has been quiet once more.
                            self.tracker.unsettled(&key, identity, Instant::now());
                        } else {
                            self.tracker.held(&key);
                        }
                    }
                    self.tracker.finish(&key);
                }
            }
            // A job panicked: which one is not told, so all are looked at again.
            None => self.crowded = true,
        }
    }
}

//! What waits for the writer: jobs whose callers wait for the disk, and runs that nobody waits for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::history;
use super::writer::{Answer, Failure, Job, Tx, Work, ended};
use crate::{Run, StoreError};

/// Jobs that may wait; further callers wait before they enter.
const ROOM: usize = 1_024;
/// Most jobs in one transaction.
const JOBS_PER_GROUP: usize = 256;
/// Runs that may wait; further ones are dropped.
const RUNS: usize = 20_000;
/// Bytes of runs that may wait.
const RUN_BYTES: usize = 64 << 20;
/// Most runs in one transaction.
const RUNS_PER_GROUP: usize = 128;
/// Most runs that ride in the transaction of jobs, so that their callers do not wait for a long batch ...
const RUNS_WITH_JOBS: usize = 64;
/// ... unless so many wait that they would soon be dropped.
const MANY_RUNS: usize = RUNS / 4;
/// Most bytes of runs in one transaction; the first run always fits.
const RUN_BYTES_PER_GROUP: usize = 4 << 20;
/// How long runs wait for a transaction that they can ride in, and how long the next group of them waits after one of their own: the
/// history keeps up with 1,024 runs a second for good, and with a burst of [`RUNS`]; more would take time from the functions.
const RUN_WAIT: Duration = Duration::from_millis(125);

/// The queue in front of the writer thread.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    /// Signalled when there is something to do, and when the writer ends.
    changed: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(Box<dyn Job>, OwnedSemaphorePermit)>,
    runs: VecDeque<Run>,
    run_bytes: usize,
    /// When the first of `runs` came, or a group of them was taken since; `None`: there are none.
    runs_since: Option<Instant>,
    closed: bool,
    ended: bool,
}

/// What goes into one transaction.
#[derive(Default)]
pub(super) struct Group {
    pub jobs: Vec<Box<dyn Job>>,
    pub runs: Vec<Run>,
}

/// The store takes no more work.
struct Closed;

impl Inbox {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }

    /// Has the writer do something, and waits until it is on disk.
    pub async fn transact<T: Answer>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = Work::job(work);
        self.submit(job).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Waits for room, then hands the job to the writer.
    async fn submit(&self, job: Box<dyn Job>) -> Result<(), Closed> {
        let permit = self.room.clone().acquire_owned().await.map_err(|_| Closed)?;
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.jobs.push_back((job, permit));
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Hands a run to the writer, or says that there is no room.
    pub fn offer(&self, run: Run) -> bool {
        let mut waiting = self.waiting();
        let bytes = history::weight(&run);
        if waiting.closed || waiting.runs.len() >= RUNS || waiting.run_bytes + bytes > RUN_BYTES {
            return false;
        }
        waiting.run_bytes += bytes;
        waiting.runs.push_back(run);
        let first = waiting.runs_since.is_none();
        waiting.runs_since.get_or_insert_with(Instant::now);
        drop(waiting);
        if first {
            self.changed.notify_all();
        }
        true
    }

    /// Waits for work and takes a group of it; `None` after the inbox was closed and emptied.
    pub fn take(&self) -> Option<Group> {
        let mut waiting = self.waiting();
        loop {
            if !waiting.jobs.is_empty() {
                return Some(waiting.group());
            }
            let wait = match waiting.runs_since.map(|since| RUN_WAIT.saturating_sub(since.elapsed())) {
                None if waiting.closed => return None,
                None => Duration::MAX,
                Some(left) if waiting.closed || left.is_zero() => return Some(waiting.group()),
                Some(left) => left,
            };
            let woken = self.changed.wait_timeout(waiting, wait);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Refuses new work; what was taken in before is still done.
    pub fn close(&self) {
        self.room.close();
        self.waiting().closed = true;
        self.changed.notify_all();
    }

    /// Called when the writer has ended, for whatever reason: work that it left behind is dropped, which tells the callers.
    pub fn end(&self) {
        self.room.close();
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.ended = true;
        let left = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        drop(left);
        self.changed.notify_all();
    }

    /// Waits until the writer has ended; false: it has not, in this time.
    pub fn wait_ended(&self, time: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.waiting(), time, |waiting| !waiting.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// No code that holds the lock can leave it half changed, so a panic elsewhere does not matter.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn group(&mut self) -> Group {
        let jobs: Vec<_> = (0..JOBS_PER_GROUP)
            .map_while(|_| self.jobs.pop_front())
            .map(|(job, _)| job)
            .collect();
        let ride = !jobs.is_empty() && self.runs.len() < MANY_RUNS;
        let most = if ride { RUNS_WITH_JOBS } else { RUNS_PER_GROUP };
        let mut runs = Vec::new();
        let mut bytes = 0;
        while runs.len() < most && (runs.is_empty() || bytes < RUN_BYTES_PER_GROUP) {
            let Some(run) = self.runs.pop_front() else { break };
            bytes += history::weight(&run);
            runs.push(run);
        }
        self.run_bytes -= bytes;
        self.runs_since = (!self.runs.is_empty()).then(|| {
            if jobs.is_empty() {
                Instant::now()
            } else {
                self.runs_since.unwrap_or_else(Instant::now)
            }
        });
        Group { jobs, runs }
    }
}

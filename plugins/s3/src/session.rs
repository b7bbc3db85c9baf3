//! One bucket while the server runs: changes and scans go in, jobs come out. One task owns all of it; no locks.

mod jobs;
mod news;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hikigane_trigger::{Context, SourceError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::jobs::Finished;
use crate::config::Bucket;
use crate::delivery::{Delivery, Sequencer};
use crate::key::ObjectKey;
use crate::ledger::{self, Ledger};
use crate::scan::{Finding, Walk};
use crate::tracker::{Due, Removal, Tracker};
use crate::tree::{Identity, Tree};
use crate::watch::{Change, Changes, Watch};

/// How much a bucket may hold at a time, and how often it looks. Tests make these small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Changes that wait to be looked at; beyond, the bucket is scanned instead.
    pub(crate) changes: usize,
    /// Objects being written, settling or due; beyond, a later scan finds them.
    pub(crate) objects: usize,
    /// Objects being delivered.
    pub(crate) jobs: usize,
    /// How often a bucket is scanned when the kernel cannot watch it.
    pub(crate) poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            changes: 16_384,
            objects: 100_000,
            jobs: 128,
            poll: Duration::from_secs(2),
        }
    }
}

/// How often the session looks whether its directory is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// Objects in one write to the state.
const WRITES_AT_ONCE: usize = 500;

/// The objects of a bucket as they were when it was opened.
pub(crate) type Baseline = Vec<(ObjectKey, Identity)>;

/// A bucket that was opened.
pub(crate) struct OpenBucket {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) tree: Tree,
    /// With `onStart: ignore`: what was there already, and gets no event.
    pub(crate) baseline: Option<Baseline>,
}

/// Emits the bucket's events until the context's token fires.
pub(crate) async fn run(
    open: OpenBucket,
    limits: Limits,
    context: Arc<Context>,
    sequencer: Arc<Sequencer>,
) -> Result<(), SourceError> {
    let OpenBucket { bucket, tree, baseline } = open;
    let loaded = Ledger::load(&bucket, &context.state).await;
    let ledger = loaded.map_err(|error| SourceError(format!("bucket \"{}\": {error}", bucket.name)))?;
    let delivery = Delivery::new(Arc::clone(&bucket), tree.clone(), &context, sequencer);
    let settles = bucket.listeners.iter().map(|listener| listener.settle);
    let mut session = Session {
        tracker: Tracker::new(settles, limits.objects),
        bucket,
        tree,
        limits,
        ledger,
        delivery,
        directory: None,
        watch: None,
        changes: None,
        hidden_writers: HashSet::new(),
        renamed_while_written: VecDeque::new(),
        forbidden: HashSet::new(),
        scan: None,
        rescan: None,
        losses: 0,
        new_directories: Vec::new(),
        crowded: false,
        polling: false,
        last_scan: Instant::now(),
        doubtful: Vec::new(),
        checking: false,
        checked: VecDeque::new(),
        jobs: JoinSet::new(),
    };
    if let Some(baseline) = baseline
        && !session.take_as_seen(baseline).await
    {
        return Ok(());
    }
    session.look_at_directory();
    session.serve().await;
    // When the source has ended, nothing of it emits any more.
    session.jobs.shutdown().await;
    Ok(())
}

struct Session {
    bucket: Arc<Bucket>,
    tree: Tree,
    limits: Limits,
    ledger: Ledger,
    tracker: Tracker,
    delivery: Delivery,
    /// Device and inode of the directory that is watched; `None` while there is none.
    directory: Option<(u64, u64)>,
    watch: Option<Arc<Watch>>,
    changes: Option<Changes>,
    /// Files that are no objects and have a writer: a download that gets its name before it is closed.
    hidden_writers: HashSet<ObjectKey>,
    renamed_while_written: VecDeque<usize>,
    /// Directories that could not be read: looked at again when their rights change.
    forbidden: HashSet<ObjectKey>,
    scan: Option<Scan>,
    /// A scan of the whole bucket is wanted.
    rescan: Option<Rescan>,
    /// How often changes were lost.
    losses: u64,
    /// Directories that are new and must be watched and scanned.
    new_directories: Vec<ObjectKey>,
    /// Objects were turned away; a scan finds them when there is room.
    crowded: bool,
    /// The kernel does not watch all directories.
    polling: bool,
    last_scan: Instant,
    /// Settled objects that may have a writer, to be checked.
    doubtful: Vec<Due>,
    checking: bool,
    /// Those of them that nobody is seen to write.
    checked: VecDeque<Due>,
    jobs: JoinSet<Finished>,
}

struct Scan {
    findings: mpsc::Receiver<Finding>,
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rescan {
    /// To find what is new or gone.
    Compare,
    /// Changes were lost, so it is no longer known who is writing.
    AfterLoss,
}

impl Session {
    async fn serve(&mut self) {
        let shutdown = self.delivery.shutdown.clone();
        let mut looks = interval(LOOK.min(self.limits.poll));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_due();
            self.start_scan();
            let due = self.next_start();
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(finished) = self.jobs.join_next() => self.finished(finished.ok()),
                change = next_change(&mut self.changes) => self.take_changes(change),
                finding = next_finding(&mut self.scan) => self.found(finding),
                () = sleep_until(due) => {}
                _ = looks.tick() => self.look_at_directory(),
            }
        }
    }

    /// Records the objects of a start with `onStart: ignore` as seen, and forgets those that are gone.
    async fn take_as_seen(&mut self, baseline: Baseline) -> bool {
        let mut news = Vec::new();
        let standing: HashSet<ObjectKey> = baseline.iter().map(|(key, _)| key.clone()).collect();
        for (key, seen) in self.ledger.iter().filter(|(key, _)| !standing.contains(*key)) {
            let listeners = seen.iter().enumerate().filter(|(_, seen)| seen.is_some());
            news.extend(listeners.map(|(listener, _)| (key.clone(), listener, None)));
        }
        for (key, identity) in baseline {
            for listener in self.listening(&key) {
                if self.ledger.seen(&key, listener) != Some(identity) {
                    news.push((key.clone(), listener, Some(identity)));
                }
            }
        }
        for some in news.chunks(WRITES_AT_ONCE) {
            let write = |(key, listener, seen): &(ObjectKey, usize, Option<Identity>)| {
                ledger::write(&self.bucket.name, &self.bucket.listeners[*listener], key, *seen)
            };
            if !self.delivery.store(some.iter().map(write).collect()).await {
                return false;
            }
            for (key, listener, seen) in some {
                self.ledger.record(key, *listener, *seen);
            }
        }
        true
    }

    /// Looks whether the directory is there and still the same; watches and scans a new one.
    fn look_at_directory(&mut self) {
        let directory = self.tree.root_identity();
        let name = &self.bucket.name;
        if directory != self.directory {
            if let Some(directory) = directory {
                self.open_watch();
                self.directory = Some(directory);
            } else {
                self.delivery.reports.say(&format!(
                    "the directory of bucket \"{name}\" is gone: create \"{}\" again, nothing is lost until then",
                    self.tree.root().display()
                ));
                (self.directory, self.watch, self.changes) = (None, None, None);
            }
        }
        if self.polling && self.last_scan.elapsed() >= self.limits.poll {
            self.want_scan(Rescan::Compare);
        }
        if self.crowded && self.tracker.len() <= self.limits.objects / 2 {
            self.crowded = false;
            self.want_scan(Rescan::Compare);
        }
    }

    fn open_watch(&mut self) {
        match Watch::new(self.tree.root(), self.limits.changes) {
            Ok((watch, changes)) => (self.watch, self.changes) = (Some(Arc::new(watch)), Some(changes)),
            Err(error) => {
                (self.watch, self.changes) = (None, None);
                self.poll(&error);
            }
        }
        self.want_scan(Rescan::AfterLoss);
    }

    fn poll(&mut self, reason: &str) {
        self.polling = true;
        self.delivery.reports.say(&format!(
            "bucket \"{}\" is looked through every {:?}, because not all of it can be watched: {reason}",
            self.bucket.name, self.limits.poll
        ));
    }

    fn want_scan(&mut self, why: Rescan) {
        if self.rescan != Some(Rescan::AfterLoss) {
            self.rescan = Some(why);
        }
    }

    /// Starts the scan that is wanted, when none is under way.
    fn start_scan(&mut self) {
        if self.scan.is_some() || self.directory.is_none() {
            return;
        }
        let from = match self.rescan.take() {
            Some(why) => {
                if why == Rescan::AfterLoss {
                    self.losses += 1;
                    self.tracker.forget();
                    self.hidden_writers.clear();
                }
                self.forbidden.clear();
                self.ledger.begin_round();
                self.new_directories.clear();
                vec![None]
            }
            None if self.new_directories.is_empty() => return,
            None => self.new_directories.drain(..).map(Some).collect(),
        };
        let whole = from == [None];
        let walk = Walk {
            tree: self.tree.clone(),
            bucket: self.bucket.name.clone(),
            ignore: self.bucket.ignore.clone(),
            watch: self.watch.clone().filter(|_| !self.polling),
            reports: Arc::clone(&self.delivery.reports),
        };
        self.scan = Some(Scan {
            findings: walk.start(from),
            whole,
        });
    }

    fn found(&mut self, finding: Option<Finding>) {
        match finding {
            Some(Finding::Objects(objects)) => {
                let now = Instant::now();
                for (key, identity) in objects {
                    self.ledger.meet(&key);
                    let is_news = |listener| self.ledger.seen(&key, listener) != Some(identity);
                    if self.listening(&key).any(is_news) && !self.ledger.is_refused(&key, identity) {
                        self.tracker.found(&key, identity, now);
                    }
                }
            }
            Some(Finding::End(walked)) => {
                let whole = self.scan.take().is_some_and(|scan| scan.whole);
                self.last_scan = Instant::now();
                // When the directory is gone, the walk has met nothing, and that says nothing about the objects.
                if whole && self.tree.root_identity() == self.directory {
                    for key in self.ledger.missed() {
                        self.tracker.gone(&key, Instant::now(), Removal::Missed, true);
                    }
                }
                self.crowded |= walked.incomplete;
                self.forbidden.extend(walked.forbidden);
                if let Some(reason) = walked.unwatched.filter(|_| !self.polling) {
                    self.poll(&reason);
                }
            }
            // The walk's thread failed.
            None => {
                self.scan = None;
                self.crowded = true;
            }
        }
        self.note_dropped();
    }

    fn note_dropped(&mut self) {
        if self.tracker.take_dropped() {
            self.crowded = true;
            self.delivery.reports.say(&format!(
                "bucket \"{}\" has more than {} objects that are being written or wait for their events: the others follow",
                self.bucket.name, self.limits.objects
            ));
        }
    }

    fn is_wanted(&self, key: &ObjectKey) -> bool {
        self.listening(key).next().is_some() && !self.bucket.ignore.covers(key)
    }

    /// The bindings whose rules the key matches, by index.
    fn listening(&self, key: &ObjectKey) -> impl Iterator<Item = usize> {
        let listeners = self.bucket.listeners.iter().enumerate();
        listeners
            .filter(|(_, listener)| listener.matches(key))
            .map(|(index, _)| index)
    }
}

async fn next_change(changes: &mut Option<Changes>) -> Option<Change> {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

async fn next_finding(scan: &mut Option<Scan>) -> Option<Finding> {
    match scan {
        Some(scan) => scan.findings.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

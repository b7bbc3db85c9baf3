//! One bucket while the server runs: changes and scans go in, jobs come out. One task owns all of it; no locks.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hikigane_trigger::{Context, SourceError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::Bucket;
use crate::delivery::{After, Delivery, Done, Job, Sequencer};
use crate::key::ObjectKey;
use crate::ledger::{self, Ledger};
use crate::scan::{Finding, Walk};
use crate::tracker::{Due, How, Removal, Tracker, What};
use crate::tree::{Identity, Look, Tree};
use crate::watch::{Change, Changes, Watch};
use crate::writers;

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
        Self { changes: 16_384, objects: 100_000, jobs: 128, poll: Duration::from_secs(2) }
    }
}

/// How often the session looks whether its directory is still the same.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest wait before an object that changed under our eyes is looked at again, beside its settle time.
const UNSETTLED: Duration = Duration::from_millis(100);
/// Renames of files with a writer whose second half may still come; the halves are told one after the other.
const RENAMES: usize = 16;
/// Files with a writer that are no objects but may be renamed to one.
const HIDDEN_WRITERS: usize = 10_000;
/// Changes taken in before due objects get their turn.
const CHANGES_AT_ONCE: usize = 256;
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
        scan: None,
        rescan: None,
        new_directories: Vec::new(),
        crowded: false,
        polling: false,
        last_scan: Instant::now(),
        found: Vec::new(),
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
    scan: Option<Scan>,
    /// A scan of the whole bucket is wanted.
    rescan: Option<Rescan>,
    /// Directories that are new and must be watched and scanned.
    new_directories: Vec<ObjectKey>,
    /// Objects were turned away; a scan finds them when there is room.
    crowded: bool,
    /// The kernel does not watch all directories.
    polling: bool,
    last_scan: Instant,
    /// Settled objects that a scan found, to be checked for writers.
    found: Vec<Due>,
    checking: bool,
    /// Those that nobody is seen to write.
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

enum Finished {
    Job(ObjectKey, Done),
    /// These were found by a scan, and those are being written.
    Check(Vec<Due>, HashSet<ObjectKey>),
}

impl Session {
    async fn serve(&mut self) {
        let shutdown = self.delivery.shutdown.clone();
        let mut looks = interval(LOOK.min(self.limits.poll));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_due();
            self.start_scan();
            let due = self.tracker.next_due().filter(|_| self.jobs.len() < self.limits.jobs);
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
                self.delivery.reports.say(format!(
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
        self.delivery.reports.say(format!(
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
                    self.tracker.forget_writers();
                    self.hidden_writers.clear();
                }
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
        self.scan = Some(Scan { findings: walk.start(from), whole });
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
            Some(Finding::End { unwatched }) => {
                let whole = self.scan.take().is_some_and(|scan| scan.whole);
                self.last_scan = Instant::now();
                // When the directory is gone, the walk has met nothing, and that says nothing about the objects.
                if whole && self.tree.root_identity() == self.directory {
                    for key in self.ledger.missed() {
                        self.tracker.gone(&key, Instant::now(), Removal::Missed, true);
                    }
                }
                if unwatched && !self.polling {
                    self.poll("the limit on watches is reached; raise the sysctl fs.inotify.max_user_watches");
                }
            }
            // The walk's thread failed.
            None => {
                self.scan = None;
                self.crowded = true;
            }
        }
        self.crowded |= self.tracker.take_dropped();
    }

    fn take_changes(&mut self, first: Option<Change>) {
        let mut next = Some(first);
        let mut left = CHANGES_AT_ONCE;
        while let Some(change) = next {
            match change {
                Some(change) => self.take_change(change),
                None => self.want_scan(Rescan::AfterLoss),
            }
            left -= 1;
            next = if left > 0 { self.changes.as_mut().and_then(Changes::now) } else { None };
        }
        self.crowded |= self.tracker.take_dropped();
    }

    fn take_change(&mut self, change: Change) {
        let now = Instant::now();
        match change {
            Change::Appeared(key) => {
                self.ledger.forgive(&key);
                if self.is_wanted(&key) {
                    match self.tree.look(&key) {
                        // A second name of a file that is complete; readers may open it at once.
                        Ok(Look::Object { links: 2.., .. }) => self.tracker.closed(&key, now),
                        Ok(Look::Object { .. }) | Err(_) => self.tracker.appeared(&key, now),
                        Ok(_) => {}
                    }
                }
            }
            Change::DirectoryAppeared(key) => self.new_directory(key),
            Change::Opened(key) => self.tracker.opened(&key),
            Change::Written(key) if self.is_wanted(&key) => self.tracker.written(&key),
            Change::Written(key) => self.hide_writer(key),
            Change::Closed(key) if self.is_wanted(&key) => {
                self.ledger.forgive(&key);
                self.tracker.closed(&key, now);
            }
            Change::Closed(key) => {
                self.hidden_writers.remove(&key);
            }
            Change::Touched(key) if self.is_wanted(&key) => {
                self.ledger.forgive(&key);
                self.tracker.touched(&key, now);
            }
            Change::Touched(_) => {}
            Change::MovedIn(key, cookie) => self.moved_in(key, cookie, now),
            Change::Gone(key, cookie) => self.gone(&key, cookie, now),
            Change::BucketGone => {
                // A new directory may have the old one's inode.
                self.directory = None;
                self.look_at_directory();
            }
        }
    }

    fn moved_in(&mut self, key: ObjectKey, cookie: Option<usize>, now: Instant) {
        let is_written = cookie.is_some_and(|cookie| self.renamed_while_written.contains(&cookie));
        match self.tree.look(&key) {
            Ok(Look::Directory) => self.new_directory(key),
            Ok(Look::Object { .. }) | Err(_) if self.is_wanted(&key) => {
                self.ledger.forgive(&key);
                if is_written {
                    self.tracker.written(&key);
                } else {
                    self.tracker.moved_in(&key, now);
                }
            }
            Ok(Look::Object { .. }) if is_written => self.hide_writer(key),
            _ => {}
        }
    }

    fn gone(&mut self, key: &ObjectKey, cookie: Option<usize>, now: Instant) {
        let was_written = self.hidden_writers.remove(key) || self.tracker.is_writing(key);
        if let Some(cookie) = cookie.filter(|_| was_written) {
            self.renamed_while_written.truncate(RENAMES - 1);
            self.renamed_while_written.push_front(cookie);
        }
        self.ledger.forgive(key);
        // When it was a directory, what was in it went with it and is not told by itself.
        let mut inside = self.ledger.below(key);
        inside.extend(self.tracker.below(key));
        let is_known = self.ledger.knows(key) || self.tracker.knows(key);
        let look = self.tree.look(key).ok();
        if is_known {
            let stands = matches!(look, Some(Look::Object { .. }));
            self.tracker.gone(key, now, Removal::Told, stands);
        }
        if look == Some(Look::Directory) {
            self.new_directory(key.clone());
        }
        for key in inside {
            self.tracker.gone(&key, now, Removal::Missed, look == Some(Look::Directory));
        }
    }

    /// A directory that is new, or whose watch may have gone: watched and scanned next.
    fn new_directory(&mut self, key: ObjectKey) {
        if !self.bucket.ignore.covers(&key) {
            self.new_directories.push(key);
        }
    }

    fn hide_writer(&mut self, key: ObjectKey) {
        if self.hidden_writers.len() < HIDDEN_WRITERS {
            self.hidden_writers.insert(key);
        }
    }

    /// Starts what is due, as far as there is room.
    fn start_due(&mut self) {
        let now = Instant::now();
        while self.jobs.len() < self.limits.jobs {
            let checked = self.checked.pop_front();
            let is_checked = checked.is_some();
            let Some(Due { key, what }) = checked.or_else(|| self.tracker.take_due(now)) else { break };
            match what {
                What::Settled { how: How::Found(_), .. } if !is_checked => self.found.push(Due { key, what }),
                What::Settled { how, stages } => self.start_put(key, how, stages),
                What::Removed(removal) => self.start_removal(key, removal),
            }
        }
        if !self.checking && !self.found.is_empty() {
            self.checking = true;
            let (found, root) = (std::mem::take(&mut self.found), self.tree.root().to_path_buf());
            self.jobs.spawn_blocking(move || {
                let writing = writers::open_for_writing(&root);
                Finished::Check(found, writing)
            });
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
                if matches!(how, How::Found(found) if found != identity) {
                    self.tracker.unsettled(&key, identity, Instant::now());
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
                let targets: Vec<usize> =
                    self.listening(&key).filter(|listener| is_gone(self.ledger.seen(&key, *listener))).collect();
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
    fn cannot_look(&mut self, key: &ObjectKey, error: &std::io::Error) {
        self.delivery.cannot_read(key, error);
        self.crowded = true;
    }

    fn finished(&mut self, finished: Option<Finished>) {
        match finished {
            Some(Finished::Job(key, done)) => {
                for (listener, seen) in done.recorded {
                    self.ledger.record(&key, listener, seen);
                }
                match done.after {
                    After::Nothing => {}
                    After::Unsettled(identity) => self.tracker.unsettled(&key, identity, Instant::now() + UNSETTLED),
                    After::Refused(identity) => self.ledger.refuse(&key, identity),
                }
                self.tracker.finish(&key);
            }
            Some(Finished::Check(found, writing)) => {
                self.checking = false;
                for due in found {
                    match due.what {
                        What::Settled { how: How::Found(identity), .. } if writing.contains(&due.key) => {
                            self.tracker.unsettled(&due.key, identity, Instant::now() + UNSETTLED);
                            self.tracker.finish(&due.key);
                        }
                        _ => self.checked.push_back(due),
                    }
                }
            }
            // A job panicked: which one is not told, so all are looked at again.
            None => self.crowded = true,
        }
    }

    fn is_wanted(&self, key: &ObjectKey) -> bool {
        self.listening(key).next().is_some() && !self.bucket.ignore.covers(key)
    }

    /// The bindings whose rules the key matches, by index.
    fn listening(&self, key: &ObjectKey) -> impl Iterator<Item = usize> {
        let listeners = self.bucket.listeners.iter().enumerate();
        listeners.filter(|(_, listener)| listener.matches(key)).map(|(index, _)| index)
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

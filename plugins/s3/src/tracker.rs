//! Which objects are still being written, which are settling, and which are due. No disk, no clock of its own.
//!
//! An object goes from *writing* to *quiet* when its writer closes it, and back when it is written again. It is due
//! for the bindings of one settle time after another as the quiet goes on, so there is at most one timer an object.
//!
//! A file that was opened to be made, or written, waits for its close however long that takes. The kernel tells no
//! close of a name made by opening it for reading (a lock file), or of `truncate` by path: those wait for a start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use crate::key::ObjectKey;
use crate::tree::Identity;

/// Between making a name and holding it open, a writer cannot be seen. So long it is given, whatever the settle time.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// How an object came to be quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// A name appeared, and nobody was seen to open it: a hard link, or its writer is about to.
    Appeared,
    /// Its writer left it as this.
    Closed(Identity),
    /// It was renamed to this key: complete, and due at once.
    Moved,
    /// A scan found it as this. Whether somebody still writes it is not known.
    Found(Identity),
}

impl How {
    /// Whether a writer may have gone unnoticed.
    pub(crate) fn is_doubtful(self) -> bool {
        matches!(self, Self::Appeared | Self::Found(_))
    }

    /// What must still stand at the key when it is due. Anything else was written since, and only the news is late.
    pub(crate) fn expected(self) -> Option<Identity> {
        match self {
            Self::Closed(identity) | Self::Found(identity) => Some(identity),
            Self::Appeared | Self::Moved => None,
        }
    }
}

/// What was said about an object that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The kernel told that this name was removed or renamed.
    Told,
    /// A scan did not find it, or a directory above it went: to be verified.
    Missed,
}

/// An object whose time has come. It stays busy until [`Tracker::finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) key: ObjectKey,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Removed(Removal),
    /// It is settled for the bindings whose settle time is in this range of [`Tracker::settles`].
    Settled {
        how: How,
        stages: Range<usize>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing to wait for.
    Idle,
    Writing,
    Quiet {
        since: Instant,
        how: How,
        stage: usize,
    },
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    removal: Option<(Removal, Instant)>,
    busy: bool,
    timer: Option<Instant>,
}

/// The objects that something is going on with.
pub(crate) struct Tracker {
    settles: Vec<Duration>,
    capacity: usize,
    entries: BTreeMap<ObjectKey, Entry>,
    timers: BTreeSet<(Instant, ObjectKey)>,
    dropped: bool,
}

impl Tracker {
    /// For bindings with these settle times. At most `capacity` objects are kept: see [`Tracker::take_dropped`].
    pub(crate) fn new(settles: impl IntoIterator<Item = Duration>, capacity: usize) -> Self {
        let mut settles: Vec<Duration> = settles.into_iter().collect();
        settles.sort_unstable();
        settles.dedup();
        Self {
            settles,
            capacity,
            entries: BTreeMap::new(),
            timers: BTreeSet::new(),
            dropped: false,
        }
    }

    /// The settle times, shortest first.
    pub(crate) fn settles(&self) -> &[Duration] {
        &self.settles
    }

    /// A name appeared. Its writer, if it has one, opens it next.
    pub(crate) fn appeared(&mut self, key: &ObjectKey, now: Instant) {
        self.quiet(key, now + GRACE, How::Appeared);
    }

    /// Somebody opened it. Only the first to open a new name is taken for its writer; all others may be readers.
    pub(crate) fn opened(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get(key)
            && !entry.busy
            && matches!(
                entry.phase,
                Phase::Quiet {
                    how: How::Appeared,
                    stage: 0,
                    ..
                }
            )
        {
            self.set_phase(key, Phase::Writing);
        }
    }

    pub(crate) fn written(&mut self, key: &ObjectKey) {
        self.set_phase(key, Phase::Writing);
    }

    pub(crate) fn closed(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        self.quiet(key, now, How::Closed(identity));
    }

    /// Its times or rights changed. That ends no writing, but it is not quiet either.
    pub(crate) fn touched(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        match self.entries.get(key).map(|entry| entry.phase) {
            Some(
                Phase::Writing
                | Phase::Quiet {
                    how: How::Appeared | How::Moved,
                    ..
                },
            ) => {}
            Some(Phase::Quiet { how: How::Found(_), .. }) => self.quiet(key, now + GRACE, How::Found(identity)),
            Some(Phase::Quiet { .. } | Phase::Idle) | None => self.closed(key, identity, now),
        }
    }

    pub(crate) fn moved_in(&mut self, key: &ObjectKey, now: Instant) {
        self.quiet(key, now, How::Moved);
    }

    /// A scan found it with a content that has not had its event.
    pub(crate) fn found(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        match self.entries.get(key).map(|entry| entry.phase) {
            None | Some(Phase::Idle) => {
                let longest = GRACE + self.settles.last().copied().unwrap_or_default();
                let since = now.checked_sub(identity.age().min(longest)).unwrap_or(now);
                self.quiet(key, since + GRACE, How::Found(identity));
            }
            Some(Phase::Quiet {
                how: How::Found(known), ..
            }) if known != identity => {
                self.quiet(key, now + GRACE, How::Found(identity));
            }
            Some(Phase::Quiet { .. } | Phase::Writing) => {}
        }
    }

    /// It was due, but turned out to be still changing: it is quiet from now on, unless more is known already.
    pub(crate) fn unsettled(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        let phase = self.entries.get(key).map(|entry| entry.phase);
        if !matches!(phase, Some(Phase::Writing | Phase::Quiet { stage: 0, .. })) {
            self.quiet(key, now + GRACE, How::Found(identity));
        }
    }

    /// It went. `stands` says that an object stands at the key all the same: then only its removal is noted.
    pub(crate) fn gone(&mut self, key: &ObjectKey, now: Instant, removal: Removal, stands: bool) {
        if !self.admit(key) {
            return;
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if !stands || removal == Removal::Missed && entry.phase == Phase::Writing {
            entry.phase = Phase::Idle;
        }
        if entry.removal.is_none_or(|(known, _)| known == Removal::Missed) {
            entry.removal = Some((removal, now));
        }
        self.schedule(key);
    }

    /// Forgets who is writing and who is quiet: news was lost, of a close or of a new writer. A scan must follow.
    /// Removals stay, and what was already taken goes on.
    pub(crate) fn forget(&mut self) {
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            self.set_phase(&key, Phase::Idle);
            self.tidy(&key);
        }
    }

    pub(crate) fn is_writing(&self, key: &ObjectKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.phase == Phase::Writing)
    }

    pub(crate) fn knows(&self, key: &ObjectKey) -> bool {
        self.entries.contains_key(key)
    }

    /// The keys in the directory called `directory`.
    pub(crate) fn below(&self, directory: &ObjectKey) -> Vec<ObjectKey> {
        let from = self.entries.range(directory.first_below()..);
        from.map(|(key, _)| key)
            .take_while(|key| key.is_below(directory))
            .cloned()
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an object was turned away because there were too many, since the last call. A scan must find it again.
    pub(crate) fn take_dropped(&mut self) -> bool {
        std::mem::take(&mut self.dropped)
    }

    /// When the next object is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes an object that is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.timers.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.timer = None;
        entry.busy = true;
        if let Some((removal, _)) = entry.removal.take() {
            return Some(Due {
                key,
                what: What::Removed(removal),
            });
        }
        let Phase::Quiet { since, how, stage } = entry.phase else {
            return None;
        };
        let reached = |settle: &Duration| how == How::Moved || since + *settle <= now;
        let end = stage
            + self.settles[stage..]
                .iter()
                .take_while(|settle| reached(settle))
                .count();
        entry.phase = if end < self.settles.len() {
            Phase::Quiet { since, how, stage: end }
        } else {
            Phase::Idle
        };
        Some(Due {
            key,
            what: What::Settled {
                how,
                stages: stage..end,
            },
        })
    }

    /// What was taken with [`Tracker::take_due`] is dealt with.
    pub(crate) fn finish(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.busy = false;
        }
        self.schedule(key);
        self.tidy(key);
    }

    fn quiet(&mut self, key: &ObjectKey, since: Instant, how: How) {
        self.set_phase(key, Phase::Quiet { since, how, stage: 0 });
    }

    fn set_phase(&mut self, key: &ObjectKey, phase: Phase) {
        if !self.admit(key) {
            return;
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = phase;
        }
        self.schedule(key);
    }

    /// Makes sure that there is an entry; false when there is no room for one more.
    fn admit(&mut self, key: &ObjectKey) -> bool {
        if self.entries.contains_key(key) {
            return true;
        }
        if self.entries.len() >= self.capacity {
            self.dropped = true;
            return false;
        }
        self.entries.insert(
            key.clone(),
            Entry {
                phase: Phase::Idle,
                removal: None,
                busy: false,
                timer: None,
            },
        );
        true
    }

    /// Sets the object's timer to what it waits for. A busy object has none: its key's events stay in order.
    fn schedule(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, key.clone()));
        }
        let due = match (entry.busy, entry.removal, entry.phase) {
            (true, ..) | (_, None, Phase::Idle | Phase::Writing) => return,
            (_, Some((_, at)), _) => at,
            (
                _,
                None,
                Phase::Quiet {
                    since, how: How::Moved, ..
                },
            ) => since,
            (_, None, Phase::Quiet { since, stage, .. }) => {
                since + self.settles.get(stage).copied().unwrap_or_default()
            }
        };
        entry.timer = Some(due);
        self.timers.insert((due, key.clone()));
    }

    fn tidy(&mut self, key: &ObjectKey) {
        let idle = |entry: &Entry| entry.phase == Phase::Idle && entry.removal.is_none() && !entry.busy;
        if self.entries.get(key).is_some_and(idle) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_millis(300);

    /// A time that lies ahead of the machine's, so that the file's age is zero.
    const AHEAD: i128 = u64::MAX as i128;
    const SEEN: Identity = Identity::for_test(7, 0);

    struct Case {
        tracker: Tracker,
        start: Instant,
        key: ObjectKey,
    }

    impl Case {
        fn new() -> Self {
            Self {
                tracker: Tracker::new([LONG, SHORT, LONG], 3),
                start: Instant::now(),
                key: ObjectKey::from("a"),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// What is due at this time, dealt with at once.
        fn due(&mut self, ms: u64) -> Vec<What> {
            let mut all = Vec::new();
            while let Some(due) = self.tracker.take_due(self.at(ms)) {
                self.tracker.finish(&due.key);
                all.push(due.what);
            }
            all
        }
    }

    fn settled(how: How, stages: Range<usize>) -> Vec<What> {
        vec![What::Settled { how, stages }]
    }

    #[test]
    fn each_settle_time_has_its_turn() {
        let mut case = Case::new();
        case.tracker.closed(&case.key, SEEN, case.start);
        assert_eq!(case.due(99), []);
        assert_eq!(case.due(100), settled(How::Closed(SEEN), 0..1));
        assert_eq!(case.due(299), []);
        assert_eq!(case.due(300), settled(How::Closed(SEEN), 1..2));
        assert_eq!(case.tracker.len(), 0);
        assert_eq!(case.tracker.next_due(), None);
    }

    #[test]
    fn a_late_look_takes_all_at_once() {
        let mut case = Case::new();
        case.tracker.closed(&case.key, SEEN, case.start);
        assert_eq!(case.due(1_000), settled(How::Closed(SEEN), 0..2));
    }

    #[test]
    fn a_writer_that_pauses_is_never_due_before_its_close() {
        let mut case = Case::new();
        case.tracker.appeared(&case.key, case.start);
        case.tracker.opened(&case.key);
        assert_eq!(case.due(10_000), []);
        case.tracker.written(&case.key);
        assert_eq!(case.due(20_000), []);
        case.tracker.closed(&case.key, SEEN, case.at(20_000));
        assert_eq!(case.due(20_050), []);
        case.tracker.written(&case.key);
        assert_eq!(case.due(40_000), []);
        case.tracker.closed(&case.key, SEEN, case.at(40_000));
        assert_eq!(case.due(41_000), settled(How::Closed(SEEN), 0..2));
    }

    #[test]
    fn a_name_that_nobody_opens_is_a_link() {
        let mut case = Case::new();
        case.tracker.appeared(&case.key, case.start);
        assert_eq!(case.due(1_000), settled(How::Appeared, 0..2));
    }

    #[test]
    fn a_reader_does_not_hold_an_object_back() {
        let mut case = Case::new();
        case.tracker.closed(&case.key, SEEN, case.start);
        case.tracker.opened(&case.key);
        assert_eq!(case.due(100), settled(How::Closed(SEEN), 0..1));
        case.tracker.appeared(&case.key, case.start);
        assert_eq!(case.due(199), []);
        assert_eq!(case.due(200), settled(How::Appeared, 0..1));
        case.tracker.opened(&case.key);
        assert_eq!(case.due(400), settled(How::Appeared, 1..2));
    }

    #[test]
    fn a_rename_is_due_at_once_for_all() {
        let mut case = Case::new();
        case.tracker.moved_in(&case.key, case.start);
        assert_eq!(case.due(0), settled(How::Moved, 0..2));
    }

    #[test]
    fn a_removal_comes_before_the_next_object_of_the_name() {
        let mut case = Case::new();
        case.tracker.gone(&case.key, case.start, Removal::Told, false);
        case.tracker.moved_in(&case.key, case.start);
        assert_eq!(
            case.due(0),
            [
                What::Removed(Removal::Told),
                What::Settled {
                    how: How::Moved,
                    stages: 0..2
                }
            ]
        );
    }

    #[test]
    fn a_busy_object_waits() {
        let mut case = Case::new();
        case.tracker.moved_in(&case.key, case.start);
        let first = case.tracker.take_due(case.start).unwrap();
        case.tracker.gone(&case.key, case.start, Removal::Told, false);
        assert_eq!(case.tracker.next_due(), None);
        case.tracker.finish(&first.key);
        assert_eq!(case.due(0), [What::Removed(Removal::Told)]);
    }

    #[test]
    fn what_went_before_it_settled_is_not_due() {
        let mut case = Case::new();
        case.tracker.closed(&case.key, SEEN, case.start);
        case.tracker.gone(&case.key, case.start, Removal::Told, false);
        assert_eq!(case.due(1_000), [What::Removed(Removal::Told)]);
        assert_eq!(case.tracker.len(), 0);
    }

    #[test]
    fn a_scan_restarts_the_quiet_only_when_the_content_differs() {
        let mut case = Case::new();
        let (one, two) = (Identity::for_test(1, AHEAD), Identity::for_test(2, AHEAD));
        case.tracker.found(&case.key, one, case.at(1_000));
        case.tracker.found(&case.key, one, case.at(1_050));
        assert_eq!(case.tracker.next_due(), Some(case.at(1_200)));
        case.tracker.found(&case.key, two, case.at(1_090));
        assert_eq!(case.due(1_289), []);
        assert_eq!(case.due(1_290), settled(How::Found(two), 0..1));
        case.tracker.written(&case.key);
        case.tracker.found(&case.key, one, case.at(1_300));
        assert_eq!(case.due(10_000), []);
    }

    #[test]
    fn after_a_loss_only_removals_and_what_is_under_way_remain() {
        let mut case = Case::new();
        let [removed, quiet, taken] = ["removed", "quiet", "taken"].map(ObjectKey::from);
        case.tracker.gone(&removed, case.at(500), Removal::Told, false);
        case.tracker.closed(&quiet, SEEN, case.start);
        case.tracker.moved_in(&taken, case.start);
        assert_eq!(case.tracker.take_due(case.start).unwrap().key, taken);
        case.tracker.forget();
        assert!(!case.tracker.knows(&quiet));
        case.tracker.finish(&taken);
        assert_eq!(case.due(1_000), [What::Removed(Removal::Told)]);
        assert_eq!(case.tracker.len(), 0);
    }

    #[test]
    fn what_is_old_when_it_is_found_is_due_at_once() {
        let mut case = Case::new();
        let old = Identity::for_test(1, 0);
        case.tracker.found(&case.key, old, case.at(1_000));
        assert_eq!(case.due(1_000), settled(How::Found(old), 0..2));
    }

    #[test]
    fn too_many_are_turned_away_and_said_so() {
        let mut case = Case::new();
        for name in ["a", "b", "c"] {
            case.tracker.closed(&ObjectKey::from(name), SEEN, case.start);
        }
        assert!(!case.tracker.take_dropped());
        case.tracker.closed(&ObjectKey::from("d"), SEEN, case.start);
        case.tracker.closed(&ObjectKey::from("c"), SEEN, case.start);
        assert!(case.tracker.take_dropped());
        assert!(!case.tracker.take_dropped());
        assert_eq!(case.due(100).len(), 3);
    }
}

//! Which objects are still being written, which are settling, and which are due. No disk, no clock of its own.
//!
//! An object goes from *writing* to *quiet* when its writer closes it, and back when it is written again. It is due
//! for the bindings of one settle time after another as the quiet goes on, so there is at most one timer an object.
//!
//! A file that was opened to be made, or written, waits for its close however long that takes. The kernel tells no
//! close of an empty name made by opening it for reading (a lock file), or of `truncate` by path: those wait for a
//! start. Of several writers of one file, the first that closes it is taken for the last.

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
    /// A name appeared and was opened: by its writer, or it was complete when it got the name and this is a reader.
    Opened,
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
        matches!(self, Self::Appeared | Self::Opened | Self::Found(_))
    }

    /// What must still stand at the key when it is due. Anything else was written since, and only the news is late.
    pub(crate) fn expected(self) -> Option<Identity> {
        match self {
            Self::Closed(identity) | Self::Found(identity) => Some(identity),
            Self::Appeared | Self::Opened | Self::Moved => None,
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

    /// Somebody opened it. Only the first to open a new name may be its writer; all others are readers.
    pub(crate) fn opened(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key)
            && !entry.busy
            && let Phase::Quiet {
                how: how @ How::Appeared,
                stage: 0,
                ..
            } = &mut entry.phase
        {
            *how = How::Opened;
        }
    }

    pub(crate) fn written(&mut self, key: &ObjectKey) {
        self.set_phase(key, Phase::Writing);
    }

    pub(crate) fn closed(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        self.quiet(key, now, How::Closed(identity));
    }

    /// It was closed, but no object stands there: somebody wrote to a file that had lost its name.
    pub(crate) fn ended(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = Phase::Idle;
            self.schedule(key);
            self.tidy(key);
        }
    }

    /// It was due in doubt, and has a writer, whose close will be told; unless more is known already.
    pub(crate) fn held(&mut self, key: &ObjectKey) {
        let phase = self.entries.get(key).map(|entry| entry.phase);
        let in_doubt = match phase {
            Some(Phase::Quiet { how, .. }) => how.is_doubtful(),
            Some(Phase::Idle) | None => true,
            Some(Phase::Writing) => false,
        };
        if in_doubt {
            self.set_phase(key, Phase::Writing);
        }
    }

    /// Its times or rights changed. That ends no writing, but it is not quiet either.
    pub(crate) fn touched(&mut self, key: &ObjectKey, identity: Identity, now: Instant) {
        match self.entries.get(key).map(|entry| entry.phase) {
            Some(
                Phase::Writing
                | Phase::Quiet {
                    how: How::Appeared | How::Opened | How::Moved,
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

    /// Whether it has a writer, or may have one that has not begun.
    pub(crate) fn is_open(&self, key: &ObjectKey) -> bool {
        let phase = self.entries.get(key).map(|entry| entry.phase);
        matches!(phase, Some(Phase::Writing | Phase::Quiet { how: How::Opened, .. }))
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
mod tests;

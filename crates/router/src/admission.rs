//! How many invocations may run at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hikigane_model::{FunctionName, Qualifier, ThrottleReason};
use tokio::sync::Notify;

/// The account's concurrency, and what is set aside of it.
///
/// A function's reservation is a guarantee and a cap for all of its versions together; functions without one share the rest (AWS
/// documentation, "Configuring reserved concurrency for a function"). What is provisioned for a version is set aside for that version, out of
/// the function's reservation, or else out of what functions share; what runs beyond it is on demand ("Configuring provisioned
/// concurrency for a function"). So a version finds room where its provisioned concurrency is not used up, or where its function still has
/// some on demand: whatever is left of the reservation, or else of the account.
pub struct Admission {
    state: Mutex<State>,
    account: u32,
    /// Told when an invocation ends that somebody waits for.
    freed: Arc<Notify>,
}

/// What is set aside for one function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reservation {
    /// For all of its versions, and their cap.
    pub reserved: Option<u32>,
    /// For single versions.
    pub provisioned: Vec<(Qualifier, u32)>,
}

#[derive(Default)]
struct State {
    /// Whether [`Admission::room`] found functions that were full, since `freed` was told last.
    wanted: bool,
    /// Functions that run or have something set aside; no others, so that whoever is gone leaves nothing.
    functions: HashMap<FunctionName, Share>,
    /// What is set aside for all functions.
    set_aside: u32,
    /// Invocations on what is not set aside.
    shared_running: u32,
}

/// A function's part.
#[derive(Default)]
struct Share {
    reservation: Reservation,
    /// Invocations that run, by version; none that is zero.
    running: Vec<(Qualifier, u32)>,
}

/// What may be taken from a queue: so many events, of any function that is not full. Whatever they are, each can start, but for those of a
/// version to which the others' provisioned concurrency leaves nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Room {
    /// Functions that run as many as they may.
    pub full: Vec<FunctionName>,
    /// Events to take.
    pub events: u32,
}

/// The right to run one invocation; given back when dropped.
pub struct Permit {
    admission: Arc<Admission>,
    function: FunctionName,
    version: Qualifier,
}

impl Admission {
    /// `account` invocations at once in all. `freed` is told when one ends after [`Admission::room`] had found a function full.
    pub fn new(account: u32, freed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            account,
            freed,
        })
    }

    /// Sets this aside for `function` from now on. What runs goes on, and counts where it would if it came now.
    pub fn reserve(&self, function: &FunctionName, reservation: Reservation) {
        let mut state = self.lock();
        let State {
            functions,
            set_aside,
            shared_running,
            ..
        } = &mut *state;
        let share = functions.entry(function.clone()).or_default();
        *set_aside -= share.reservation.size();
        *shared_running -= share.shared();
        share.reservation = reservation;
        *set_aside += share.reservation.size();
        *shared_running += share.shared();
        if share.is_nothing() {
            functions.remove(function);
        }
    }

    /// Takes the right to run one invocation of `function` at `version` now.
    pub fn try_acquire(
        self: &Arc<Self>,
        function: &FunctionName,
        version: &Qualifier,
    ) -> Result<Permit, ThrottleReason> {
        let mut state = self.lock();
        let state = &mut *state;
        let shared_full = state.shared_running >= self.account.saturating_sub(state.set_aside);
        let share = match state.functions.get_mut(function) {
            Some(share) => share,
            None if shared_full => return Err(ThrottleReason::ConcurrentInvocationLimitExceeded),
            None => state.functions.entry(function.clone()).or_default(),
        };
        let on_demand = share.running_of(version) >= share.reservation.provisioned_of(version);
        match share.reservation.reserved {
            Some(_) if on_demand && share.on_demand() >= share.reservation.on_demand() => {
                return Err(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
            None if on_demand && shared_full => return Err(ThrottleReason::ConcurrentInvocationLimitExceeded),
            reserved => {
                share.begin(version);
                if on_demand && reserved.is_none() {
                    state.shared_running += 1;
                }
            }
        }
        Ok(Permit {
            admission: self.clone(),
            function: function.clone(),
            version: version.clone(),
        })
    }

    /// How many invocations of `function` run.
    pub fn running(&self, function: &FunctionName) -> u32 {
        self.lock().functions.get(function).map_or(0, Share::running)
    }

    /// How many queued events of `function` may run at once: what is set aside for it; `limit` for one that has less, and no reservation, which is a cap.
    pub fn queue_limit(&self, function: &FunctionName, limit: u32) -> u32 {
        let state = self.lock();
        let share = state.functions.get(function);
        share.map_or(limit, |share| share.reservation.queue_limit(limit))
    }

    /// What may be taken from a queue now, when a function for which less is set aside runs at most `limit` at once.
    pub fn room(&self, limit: u32) -> Room {
        let mut state = self.lock();
        let shared = self
            .account
            .saturating_sub(state.set_aside)
            .saturating_sub(state.shared_running);
        let mut room = Room {
            full: Vec::new(),
            // Where nothing is shared any more, those with something of their own can still start.
            events: if shared == 0 { limit } else { limit.min(shared) },
        };
        for (function, share) in &state.functions {
            let left = share.reservation.queue_limit(limit).saturating_sub(share.running());
            let left = match share.reservation.reserved {
                // Switched off: its events are taken, to be buried at once.
                Some(0) => continue,
                Some(_) => left,
                None => left.min(shared + share.unused()),
            };
            match left {
                0 => room.full.push(function.clone()),
                left => room.events = room.events.min(left),
            }
        }
        state.wanted |= !room.full.is_empty();
        room
    }

    /// Whether `function` is switched off: nothing is reserved for it.
    pub fn is_off(&self, function: &FunctionName) -> bool {
        let state = self.lock();
        let share = state.functions.get(function);
        share.is_some_and(|share| share.reservation.reserved == Some(0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// How much of the account's concurrency it is.
    pub fn size(&self) -> u32 {
        self.reserved.unwrap_or_else(|| self.provisioned())
    }

    fn provisioned(&self) -> u32 {
        self.provisioned.iter().map(|(_, provisioned)| provisioned).sum()
    }

    fn provisioned_of(&self, version: &Qualifier) -> u32 {
        of(&self.provisioned, version)
    }

    /// What is reserved and not provisioned.
    fn on_demand(&self) -> u32 {
        self.size().saturating_sub(self.provisioned())
    }

    fn queue_limit(&self, limit: u32) -> u32 {
        self.reserved.unwrap_or_else(|| limit.max(self.provisioned()))
    }
}

impl Share {
    fn running(&self) -> u32 {
        self.running.iter().map(|(_, running)| running).sum()
    }

    fn running_of(&self, version: &Qualifier) -> u32 {
        of(&self.running, version)
    }

    /// How many run beyond what is provisioned for their versions.
    fn on_demand(&self) -> u32 {
        let beyond =
            |(version, running): &(Qualifier, u32)| running.saturating_sub(self.reservation.provisioned_of(version));
        self.running.iter().map(beyond).sum()
    }

    /// How many run on what all functions share.
    fn shared(&self) -> u32 {
        match self.reservation.reserved {
            Some(_) => 0,
            None => self.on_demand(),
        }
    }

    /// What is provisioned and not in use.
    fn unused(&self) -> u32 {
        let unused = |(version, provisioned): &(Qualifier, u32)| provisioned.saturating_sub(self.running_of(version));
        self.reservation.provisioned.iter().map(unused).sum()
    }

    fn begin(&mut self, version: &Qualifier) {
        match self.running.iter_mut().find(|(running, _)| running == version) {
            Some((_, running)) => *running += 1,
            None => self.running.push((version.clone(), 1)),
        }
    }

    fn end(&mut self, version: &Qualifier) {
        if let Some(place) = self.running.iter().position(|(running, _)| running == version) {
            self.running[place].1 -= 1;
            if self.running[place].1 == 0 {
                self.running.swap_remove(place);
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.running.is_empty() && self.reservation.reserved.is_none() && self.reservation.provisioned.is_empty()
    }
}

/// A version's number among these; 0 when it has none. There are few.
fn of(numbers: &[(Qualifier, u32)], version: &Qualifier) -> u32 {
    let found = numbers.iter().find(|(other, _)| other == version);
    found.map_or(0, |(_, number)| *number)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.lock();
        if let Some(share) = state.functions.get_mut(&self.function) {
            let before = share.shared();
            share.end(&self.version);
            let ended = before - share.shared();
            if share.is_nothing() {
                state.functions.remove(&self.function);
            }
            state.shared_running -= ended;
        }
        let wanted = std::mem::take(&mut state.wanted);
        drop(state);
        if wanted {
            self.admission.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SHARED: &str = "ConcurrentInvocationLimitExceeded";
    const RESERVED: &str = "ReservedFunctionConcurrentInvocationLimitExceeded";

    fn name(text: &str) -> FunctionName {
        FunctionName::new(text).unwrap()
    }

    fn reservation(reserved: Option<u32>, provisioned: &[(u64, u32)]) -> Reservation {
        let version = |(number, many): &(u64, u32)| (Qualifier::Version(*number), *many);
        Reservation {
            reserved,
            provisioned: provisioned.iter().map(version).collect(),
        }
    }

    /// Takes as many as there are, `$LATEST` for version 0; and why there is no more.
    fn take_all(admission: &Arc<Admission>, function: &str, version: u64) -> (Vec<Permit>, &'static str) {
        let version = match version {
            0 => Qualifier::Latest,
            number => Qualifier::Version(number),
        };
        let mut permits = Vec::new();
        loop {
            match admission.try_acquire(&name(function), &version) {
                Ok(permit) => permits.push(permit),
                Err(reason) => return (permits, reason.as_str()),
            }
        }
    }

    #[test]
    fn reservations_are_guarantee_and_cap() {
        let (kept, off, free) = (name("kept"), name("off"), name("free"));
        let admission = Admission::new(5, Arc::default());
        admission.reserve(&kept, reservation(Some(2), &[]));
        admission.reserve(&off, reservation(Some(0), &[]));

        let (free_permits, reason) = take_all(&admission, "free", 0);
        assert_eq!(
            (free_permits.len(), reason),
            (3, SHARED),
            "the reservation is not for others"
        );
        let (one_version, reason) = take_all(&admission, "kept", 1);
        assert_eq!((one_version.len(), reason), (2, RESERVED));
        assert_eq!(take_all(&admission, "kept", 0).1, RESERVED, "all versions together");
        assert_eq!(take_all(&admission, "off", 0).1, RESERVED);
        assert_eq!((admission.running(&kept), admission.is_off(&off)), (2, true));
        let mut room = admission.room(16);
        room.full.sort();
        assert_eq!(
            room,
            Room {
                full: vec![free.clone(), kept.clone()],
                events: 16
            }
        );

        drop(free_permits);
        assert_eq!(
            admission.room(16),
            Room {
                full: vec![kept.clone()],
                events: 3
            }
        );
        assert_eq!(
            take_all(&admission, "kept", 0).1,
            RESERVED,
            "the cap holds though others rest"
        );
        drop(one_version);
        assert_eq!(take_all(&admission, "kept", 0).0.len(), 2);
        assert_eq!(admission.running(&kept), 0);
    }

    #[test]
    fn provisioned_concurrency_is_its_versions_own_and_the_rest_is_on_demand() {
        let admission = Admission::new(10, Arc::default());
        for (reserved, provisioned, versions, granted, reason) in [
            // Recorded from AWS: nothing is left to $LATEST when all that is reserved is provisioned.
            (Some(2), vec![(1, 2)], [0, 1], [0, 2], RESERVED),
            (Some(3), vec![(1, 2)], [0, 1], [1, 2], RESERVED),
            (Some(3), vec![(1, 2)], [1, 0], [3, 0], RESERVED),
            (Some(4), vec![(1, 1), (2, 2)], [1, 2], [2, 2], RESERVED),
            (None, vec![(1, 4)], [0, 1], [6, 4], SHARED),
            (None, vec![(1, 4)], [1, 0], [10, 0], SHARED),
            (None, vec![], [0, 1], [10, 0], SHARED),
        ] {
            admission.reserve(&name("f"), reservation(reserved, &provisioned));
            let (first, first_reason) = take_all(&admission, "f", versions[0]);
            let (second, second_reason) = take_all(&admission, "f", versions[1]);
            assert_eq!(
                ([first.len(), second.len()], first_reason, second_reason),
                (granted, reason, reason),
                "{reserved:?} {provisioned:?} {versions:?}"
            );
        }
        assert_eq!(admission.lock().shared_running, 0);
    }

    #[test]
    fn what_runs_counts_where_it_would_after_every_change() {
        let admission = Admission::new(10, Arc::default());
        let f = name("f");
        let running: Vec<_> = (0..6)
            .map(|_| admission.try_acquire(&f, &Qualifier::Version(1)).ok().unwrap())
            .collect();
        for (reserved, provisioned, others) in [
            (None, vec![], 4),
            (None, vec![(1, 4)], 4),
            (None, vec![(1, 8)], 2),
            (None, vec![(2, 3)], 1),
            (Some(7), vec![(1, 7)], 3),
            (Some(1), vec![], 9),
            (None, vec![], 4),
        ] {
            admission.reserve(&f, reservation(reserved, &provisioned));
            let (granted, _) = take_all(&admission, "other", 0);
            assert_eq!(granted.len(), others, "{reserved:?} {provisioned:?}");
        }
        admission.reserve(&f, reservation(Some(7), &[(1, 7)]));
        drop(running);
        admission.reserve(&f, Reservation::default());
        let state = admission.lock();
        assert_eq!(
            (state.set_aside, state.shared_running, state.functions.len()),
            (0, 0, 0),
            "nothing is left of what is gone"
        );
    }

    #[test]
    fn queues_may_use_what_is_provisioned() {
        let admission = Admission::new(100, Arc::default());
        let f = name("f");
        assert_eq!(admission.queue_limit(&f, 16), 16);
        admission.reserve(&f, reservation(None, &[(1, 40)]));
        assert_eq!(admission.queue_limit(&f, 16), 40);
        admission.reserve(&f, reservation(Some(50), &[(1, 40)]));
        assert_eq!(admission.queue_limit(&f, 16), 50);
        admission.reserve(&f, reservation(None, &[(1, 98)]));
        let (_others, _) = take_all(&admission, "other", 0);
        let room = admission.room(16);
        assert_eq!(
            room,
            Room {
                full: vec![name("other")],
                events: 16
            },
            "what is provisioned is there though the account is full"
        );
    }
}

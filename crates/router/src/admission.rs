//! How many invocations may run at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hikigane_model::{FunctionName, ThrottleReason};
use tokio::sync::Notify;

/// The account's concurrency, and what functions reserve of it.
///
/// A reservation is a guarantee and a cap; functions without one share the rest
/// (AWS documentation, "Configuring reserved concurrency for a function").
pub struct Admission {
    state: Mutex<State>,
    account: u32,
    /// Told when an invocation ends that somebody waits for.
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Whether [`Admission::room`] found functions that were full, since `freed` was told last.
    wanted: bool,
    reserved: HashMap<FunctionName, u32>,
    /// What functions without reservation share.
    unreserved: u32,
    running: HashMap<FunctionName, u32>,
    unreserved_running: u32,
}

/// What may be taken from a queue: so many events, of any function that is not full. Whatever they are, each can start.
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
    /// It counts against what is not reserved. Reservations may change while it runs.
    unreserved: bool,
}

impl Admission {
    /// `account` invocations at once in all. `freed` is told when one ends after [`Admission::room`] had found a function full.
    pub fn new(account: u32, freed: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                unreserved: account,
                ..State::default()
            }),
            account,
            freed,
        })
    }

    /// Sets `reserved` of the account's concurrency aside for `function`, or nothing any more.
    pub fn reserve(&self, function: &FunctionName, reserved: Option<u32>) {
        let mut state = self.lock();
        match reserved {
            Some(reserved) => drop(state.reserved.insert(function.clone(), reserved)),
            None => drop(state.reserved.remove(function)),
        }
        state.unreserved = self.account.saturating_sub(state.reserved.values().sum());
    }

    /// Takes the right to run one invocation of `function` now.
    pub fn try_acquire(self: &Arc<Self>, function: &FunctionName) -> Result<Permit, ThrottleReason> {
        let mut state = self.lock();
        let unreserved = !state.reserved.contains_key(function);
        match state.reserved.get(function) {
            Some(&limit) => {
                if state.running.get(function).copied().unwrap_or_default() >= limit {
                    return Err(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
                }
            }
            None => {
                if state.unreserved_running >= state.unreserved {
                    return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
                }
                state.unreserved_running += 1;
            }
        }
        match state.running.get_mut(function) {
            Some(running) => *running += 1,
            None => {
                state.running.insert(function.clone(), 1);
            }
        }
        Ok(Permit {
            admission: self.clone(),
            function: function.clone(),
            unreserved,
        })
    }

    /// How many invocations of `function` run.
    pub fn running(&self, function: &FunctionName) -> u32 {
        self.lock().running.get(function).copied().unwrap_or_default()
    }

    /// What may be taken from a queue now, when a function without reservation runs at most `limit` at once.
    pub fn room(&self, limit: u32) -> Room {
        let mut state = self.lock();
        let mut room = Room {
            full: Vec::new(),
            events: limit,
        };
        let idle = state
            .reserved
            .keys()
            .filter(|function| !state.running.contains_key(*function))
            .map(|function| (function, 0));
        for (function, running) in state
            .running
            .iter()
            .map(|(function, running)| (function, *running))
            .chain(idle)
        {
            let left = match state.reserved.get(function) {
                // Switched off: its events are taken, to be buried at once.
                Some(0) => continue,
                Some(&reserved) => reserved.saturating_sub(running),
                None => limit
                    .saturating_sub(running)
                    .min(state.unreserved.saturating_sub(state.unreserved_running)),
            };
            match left {
                0 => room.full.push(function.clone()),
                left => room.events = room.events.min(left),
            }
        }
        state.wanted |= !room.full.is_empty();
        room
    }

    /// What is set aside for `function`.
    pub fn reserved(&self, function: &FunctionName) -> Option<u32> {
        self.lock().reserved.get(function).copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let wanted = {
            let mut state = self.admission.lock();
            if let Some(running) = state.running.get_mut(&self.function) {
                *running = running.saturating_sub(1);
            }
            if self.unreserved {
                state.unreserved_running = state.unreserved_running.saturating_sub(1);
            }
            std::mem::take(&mut state.wanted)
        };
        if wanted {
            self.admission.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reservations_are_guarantee_and_cap() {
        let name = |text| FunctionName::new(text).unwrap();
        let (kept, off, free) = (name("kept"), name("off"), name("free"));
        let admission = Admission::new(5, Arc::default());
        admission.reserve(&kept, Some(2));
        admission.reserve(&off, Some(0));
        let throttled = |function: &FunctionName| admission.try_acquire(function).err().map(ThrottleReason::as_str);

        let free_permits: Vec<_> = (0..3).map(|_| admission.try_acquire(&free).ok().unwrap()).collect();
        assert_eq!(
            throttled(&free),
            Some("ConcurrentInvocationLimitExceeded"),
            "the reservation is not for others"
        );
        let kept_permits: Vec<_> = (0..2).map(|_| admission.try_acquire(&kept).ok().unwrap()).collect();
        assert_eq!(
            throttled(&kept),
            Some("ReservedFunctionConcurrentInvocationLimitExceeded")
        );
        assert_eq!(
            throttled(&off),
            Some("ReservedFunctionConcurrentInvocationLimitExceeded")
        );
        assert_eq!(admission.running(&kept), 2);
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
            throttled(&kept),
            Some("ReservedFunctionConcurrentInvocationLimitExceeded"),
            "the cap holds though others rest"
        );
        drop(kept_permits);
        assert_eq!(throttled(&kept), None);
        assert_eq!(admission.running(&kept), 0);
    }
}

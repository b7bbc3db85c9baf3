//! Warm environments, kept for reuse.

mod floor;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hikigane_model::{CrashReason, FunctionName, InitKind, Invocation, Outcome, Qualifier, Report, TargetId, Usage};

pub use floor::Provisioning;

use crate::{
    Environment, EnvironmentSpec, Executor, Finished, Initialization, LogSink, ResponseSink, Reuse, StartError,
};
use floor::Floor;

/// A function whose invocations take less than this on average, and wait for nothing but the processor, is brief.
const BRIEF: Duration = Duration::from_millis(2);
/// How much work is sent ahead to one environment of a brief function, in time it will take: less than it takes to make another.
const AHEAD: Duration = Duration::from_millis(5);
/// How many invocations are sent ahead at most, however short they are.
const MOST_AHEAD: usize = 128;

/// Hands invocations to environments: the warm one that was used last, or a fresh one.
///
/// Invocations of a brief function are sent ahead to environments that are busy, once as many of them are busy as there are processors for
/// functions: others would only take the processor away from those, and to wake one more process costs more than such an invocation. How many
/// run at once is not decided here: that is admission, in the router.
pub struct Pool {
    executor: Arc<dyn Executor>,
    warm: Arc<Mutex<Warm>>,
    max_idle: usize,
    /// Environments of one brief function that are kept busy at once.
    lanes: usize,
}

/// The environments by what they run, and how many are idle in all.
#[derive(Default)]
struct Warm {
    by_key: HashMap<Key, Shelf>,
    idle: usize,
}

/// The environments of one function.
#[derive(Default)]
struct Shelf {
    /// Those that run nothing, the one used last at the end. Without the provisioned ones.
    idle: Vec<Idle>,
    /// Those that run something.
    busy: Vec<Busy>,
    /// The provisioned ones that run nothing, and how many there are to be.
    floor: Option<Floor>,
    /// What an invocation takes, on average over the last few; `None` before the first has ended.
    average: Option<Duration>,
    /// The function is no longer what these are of: none of them is kept.
    retired: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    function: FunctionName,
    version: Qualifier,
    revision: u64,
}

impl Key {
    fn of(spec: &EnvironmentSpec) -> Self {
        Self {
            function: spec.config.name.clone(),
            version: spec.version.clone(),
            revision: spec.revision,
        }
    }
}

struct Idle {
    environment: Arc<dyn Environment>,
    since: Instant,
}

struct Busy {
    environment: Arc<dyn Environment>,
    invocations: usize,
    provisioned: bool,
}

/// An environment for an invocation.
struct Taken {
    environment: Arc<dyn Environment>,
    /// What the function logged when it was initialised ahead of its first invocation, which is this one.
    log: String,
}

/// How many environments wait for reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStats {
    /// Warm environments of all functions.
    pub idle: usize,
}

impl Pool {
    /// A pool over `executor`: an environment idle for longer than `idle_timeout` is ended, and so is the one that
    /// waited longest when more than `max_idle` wait. Must be called inside a tokio runtime.
    pub fn new(executor: Arc<dyn Executor>, idle_timeout: Duration, max_idle: usize) -> Self {
        let warm: Arc<Mutex<Warm>> = Arc::default();
        let watched = Arc::downgrade(&warm);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval((idle_timeout / 4).max(Duration::from_millis(10)));
            loop {
                tick.tick().await;
                let Some(warm) = watched.upgrade() else { return };
                reclaim(&warm, |idle| {
                    let wanted = idle.since.elapsed() < idle_timeout || idle.environment.is_held();
                    wanted && idle.environment.is_alive()
                });
            }
        });
        // The server's own threads take the other half (see the composition root).
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            executor,
            warm,
            max_idle,
            lanes: processors.div_ceil(2),
        }
    }

    /// Runs one invocation to its end, in a warm environment or a fresh one. `response`: see [`Environment::invoke`].
    pub async fn run(
        &self,
        spec: &Arc<EnvironmentSpec>,
        invocation: &Invocation,
        logs: &mut LogSink,
        response: Option<&ResponseSink>,
    ) -> Result<Report, StartError> {
        let key = Key::of(spec);
        while let Some(Taken { environment, log }) = self.take(&key) {
            if !log.is_empty() {
                logs.line(&log);
            }
            let finished = self.invoke(&key, environment, spec, invocation, logs, response).await;
            if finished.reuse != Reuse::NotStarted {
                return Ok(report(finished, InitKind::Warm));
            }
        }
        let started = match self.executor.start(spec, Initialization::OnDemand, logs).await {
            Ok(started) => started,
            Err(error) => return not_started(error),
        };
        lock(&self.warm).begin(&key, started.environment.clone());
        let mut finished = self
            .invoke(&key, started.environment, spec, invocation, logs, response)
            .await;
        if finished.reuse == Reuse::NotStarted {
            finished.outcome = Outcome::Crashed(CrashReason::Signal(9));
        }
        Ok(report(finished, InitKind::Cold(started.init)))
    }

    /// Runs one invocation in an environment of its own, which waits until a debugger attaches to `target`, and is ended afterwards.
    pub async fn debug(
        &self,
        spec: &Arc<EnvironmentSpec>,
        invocation: &Invocation,
        target: &TargetId,
        logs: &mut LogSink,
    ) -> Result<Report, StartError> {
        let started = match self.executor.start_waiting(spec, target, logs).await {
            Ok(started) => started,
            Err(error) => return not_started(error),
        };
        let taken = std::mem::replace(logs, LogSink::new(None));
        let (finished, given_back) = started
            .environment
            .invoke(invocation, spec.config.timeout, taken, None)
            .await;
        *logs = given_back;
        Ok(report(finished, InitKind::Cold(started.init)))
    }

    /// Takes note that a function's versions are no longer those of `before` but those of `after`. Environments of what is not among them any more
    /// are ended, those that run something when they have: nothing will run in them again. What the executor keeps of a version that is gone is
    /// forgotten.
    pub fn replace(&self, before: &[&EnvironmentSpec], after: &[&EnvironmentSpec]) {
        let keys: Vec<Key> = after.iter().map(|spec| Key::of(spec)).collect();
        let mut gone = Vec::new();
        for old in before.iter().map(|spec| Key::of(spec)) {
            if !keys.contains(&old) {
                gone.append(&mut lock(&self.warm).retire(&old));
            }
            if !keys.iter().any(|new| new.version == old.version) {
                self.executor.forget(&old.function, &old.version);
            }
        }
        drop(gone);
    }

    /// How many environments wait.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            idle: lock(&self.warm).idle,
        }
    }

    /// A warm environment that is counted as busy from now on; `None`: a fresh one must be made.
    fn take(&self, key: &Key) -> Option<Taken> {
        let mut warm = lock(&self.warm);
        let shelf = warm.by_key.get_mut(key)?;
        if let Some(busy) = shelf.ahead(self.lanes) {
            busy.invocations += 1;
            return Some(Taken::warm(busy.environment.clone()));
        }
        if let Some(provisioned) = shelf.take_provisioned() {
            return Some(provisioned);
        }
        let place = shelf.idle.iter().rposition(|idle| idle.environment.is_open())?;
        let environment = shelf.idle.remove(place).environment;
        shelf.busy.push(Busy {
            environment: environment.clone(),
            invocations: 1,
            provisioned: false,
        });
        warm.idle -= 1;
        Some(Taken::warm(environment))
    }

    /// Runs the invocation, and puts the environment back when it was its last.
    async fn invoke(
        &self,
        key: &Key,
        environment: Arc<dyn Environment>,
        spec: &EnvironmentSpec,
        invocation: &Invocation,
        logs: &mut LogSink,
        response: Option<&ResponseSink>,
    ) -> Finished {
        let taken = std::mem::replace(logs, LogSink::new(None));
        let (finished, given_back) = environment
            .invoke(invocation, spec.config.timeout, taken, response)
            .await;
        *logs = given_back;
        let evicted = lock(&self.warm).end(key, environment, &finished, self.max_idle);
        drop(evicted);
        finished
    }
}

/// What comes of an environment that could not be made: a report, when it is the function's fault.
fn not_started(error: StartError) -> Result<Report, StartError> {
    let StartError::Function {
        outcome,
        init,
        max_memory_mb,
    } = error
    else {
        return Err(error);
    };
    let usage = Usage {
        duration: Duration::ZERO,
        init: InitKind::Cold(init),
        max_memory_mb,
    };
    Ok(Report { outcome, usage })
}

fn report(finished: Finished, init: InitKind) -> Report {
    let usage = Usage {
        duration: finished.duration,
        init,
        max_memory_mb: finished.max_memory_mb,
    };
    Report {
        outcome: finished.outcome,
        usage,
    }
}

impl Taken {
    fn warm(environment: Arc<dyn Environment>) -> Self {
        Self {
            environment,
            log: String::new(),
        }
    }
}

impl Shelf {
    /// The busy environment that an invocation can be sent ahead to, if the function is brief and its lanes are taken.
    fn ahead(&mut self, lanes: usize) -> Option<&mut Busy> {
        let average = self.average.filter(|average| *average < BRIEF)?;
        if self.busy.len() < lanes {
            return None;
        }
        let depth = (AHEAD.as_nanos() / average.as_nanos().max(1)).clamp(1, MOST_AHEAD as u128) as usize;
        self.busy
            .iter_mut()
            .filter(|busy| busy.invocations <= depth && busy.environment.is_open())
            .min_by_key(|busy| busy.invocations)
    }

    /// Takes note of an invocation's end.
    fn learn(&mut self, finished: &Finished) {
        let took = if finished.waited {
            // It left the processor to others: they need environments of their own.
            finished.duration.max(BRIEF * 8)
        } else {
            finished.duration
        };
        self.average = Some(self.average.map_or(took, |average| (average * 7 + took) / 8));
    }
}

impl Warm {
    /// A fresh environment is about to run its first invocation.
    fn begin(&mut self, key: &Key, environment: Arc<dyn Environment>) {
        let busy = Busy {
            environment,
            invocations: 1,
            provisioned: false,
        };
        match self.by_key.get_mut(key) {
            Some(shelf) => shelf.busy.push(busy),
            None => self.by_key.entry(key.clone()).or_default().busy.push(busy),
        }
    }

    /// An invocation has ended: the environment is kept, or let go. Returns one that must make room.
    fn end(
        &mut self,
        key: &Key,
        environment: Arc<dyn Environment>,
        finished: &Finished,
        max_idle: usize,
    ) -> Option<Arc<dyn Environment>> {
        let shelf = self.by_key.get_mut(key)?;
        if finished.reuse != Reuse::NotStarted {
            shelf.learn(finished);
        }
        let place = shelf
            .busy
            .iter()
            .position(|busy| Arc::ptr_eq(&busy.environment, &environment))?;
        shelf.busy[place].invocations -= 1;
        if shelf.busy[place].invocations > 0 {
            return None;
        }
        let Busy { provisioned, .. } = shelf.busy.swap_remove(place);
        if finished.reuse == Reuse::Dirty || !environment.is_alive() || shelf.retired {
            if provisioned {
                shelf.replace();
            }
            return Some(environment);
        }
        if provisioned {
            return shelf.provide(environment, String::new());
        }
        shelf.idle.push(Idle {
            environment,
            since: Instant::now(),
        });
        self.idle += 1;
        if self.idle > max_idle { self.take_oldest() } else { None }
    }

    /// Keeps no environment of this kind any more. Takes out the idle ones, which are to be dropped outside the lock.
    fn retire(&mut self, key: &Key) -> Vec<Idle> {
        let Some(shelf) = self.by_key.get_mut(key) else {
            return Vec::new();
        };
        shelf.retired = true;
        let idle = std::mem::take(&mut shelf.idle);
        self.idle -= idle.len();
        idle
    }

    /// Takes out the environment that has waited longest.
    fn take_oldest(&mut self) -> Option<Arc<dyn Environment>> {
        let shelves = self.by_key.values_mut().filter(|shelf| !shelf.idle.is_empty());
        let shelf = shelves.min_by_key(|shelf| shelf.idle[0].since)?;
        self.idle -= 1;
        Some(shelf.idle.remove(0).environment)
    }
}

/// Ends every idle environment that `keep` refuses. They are dropped outside the lock.
fn reclaim(warm: &Mutex<Warm>, keep: impl Fn(&Idle) -> bool) {
    let mut gone = Vec::new();
    {
        let mut warm = lock(warm);
        for shelf in warm.by_key.values_mut() {
            gone.extend(shelf.idle.extract_if(.., |idle| !keep(idle)));
        }
        warm.idle -= gone.len();
        warm.by_key
            .retain(|_, shelf| !shelf.busy.is_empty() || !shelf.idle.is_empty() || shelf.floor.is_some());
    }
    drop(gone);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

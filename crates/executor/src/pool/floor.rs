//! Provisioned environments: initialised ahead, kept however long they are idle, replaced when they die.
//!
//! A version with a floor has a task, its *keeper*, which makes what is missing. Everything else stays the pool's: a provisioned environment runs
//! invocations as every other does, only it is taken first and put back here.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use hikigane_model::{FunctionName, Qualifier};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::{Busy, Key, Pool, Shelf, Taken, Warm, lock};
use crate::{Environment, EnvironmentSpec, Executor, Initialization, LogSink, StartError, Started};

/// How many environments of one version are initialised at once: as many as may usefully wait for the network at the same time.
const AT_ONCE: usize = 8;
/// How often a keeper looks for environments that died while they were idle: those tell nobody.
const LOOK: Duration = Duration::from_secs(1);
/// The wait after an initialisation that failed; it doubles up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How far a version's provisioned environments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioning {
    /// As many are to be kept.
    pub wanted: u32,
    /// As many are initialised and alive, idle or not.
    pub ready: u32,
    /// The function's own initialisation failed when it was tried last; it is tried again.
    pub failed: bool,
}

/// What is kept of one version.
pub(super) struct Floor {
    spec: Arc<EnvironmentSpec>,
    wanted: usize,
    /// Those that run nothing.
    idle: Vec<Ready>,
    failed: bool,
    /// Told when something may be missing.
    changed: Arc<Notify>,
    keeper: AbortHandle,
}

/// A provisioned environment that runs nothing, and what the function logged while it was initialised, until an invocation has taken that along.
struct Ready {
    environment: Arc<dyn Environment>,
    log: String,
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Pool {
    /// Keeps as many initialised environments as said of each of these versions of `function`, and of its other versions none. Must be called inside
    /// a tokio runtime.
    pub fn provision(&self, function: &FunctionName, floors: &[(Arc<EnvironmentSpec>, u32)]) {
        let mut gone = Vec::new();
        let mut warm = lock(&self.warm);
        for (key, shelf) in &mut warm.by_key {
            let stays = |(spec, wanted): &(Arc<EnvironmentSpec>, u32)| *wanted > 0 && Key::of(spec) == *key;
            if key.function == *function && !floors.iter().any(stays) {
                gone.extend(shelf.floor.take());
            }
        }
        let mut surplus = Vec::new();
        for (spec, wanted) in floors.iter().filter(|(_, wanted)| *wanted > 0) {
            let key = Key::of(spec);
            let wanted = *wanted as usize;
            let shelf = warm.by_key.entry(key.clone()).or_default();
            match &mut shelf.floor {
                Some(floor) => {
                    floor.spec = spec.clone();
                    if floor.wanted != wanted || floor.failed {
                        floor.wanted = wanted;
                        floor.failed = false;
                        floor.changed.notify_one();
                    }
                    surplus.extend(shelf.take_surplus());
                }
                None => shelf.floor = Some(self.floor(key, spec.clone(), wanted)),
            }
        }
        drop(warm);
        // What these hold ends here, outside of the lock.
        drop((gone, surplus));
    }

    /// How far the provisioned environments of a version are; `None` when none are wanted.
    pub fn provisioning(&self, function: &FunctionName, version: &Qualifier) -> Option<Provisioning> {
        let warm = lock(&self.warm);
        let of_it = |key: &Key| key.function == *function && key.version == *version;
        let mut shelves = warm.by_key.iter().filter(|(key, _)| of_it(key));
        shelves.find_map(|(_, shelf)| {
            let floor = shelf.floor.as_ref()?;
            Some(Provisioning {
                wanted: u32::try_from(floor.wanted).unwrap_or(u32::MAX),
                ready: u32::try_from(shelf.provisioned()).unwrap_or(u32::MAX),
                failed: floor.failed,
            })
        })
    }

    fn floor(&self, key: Key, spec: Arc<EnvironmentSpec>, wanted: usize) -> Floor {
        let changed = Arc::new(Notify::new());
        let keeper = Keeper {
            key,
            warm: Arc::downgrade(&self.warm),
            executor: self.executor.clone(),
            changed: changed.clone(),
        };
        Floor {
            spec,
            wanted,
            idle: Vec::new(),
            failed: false,
            changed,
            keeper: tokio::spawn(keeper.keep()).abort_handle(),
        }
    }
}

impl Shelf {
    /// A provisioned environment for an invocation.
    pub(super) fn take_provisioned(&mut self) -> Option<Taken> {
        let floor = self.floor.as_mut()?;
        let place = floor.idle.iter().rposition(|ready| ready.environment.is_open())?;
        let Ready { environment, log } = floor.idle.remove(place);
        self.busy.push(Busy {
            environment: environment.clone(),
            invocations: 1,
            provisioned: true,
        });
        Some(Taken { environment, log })
    }

    /// Puts a provisioned environment where invocations find it. One that is not wanted any more comes back.
    pub(super) fn provide(&mut self, environment: Arc<dyn Environment>, log: String) -> Option<Arc<dyn Environment>> {
        let provisioned = self.provisioned();
        match &mut self.floor {
            Some(floor) if provisioned < floor.wanted => {
                floor.idle.push(Ready { environment, log });
                None
            }
            _ => Some(environment),
        }
    }

    /// Has one that died replaced.
    pub(super) fn replace(&self) {
        if let Some(floor) = &self.floor {
            floor.changed.notify_one();
        }
    }

    /// How many provisioned environments live.
    fn provisioned(&self) -> usize {
        let idle = self.floor.as_ref().map_or(0, |floor| {
            let alive = floor.idle.iter().filter(|ready| ready.environment.is_alive());
            alive.count()
        });
        let busy = self.busy.iter().filter(|busy| busy.provisioned);
        idle + busy.filter(|busy| busy.environment.is_alive()).count()
    }

    /// Idle ones beyond what is wanted, and those that are dead.
    fn take_surplus(&mut self) -> Vec<Ready> {
        let provisioned = self.provisioned();
        let Some(floor) = &mut self.floor else {
            return Vec::new();
        };
        let mut taken: Vec<Ready> = floor
            .idle
            .extract_if(.., |ready| !ready.environment.is_alive())
            .collect();
        let surplus = provisioned.saturating_sub(floor.wanted).min(floor.idle.len());
        taken.extend(floor.idle.drain(floor.idle.len() - surplus..));
        taken
    }
}

/// Makes what is missing of one version until its floor is gone.
struct Keeper {
    key: Key,
    /// Weak: the floor, which owns this task, is in there.
    warm: Weak<Mutex<Warm>>,
    executor: Arc<dyn Executor>,
    changed: Arc<Notify>,
}

impl Keeper {
    async fn keep(self) {
        let mut pause = PAUSE.0;
        while let Some((spec, missing)) = self.missing() {
            if missing == 0 {
                let _ = timeout(LOOK, self.changed.notified()).await;
            } else if self.make(&spec, missing.min(AT_ONCE)).await {
                pause = PAUSE.0;
            } else {
                // Whoever changes something wants to see at once whether it helped.
                let _ = timeout(pause, self.changed.notified()).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// How many are missing; `None` when none are wanted any more.
    fn missing(&self) -> Option<(Arc<EnvironmentSpec>, usize)> {
        let warm = self.warm.upgrade()?;
        let mut warm = lock(&warm);
        let shelf = warm.by_key.get_mut(&self.key)?;
        let dead = shelf.take_surplus();
        let provisioned = shelf.provisioned();
        let floor = shelf.floor.as_ref()?;
        let missing = (floor.spec.clone(), floor.wanted.saturating_sub(provisioned));
        drop(warm);
        drop(dead);
        Some(missing)
    }

    /// Makes some; whether all went well.
    async fn make(&self, spec: &Arc<EnvironmentSpec>, many: usize) -> bool {
        let mut starts = JoinSet::new();
        for _ in 0..many {
            let (executor, spec) = (self.executor.clone(), spec.clone());
            starts.spawn(async move {
                let mut logs = LogSink::new(None);
                let started = executor.start(&spec, Initialization::Provisioned, &mut logs).await;
                (started, logs.into_text())
            });
        }
        let (mut well, mut failed) = (true, false);
        while let Some(ended) = starts.join_next().await {
            match ended {
                Ok((Ok(started), log)) => self.provide(started, log),
                Ok((Err(error), _)) => {
                    well = false;
                    failed |= matches!(error, StartError::Function { .. });
                }
                Err(_) => well = false,
            }
        }
        if let Some(warm) = self.warm.upgrade()
            && let Some(floor) = lock(&warm)
                .by_key
                .get_mut(&self.key)
                .and_then(|shelf| shelf.floor.as_mut())
        {
            floor.failed = failed;
        }
        well
    }

    fn provide(&self, started: Started, log: String) {
        let refused = self.warm.upgrade().and_then(|warm| {
            let mut warm = lock(&warm);
            match warm.by_key.get_mut(&self.key) {
                Some(shelf) => shelf.provide(started.environment, log),
                None => Some(started.environment),
            }
        });
        drop(refused);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::tests::{Scripted, run, spec, told};
    use super::*;

    fn pool() -> (Pool, Arc<Scripted>) {
        let executor = Arc::new(Scripted::default());
        (Pool::new(executor.clone(), Duration::from_millis(20), 8), executor)
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let waited = timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}");
    }

    fn ready(pool: &Pool, name: &str) -> Option<(u32, u32, bool)> {
        let told = pool.provisioning(&FunctionName::new(name).unwrap(), &Qualifier::Latest)?;
        Some((told.wanted, told.ready, told.failed))
    }

    #[tokio::test]
    async fn provisioned_environments_are_made_ahead_and_serve_first_and_stay() {
        let (pool, executor) = pool();
        let f = spec("f", 1);
        pool.provision(&f.config.name, &[(f.clone(), 2)]);
        until("two environments", || ready(&pool, "f") == Some((2, 2, false))).await;
        assert_eq!(executor.made(), 2);
        for _ in 0..4 {
            let answer = run(&pool, &f, "waits").await;
            assert_eq!(answer, told(2, false), "the one that was used last");
        }
        // The third at once is on demand, and the only one that ends when nobody needs it.
        futures_util::future::join_all((0..3).map(|_| run(&pool, &f, "slow"))).await;
        assert_eq!(executor.made(), 3);
        until("the third to end", || executor.alive() == 2).await;
        assert_eq!(ready(&pool, "f"), Some((2, 2, false)));
        assert_eq!(executor.provisioned(), 2);
    }

    #[tokio::test]
    async fn one_that_dies_is_replaced_whether_it_was_busy_or_idle() {
        let (pool, executor) = pool();
        let f = spec("f", 1);
        pool.provision(&f.config.name, &[(f.clone(), 1)]);
        until("an environment", || ready(&pool, "f") == Some((1, 1, false))).await;
        assert_eq!(run(&pool, &f, "dirty").await, told(1, false));
        until("its replacement", || {
            executor.made() == 2 && ready(&pool, "f") == Some((1, 1, false))
        })
        .await;
        executor.kill(2);
        until("a replacement of the idle one", || {
            executor.made() == 3 && ready(&pool, "f") == Some((1, 1, false))
        })
        .await;
        assert_eq!((executor.alive(), run(&pool, &f, "x").await), (1, told(3, false)));
    }

    #[tokio::test]
    async fn what_is_not_wanted_any_more_ends_at_once() {
        let (pool, executor) = pool();
        let (f, g) = (spec("f", 1), spec("f", 2));
        pool.provision(&f.config.name, &[(f.clone(), 3)]);
        until("three", || executor.alive() == 3).await;
        pool.provision(&f.config.name, &[(f.clone(), 1)]);
        assert_eq!((executor.alive(), ready(&pool, "f")), (1, Some((1, 1, false))));
        pool.provision(&f.config.name, &[(g.clone(), 2)]);
        until("two of the other revision", || ready(&pool, "f") == Some((2, 2, false))).await;
        assert_eq!((executor.alive(), executor.made()), (2, 5));

        // One that is busy meanwhile ends after its invocation.
        let busy = run(&pool, &g, "slow");
        let stop = async {
            until("it to run", || executor.busy() == 1).await;
            pool.provision(&f.config.name, &[]);
        };
        let (answer, ()) = tokio::join!(busy, stop);
        assert_eq!(answer, told(5, false));
        until("nothing", || executor.alive() == 0).await;
        assert_eq!(ready(&pool, "f"), None);
        drop(pool);
        assert_eq!(Arc::strong_count(&executor), 1, "no keeper outlives the pool");
    }

    #[tokio::test]
    async fn an_initialisation_that_fails_is_told_and_tried_again() {
        let (pool, executor) = pool();
        let f = spec("f", 1);
        executor.fail(true);
        pool.provision(&f.config.name, &[(f.clone(), 1)]);
        until("a failure", || ready(&pool, "f") == Some((1, 0, true))).await;
        executor.fail(false);
        until("a success by itself", || ready(&pool, "f") == Some((1, 1, false))).await;

        executor.fail(true);
        pool.provision(&f.config.name, &[(f.clone(), 2)]);
        until("a failure of the second", || ready(&pool, "f") == Some((2, 1, true))).await;
        executor.fail(false);
        pool.provision(&f.config.name, &[(f.clone(), 2)]);
        assert_eq!(ready(&pool, "f"), Some((2, 1, false)), "it is asked for again");
        until("a success", || ready(&pool, "f") == Some((2, 2, false))).await;
    }

    #[tokio::test]
    async fn what_was_logged_ahead_comes_with_the_first_invocation() {
        let (pool, _executor) = pool();
        let f = spec("f", 1);
        pool.provision(&f.config.name, &[(f.clone(), 1)]);
        until("an environment", || ready(&pool, "f") == Some((1, 1, false))).await;
        let mut logs = Vec::new();
        for _ in 0..2 {
            let mut sink = LogSink::new(None);
            let invocation = super::super::tests::invocation("x");
            pool.run(&f, &invocation, &mut sink, None).await.unwrap();
            logs.push(sink.into_text());
        }
        assert_eq!(logs, ["initialised 1\n", ""]);
    }
}

//! Warm environments, kept for reuse.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hikigane_model::{FunctionName, InitKind, Invocation, Outcome, Qualifier, Report, Usage};

use crate::{Environment, EnvironmentSpec, Executor, Finished, LogSink, Reuse, StartError};

/// Hands invocations to environments: the warm one that was used last, or a fresh one.
///
/// How many run at once is not decided here: that is admission, in the router.
pub struct Pool {
    executor: Arc<dyn Executor>,
    warm: Arc<Mutex<Warm>>,
    max_idle: usize,
}

/// The idle environments by what they run, those used last at the end, and how many there are in all.
#[derive(Default)]
struct Warm {
    by_key: HashMap<Key, Vec<Idle>>,
    idle: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    function: FunctionName,
    version: Qualifier,
    revision: u64,
}

struct Idle {
    environment: Box<dyn Environment>,
    since: Instant,
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
                reclaim(&warm, |idle| idle.since.elapsed() < idle_timeout);
            }
        });
        Self {
            executor,
            warm,
            max_idle,
        }
    }

    /// Runs one invocation to its end, in a warm environment or a fresh one.
    pub async fn run(
        &self,
        spec: &Arc<EnvironmentSpec>,
        invocation: &Invocation,
        logs: &mut LogSink,
    ) -> Result<Report, StartError> {
        let key = Key {
            function: spec.config.name.clone(),
            version: spec.version.clone(),
            revision: spec.revision,
        };
        while let Some(mut idle) = self.take(&key) {
            let finished = idle.environment.invoke(invocation, spec.config.timeout, logs).await;
            if finished.reuse != Reuse::NotStarted {
                return Ok(self.end(key, idle.environment, finished, InitKind::Warm));
            }
        }
        let mut started = match self.executor.start(spec, logs).await {
            Ok(started) => started,
            Err(StartError::Function {
                outcome,
                init,
                max_memory_mb,
            }) => {
                let usage = Usage {
                    duration: Duration::ZERO,
                    init: InitKind::Cold(init),
                    max_memory_mb,
                };
                return Ok(Report { outcome, usage });
            }
            Err(host) => return Err(host),
        };
        let mut finished = started.environment.invoke(invocation, spec.config.timeout, logs).await;
        if finished.reuse == Reuse::NotStarted {
            finished.outcome = Outcome::Crashed(hikigane_model::CrashReason::Signal(9));
        }
        Ok(self.end(key, started.environment, finished, InitKind::Cold(started.init)))
    }

    /// How many environments wait.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            idle: lock(&self.warm).idle,
        }
    }

    fn take(&self, key: &Key) -> Option<Idle> {
        let mut warm = lock(&self.warm);
        let idle = warm.by_key.get_mut(key)?.pop()?;
        warm.idle -= 1;
        Some(idle)
    }

    fn end(&self, key: Key, environment: Box<dyn Environment>, finished: Finished, init: InitKind) -> Report {
        if finished.reuse == Reuse::Clean {
            self.put(key, environment);
        }
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

    fn put(&self, key: Key, environment: Box<dyn Environment>) {
        let evicted = {
            let mut warm = lock(&self.warm);
            warm.by_key.entry(key).or_default().push(Idle {
                environment,
                since: Instant::now(),
            });
            warm.idle += 1;
            if warm.idle > self.max_idle {
                warm.take_oldest()
            } else {
                None
            }
        };
        drop(evicted);
    }
}

impl Warm {
    /// Takes out the environment that has waited longest.
    fn take_oldest(&mut self) -> Option<Idle> {
        let idle = self
            .by_key
            .values_mut()
            .filter(|idle| !idle.is_empty())
            .min_by_key(|idle| idle[0].since)?;
        self.idle -= 1;
        Some(idle.remove(0))
    }
}

/// Ends every idle environment that `keep` refuses. They are dropped outside the lock.
fn reclaim(warm: &Mutex<Warm>, keep: impl Fn(&Idle) -> bool) {
    let mut gone = Vec::new();
    {
        let mut warm = lock(warm);
        for idle in warm.by_key.values_mut() {
            gone.extend(idle.extract_if(.., |idle| !keep(idle)));
        }
        warm.idle -= gone.len();
        warm.by_key.retain(|_, idle| !idle.is_empty());
    }
    drop(gone);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

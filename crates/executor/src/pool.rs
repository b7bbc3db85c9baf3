//! Warm environments, kept for reuse.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use hikigane_model::{FunctionName, InitKind, Invocation, Outcome, Qualifier, Report, Usage};

use crate::{Environment, EnvironmentSpec, Executor, Finished, LogSink, Reuse, StartError};

/// A function whose invocations take less than this on average is worth a wait: its next environment is free in a moment.
const SHORT: Duration = Duration::from_millis(3);
/// How long that wait may be.
const MOMENT: Duration = Duration::from_millis(2);

/// Hands invocations to environments: the warm one that was used last, or a fresh one.
///
/// When as many environments of a function are busy as there are processors, and its invocations are short, the next one waits for a
/// moment for one of them: the processors have no time for more, and to wake another process costs more than such an
/// invocation. How many run at once is not decided here: that is admission, in the router.
pub struct Pool {
    executor: Arc<dyn Executor>,
    warm: Arc<Mutex<Warm>>,
    max_idle: usize,
    processors: usize,
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
    /// Those that wait, the one used last at the end.
    idle: Vec<Idle>,
    /// How many run.
    busy: usize,
    /// Invocations that wait for one of those.
    waiting: VecDeque<oneshot::Sender<Box<dyn Environment>>>,
    /// What an invocation takes, on average over the last few.
    average: Duration,
}

/// Where the next environment comes from.
enum Next {
    Idle(Box<dyn Environment>),
    Soon(oneshot::Receiver<Box<dyn Environment>>),
    Fresh,
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
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            executor,
            warm,
            max_idle,
            processors,
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
        let _busy = Busy::new(&self.warm, &key);
        while let Some(mut environment) = self.next(&key).await {
            let finished = environment.invoke(invocation, spec.config.timeout, logs).await;
            if finished.reuse != Reuse::NotStarted {
                return Ok(self.end(key, environment, finished, InitKind::Warm));
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

    /// A warm environment, now or in a moment; `None`: a fresh one must be made.
    async fn next(&self, key: &Key) -> Option<Box<dyn Environment>> {
        match self.choose(key) {
            Next::Idle(environment) => Some(environment),
            Next::Fresh => None,
            Next::Soon(mut soon) => match tokio::time::timeout(MOMENT, &mut soon).await {
                Ok(environment) => environment.ok(),
                Err(_) => {
                    soon.close();
                    soon.try_recv().ok().or_else(|| self.take_idle(key))
                }
            },
        }
    }

    fn choose(&self, key: &Key) -> Next {
        let mut warm = lock(&self.warm);
        let Some(shelf) = warm.by_key.get_mut(key) else {
            return Next::Fresh;
        };
        // One of the busy is the invocation that asks.
        if shelf.busy > self.processors && shelf.average < SHORT {
            let (sender, soon) = oneshot::channel();
            shelf.waiting.push_back(sender);
            return Next::Soon(soon);
        }
        drop(warm);
        self.take_idle(key).map_or(Next::Fresh, Next::Idle)
    }

    fn take_idle(&self, key: &Key) -> Option<Box<dyn Environment>> {
        let mut warm = lock(&self.warm);
        let idle = warm.by_key.get_mut(key)?.idle.pop()?;
        warm.idle -= 1;
        Some(idle.environment)
    }

    fn end(&self, key: Key, environment: Box<dyn Environment>, finished: Finished, init: InitKind) -> Report {
        if finished.reuse == Reuse::Clean {
            self.put(key, environment, finished.duration);
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

    /// Hands an environment to whoever waits for it, or keeps it.
    fn put(&self, key: Key, mut environment: Box<dyn Environment>, took: Duration) {
        let evicted = {
            let mut warm = lock(&self.warm);
            let shelf = warm.by_key.entry(key).or_default();
            shelf.average = (shelf.average * 7 + took) / 8;
            while let Some(waiting) = shelf.waiting.pop_front() {
                match waiting.send(environment) {
                    Ok(()) => return,
                    // It waited in vain and went elsewhere.
                    Err(back) => environment = back,
                }
            }
            shelf.idle.push(Idle {
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

/// Counts one invocation of a function as running, until it is dropped.
struct Busy<'a> {
    warm: &'a Mutex<Warm>,
    key: Key,
}

impl<'a> Busy<'a> {
    fn new(warm: &'a Mutex<Warm>, key: &Key) -> Self {
        let mut guard = lock(warm);
        match guard.by_key.get_mut(key) {
            Some(shelf) => shelf.busy += 1,
            None => guard.by_key.entry(key.clone()).or_default().busy = 1,
        }
        Self { warm, key: key.clone() }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(shelf) = lock(self.warm).by_key.get_mut(&self.key) {
            shelf.busy -= 1;
        }
    }
}

impl Warm {
    /// Takes out the environment that has waited longest.
    fn take_oldest(&mut self) -> Option<Idle> {
        let shelves = self.by_key.values_mut().filter(|shelf| !shelf.idle.is_empty());
        let shelf = shelves.min_by_key(|shelf| shelf.idle[0].since)?;
        self.idle -= 1;
        Some(shelf.idle.remove(0))
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
        warm.by_key.retain(|_, shelf| shelf.busy > 0 || !shelf.idle.is_empty());
    }
    drop(gone);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::Started;
    use async_trait::async_trait;
    use bytes::Bytes;
    use hikigane_model::{Allow, AsyncConfig, FunctionConfig, LogFormat, RequestId};

    /// Makes environments that do as the payload says, and counts those that live.
    #[derive(Default)]
    struct Scripted {
        made: Mutex<u32>,
        alive: Arc<Mutex<i32>>,
    }

    struct Actor {
        number: u32,
        alive: Arc<Mutex<i32>>,
    }

    #[async_trait]
    impl Executor for Scripted {
        async fn start(&self, _: &Arc<EnvironmentSpec>, _: &mut LogSink) -> Result<Started, StartError> {
            *lock(&self.made) += 1;
            *lock(&self.alive) += 1;
            let environment = Actor {
                number: *lock(&self.made),
                alive: self.alive.clone(),
            };
            Ok(Started {
                environment: Box::new(environment),
                init: Duration::from_millis(7),
            })
        }
    }

    #[async_trait]
    impl Environment for Actor {
        async fn invoke(&mut self, invocation: &Invocation, _: Duration, _: &mut LogSink) -> Finished {
            let reuse = match invocation.payload.as_ref() {
                b"dirty" => Reuse::Dirty,
                b"found dead" if self.number == 1 => Reuse::NotStarted,
                b"slow" => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Reuse::Clean
                }
                _ => {
                    tokio::task::yield_now().await;
                    Reuse::Clean
                }
            };
            let duration = if invocation.payload == "slow" {
                Duration::from_millis(50)
            } else {
                Duration::from_micros(5)
            };
            let outcome = Outcome::Returned(Bytes::from(self.number.to_string()));
            Finished {
                outcome,
                duration,
                max_memory_mb: 1,
                reuse,
            }
        }
    }

    impl Drop for Actor {
        fn drop(&mut self) {
            *lock(&self.alive) -= 1;
        }
    }

    fn spec(name: &str, revision: u64) -> Arc<EnvironmentSpec> {
        let config = FunctionConfig {
            name: FunctionName::new(name).unwrap(),
            description: String::new(),
            code: "/f.mjs".into(),
            layers: Vec::new(),
            handler: "f.handler".into(),
            runtime: "nodejs22.x".into(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            env: Default::default(),
            allow: Allow::default(),
            reserved_concurrency: None,
            asynchronous: AsyncConfig::default(),
            log_format: LogFormat::Text,
        };
        Arc::new(EnvironmentSpec {
            config: Arc::new(config),
            version: Qualifier::Latest,
            revision,
        })
    }

    /// Which environment ran it, and whether that was a cold start.
    async fn run(pool: &Pool, spec: &Arc<EnvironmentSpec>, payload: &'static str) -> (String, bool) {
        let invocation = Invocation {
            request_id: RequestId::from_text("r"),
            payload: Bytes::from_static(payload.as_bytes()),
            invoked_arn: String::new(),
            client_context: None,
            trace: None,
        };
        let report = pool.run(spec, &invocation, &mut LogSink::new(None)).await.unwrap();
        let Outcome::Returned(number) = report.outcome else {
            panic!("{:?}", report.outcome)
        };
        (
            String::from_utf8(number.to_vec()).unwrap(),
            report.usage.init != InitKind::Warm,
        )
    }

    fn pool(max_idle: usize) -> (Pool, Arc<Mutex<i32>>) {
        let executor = Scripted::default();
        let alive = executor.alive.clone();
        (Pool::new(Arc::new(executor), Duration::from_secs(60), max_idle), alive)
    }

    fn told(number: u32, cold: bool) -> (String, bool) {
        (number.to_string(), cold)
    }

    #[tokio::test]
    async fn a_clean_environment_is_reused_by_its_own_function_and_revision_only() {
        let (pool, _) = pool(8);
        assert_eq!(run(&pool, &spec("f", 1), "x").await, told(1, true));
        assert_eq!(run(&pool, &spec("f", 1), "x").await, told(1, false));
        assert_eq!(run(&pool, &spec("g", 1), "x").await, told(2, true));
        assert_eq!(
            run(&pool, &spec("f", 2), "x").await,
            told(3, true),
            "old code must not serve a new revision"
        );
        assert_eq!(run(&pool, &spec("f", 1), "x").await, told(1, false));
        assert_eq!(pool.stats(), PoolStats { idle: 3 });
    }

    #[tokio::test]
    async fn a_dirty_environment_is_ended_and_one_found_dead_costs_nothing_but_itself() {
        let (pool, alive) = pool(8);
        assert_eq!(run(&pool, &spec("f", 1), "x").await, told(1, true));
        assert_eq!(
            run(&pool, &spec("f", 1), "found dead").await,
            told(2, true),
            "it ran elsewhere, once"
        );
        assert_eq!(run(&pool, &spec("f", 1), "dirty").await, told(2, false));
        assert_eq!((pool.stats(), *lock(&alive)), (PoolStats { idle: 0 }, 0));
    }

    #[tokio::test]
    async fn no_more_wait_than_may_and_none_for_ever() {
        let (pool, alive) = pool(2);
        for name in ["a", "b", "c"] {
            run(&pool, &spec(name, 1), "x").await;
        }
        assert_eq!((pool.stats(), *lock(&alive)), (PoolStats { idle: 2 }, 2));
        assert_eq!(
            run(&pool, &spec("a", 1), "x").await,
            told(4, true),
            "the one that waited longest was ended"
        );

        let old = Pool::new(Arc::new(Scripted::default()), Duration::from_millis(20), 8);
        run(&old, &spec("f", 1), "x").await;
        tokio::time::timeout(Duration::from_secs(10), async {
            while old.stats().idle > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn slow_invocations_run_side_by_side_and_short_ones_share() {
        let (pool, alive) = pool(64);
        let f = spec("f", 1);
        // The first ones tell how long it takes.
        for _ in 0..4 {
            run(&pool, &f, "slow").await;
        }
        let many = || futures_util::future::join_all((0..12).map(|_| run(&pool, &f, "slow")));
        many().await;
        assert_eq!(*lock(&alive), 12, "each has an environment of its own");

        let g = spec("g", 1);
        run(&pool, &g, "x").await;
        futures_util::future::join_all((0..100).map(|_| run(&pool, &g, "x"))).await;
        let short = *lock(&alive) - 12;
        assert!(short < 50, "{short} environments for 100 short invocations");
    }
}

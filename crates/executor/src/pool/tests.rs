#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::Started;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hikigane_model::{Allow, AsyncConfig, FunctionConfig, LogFormat, RequestId};

/// Makes environments that do as the payload says, and counts those that live.
#[derive(Default)]
pub struct Scripted {
    made: Mutex<u32>,
    provisioned: Mutex<u32>,
    alive: Arc<Mutex<i32>>,
    forgotten: Mutex<Vec<String>>,
    busy: Arc<Mutex<i32>>,
    fails: AtomicBool,
    /// By number.
    dead: Mutex<HashMap<u32, Arc<AtomicBool>>>,
}

impl Scripted {
    pub fn made(&self) -> u32 {
        *lock(&self.made)
    }

    pub fn provisioned(&self) -> u32 {
        *lock(&self.provisioned)
    }

    pub fn alive(&self) -> i32 {
        *lock(&self.alive)
    }

    /// How many run something.
    pub fn busy(&self) -> i32 {
        *lock(&self.busy)
    }

    /// From now on functions cannot be initialised, or can again.
    pub fn fail(&self, fails: bool) {
        self.fails.store(fails, Relaxed);
    }

    /// Lets an environment die, by its number.
    pub fn kill(&self, number: u32) {
        lock(&self.dead)[&number].store(true, Relaxed);
    }
}

struct Actor {
    number: u32,
    alive: Arc<Mutex<i32>>,
    busy: Arc<Mutex<i32>>,
    turn: tokio::sync::Mutex<()>,
    dead: Arc<AtomicBool>,
    held: AtomicBool,
}

#[async_trait]
impl Executor for Scripted {
    async fn start(
        &self,
        _: &Arc<EnvironmentSpec>,
        initialization: Initialization,
        logs: &mut LogSink,
    ) -> Result<Started, StartError> {
        if self.fails.load(Relaxed) {
            return Err(StartError::function("Runtime.ImportModuleError", "scripted"));
        }
        let mut made = lock(&self.made);
        *made += 1;
        *lock(&self.alive) += 1;
        if initialization == Initialization::Provisioned {
            *lock(&self.provisioned) += 1;
            logs.line(&format!("initialised {made}"));
        }
        let dead = Arc::new(AtomicBool::new(false));
        lock(&self.dead).insert(*made, dead.clone());
        let environment = Actor {
            number: *made,
            alive: self.alive.clone(),
            busy: self.busy.clone(),
            turn: tokio::sync::Mutex::default(),
            dead,
            held: AtomicBool::default(),
        };
        Ok(Started {
            environment: Arc::new(environment),
            init: Duration::from_millis(7),
        })
    }

    async fn start_waiting(
        &self,
        spec: &Arc<EnvironmentSpec>,
        _: &TargetId,
        logs: &mut LogSink,
    ) -> Result<Started, StartError> {
        self.start(spec, Initialization::OnDemand, logs).await
    }

    fn forget(&self, function: &FunctionName, version: &Qualifier) {
        lock(&self.forgotten).push(format!("{function}:{version}"));
    }
}

#[async_trait]
impl Environment for Actor {
    async fn invoke(
        &self,
        invocation: &Invocation,
        _: Duration,
        logs: LogSink,
        _: Option<&ResponseSink>,
    ) -> (Finished, LogSink) {
        let _turn = self.turn.lock().await;
        *lock(&self.busy) += 1;
        let mut duration = Duration::from_micros(50);
        let reuse = match invocation.payload.as_ref() {
            b"dirty" => Reuse::Dirty,
            b"held" => {
                self.held.store(true, std::sync::atomic::Ordering::Relaxed);
                Reuse::Clean
            }
            b"found dead" if self.number == 1 => Reuse::NotStarted,
            b"slow" => {
                duration = Duration::from_millis(50);
                tokio::time::sleep(duration).await;
                Reuse::Clean
            }
            _ => {
                tokio::task::yield_now().await;
                Reuse::Clean
            }
        };
        if reuse != Reuse::Clean {
            self.dead.store(true, Relaxed);
        }
        *lock(&self.busy) -= 1;
        let finished = Finished {
            outcome: Outcome::Returned(Bytes::from(self.number.to_string())),
            duration,
            waited: invocation.payload == "waits",
            max_memory_mb: 1,
            reuse,
        };
        (finished, logs)
    }

    fn is_open(&self) -> bool {
        self.is_alive()
    }

    fn is_alive(&self) -> bool {
        !self.dead.load(Relaxed)
    }

    fn is_held(&self) -> bool {
        self.held.load(Relaxed)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        *lock(&self.alive) -= 1;
    }
}

pub fn spec(name: &str, revision: u64) -> Arc<EnvironmentSpec> {
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
        provisioned_concurrency: None,
        asynchronous: AsyncConfig::default(),
        log_format: LogFormat::Text,
        log_level: None,
    };
    Arc::new(EnvironmentSpec {
        config: Arc::new(config),
        version: Qualifier::Latest,
        revision,
        pin: Arc::new(()),
    })
}

/// Which environment ran it, and whether that was a cold start.
pub async fn run(pool: &Pool, spec: &Arc<EnvironmentSpec>, payload: &'static str) -> (String, bool) {
    let report = pool
        .run(spec, &invocation(payload), &mut LogSink::new(None), None)
        .await
        .unwrap();
    let Outcome::Returned(number) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    (
        String::from_utf8(number.to_vec()).unwrap(),
        report.usage.init != InitKind::Warm,
    )
}

pub fn invocation(payload: &'static str) -> Invocation {
    Invocation {
        request_id: RequestId::from_text("r"),
        payload: Bytes::from_static(payload.as_bytes()),
        invoked_arn: String::new(),
        client_context: None,
        trace: None,
        tenant_id: None,
    }
}

fn pool(max_idle: usize) -> (Pool, Arc<Mutex<i32>>) {
    let executor = Scripted::default();
    let alive = executor.alive.clone();
    (Pool::new(Arc::new(executor), Duration::from_secs(60), max_idle), alive)
}

pub fn told(number: u32, cold: bool) -> (String, bool) {
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
async fn environments_that_nothing_will_run_in_again_are_ended() {
    let executor = Arc::new(Scripted::default());
    let alive = executor.alive.clone();
    let pool = Pool::new(executor.clone(), Duration::from_secs(60), 8);
    let (old, new) = (spec("f", 1), spec("f", 2));
    for spec in [&old, &new, &spec("g", 1)] {
        run(&pool, spec, "x").await;
    }
    pool.replace(&[&old], &[&new]);
    assert_eq!((pool.stats(), *lock(&alive)), (PoolStats { idle: 2 }, 2));
    assert_eq!(run(&pool, &new, "x").await, told(2, false), "the new one goes on");
    assert!(lock(&executor.forgotten).is_empty(), "the version is still there");
    let slow = run(&pool, &new, "slow");
    let replace = async { pool.replace(&[&new], &[]) };
    let (served, ()) = tokio::join!(slow, replace);
    assert_eq!(served, told(2, false), "what runs may end");
    assert_eq!((pool.stats(), *lock(&alive)), (PoolStats { idle: 1 }, 1));
    assert_eq!(*lock(&executor.forgotten), ["f:$LATEST"]);
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
async fn one_that_a_debugger_holds_outlives_its_time() {
    let pool = Pool::new(Arc::new(Scripted::default()), Duration::from_millis(20), 8);
    run(&pool, &spec("f", 1), "held").await;
    run(&pool, &spec("g", 1), "x").await;
    // The other's end says that idle ones have been looked at.
    while pool.stats().idle > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(run(&pool, &spec("f", 1), "x").await, told(1, false));
}

#[tokio::test]
async fn an_invocation_to_be_debugged_has_an_environment_of_its_own_which_ends_with_it() {
    let (pool, alive) = pool(8);
    let f = spec("f", 1);
    run(&pool, &f, "x").await;
    let mut logs = LogSink::new(None);
    let report = pool.debug(&f, &invocation("x"), &TargetId::random(), &mut logs).await;
    assert_eq!(report.unwrap().outcome, Outcome::Returned(Bytes::from("2")));
    assert_eq!((pool.stats(), *lock(&alive)), (PoolStats { idle: 1 }, 1));
}

#[tokio::test]
async fn brief_invocations_are_sent_ahead_and_others_run_side_by_side() {
    for (payload, side_by_side) in [("x", false), ("waits", true), ("slow", true)] {
        let (pool, alive) = pool(64);
        let f = spec("f", 1);
        // The first one tells how long it takes.
        run(&pool, &f, payload).await;
        futures_util::future::join_all((0..12).map(|_| run(&pool, &f, payload))).await;
        let made = *lock(&alive);
        if side_by_side {
            assert_eq!(made, 12, "{payload}: each has an environment of its own");
        } else {
            assert!(made <= pool.lanes as i32, "{payload}: {made} environments");
        }
        assert_eq!(pool.stats(), PoolStats { idle: made as usize });
    }
}

#[tokio::test]
async fn a_burst_for_a_function_nobody_knows_yet_starts_side_by_side() {
    let (pool, alive) = pool(64);
    let f = spec("f", 1);
    futures_util::future::join_all((0..12).map(|_| run(&pool, &f, "slow"))).await;
    assert_eq!(*lock(&alive), 12);
}

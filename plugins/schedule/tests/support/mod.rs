//! A router and a store in memory, and a server's life around the plug-in.

// Each test binary uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hikigane_trigger::model::{BindingId, Event, RequestId, StateWrite};
use hikigane_trigger::{
    Accepted, BindingSpec, CallError, CancellationToken, Clock, Context, EmitError, EventSink, Ingress, PluginState,
    Reply, SourceSpec, StateError, StateStore, TriggerPlugin, async_trait,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Runs a test of this program by its name where nobody reads what is said on standard error.
pub fn run_unheard(test: &str) {
    let (reader, unread) = std::io::pipe().unwrap();
    drop(reader);
    let run = Command::new(std::env::current_exe().unwrap())
        // What is not captured is said.
        .args([test, "--exact", "--nocapture"])
        .stderr(unread)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

pub fn binding(id: &str, config: Value) -> BindingSpec {
    BindingSpec {
        id: BindingId::from_text(id),
        config,
        invoke: None,
    }
}

/// What the source did about a slot.
#[derive(Debug, Clone)]
pub enum Record {
    Event {
        binding: String,
        event: Event,
    },
    Skip {
        binding: String,
        time: DateTime<Utc>,
        reason: String,
    },
}

impl Record {
    /// `function/name 12:00:00Z run`, or `run beside` others of the binding, or `skip` and why.
    pub fn line(&self) -> String {
        let text = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
        match self {
            Self::Event { binding, event } => match &event.group {
                None => format!("{binding} {} run beside", text(&event.time)),
                Some(group) => {
                    assert_eq!(group, binding);
                    format!("{binding} {} run", text(&event.time))
                }
            },
            Self::Skip { binding, time, reason } => format!("{binding} {} skip: {reason}", text(time)),
        }
    }
}

/// The durable world: what survives a restart. State and record change together or not at all.
#[derive(Default)]
pub struct World {
    pub records: Vec<Record>,
    pub state: BTreeMap<String, Vec<u8>>,
    pub pending: u64,
    /// Attempts that fail, counted down, and why.
    pub failures: (u32, Option<EmitError>),
    /// Records that are made before attempts begin to fail.
    pub fail_from: usize,
    /// Attempts that failed.
    pub failed: u32,
    /// Whether the bindings' filter refuses every event.
    pub filtering: bool,
}

impl World {
    fn fail(&mut self) -> Result<(), EmitError> {
        match &self.failures {
            (left, Some(error)) if *left > 0 && self.records.len() >= self.fail_from => {
                let error = error.clone();
                self.failures.0 -= 1;
                self.failed += 1;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, state: Vec<StateWrite>) {
        for write in state {
            match write.value {
                Some(value) => self.state.insert(write.key, value),
                None => self.state.remove(&write.key),
            };
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.records.iter().map(Record::line).collect()
    }
}

struct Router(watch::Sender<World>);

impl Router {
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|world| result = Some(change(world)));
        result.unwrap()
    }
}

#[async_trait]
impl Ingress for Router {
    async fn emit(&self, binding: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError> {
        // A real store answers later, so that others can come between.
        tokio::task::yield_now().await;
        self.change(|world| {
            world.fail()?;
            world.apply(state);
            if world.filtering {
                return Ok(Accepted::Filtered);
            }
            world.records.push(Record::Event {
                binding: binding.to_string(),
                event,
            });
            Ok(Accepted::Queued(RequestId::random()))
        })
    }

    async fn skip(
        &self,
        binding: &BindingId,
        time: DateTime<Utc>,
        reason: &str,
        state: Vec<StateWrite>,
    ) -> Result<(), EmitError> {
        tokio::task::yield_now().await;
        self.change(|world| {
            world.fail()?;
            world.records.push(Record::Skip {
                binding: binding.to_string(),
                time,
                reason: reason.to_owned(),
            });
            world.apply(state);
            Ok(())
        })
    }

    async fn call(&self, _: &BindingId, _: Event) -> Result<Reply, CallError> {
        Err(CallError::Refused("schedules do not call".into()))
    }

    async fn pending(&self, _: &BindingId) -> Result<u64, EmitError> {
        Ok(self.0.borrow().pending)
    }
}

#[async_trait]
impl StateStore for Router {
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        assert_eq!(namespace, "schedule");
        Ok(self.0.borrow().state.get(key).cloned())
    }

    async fn scan(&self, _: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let world = self.0.borrow();
        Ok(world
            .state
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    async fn write(&self, _: &str, state: Vec<StateWrite>) -> Result<(), StateError> {
        self.change(|world| {
            world.fail().map_err(|error| StateError(error.to_string()))?;
            world.apply(state);
            Ok(())
        })
    }
}

/// A machine: its clock and its disk. Servers come and go on it.
pub struct Machine {
    pub clock: Clock,
    router: Arc<Router>,
}

/// A running source.
pub struct Server {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Machine {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            router: Arc::new(Router(watch::Sender::new(World::default()))),
        }
    }

    pub fn at(time: &str) -> Self {
        Self::new(Clock::virtual_at(utc(time)))
    }

    /// Moves time on while nothing runs on the machine.
    pub fn advance(&self, time: &str) {
        assert!(self.clock.advance_to(utc(time)));
    }

    /// Sets the clock, also back.
    pub fn set_clock(&self, time: &str) {
        assert!(self.clock.set(utc(time)));
    }

    pub fn change(&self, change: impl FnOnce(&mut World)) {
        self.router.change(change);
    }

    /// Starts a server with these bindings; returns when it is open.
    pub async fn start(&self, bindings: Vec<BindingSpec>) -> Server {
        self.start_with(SourceSpec {
            bindings,
            ..SourceSpec::default()
        })
        .await
    }

    pub async fn start_with(&self, spec: SourceSpec) -> Server {
        let mut source = hikigane_schedule::plugin().build(spec).unwrap();
        source
            .open(&self.clock, &PluginState::new("schedule", self.router.clone()))
            .await
            .unwrap();
        let shutdown = CancellationToken::new();
        let context = Context {
            events: EventSink::new(self.router.clone()),
            state: PluginState::new("schedule", self.router.clone()),
            shutdown: shutdown.clone(),
            clock: self.clock.clone(),
        };
        let task = tokio::spawn(async move { source.run(context).await.unwrap() });
        Server { shutdown, task }
    }

    /// Waits until `reached`, or fails with the records there are.
    pub async fn until(&self, reached: impl FnMut(&World) -> bool) {
        let mut world = self.router.0.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(20), world.wait_for(reached)).await;
        assert!(
            waited.is_ok(),
            "waited in vain; the records are {:#?}",
            self.router.0.borrow().lines()
        );
    }

    /// Waits for as many records as there are lines, and compares.
    pub async fn expect(&self, lines: &[&str]) {
        self.until(|world| world.records.len() >= lines.len()).await;
        assert_eq!(self.router.0.borrow().lines(), lines);
    }

    pub fn state(&self) -> BTreeMap<String, Vec<u8>> {
        self.router.0.borrow().state.clone()
    }

    pub fn records(&self) -> Vec<Record> {
        self.router.0.borrow().records.clone()
    }

    /// Forgets the records so far.
    pub fn clear(&self) {
        self.change(|world| world.records.clear());
    }
}

impl Server {
    /// Ends it wherever it is, as `kill -9` does.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }

    /// Ends the source, as a shutdown does, and waits for its end.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .expect("the source ends when its token fires")
            .unwrap();
    }
}

//! The plug-in as the router drives it: real directories, and an ingress that keeps events and state in memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arrivals;
mod build;
mod directories;
mod restart;
mod trouble;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use hikigane_trigger::model::{BindingId, Event, RequestId, StateWrite};
use hikigane_trigger::{
    Accepted, Announcement, BindingSpec, CallError, CancellationToken, Clock, Context, EmitError, EventSink, Ingress,
    PluginState, Reply, Source, SourceError, SourceSpec, StateError, StateStore, async_trait,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::S3Source;
use crate::config;
use crate::key::ObjectKey;
use crate::session::Limits;

/// Longest a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event that was emitted.
#[derive(Debug, Clone)]
struct Emitted {
    binding: String,
    /// `Put` or `Delete`.
    what: String,
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    sequencer: String,
    at: Instant,
}

impl Emitted {
    fn of(binding: &BindingId, event: &Event) -> Self {
        let record: Value = serde_json::from_slice(&event.payload).unwrap();
        let record = &record["Records"][0];
        let object = &record["s3"]["object"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            binding: binding.as_str().to_owned(),
            what: text(&record["eventName"])
                .unwrap()
                .rsplit(':')
                .next()
                .unwrap()
                .to_owned(),
            key: text(&object["key"]).unwrap(),
            size: object["size"].as_u64(),
            etag: text(&object["eTag"]),
            sequencer: text(&object["sequencer"]).unwrap(),
            at: Instant::now(),
        }
    }
}

/// How the ingress answers.
#[derive(Default)]
struct Mood {
    /// This many emits find the disk full.
    unavailable: usize,
    /// Emits to these bindings are refused.
    refused: HashSet<String>,
    /// Emits to these bindings never end.
    stuck: HashSet<String>,
}

#[derive(Default)]
struct Stored {
    events: Vec<Emitted>,
    state: BTreeMap<String, Vec<u8>>,
    mood: Mood,
}

impl Stored {
    fn apply(&mut self, writes: Vec<StateWrite>) {
        for StateWrite { key, value } in writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
    }
}

/// The router's part, in memory. It outlives the server, as a disk does.
struct Memory {
    stored: Mutex<Stored>,
    changed: watch::Sender<()>,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    fn mood(&self, set: impl FnOnce(&mut Mood)) {
        set(&mut self.stored.lock().unwrap().mood);
    }

    fn events(&self) -> Vec<Emitted> {
        self.stored.lock().unwrap().events.clone()
    }

    fn state(&self) -> BTreeMap<String, Vec<u8>> {
        self.stored.lock().unwrap().state.clone()
    }

    /// `Put KEY` and `Delete KEY` of one binding, in order.
    fn told(&self, binding: &str) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event.binding == binding);
        events.map(|event| format!("{} {}", event.what, event.key)).collect()
    }

    async fn until(&self, what: &str, condition: impl Fn(&[Emitted]) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !condition(&self.events()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited in vain until {what}: {:#?}", self.events());
        }
    }

    /// Waits until the binding `f/on` was told all these, in any order.
    async fn until_told(&self, expected: &[&str]) {
        self.until(&format!("told {expected:?}"), |events| {
            let told: HashSet<String> = events
                .iter()
                .filter(|event| event.binding == "f/on")
                .map(|event| format!("{} {}", event.what, event.key))
                .collect();
            expected.iter().all(|expected| told.contains(*expected))
        })
        .await;
    }
}

#[async_trait]
impl Ingress for Memory {
    async fn emit(&self, binding: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError> {
        let is_stuck = self.stored.lock().unwrap().mood.stuck.contains(binding.as_str());
        if is_stuck {
            std::future::pending::<()>().await;
        }
        {
            let mut stored = self.stored.lock().unwrap();
            if stored.mood.refused.contains(binding.as_str()) {
                return Err(EmitError::Refused("refused by the test".into()));
            }
            if stored.mood.unavailable > 0 {
                stored.mood.unavailable -= 1;
                return Err(EmitError::Unavailable("no space left on device".into()));
            }
            stored.events.push(Emitted::of(binding, &event));
            stored.apply(state);
        }
        self.changed.send_replace(());
        Ok(Accepted::Queued(RequestId::random()))
    }
    async fn skip(&self, _: &BindingId, _: DateTime<Utc>, _: &str, _: Vec<StateWrite>) -> Result<(), EmitError> {
        unreachable!("a bucket skips nothing")
    }
    async fn call(&self, _: &BindingId, _: Event) -> Result<Reply, CallError> {
        unreachable!("a bucket calls nothing")
    }
    async fn pending(&self, _: &BindingId) -> Result<u64, EmitError> {
        Ok(0)
    }
}

#[async_trait]
impl StateStore for Memory {
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        assert_eq!(namespace, "s3");
        Ok(self.state().get(key).cloned())
    }
    async fn scan(&self, namespace: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        assert_eq!(namespace, "s3");
        Ok(self
            .state()
            .into_iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .collect())
    }
    async fn write(&self, namespace: &str, state: Vec<StateWrite>) -> Result<(), StateError> {
        assert_eq!(namespace, "s3");
        self.stored.lock().unwrap().apply(state);
        self.changed.send_replace(());
        Ok(())
    }
}

/// A bucket `inbox` with its directory, its bindings, and what outlives a restart.
struct Bench {
    directory: TempDir,
    settings: Value,
    bindings: Vec<(&'static str, Value)>,
    limits: Limits,
    memory: Arc<Memory>,
}

impl Bench {
    /// With one binding, `f/on`, for all events, with a short settle time and `extra` fields.
    fn new(extra: Value) -> Self {
        let mut config =
            json!({"bucket": "inbox", "event": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], "settle": "50ms"});
        config
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            settings: json!({}),
            bindings: vec![("f/on", config)],
            limits: Limits::default(),
            memory: Memory::new(),
        };
        std::fs::create_dir(bench.inbox()).unwrap();
        bench
    }

    /// More fields for the bucket's settings.
    fn settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    fn binding(mut self, id: &'static str, config: Value) -> Self {
        self.bindings.push((id, config));
        self
    }

    fn inbox(&self) -> PathBuf {
        self.directory.path().join("inbox")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inbox().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// Writes outside and renames it in, as a careful sender does.
    fn send(&self, name: &str, content: &str) {
        let outside = self.directory.path().join("outside");
        std::fs::write(&outside, content).unwrap();
        std::fs::rename(outside, self.path(name)).unwrap();
    }

    fn source(&self) -> S3Source {
        let mut bucket = json!({"path": "inbox"});
        bucket
            .as_object_mut()
            .unwrap()
            .extend(self.settings.as_object().unwrap().clone());
        let spec = SourceSpec {
            settings: Some(json!({"buckets": {"inbox": bucket}})),
            bindings: self
                .bindings
                .iter()
                .map(|(id, config)| binding(id, config.clone()))
                .collect(),
            base: self.directory.path().to_path_buf(),
            timezone: None,
        };
        let mut source = S3Source::new(config::read(&spec).unwrap());
        source.limits = self.limits;
        source
    }

    fn state(&self) -> PluginState {
        PluginState::new("s3", Arc::clone(&self.memory) as Arc<dyn StateStore>)
    }

    async fn start(&self) -> Server {
        let mut source = Box::new(self.source());
        let announced = source.open(&Clock::system(), &self.state()).await.unwrap();
        let shutdown = CancellationToken::new();
        let context = Context {
            events: EventSink::new(Arc::clone(&self.memory) as Arc<dyn Ingress>),
            state: self.state(),
            shutdown: shutdown.clone(),
            clock: Clock::system(),
        };
        Server {
            task: tokio::spawn(source.run(context)),
            shutdown,
            announced,
        }
    }

    /// Sends a file that is complete and waits for its event: what was wrongly due before it has been emitted too.
    async fn settle(&self, name: &str) {
        self.write(name, "");
        self.memory.until_told(&[&format!("Put {name}")]).await;
    }
}

/// A running source.
struct Server {
    task: JoinHandle<Result<(), SourceError>>,
    shutdown: CancellationToken,
    announced: Vec<Announcement>,
}

impl Server {
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the source ends")
            .unwrap()
            .unwrap();
    }
}

fn binding(id: &str, config: Value) -> BindingSpec {
    BindingSpec {
        id: BindingId::from_text(id),
        config,
        invoke: None,
    }
}

/// The encoded keys of all objects under a directory.
fn keys(from: &Path) -> HashSet<String> {
    fn walk(root: &Path, directory: &Path, keys: &mut HashSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                walk(root, &entry.path(), keys);
            } else {
                keys.insert(ObjectKey::of(root, &entry.path()).unwrap().encoded());
            }
        }
    }
    let mut keys = HashSet::new();
    walk(from, from, &mut keys);
    keys
}

//! The executor whose environments are child processes.
//!
//! Workers are forked from a zygote: the same binary, started with a hidden command and an empty environment. A worker comes up generic
//! (V8 started, isolate made) and waits; one frame makes it the environment of one function. Workers that wait are kept in stock, so that a cold start is only the loading of code.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hikigane_model::{AccessKey, CrashReason, FunctionName, Outcome, Qualifier, TargetId, limits};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::answer::{failed, mebibytes};
use crate::frames::{FromWorker, ToWorker};
use crate::link::ProcessEnvironment;
use crate::nursery::Nursery;
use crate::scratch::Scratches;
use crate::spec::{Inspection, WorkerInit};
use crate::worker::{TooLate, Worker};
use crate::{EnvironmentSpec, Executor, Initialization, Inspector, LogSink, StartError, Started};

/// How long a fresh worker may take until it is ready.
const BOOT: Duration = Duration::from_secs(20);

/// How long the place of a worker that was taken from stock stays empty: the invocation which took it needs the processors now.
const RESTOCK: Duration = Duration::from_millis(10);

/// How long a function waits for its debugger.
const DEBUGGER: Duration = Duration::from_secs(5 * 60);

/// The server's own endpoint, as functions use it.
#[derive(Debug, Clone)]
pub struct OwnEndpoint {
    /// Where it listens: every function's `AWS_ENDPOINT_URL`, unless it sets another.
    pub address: std::net::SocketAddr,
    /// What functions sign with: their `AWS_ACCESS_KEY_ID` and so on. `None`: it asks for no signature, and theirs is one that opens nothing.
    pub key: Option<AccessKey>,
}

/// How worker processes are made.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// The program of the zygote and its arguments.
    pub command: (PathBuf, Vec<String>),
    /// Generic workers kept in stock.
    pub spares: usize,
    /// Where the environments' own `/tmp` directories are made.
    pub tmp_root: PathBuf,
    /// The server's own endpoint, if there is one.
    pub endpoint: Option<OwnEndpoint>,
    /// Where the environments are listed for debuggers, if there can be any.
    pub inspector: Option<Inspector>,
}

/// Runs each environment in a process of its own.
pub struct ProcessExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ProcessSettings,
    nursery: Nursery,
    scratches: Arc<Scratches>,
    stock: Mutex<Stock>,
}

/// Workers that wait for a function, and how many more are being made.
#[derive(Default)]
struct Stock {
    spares: VecDeque<Worker>,
    booting: usize,
}

impl ProcessExecutor {
    /// An executor; begins to make its spare workers. Must be called inside a tokio runtime.
    pub fn new(settings: ProcessSettings) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.tmp_root)?;
        // What an earlier server left behind when it was killed.
        sweep(&settings.tmp_root);
        let nursery = Nursery::start(settings.command.clone())?;
        let shared = Arc::new(Shared {
            scratches: Scratches::new(settings.tmp_root.clone()),
            settings,
            nursery,
            stock: Mutex::default(),
        });
        shared.restock(Duration::ZERO);
        Ok(Self { shared })
    }

    /// Removes what was compiled of versions of functions that are not among these, and makes room for what will be of them.
    pub fn keep_code_of(&self, versions: impl Iterator<Item = (FunctionName, Qualifier)>) {
        let kept: HashSet<PathBuf> = versions
            .map(|(name, version)| self.shared.code_cache_of(&name, &version))
            .collect();
        let missing = kept.clone();
        // Nobody waits for it: the first environment of a function makes its own if it has to.
        tokio::task::spawn_blocking(move || missing.iter().map(std::fs::create_dir_all).all(|made| made.is_ok()));
        for entry in std::fs::read_dir(self.shared.code_caches())
            .into_iter()
            .flatten()
            .flatten()
        {
            if !kept.contains(&entry.path()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Shared {
    /// Makes, in the background and after `delay`, as many spare workers as are missing.
    fn restock(self: &Arc<Self>, delay: Duration) {
        let missing = {
            let mut stock = lock(&self.stock);
            let missing = self.settings.spares.saturating_sub(stock.spares.len() + stock.booting);
            stock.booting += missing;
            missing
        };
        for _ in 0..missing {
            let weak = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let Some(shared) = weak.upgrade() else { return };
                let worker = shared.boot(true).await;
                if worker.is_ok() {
                    shared.scratches.restock(shared.settings.spares);
                }
                let mut stock = lock(&shared.stock);
                stock.booting -= 1;
                // One that failed is tried again when the next is taken.
                stock.spares.extend(worker);
            });
        }
    }

    /// A worker that is ready for its function: from stock, or fresh.
    async fn generic(self: &Arc<Self>) -> Result<Worker, StartError> {
        let spare = lock(&self.stock).spares.pop_front();
        self.restock(RESTOCK);
        match spare {
            Some(worker) if worker.is_alive() => Ok(worker),
            _ => self.boot(false).await,
        }
    }

    async fn boot(&self, leisure: bool) -> Result<Worker, StartError> {
        let host = |what: &str, error: &dyn std::fmt::Display| {
            StartError::Host(format!("cannot {what} a worker process: {error}"))
        };
        let worker = Worker::start(&self.nursery, leisure);
        match timeout_at(Instant::now() + BOOT, worker).await {
            Ok(worker) => worker.map_err(|error| host("start", &error)),
            Err(_) => Err(host("start", &"it was not ready in time")),
        }
    }

    fn init(&self, spec: &EnvironmentSpec, initialization: Initialization, tmp: PathBuf, waits: bool) -> WorkerInit {
        let config = &spec.config;
        let (root, file) = if config.code.is_dir() {
            (config.code.clone(), None)
        } else {
            let directory = config.code.parent().map(PathBuf::from).unwrap_or_default();
            let name = config.code.file_name();
            (directory, name.map(|name| name.to_string_lossy().into_owned()))
        };
        let node_major = match hikigane_model::runtime_family(&config.runtime) {
            hikigane_model::RuntimeFamily::Node(major) => major,
            hikigane_model::RuntimeFamily::Other => 22,
        };
        let log_stream = format!(
            "{}/[{}]{}",
            chrono::Utc::now().format("%Y/%m/%d"),
            spec.version,
            hikigane_model::RequestId::random().as_str().replace('-', "")
        );
        let log_group = format!("/aws/lambda/{}", config.name);
        let mut env = crate::spec::lambda_environment(spec, initialization, &log_group, &log_stream);
        if let Some(OwnEndpoint { address, key }) = &self.settings.endpoint {
            env.entry("AWS_ENDPOINT_URL".to_owned())
                .or_insert_with(|| format!("http://{address}"));
            if let Some(key) = key {
                crate::spec::set_access_key(&mut env, key);
            }
        }
        WorkerInit {
            function: config.name.to_string(),
            version: spec.version.to_string(),
            root,
            file,
            layers: config.layers.first().cloned(),
            handler: config.handler.clone(),
            node_major,
            require_modules: crate::spec::requires_modules(node_major, &env),
            memory_mb: config.memory_mb,
            env,
            read: config.allow.read.iter().map(|path| crate::spec::plain(path)).collect(),
            write: config.allow.write.iter().map(|path| crate::spec::plain(path)).collect(),
            net: config.allow.net.clone(),
            tmp,
            tmp_mb: config.ephemeral_storage_mb,
            endpoint: self.settings.endpoint.as_ref().map(|endpoint| endpoint.address),
            log_group,
            log_stream,
            log_format: config.log_format,
            // Code to be debugged carries its source map. It is not what other environments run, so it is not kept for them.
            code_cache: match self.settings.inspector {
                Some(_) => None,
                None => self.code_cache(spec),
            },
            inspection: self.settings.inspector.as_ref().map(|inspector| Inspection {
                address: inspector.address(),
                waits,
            }),
        }
    }

    /// The directory of a function's compiled code, made if it is not there. What is in it knows which source and which V8 it is of.
    fn code_cache(&self, spec: &EnvironmentSpec) -> Option<PathBuf> {
        let directory = self.code_cache_of(&spec.config.name, &spec.version);
        std::fs::create_dir_all(&directory).ok().map(|()| directory)
    }

    fn code_cache_of(&self, name: &FunctionName, version: &Qualifier) -> PathBuf {
        self.code_caches().join(format!("{name}-{version}"))
    }

    fn code_caches(&self) -> PathBuf {
        self.settings.tmp_root.with_file_name("code-cache")
    }

    /// One initialisation, within `limit`; of a function that waits for a debugger, when `target` names what it attaches to.
    async fn initialise(
        self: &Arc<Self>,
        spec: &Arc<EnvironmentSpec>,
        initialization: Initialization,
        limit: Duration,
        target: Option<&TargetId>,
        logs: &mut LogSink,
    ) -> Result<Started, Initialised> {
        let mut worker = self.generic().await.map_err(Initialised::Refused)?;
        let refuse = |error: &dyn std::fmt::Display| {
            Initialised::Refused(StartError::Host(format!(
                "cannot prepare {} for function \"{}\": {error}",
                self.settings.tmp_root.display(),
                spec.config.name
            )))
        };
        let tmp = self.scratches.take(spec).map_err(|error| refuse(&error))?;
        let init = self.init(spec, initialization, tmp.path().to_owned(), target.is_some());
        let init = serde_json::to_vec(&init).map_err(|error| refuse(&error))?;
        worker.process.tmp = Some(tmp);
        worker.inspected = self.settings.inspector.as_ref().map(|inspector| {
            let target = target.cloned().unwrap_or_else(TargetId::random);
            inspector.list(target, spec)
        });

        let begun = Instant::now();
        let mut frame = Vec::new();
        ToWorker::Init(Bytes::from(init)).encode(&mut frame);
        let function = |outcome, max_rss_kib: u32| {
            Initialised::Refused(StartError::Function {
                outcome,
                init: begun.elapsed(),
                max_memory_mb: mebibytes(max_rss_kib),
            })
        };
        if worker.stream.write_all(&frame).await.is_err() {
            return Err(function(Outcome::Crashed(worker.process.end().await), 0));
        }
        let mut deadline = begun + limit;
        let mut held = 0;
        loop {
            match worker.next(&mut deadline).await {
                Ok(Some(FromWorker::Leaving { max_rss_kib })) => held = max_rss_kib,
                Err(TooLate) => return Err(Initialised::TooSlow),
                Ok(Some(FromWorker::Log(text))) => logs.line(&String::from_utf8_lossy(&text)),
                Ok(Some(FromWorker::Loaded { max_rss_kib })) => {
                    return Ok(Started {
                        environment: Arc::new(ProcessEnvironment::new(worker, spec.clone(), max_rss_kib)),
                        init: begun.elapsed(),
                    });
                }
                Ok(Some(FromWorker::LoadFailed { max_rss_kib, error })) => {
                    return Err(function(failed(error), max_rss_kib));
                }
                Ok(Some(FromWorker::OutOfMemory)) => {
                    return Err(function(
                        Outcome::Crashed(CrashReason::OutOfMemory),
                        spec.config.memory_mb * 1024,
                    ));
                }
                Ok(_) => return Err(function(Outcome::Crashed(worker.process.end().await), held)),
            }
        }
    }
}

enum Initialised {
    Refused(StartError),
    TooSlow,
}

#[async_trait]
impl Executor for ProcessExecutor {
    fn forget(&self, function: &FunctionName, version: &Qualifier) {
        // An environment that lives has what it needs of it.
        let _ = std::fs::remove_dir_all(self.shared.code_cache_of(function, version));
    }

    /// AWS gives an initialisation 10 seconds; one that needs longer is done again within the function's own timeout
    /// (AWS documentation, "Understanding the Lambda execution environment lifecycle", Init phase).
    async fn start(
        &self,
        spec: &Arc<EnvironmentSpec>,
        initialization: Initialization,
        logs: &mut LogSink,
    ) -> Result<Started, StartError> {
        let first = Duration::from_secs(limits::INIT_SECONDS.into());
        match self.shared.initialise(spec, initialization, first, None, logs).await {
            Ok(started) => return Ok(started),
            Err(Initialised::Refused(error)) => return Err(error),
            Err(Initialised::TooSlow) => {}
        }
        let second = spec.config.timeout;
        match self.shared.initialise(spec, initialization, second, None, logs).await {
            Ok(started) => Ok(started),
            Err(Initialised::Refused(error)) => Err(error),
            Err(Initialised::TooSlow) => Err(StartError::Function {
                outcome: Outcome::TimedOut(spec.config.timeout),
                init: spec.config.timeout,
                max_memory_mb: 0,
            }),
        }
    }

    async fn start_waiting(
        &self,
        spec: &Arc<EnvironmentSpec>,
        target: &TargetId,
        logs: &mut LogSink,
    ) -> Result<Started, StartError> {
        if self.shared.settings.inspector.is_none() {
            return Err(StartError::Host("this server does not listen for debuggers".into()));
        }
        let started = self
            .shared
            .initialise(spec, Initialization::OnDemand, DEBUGGER, Some(target), logs);
        match started.await {
            Ok(started) => Ok(started),
            Err(Initialised::Refused(error)) => Err(error),
            Err(Initialised::TooSlow) => Err(StartError::Host(format!(
                "function \"{}\" was not ready within {} minutes: no debugger came and let it run, or its code does not end",
                spec.config.name,
                DEBUGGER.as_secs() / 60
            ))),
        }
    }
}

/// Removes the environments' directories from below `tmp_root`. Only those: the directory may be one that others use, too.
pub fn sweep(tmp_root: &Path) {
    let is_id = |name: &str| {
        name.len() == 36
            && name.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    for entry in std::fs::read_dir(tmp_root).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_id) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_the_directories_of_environments_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let mine = root.path().join(hikigane_model::RequestId::random().as_str());
        std::fs::create_dir_all(mine.join("deep")).unwrap();
        let others = ["notes.txt", "0123", "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"].map(|name| root.path().join(name));
        for other in &others {
            std::fs::create_dir(other).unwrap();
        }
        sweep(root.path());
        assert!(!mine.exists());
        assert!(
            others.iter().all(|other| other.exists()),
            "what others keep there must stay"
        );
        sweep(&root.path().join("missing"));
    }
}

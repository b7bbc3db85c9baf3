//! The executor whose environments are child processes.
//!
//! A worker is the same binary, started with the hidden command `worker`, an empty environment and one end of a socket
//! pair as its standard input. It comes up generic (V8 started, isolate made) and waits; one frame makes it the
//! environment of one function. Workers that wait are kept in stock, so that a cold start is only the loading of code.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hikigane_model::{CrashReason, FunctionError, Invocation, Outcome, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::frames::{FromWorker, InvokeFrame, ToWorker};
use crate::spec::WorkerInit;
use crate::{Environment, EnvironmentSpec, Executor, Finished, LogSink, Reuse, StartError, Started};

/// How long a fresh worker may take until it is ready.
const BOOT: Duration = Duration::from_secs(20);

/// How worker processes are made.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// The program and its arguments.
    pub command: (PathBuf, Vec<String>),
    /// Generic workers kept in stock.
    pub spares: usize,
    /// Where the environments' own `/tmp` directories are made.
    pub tmp_root: PathBuf,
    /// Added to every function's environment unless it sets the same name itself (`AWS_ENDPOINT_URL` ..).
    pub env: Vec<(String, String)>,
}

/// Runs each environment in a process of its own.
pub struct ProcessExecutor {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ProcessSettings,
    nursery: Nursery,
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
            settings,
            nursery,
            stock: Mutex::default(),
        });
        shared.restock();
        Ok(Self { shared })
    }
}

impl Shared {
    /// Makes, in the background, as many spare workers as are missing.
    fn restock(self: &Arc<Self>) {
        let missing = {
            let mut stock = lock(&self.stock);
            let missing = self.settings.spares.saturating_sub(stock.spares.len() + stock.booting);
            stock.booting += missing;
            missing
        };
        for _ in 0..missing {
            let weak = Arc::downgrade(self);
            tokio::spawn(async move {
                let Some(shared) = weak.upgrade() else { return };
                let worker = shared.boot().await;
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
        self.restock();
        match spare {
            Some(worker) if worker.is_alive() => Ok(worker),
            _ => self.boot().await,
        }
    }

    async fn boot(&self) -> Result<Worker, StartError> {
        let host = |what: &str, error: &dyn std::fmt::Display| {
            StartError::Host(format!("cannot {what} a worker process: {error}"))
        };
        let (child, stream) = self.nursery.spawn().await.map_err(|error| host("start", &error))?;
        let mut worker = Worker {
            stream,
            buffer: BytesMut::with_capacity(16 * 1024),
            child: Some(child),
            tmp: None,
            nursery: self.nursery.clone(),
        };
        match timeout_at(Instant::now() + BOOT, worker.next()).await {
            Ok(Some(FromWorker::Ready)) => Ok(worker),
            Ok(_) => Err(host(
                "start",
                &format!("it ended with {}", describe(worker.end().await)),
            )),
            Err(_) => Err(host("start", &"it was not ready in time")),
        }
    }

    fn init(&self, spec: &EnvironmentSpec, tmp: PathBuf) -> WorkerInit {
        let config = &spec.config;
        let root = if config.code.is_dir() {
            config.code.clone()
        } else {
            config.code.parent().map(PathBuf::from).unwrap_or_default()
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
        let mut env = crate::spec::lambda_environment(spec, &root, &log_group, &log_stream);
        for (name, value) in &self.settings.env {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        WorkerInit {
            function: config.name.to_string(),
            version: spec.version.to_string(),
            root,
            handler: config.handler.clone(),
            node_major,
            memory_mb: config.memory_mb,
            env,
            read: config.allow.read.clone(),
            write: config.allow.write.clone(),
            net: config.allow.net.clone(),
            tmp,
            log_group,
            log_stream,
            log_format: config.log_format,
            code_cache: self.code_cache(spec),
        }
    }

    /// The directory of a function's compiled code, made if it is not there. What is in it knows which source and which V8 it is of.
    fn code_cache(&self, spec: &EnvironmentSpec) -> Option<PathBuf> {
        let root = self.settings.tmp_root.with_file_name("code-cache");
        let directory = root.join(format!("{}-{}", spec.config.name, spec.version));
        std::fs::create_dir_all(&directory).ok().map(|()| directory)
    }

    /// One initialisation, within `limit`.
    async fn initialise(
        self: &Arc<Self>,
        spec: &EnvironmentSpec,
        limit: Duration,
        logs: &mut LogSink,
    ) -> Result<Started, Initialised> {
        let mut worker = self.generic().await.map_err(Initialised::Refused)?;
        let tmp = self
            .settings
            .tmp_root
            .join(hikigane_model::RequestId::random().as_str());
        let refuse = |error: &dyn std::fmt::Display| {
            Initialised::Refused(StartError::Host(format!(
                "cannot prepare {} for function \"{}\": {error}",
                tmp.display(),
                spec.config.name
            )))
        };
        std::fs::create_dir(&tmp).map_err(|error| refuse(&error))?;
        worker.tmp = Some(tmp.clone());
        let init = serde_json::to_vec(&self.init(spec, tmp.clone())).map_err(|error| refuse(&error))?;

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
            return Err(function(Outcome::Crashed(worker.end().await), 0));
        }
        loop {
            match timeout_at(begun + limit, worker.next()).await {
                Err(_) => return Err(Initialised::TooSlow),
                Ok(Some(FromWorker::Log(text))) => logs.line(&String::from_utf8_lossy(&text)),
                Ok(Some(FromWorker::Loaded { .. })) => {
                    let environment = ProcessEnvironment { worker, frame };
                    return Ok(Started {
                        environment: Box::new(environment),
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
                Ok(_) => return Err(function(Outcome::Crashed(worker.end().await), 0)),
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
    /// AWS gives an initialisation 10 seconds; one that needs longer is done again within the function's own timeout
    /// (AWS documentation, "Understanding the Lambda execution environment lifecycle", Init phase).
    async fn start(&self, spec: &Arc<EnvironmentSpec>, logs: &mut LogSink) -> Result<Started, StartError> {
        let first = Duration::from_secs(limits::INIT_SECONDS.into());
        match self.shared.initialise(spec, first, logs).await {
            Ok(started) => return Ok(started),
            Err(Initialised::Refused(error)) => return Err(error),
            Err(Initialised::TooSlow) => {}
        }
        match self.shared.initialise(spec, spec.config.timeout, logs).await {
            Ok(started) => Ok(started),
            Err(Initialised::Refused(error)) => Err(error),
            Err(Initialised::TooSlow) => Err(StartError::Function {
                outcome: Outcome::TimedOut(spec.config.timeout),
                init: spec.config.timeout,
                max_memory_mb: 0,
            }),
        }
    }
}

/// A worker process that holds one function.
struct ProcessEnvironment {
    worker: Worker,
    frame: Vec<u8>,
}

#[async_trait]
impl Environment for ProcessEnvironment {
    async fn invoke(&mut self, invocation: &Invocation, timeout: Duration, logs: &mut LogSink) -> Finished {
        let begun = Instant::now();
        let finished = |outcome, rss: u32, reuse| Finished {
            outcome,
            duration: begun.elapsed(),
            max_memory_mb: mebibytes(rss),
            reuse,
        };
        let deadline_ms =
            (chrono::Utc::now().timestamp_millis().max(0) as u64).saturating_add(timeout.as_millis() as u64);
        let sent = RandomState::new().build_hasher().finish();
        self.frame.clear();
        ToWorker::Invoke(InvokeFrame {
            deadline_ms,
            nonce: sent,
            request_id: invocation.request_id.to_string(),
            invoked_arn: invocation.invoked_arn.clone(),
            client_context: invocation.client_context.clone().unwrap_or_default(),
            trace: invocation.trace.clone().unwrap_or_default(),
            payload: invocation.payload.clone(),
        })
        .encode(&mut self.frame);
        let deadline = begun + timeout;
        match timeout_at(deadline, self.worker.stream.write_all(&self.frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return finished(Outcome::Crashed(CrashReason::Signal(9)), 0, Reuse::NotStarted),
            Err(_) => return finished(Outcome::TimedOut(timeout), 0, Reuse::Dirty),
        }
        loop {
            match timeout_at(deadline, self.worker.next()).await {
                Err(_) => {
                    self.worker.kill();
                    return finished(Outcome::TimedOut(timeout), 0, Reuse::Dirty);
                }
                Ok(Some(FromWorker::Log(text))) => logs.line(&String::from_utf8_lossy(&text)),
                Ok(Some(FromWorker::Returned {
                    nonce,
                    max_rss_kib,
                    payload,
                })) if nonce == sent => {
                    return finished(checked(payload), max_rss_kib, self.worker.after_answer());
                }
                Ok(Some(FromWorker::Failed {
                    nonce,
                    max_rss_kib,
                    reusable,
                    error,
                })) if nonce == sent => {
                    let reuse = if reusable {
                        self.worker.after_answer()
                    } else {
                        Reuse::Dirty
                    };
                    return finished(failed(error), max_rss_kib, reuse);
                }
                Ok(Some(FromWorker::OutOfMemory)) => {
                    return finished(Outcome::Crashed(CrashReason::OutOfMemory), 0, Reuse::Dirty);
                }
                Ok(Some(_)) => {
                    self.worker.kill();
                    return finished(Outcome::Crashed(CrashReason::Signal(9)), 0, Reuse::Dirty);
                }
                Ok(None) => {
                    let reason = self.worker.end().await;
                    return finished(Outcome::Crashed(reason), 0, Reuse::Dirty);
                }
            }
        }
    }
}

/// A result within Lambda's response limit; over it, Lambda's error (recorded from AWS).
fn checked(payload: Bytes) -> Outcome {
    if payload.len() <= limits::RESPONSE_PAYLOAD {
        return Outcome::Returned(payload);
    }
    let message = format!(
        "Response payload size exceeded maximum allowed payload size ({} bytes).",
        limits::RESPONSE_PAYLOAD
    );
    let json = serde_json::json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}).to_string();
    Outcome::Failed(FunctionError {
        error_type: "Function.ResponseSizeTooLarge".into(),
        json: json.into(),
    })
}

/// A worker's error JSON as an outcome.
fn failed(json: Bytes) -> Outcome {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    match serde_json::from_slice::<Typed>(&json) {
        Ok(Typed { error_type }) => Outcome::Failed(FunctionError { error_type, json }),
        Err(_) => {
            let json =
                serde_json::json!({"errorType": "Error", "errorMessage": String::from_utf8_lossy(&json), "trace": []})
                    .to_string();
            Outcome::Failed(FunctionError {
                error_type: "Error".into(),
                json: json.into(),
            })
        }
    }
}

fn mebibytes(kib: u32) -> u32 {
    kib.div_ceil(1024)
}

fn describe(reason: CrashReason) -> String {
    match reason {
        CrashReason::Exit(status) => format!("exit status {status}"),
        CrashReason::Signal(signal) => format!("signal {signal}"),
        CrashReason::OutOfMemory => "no memory left".into(),
    }
}

/// A child process and the server's end of its socket. Dropped: killed, reaped, its `/tmp` removed.
struct Worker {
    stream: UnixStream,
    buffer: BytesMut,
    child: Option<Child>,
    tmp: Option<PathBuf>,
    nursery: Nursery,
}

impl Worker {
    /// The next frame; `None` when the worker closed its end or does not keep to the language.
    async fn next(&mut self) -> Option<FromWorker> {
        loop {
            match FromWorker::decode(&mut self.buffer) {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(_) => return None,
            }
            if self.buffer.capacity() - self.buffer.len() < 4096 {
                self.buffer.reserve(16 * 1024);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the other end is still open. A worker in stock sends nothing, so anything readable is its end.
    fn is_alive(&self) -> bool {
        let mut byte = [0u8; 1];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// A worker that says more than its answer is not in order.
    fn after_answer(&self) -> Reuse {
        if self.buffer.is_empty() {
            Reuse::Clean
        } else {
            Reuse::Dirty
        }
    }

    fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// How it ended. It is killed first: an end of the stream without an end of the process is no way to leave.
    async fn end(&mut self) -> CrashReason {
        let Some(child) = self.child.take() else {
            return CrashReason::Signal(9);
        };
        let (sender, status) = oneshot::channel();
        self.nursery.bury(Burial {
            child,
            tmp: self.tmp.take(),
            status: Some(sender),
        });
        match status.await {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => CrashReason::Exit(code),
                (None, signal) => CrashReason::Signal(signal.unwrap_or(9)),
            },
            Err(_) => CrashReason::Signal(9),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.nursery.bury(Burial {
                child,
                tmp: self.tmp.take(),
                status: None,
            });
        }
    }
}

/// Two threads: one that starts children, one that reaps them.
///
/// Children ask the kernel to be killed when the thread that started them ends, so that thread must live as long as the server.
#[derive(Clone)]
struct Nursery {
    births: std::sync::mpsc::Sender<oneshot::Sender<io::Result<(Child, OwnedFd)>>>,
    burials: std::sync::mpsc::Sender<Burial>,
}

struct Burial {
    child: Child,
    tmp: Option<PathBuf>,
    status: Option<oneshot::Sender<ExitStatus>>,
}

impl Nursery {
    fn start(command: (PathBuf, Vec<String>)) -> io::Result<Self> {
        let (births, requests) = std::sync::mpsc::channel::<oneshot::Sender<io::Result<(Child, OwnedFd)>>>();
        std::thread::Builder::new()
            .name("workers-start".into())
            .spawn(move || {
                while let Ok(request) = requests.recv() {
                    if let Err(Ok((mut child, _))) = request.send(spawn(&command)) {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            })?;
        let (burials, dead) = std::sync::mpsc::channel::<Burial>();
        std::thread::Builder::new().name("workers-reap".into()).spawn(move || {
            while let Ok(mut burial) = dead.recv() {
                let _ = burial.child.kill();
                let status = burial.child.wait();
                if let Some(tmp) = burial.tmp {
                    let _ = std::fs::remove_dir_all(tmp);
                }
                if let (Some(sender), Ok(status)) = (burial.status, status) {
                    let _ = sender.send(status);
                }
            }
        })?;
        Ok(Self { births, burials })
    }

    async fn spawn(&self) -> io::Result<(Child, UnixStream)> {
        let gone = || io::Error::other("the server is stopping");
        let (sender, born) = oneshot::channel();
        self.births.send(sender).map_err(|_| gone())?;
        let (child, socket) = born.await.map_err(|_| gone())??;
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok((child, UnixStream::from_std(stream)?))
    }

    fn bury(&self, burial: Burial) {
        if let Err(std::sync::mpsc::SendError(mut burial)) = self.burials.send(burial) {
            let _ = burial.child.kill();
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

fn spawn((program, arguments): &(PathBuf, Vec<String>)) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let child = Command::new(program)
        .args(arguments)
        .arg0("hikigane-worker")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok((child, OwnedFd::from(ours)))
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

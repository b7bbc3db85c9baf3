//! A server, put together from a loaded manifest. Nothing of it runs before all of it could be opened.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hikigane_api::{DebuggerDoor, Declared, Endpoint, Keys, Lambda, LambdaParts};
use hikigane_executor::{EnvironmentSpec, Inspector, OwnEndpoint, Pool, ProcessExecutor, ProcessSettings};
use hikigane_manifest::Loaded;
use hikigane_model::{FunctionConfig, Qualifier, SandboxMode, UrlAuth};
use hikigane_router::{Binding, FailedRun, Gate, Router, RouterParts, Routes};
use hikigane_store::{Objects, Pin, SqliteStore};
use hikigane_trigger::{Announcement, CancellationToken, Clock, Context, EventSink, PluginState, Source, SourceError};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::{doctor, output};

/// The hidden first argument that makes this program the one that workers are forked from.
pub const ZYGOTE: &str = "zygote";
/// The argument after it that makes it try the sandbox and say what there is.
pub const PROBE: &str = "probe";
/// The argument after it that makes it end where the sandbox is not whole.
pub const SANDBOX_REQUIRED: &str = "sandbox-required";

/// Generic workers kept in stock.
const SPARES: usize = 4;
/// How long an idle environment lives. AWS does not say how long; it cannot be set there either.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Idle environments that are kept at most.
const MAX_IDLE: usize = 128;
/// How long invocations may go on after Ctrl-C.
const GRACE: Duration = Duration::from_secs(30);

/// What the command line says of a server.
pub struct Settings {
    /// Where the endpoint listens.
    pub endpoint: SocketAddr,
    /// Where it listens for debuggers, if it does.
    pub inspect: Option<SocketAddr>,
    /// The time.
    pub clock: Clock,
    /// The clock may be moved from outside.
    pub test_mode: bool,
}

/// A server whose parts are open: ports bound, directories looked at, events of earlier runs read. It does nothing yet.
pub struct Server {
    router: Arc<Router>,
    lambda: Arc<Lambda>,
    store: Arc<SqliteStore>,
    gate: Arc<Gate>,
    sources: Vec<(&'static str, Box<dyn Source>)>,
    listener: TcpListener,
    keys: Arc<Keys>,
    door: Option<(Inspector, TcpListener)>,
    clock: Clock,
    test_mode: bool,
    tmp: PathBuf,
    /// Where the endpoint listens.
    pub address: SocketAddr,
    /// What the sources listen to.
    pub announcements: Vec<Announcement>,
}

impl Server {
    /// Opens everything, or nothing.
    pub async fn open(
        loaded: Loaded,
        Settings {
            endpoint,
            inspect,
            clock,
            test_mode,
        }: Settings,
        data: &Path,
    ) -> anyhow::Result<Self> {
        let keys = Arc::new(Keys::new(loaded.manifest.access_keys).context("this machine has no random numbers")?);
        if !endpoint.ip().is_loopback() && !keys.demand_signatures() {
            bail!(
                "the endpoint cannot listen on {endpoint}: without `accessKeys` in the manifest it is open on loopback only; add some, or use 127.0.0.1:{}",
                endpoint.port()
            );
        }
        let listener = listen("endpoint", endpoint, "--endpoint")?;
        let address = listener.local_addr()?;
        let door = match inspect {
            Some(wanted) => {
                if !wanted.ip().is_loopback() {
                    bail!(
                        "the inspector cannot listen on {wanted}: without credentials it is open on loopback only; use 127.0.0.1:{}",
                        wanted.port()
                    );
                }
                let listener = listen("inspector", wanted, "--inspect")?;
                Some((Inspector::new(listener.local_addr()?), listener))
            }
            None => None,
        };
        let inspector = door.as_ref().map(|(inspector, _)| inspector.clone());
        let store = Arc::new(SqliteStore::open(data, |warning| {
            output::say(format_args!("warning: {warning}"))
        })?);
        let tmp = data.join("tmp");
        let mode = loaded.manifest.sandbox;
        look_at_sandbox(mode)?;
        let own = OwnEndpoint {
            address: seen_from_here(address),
            key: keys.demand_signatures().then(|| keys.of_functions()),
        };
        let executor = Arc::new(executor(tmp.clone(), Some(own), inspector, SPARES, mode)?);
        let objects = Arc::new(Objects::open(data)?);
        let mut declared = Vec::new();
        let mut urls = loaded.manifest.urls;
        for config in loaded.manifest.functions {
            let url = urls.remove(&config.name);
            let source = config.code.clone();
            let (config, pin) = unpacked(config, &objects)?;
            declared.push(Declared {
                source,
                spec: Arc::new(EnvironmentSpec {
                    config: Arc::new(config),
                    version: Qualifier::Latest,
                    revision: 1,
                    pin: Arc::new(pin),
                }),
                url,
            });
        }
        let bindings = loaded.manifest.bindings.into_iter().filter(|binding| binding.enabled);
        let bindings = bindings.map(|binding| Binding {
            id: binding.id,
            function: binding.function,
            kind: binding.kind,
            filter: binding.filter,
        });
        let router = Router::new(RouterParts {
            routes: Routes::new(bindings),
            pool: Pool::new(executor.clone(), IDLE, MAX_IDLE),
            queue: store.clone(),
            state: store.clone(),
            history: store.clone(),
            clock: clock.clone(),
            account_concurrency: loaded.manifest.account_concurrency,
        });
        let gate = Arc::new(Gate(router.clone()));
        let mut sources = loaded.sources;
        let mut announcements = Vec::new();
        for (kind, source) in &mut sources {
            announcements.extend(source.open(&clock, &PluginState::new(kind, gate.clone())).await?);
        }
        let lambda = Lambda::open(LambdaParts {
            documents: store.clone(),
            objects,
            buckets: sources.iter().filter_map(|(_, source)| source.objects()).collect(),
            s3_endpoint: loaded.manifest.s3_endpoint,
            router: router.clone(),
            declared,
            allow: loaded.manifest.allow,
            address: seen_from_here(address),
            account_concurrency: loaded.manifest.account_concurrency,
        })
        .await?;
        for name in lambda.shadowed() {
            output::say(format_args!(
                "warning: the function {name} of the manifest hides one of the same name that was created through the API"
            ));
        }
        let urls = lambda.declared_urls().into_iter();
        announcements.extend(urls.map(|(function, url, auth)| Announcement {
            label: "url",
            // Nobody signs by hand.
            example: (auth == UrlAuth::None).then(|| format!("curl {url}")),
            text: format!("{url} -> function {function}"),
        }));
        lambda.collect()?;
        executor.keep_code_of(lambda.versions().into_iter());
        Ok(Self {
            router,
            lambda,
            store,
            gate,
            sources,
            listener,
            keys,
            door,
            clock,
            test_mode,
            tmp,
            address,
            announcements,
        })
    }

    /// Whether the endpoint asks for signatures.
    pub fn demands_signatures(&self) -> bool {
        self.keys.demand_signatures()
    }

    /// Where it listens for debuggers.
    pub fn debuggers(&self) -> Option<SocketAddr> {
        self.door.as_ref().map(|(inspector, _)| inspector.address())
    }

    /// The runs that fail from now on.
    pub fn failures(&self) -> broadcast::Receiver<FailedRun> {
        self.router.failures().follow()
    }

    /// Runs until `stop` resolves, then lets what runs end. An error is a source, the endpoint or the store that could not go on.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let sources_end = CancellationToken::new();
        let endpoint_end = CancellationToken::new();
        let gate = self.gate;
        let dispatcher = tokio::spawn(self.router.clone().dispatch());
        let inspector = self.door.as_ref().map(|(inspector, _)| inspector.clone());
        let collector = tokio::spawn(self.lambda.clone().collect_always());
        let endpoint = Endpoint::new(self.router.clone(), self.lambda, self.keys, self.test_mode, inspector);
        let endpoint = endpoint.serve(self.listener, endpoint_end.clone());
        let mut endpoint = tokio::spawn(endpoint);
        let door_end = CancellationToken::new();
        let door = self
            .door
            .map(|(inspector, listener)| tokio::spawn(DebuggerDoor::new(inspector).serve(listener, door_end.clone())));
        let mut sources = JoinSet::new();
        for (kind, source) in self.sources {
            let context = Context {
                events: EventSink::new(gate.clone()),
                state: PluginState::new(kind, gate.clone()),
                shutdown: sources_end.clone(),
                clock: self.clock.clone(),
            };
            sources.spawn(source.run(context));
        }

        let mut failure = None;
        tokio::select! {
            () = stop => {}
            Some(ended) = sources.join_next() => failure = ended_early(ended),
            cause = self.store.failed() => failure = Some(anyhow::anyhow!(cause)),
            ended = &mut endpoint => failure = Some(anyhow::anyhow!("the endpoint stopped: {ended:?}")),
        }

        // First the triggers, so that nothing new comes, and the debuggers, so that nothing stands still; then what runs; the endpoint last,
        // since callers wait there.
        sources_end.cancel();
        door_end.cancel();
        self.router.stop();
        endpoint_end.cancel();
        let drained = tokio::time::timeout(GRACE, async {
            while sources.join_next().await.is_some() {}
            self.router.drained().await;
            let _ = dispatcher.await;
            if let Some(door) = door {
                let _ = door.await;
            }
        });
        let _ = drained.await;
        let _ = tokio::time::timeout(Duration::from_secs(2), endpoint).await;
        collector.abort();
        // Events that are still leased go back to the queue when the store is opened again.
        self.store.close().await;
        // Environments that are still warm end with this process; their directories are nobody's any more.
        hikigane_executor::sweep(&self.tmp);
        failure.map_or(Ok(()), Err)
    }
}

/// Listens, or says what to do. `option`: what chooses the address.
fn listen(what: &str, address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    hikigane_listener::bind(address).with_context(|| {
        format!("the {what} cannot listen on {address} (is another hikigane running? choose another with {option})")
    })
}

/// A source that ends before it is told to has failed, or has nothing to do.
fn ended_early(ended: Result<Result<(), SourceError>, tokio::task::JoinError>) -> Option<anyhow::Error> {
    match ended {
        Ok(Ok(())) => Some(anyhow::anyhow!("a trigger stopped by itself")),
        Ok(Err(error)) => Some(error.into()),
        Err(error) => Some(anyhow::anyhow!("a trigger broke down: {error}")),
    }
}

/// Where programs of this machine find what listens on `address`: on loopback, when it listens on every address.
fn seen_from_here(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

/// Warns of what the kernel does not give, or refuses to go on without it.
fn look_at_sandbox(mode: SandboxMode) -> anyhow::Result<()> {
    let missing = doctor::levels()?.missing().join(", ");
    if missing.is_empty() {
        return Ok(());
    }
    if mode == SandboxMode::Required {
        bail!("the manifest demands the whole sandbox (sandbox: required), and this machine does not give {missing}");
    }
    output::say(format_args!(
        "warning: functions run without a part of the sandbox: {missing} (see `hikigane doctor`)"
    ));
    Ok(())
}

/// The function with its code and layers as directories, and what keeps these.
pub fn unpacked(mut config: FunctionConfig, objects: &Objects) -> anyhow::Result<(FunctionConfig, Pin)> {
    let files = objects.files(&config.code, &config.layers).map_err(|(path, error)| {
        anyhow::anyhow!("function \"{}\" cannot use {}: {error}", config.name, path.display())
    })?;
    config.code = files.code;
    config.layers = files.layers.into_iter().collect();
    Ok((config, files.pin))
}

/// Worker processes of this very program.
pub fn executor(
    tmp_root: PathBuf,
    endpoint: Option<OwnEndpoint>,
    inspector: Option<Inspector>,
    spares: usize,
    sandbox: SandboxMode,
) -> anyhow::Result<ProcessExecutor> {
    let mut arguments = vec![ZYGOTE.to_owned()];
    if sandbox == SandboxMode::Required {
        arguments.push(SANDBOX_REQUIRED.to_owned());
    }
    ProcessExecutor::new(ProcessSettings {
        command: (PathBuf::from("/proc/self/exe"), arguments),
        spares,
        tmp_root: std::path::absolute(&tmp_root)?,
        endpoint,
        inspector,
    })
    .with_context(|| format!("cannot prepare workers under {}", tmp_root.display()))
}

//! The listener and its connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hikigane_model::Cors;
use hikigane_trigger::proxy::Connection;
use hikigane_trigger::{Announcement, CancellationToken, Clock, Context, PluginState, Resource, Source, SourceError};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::body;
use crate::gateway::Gateway;
use crate::impatient::Impatient;
use crate::spec::Config;
use crate::table::{RouteTable, Target};

/// What bounds a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at one time; more wait in the listener's backlog.
    pub(crate) connections: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub(crate) head_time: Duration,
    /// How long a body may take.
    pub(crate) body_time: Duration,
    /// Bytes that bodies which are arriving may have together.
    pub(crate) bodies: usize,
    /// How long a client may take nothing of an answer that waits for it.
    pub(crate) stall_time: Duration,
    /// How long the requests in flight may still take when the gateway stops: a body's time and a function's, and some
    /// for the answer.
    pub(crate) drain_time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: connections(),
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            bodies: body::BUDGET,
            stall_time: Duration::from_secs(20),
            drain_time: Duration::from_secs(65),
        }
    }
}

/// At most this many connections, and at most half of the descriptors that the process may have: the other half is for functions, the endpoint
/// and files, which a flood of connections must not take.
fn connections() -> usize {
    const MOST: u64 = 10_000;
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = descriptors.map_or(MOST, |descriptors| descriptors / 2);
    usize::try_from(half.min(MOST)).unwrap_or(usize::MAX)
}

/// The largest request line and headers together (API Gateway's quota for HTTP APIs).
const MAX_HEAD: usize = 10_240;
/// What is read ahead of a connection at most. Also bounds a head that is not complete.
const READ_BUFFER: usize = 64 * 1024;
/// Connections that may wait to be accepted; the system's own bound counts, too. A burst that finds no place tries again after a second.
const BACKLOG: u32 = 4096;
/// How long accepting pauses when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The gateway as a source.
pub(crate) struct HttpSource {
    listen: SocketAddr,
    cors: Option<Cors>,
    table: RouteTable,
    bounds: Bounds,
    listener: Option<TcpListener>,
}

impl HttpSource {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            listen: config.listen,
            cors: config.cors,
            table: config.table,
            bounds: Bounds::default(),
            listener: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }
}

#[async_trait]
impl Source for HttpSource {
    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen(self.listen)]
    }

    async fn open(&mut self, _clock: &Clock, _state: &PluginState) -> Result<Vec<Announcement>, SourceError> {
        let listener = listen(self.listen).map_err(|error| cannot_listen(self.listen, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(self.listen, &error))?;
        self.listener = Some(listener);
        let gateway = Announcement {
            label: "gateway",
            text: format!("http://{address}"),
            example: None,
        };
        let routes = self.table.targets().iter().map(|target| announce(target, address));
        Ok(std::iter::once(gateway).chain(routes).collect())
    }

    async fn run(self: Box<Self>, context: Context) -> Result<(), SourceError> {
        let Some(listener) = self.listener else {
            return Err(SourceError(
                "the gateway was not opened: call `open` before `run`".into(),
            ));
        };
        let gateway = Gateway {
            table: self.table,
            events: context.events,
            clock: context.clock,
            cors: self.cors,
            body_time: self.bounds.body_time,
            bodies: Semaphore::new(self.bounds.bodies),
        };
        let server = Server {
            gateway,
            http: protocol(self.bounds.head_time),
            stall_time: self.bounds.stall_time,
            shutdown: context.shutdown,
        };
        serve(listener, Arc::new(server), self.bounds).await;
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A server that was stopped a moment ago has connections that keep its address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn announce(target: &Target, address: SocketAddr) -> Announcement {
    let function = target.binding.as_str().split('/').next().unwrap_or_default();
    Announcement {
        label: "route",
        text: format!("{} -> function {function}", target.key),
        example: example(&target.key, address),
    }
}

/// A call of the route by curl, with each parameter's name in the place of a value; `None` for a path that a shell would not take as it is.
fn example(key: &str, address: SocketAddr) -> Option<String> {
    let (method, path) = key.split_once(' ').unwrap_or(("ANY", "/"));
    let path = path.replace(['{', '}', '+'], "");
    let options = match method {
        "GET" | "ANY" => "",
        "HEAD" => "-I ",
        "POST" | "PUT" | "PATCH" => &format!("-X {method} -d '{{}}' "),
        other => &format!("-X {other} "),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~%".contains(&byte);
    path.bytes()
        .all(plain)
        .then(|| format!("curl {options}http://{address}{path}"))
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> SourceError {
    let (reason, advice) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "address already in use".into(),
            "stop the other program or set sources.http.listen",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied".into(),
            "choose a port from 1024 upwards in sources.http.listen",
        ),
        io::ErrorKind::AddrNotAvailable => (
            "this machine does not have the address".into(),
            "choose 127.0.0.1 in sources.http.listen",
        ),
        _ => (error.to_string(), "choose another address in sources.http.listen"),
    };
    SourceError(format!("the gateway cannot listen on {address}: {reason}; {advice}"))
}

fn protocol(head_time: Duration) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_header_size(MAX_HEAD)
        .max_buf_size(READ_BUFFER);
    http
}

/// What all connections share.
struct Server {
    gateway: Gateway,
    http: http1::Builder,
    stall_time: Duration,
    shutdown: CancellationToken,
}

/// Accepts connections until the token fires; then lets the requests in flight end.
async fn serve(listener: TcpListener, server: Arc<Server>, bounds: Bounds) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = server.shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < bounds.connections => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&server)));
                }
                // The client is gone already, or the system is out of descriptors: neither ends the gateway.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(bounds.drain_time, drained).await.is_err() {
        connections.shutdown().await;
    }
}

/// Serves one connection to its end. Its errors are the client's: it went away, or sent no HTTP.
async fn connection(stream: TcpStream, peer: SocketAddr, server: Arc<Server>) {
    let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else {
        return;
    };
    let facts = Connection::new(peer, local);
    let (gateway, facts) = (&server.gateway, &facts);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(gateway.handle(facts, request).await) });
    let stream = TokioIo::new(Impatient::new(stream, server.stall_time));
    let mut serving = pin!(server.http.serve_connection(stream, service));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = server.shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

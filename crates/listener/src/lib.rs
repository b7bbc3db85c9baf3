//! An HTTP/1 listener that clients cannot exhaust: for triggers that are called, and for the endpoint.

mod impatient;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use impatient::Impatient;

/// Connections that may wait to be accepted; the system's own bound counts, too. A burst that finds no place tries again after a second.
const BACKLOG: u32 = 4096;
/// How long accepting pauses when the system has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is read ahead of a connection at most. Also bounds a head that is not complete.
const READ_BUFFER: usize = 64 * 1024;

/// What bounds connections.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at one time; more wait in the listener's backlog.
    pub connections: usize,
    /// The largest request line and headers together.
    pub head: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_time: Duration,
    /// How long a client may take nothing of an answer that waits for it.
    pub stall_time: Duration,
    /// How long the requests in flight may still take when the listener ends.
    pub drain_time: Duration,
}

impl Bounds {
    /// As many connections as a listener may have: a third of the descriptors of the process at most, since there are two, the gateway's and the
    /// endpoint's, and no flood of connections must take the third that functions and files need.
    pub fn connections() -> usize {
        const MOST: u64 = 10_000;
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let share = descriptors.map_or(MOST, |descriptors| descriptors / 3);
        usize::try_from(share.min(MOST)).unwrap_or(usize::MAX)
    }
}

/// A listener on `address`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A server that was stopped a moment ago has connections that keep its address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The client.
    pub peer: SocketAddr,
    /// The server.
    pub local: SocketAddr,
}

/// Accepts connections until `shutdown` fires, and then lets the requests in flight end. `service` makes what answers the requests of one connection.
pub async fn serve<S, B>(
    listener: TcpListener,
    bounds: Bounds,
    shutdown: CancellationToken,
    service: impl Fn(Ends) -> S,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head_time)
        .max_header_size(bounds.head)
        .max_buf_size(READ_BUFFER);
    let protocol = Arc::new(http);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < bounds.connections => match accepted {
                Ok((stream, peer)) => {
                    let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else { continue };
                    let service = service(Ends { peer, local });
                    let stream = Impatient::new(stream, bounds.stall_time);
                    connections.spawn(connection(stream, Arc::clone(&protocol), service, shutdown.clone()));
                }
                // The client is gone already, or the system is out of descriptors: neither ends the listener.
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
async fn connection<S, B>(
    stream: Impatient<TcpStream>,
    protocol: Arc<http1::Builder>,
    service: S,
    shutdown: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let mut serving = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = shutdown.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

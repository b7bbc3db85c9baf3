//! The gateway as a source.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hikigane_listener::{self as listener, Ends};
use hikigane_model::Cors;
use hikigane_trigger::proxy::Connection;
use hikigane_trigger::{Announcement, Clock, Context, PluginState, Resource, Source, SourceError};
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::body;
use crate::gateway::Gateway;
use crate::spec::Config;
use crate::table::{RouteTable, Target};

/// What bounds the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) listener: listener::Bounds,
    /// How long a body may take.
    pub(crate) body_time: Duration,
    /// Bytes that bodies which are arriving may have together.
    pub(crate) bodies: usize,
    /// Bytes that answers which wait for their clients may have together.
    pub(crate) answers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            listener: listener::Bounds {
                connections: listener::Bounds::connections(),
                // API Gateway's quota for HTTP APIs.
                head: 10_240,
                head_time: Duration::from_secs(10),
                stall_time: Duration::from_secs(20),
                // A body's time and a function's, and some for the answer.
                drain_time: Duration::from_secs(65),
            },
            body_time: Duration::from_secs(30),
            bodies: body::BUDGET,
            answers: body::BUDGET,
        }
    }
}

#[cfg(test)]
impl Bounds {
    /// With other bounds of the listener.
    pub(crate) fn listening(change: impl FnOnce(&mut listener::Bounds)) -> Self {
        let mut bounds = Self::default();
        change(&mut bounds.listener);
        bounds
    }
}

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
        let listener = listener::bind(self.listen).map_err(|error| cannot_listen(self.listen, &error))?;
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
            answers: Arc::new(Semaphore::new(self.bounds.answers)),
        };
        let gateway = Arc::new(gateway);
        let service = |ends: Ends| {
            let served = Arc::new((Arc::clone(&gateway), Connection::new(ends.peer, ends.local)));
            service_fn(move |request| {
                let served = Arc::clone(&served);
                async move {
                    let (gateway, connection) = &*served;
                    Ok::<_, Infallible>(gateway.handle(connection, request).await)
                }
            })
        };
        listener::serve(listener, self.bounds.listener, context.shutdown, service).await;
        Ok(())
    }
}

fn announce(target: &Target, address: SocketAddr) -> Announcement {
    let function = target.binding.as_str().split('/').next().unwrap_or_default();
    Announcement {
        label: "route",
        text: format!("{} -> function {function}", target.key),
        example: example(&target.key, address),
    }
}

/// A call of the route by curl, with each parameter's name in the place of a value; `None` for what nobody should delete just to try it, and for a path
/// that a shell would not take as it is.
fn example(key: &str, address: SocketAddr) -> Option<String> {
    let (method, path) = key.split_once(' ').unwrap_or(("ANY", "/"));
    let path = path.replace(['{', '}', '+'], "");
    let options = match method {
        "DELETE" => return None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proposed_to_try_deletes_nothing() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        for (route, proposed) in [
            ("GET /hello/{name}", Some("curl http://127.0.0.1:8080/hello/name")),
            ("ANY /files/{proxy+}", Some("curl http://127.0.0.1:8080/files/proxy")),
            ("PUT /x", Some("curl -X PUT -d '{}' http://127.0.0.1:8080/x")),
            ("DELETE /x", None),
            ("GET /a&b", None),
        ] {
            assert_eq!(example(route, address).as_deref(), proposed, "{route}");
        }
    }
}

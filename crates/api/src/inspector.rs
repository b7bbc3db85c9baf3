//! Where debuggers come in: Chrome's DevTools, VS Code and whatever else attaches to Node.js by its inspector's address.
//!
//! The two lists and their members are those of Node.js (its documentation, "Debugger", and `src/inspector_socket_server.cc`), which these tools
//! read. What goes over a WebSocket is the Chrome DevTools Protocol, which is V8's own and passes unread.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router as Routes};
use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketRead, WebSocketWrite};
use hikigane_executor::frames::MESSAGE_LIMIT;
use hikigane_executor::{Debugger, Inspector, Target};
use hikigane_model::TargetId;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::guard::Guard;

/// The listener for debuggers.
pub struct DebuggerDoor {
    inspector: Inspector,
    /// The connections that are open.
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl DebuggerDoor {
    /// A door to the environments that `inspector` lists.
    pub fn new(inspector: Inspector) -> Self {
        Self {
            inspector,
            connections: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Serves until `shutdown` fires, then closes every connection: functions that stand at a breakpoint go on.
    pub async fn serve(mut self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        self.shutdown = shutdown.clone();
        let connections = self.connections.clone();
        let routes = Routes::new()
            .route("/json", get(list))
            .route("/json/list", get(list))
            .route("/json/version", get(version))
            .route("/{target}", get(attach))
            .layer(axum::middleware::from_fn(check))
            .with_state(Arc::new(self));
        let served = axum::serve(listener, routes)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await;
        connections.close();
        connections.wait().await;
        served
    }
}

/// The address that opens Chrome's DevTools on a target. `authority`: the host and port that the browser sees.
pub fn front_end(authority: &str, target: &TargetId) -> String {
    format!("devtools://devtools/bundled/js_app.html?experiments=true&v8only=true&ws={authority}/{target}")
}

/// Refuses web pages of other sites.
async fn check(request: Request, next: Next) -> Response {
    if is_welcome(request.headers()) {
        return next.run(request).await;
    }
    let refusal = "debuggers reach this server at its own loopback address only, and not from web pages\n";
    (StatusCode::FORBIDDEN, refusal).into_response()
}

/// Whether a request means this machine by a name that is no other site's, rebound (Node.js looks at `Host` for that, too), and comes from no
/// page but DevTools, which is one of the browser's own.
fn is_welcome(headers: &HeaderMap) -> bool {
    let guard = Guard::of_any_port();
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    text(HOST).is_some_and(|host| guard.accepts_host(host))
        && text(ORIGIN).is_none_or(|origin| guard.accepts_origin(origin) || origin == "devtools://devtools")
}

async fn version() -> Json<Value> {
    Json(json!({"Browser": concat!("hikigane/v", env!("CARGO_PKG_VERSION")), "Protocol-Version": "1.1"}))
}

async fn list(State(door): State<Arc<DebuggerDoor>>, request: Request) -> Json<Value> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let targets = door.inspector.targets();
    targets
        .iter()
        .map(|target| describe(target, host.unwrap_or_default()))
        .collect::<Value>()
        .into()
}

/// A target in Node.js's words. `node` as its type is what tools look for.
fn describe(target: &Target, authority: &str) -> Value {
    let front_end = front_end(authority, &target.id);
    // `lib/index` of `lib/index.handler`: which of `.js`, `.mjs` and the others it is, only the worker finds out.
    let base = target.handler.rfind('/').map_or(0, |slash| slash + 1);
    let end = target.handler[base..]
        .find('.')
        .map_or(target.handler.len(), |dot| base + dot);
    let module = &target.handler[..end];
    json!({
        "description": format!("function {}, version {}", target.function, target.version),
        "devtoolsFrontendUrl": front_end,
        "devtoolsFrontendUrlCompat": front_end.replace("js_app.html", "inspector.html"),
        "id": target.id.to_string(),
        "title": target.function,
        "type": "node",
        "url": format!("file:///var/task/{module}"),
        "webSocketDebuggerUrl": format!("ws://{authority}/{}", target.id),
    })
}

async fn attach(State(door): State<Arc<DebuggerDoor>>, Path(id): Path<String>, mut request: Request) -> Response {
    if !is_upgrade_request(&request) {
        let hint = "this is a debugger's WebSocket; GET /json/list says where DevTools and VS Code find it\n";
        return (StatusCode::BAD_REQUEST, hint).into_response();
    }
    let (response, socket) = match upgrade(&mut request) {
        Ok(upgraded) => upgraded,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let Some(debugger) = TargetId::new(&id).ok().and_then(|id| door.inspector.attach(&id)) else {
        let gone = "there is no such environment, or no more; GET /json/list says which there are\n";
        return (StatusCode::NOT_FOUND, gone).into_response();
    };
    let shutdown = door.shutdown.clone();
    door.connections.spawn(async move {
        // An error is the debugger's end of the connection.
        let _ = relay(socket, debugger, shutdown).await;
    });
    response.map(Body::new)
}

/// Carries messages both ways until either side ends. The two ways do not wait for each other: a debugger that is busy sending is still told.
async fn relay(socket: UpgradeFut, debugger: Debugger, shutdown: CancellationToken) -> Result<(), WebSocketError> {
    let (mut reader, mut writer) = socket.await?.split(tokio::io::split);
    reader.set_max_message_size(MESSAGE_LIMIT);
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    let (ping, pings) = mpsc::channel(1);
    let why = tokio::select! {
        why = from_debugger(reader, debugger.says, ping) => why,
        done = to_debugger(&mut writer, debugger.hears, pings) => done.map(|()| "the environment has ended"),
        () = shutdown.cancelled() => Ok("the server is stopping"),
    };
    // RFC 6455, 7.4.1: 1001, going away.
    writer.write_frame(Frame::close(1001, why?.as_bytes())).await
}

/// Passes on what a debugger says; gives why it says no more. Pings go to the other half, which alone may write.
async fn from_debugger(
    reader: WebSocketRead<impl AsyncRead + Unpin>,
    says: mpsc::Sender<Bytes>,
    ping: mpsc::Sender<Vec<u8>>,
) -> Result<&'static str, WebSocketError> {
    let mut reader = FragmentCollectorRead::new(reader);
    loop {
        let frame = reader.read_frame(&mut async |_| Ok::<_, Infallible>(())).await?;
        let sent = match frame.opcode {
            OpCode::Text | OpCode::Binary if frame.payload.len() > MESSAGE_LIMIT => {
                return Ok("the message is too large");
            }
            OpCode::Text | OpCode::Binary => says.send(Vec::from(frame.payload).into()).await.is_ok(),
            OpCode::Ping => ping.send(frame.payload.into()).await.is_ok(),
            OpCode::Close => return Ok("goodbye"),
            OpCode::Pong | OpCode::Continuation => true,
        };
        if !sent {
            return Ok("the environment has ended");
        }
    }
}

/// Tells a debugger what it is to be told, until the environment ends.
async fn to_debugger(
    writer: &mut WebSocketWrite<impl AsyncWrite + Unpin>,
    mut hears: mpsc::Receiver<Bytes>,
    mut pings: mpsc::Receiver<Vec<u8>>,
) -> Result<(), WebSocketError> {
    loop {
        let frame = tokio::select! {
            message = hears.recv() => match message {
                Some(message) => Frame::text(Payload::Owned(message.into())),
                None => return Ok(()),
            },
            Some(ping) = pings.recv() => Frame::pong(Payload::Owned(ping)),
        };
        writer.write_frame(frame).await?;
    }
}

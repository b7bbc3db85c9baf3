//! The gateway over real sockets, with a scripted router behind it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod cors;
mod events;
mod lifecycle;
mod protocol;
mod routes;
mod smuggling;
mod spec;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeZone, Utc};
use hikigane_model::{BindingId, Event, InvokeMode, Outcome, RequestId, StateWrite};
use hikigane_trigger::{
    Accepted, Announcement, BindingSpec, CallError, CancellationToken, Clock, Context, EmitError, EventSink, Ingress,
    PluginState, Reply, Source, SourceError, SourceSpec, StateError, StateStore, async_trait,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::server::{Bounds, HttpSource};

/// Longest a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it did not happen in time")
}

/// How the scripted router answers.
#[derive(Clone)]
enum Script {
    /// The function returns the event.
    Echo,
    /// The function returns the request's body, which is JSON text.
    ReturnBody,
    /// The function ends so.
    Outcome(Outcome),
    /// The call fails so.
    CallError(CallError),
    /// The event is accepted, or not.
    Emit(Result<Accepted, EmitError>),
    /// The function returns the event when the semaphore has a permit.
    Gated(Arc<Semaphore>),
}

struct Router {
    script: Script,
    seen: Mutex<Vec<(BindingId, Event)>>,
    /// Calls whose future ended or was dropped.
    ended: Arc<Semaphore>,
}

/// Counts the end of a call, however it ends.
struct EndOfCall(Arc<Semaphore>);

impl Drop for EndOfCall {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

fn returned(text: impl Into<Bytes>) -> Result<Reply, CallError> {
    Ok(Reply {
        request_id: RequestId::random(),
        outcome: Outcome::Returned(text.into()),
    })
}

#[async_trait]
impl Ingress for Router {
    async fn emit(&self, binding: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError> {
        assert!(state.is_empty());
        self.seen.lock().unwrap().push((binding.clone(), event));
        match &self.script {
            Script::Emit(result) => result.clone(),
            _ => panic!("an asynchronous event was not expected"),
        }
    }

    async fn skip(&self, _: &BindingId, _: DateTime<Utc>, _: &str, _: Vec<StateWrite>) -> Result<(), EmitError> {
        panic!("the gateway skips nothing")
    }

    async fn call(&self, binding: &BindingId, event: Event) -> Result<Reply, CallError> {
        let _end = EndOfCall(self.ended.clone());
        self.seen.lock().unwrap().push((binding.clone(), event.clone()));
        match &self.script {
            Script::Echo => returned(event.payload),
            Script::ReturnBody => {
                let event: Value = serde_json::from_slice(&event.payload).unwrap();
                returned(event["body"].as_str().unwrap_or_default().to_owned())
            }
            Script::Outcome(outcome) => Ok(Reply {
                request_id: RequestId::random(),
                outcome: outcome.clone(),
            }),
            Script::CallError(error) => Err(error.clone()),
            Script::Emit(_) => panic!("a synchronous event was not expected"),
            Script::Gated(gate) => {
                gate.acquire().await.unwrap().forget();
                returned(event.payload)
            }
        }
    }

    async fn pending(&self, _: &BindingId) -> Result<u64, EmitError> {
        panic!("the gateway does not ask")
    }
}

struct NoState;

fn no_state() -> PluginState {
    PluginState::new("http", Arc::new(NoState))
}

#[async_trait]
impl StateStore for NoState {
    async fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, StateError> {
        panic!("the gateway has no state")
    }
    async fn scan(&self, _: &str, _: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        panic!("the gateway has no state")
    }
    async fn write(&self, _: &str, _: Vec<StateWrite>) -> Result<(), StateError> {
        panic!("the gateway has no state")
    }
}

fn binding(id: &str, config: Value, invoke: Option<InvokeMode>) -> BindingSpec {
    BindingSpec {
        id: BindingId::from_text(id),
        config,
        invoke,
    }
}

/// A spec whose gateway listens on a free port.
fn spec_of(bindings: Vec<BindingSpec>) -> SourceSpec {
    SourceSpec {
        settings: Some(json!({"listen": "127.0.0.1:0"})),
        bindings,
        ..SourceSpec::default()
    }
}

/// A running gateway.
struct Gateway {
    address: SocketAddr,
    router: Arc<Router>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), SourceError>>,
}

impl Gateway {
    /// A gateway with one binding for everything.
    async fn with(script: Script) -> Self {
        Self::start(
            vec![binding("f/all", json!("$default"), None)],
            script,
            Bounds::default(),
        )
        .await
    }

    async fn start(bindings: Vec<BindingSpec>, script: Script, bounds: Bounds) -> Self {
        Self::of(spec_of(bindings), script, bounds).await
    }

    async fn of(spec: SourceSpec, script: Script, bounds: Bounds) -> Self {
        let config = crate::spec::read(spec).unwrap();
        let mut source = Box::new(HttpSource::new(config).with_bounds(bounds));
        let clock = Clock::virtual_at(Utc.with_ymd_and_hms(2020, 3, 12, 19, 3, 58).unwrap());
        let announced = source.open(&clock, &no_state()).await.unwrap();
        let address = address_in(&announced);
        let router = Arc::new(Router {
            script,
            seen: Mutex::default(),
            ended: Arc::new(Semaphore::new(0)),
        });
        let shutdown = CancellationToken::new();
        let context = Context {
            events: EventSink::new(router.clone()),
            state: PluginState::new("http", Arc::new(NoState)),
            shutdown: shutdown.clone(),
            clock,
        };
        let running = tokio::spawn(source.run(context));
        Self {
            address,
            router,
            shutdown,
            running,
        }
    }

    async fn client(&self) -> Client {
        Client {
            stream: soon(TcpStream::connect(self.address)).await.unwrap(),
            unread: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }

    fn seen(&self) -> usize {
        self.router.seen.lock().unwrap().len()
    }

    /// Waits until `count` events reached the router.
    async fn wait_for_events(&self, count: usize) {
        soon(async {
            while self.seen() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn address_in(announced: &[Announcement]) -> SocketAddr {
    announced[0].text.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A raw HTTP/1.1 client that believes nothing but the bytes.
struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads more; false at the end of the stream, however it ends.
    async fn more(&mut self) -> bool {
        let count = soon(self.stream.read_buf(&mut self.unread)).await;
        count.is_ok_and(|count| count > 0)
    }

    /// The status and headers that come next; `None`: the connection was closed before.
    async fn head(&mut self) -> Option<Answer> {
        let end = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None if self.more().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Some(Answer {
            status,
            headers: lines.map(header).collect(),
            body: Vec::new(),
        })
    }

    /// The next response with its body.
    async fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = self.head().await?;
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.more().await, "the body ended early: {answer:?}");
        }
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    async fn answer(&mut self) -> Answer {
        self.try_answer()
            .await
            .expect("the connection was closed without a response")
    }

    /// Whether the gateway closes the connection, with nothing more on it.
    async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.more().await
    }
}

/// A request without a body.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// A request with a text body.
fn post(path: &str, content_type: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

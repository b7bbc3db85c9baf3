//! Opening, timeouts, asynchronous routes, clients that go away, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hikigane_model::{InvokeMode, RequestId};
use hikigane_trigger::{Accepted, Clock, EmitError, SourceSpec, TriggerPlugin};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Bounds, Gateway, Script, address_in, binding, get, no_state, post, soon, spec_of};
use crate::plugin;

#[tokio::test]
async fn open_says_what_it_listens_to() {
    let spec = spec_of(vec![
        binding("hello/a", json!("get /hello/{name}"), None),
        binding("web/b", json!("*"), Some(InvokeMode::Async)),
    ]);
    let mut source = plugin().build(spec).unwrap();
    let announced = source.open(&Clock::system(), &no_state()).await.unwrap();
    assert!(address_in(&announced).port() > 0);
    let lines: Vec<_> = announced.iter().map(|line| (line.label, line.text.as_str())).collect();
    assert_eq!(lines[0].0, "gateway");
    assert_eq!(
        lines[1..],
        [
            ("route", "GET /hello/{name} -> function hello"),
            ("route", "$default -> function web")
        ]
    );
}

#[tokio::test]
async fn a_port_in_use_is_said_in_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = taken.local_addr().unwrap();
    let spec = SourceSpec {
        settings: Some(json!({"listen": address.to_string()})),
        ..SourceSpec::default()
    };
    let mut source = plugin().build(spec).unwrap();
    let error = source.open(&Clock::system(), &no_state()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the gateway cannot listen on {address}: address already in use; stop the other program or set sources.http.listen"
        )
    );
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_the_route_says() {
    let gate = Arc::new(Semaphore::new(0));
    let bindings = vec![
        binding(
            "f/quick",
            json!({"method": "GET", "path": "/quick", "timeout": "50ms"}),
            None,
        ),
        binding("f/slow", json!({"method": "GET", "path": "/slow"}), None),
    ];
    let gateway = Gateway::start(bindings, Script::Gated(gate.clone()), Bounds::default()).await;
    let mut client = gateway.client().await;
    client.send(get("/quick")).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({"message": "Service Unavailable"}))
    );
    // The connection lives, and a longer timeout waits.
    client.send(get("/slow")).await;
    gateway.wait_for_events(2).await;
    gate.add_permits(1);
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn an_asynchronous_route_answers_when_the_event_is_queued() {
    let accepted = Ok(Accepted::Queued(RequestId::from_text("the-id")));
    for (result, status, body) in [
        (accepted, 202, Some(json!({"requestId": "the-id"}))),
        (Ok(Accepted::Filtered), 204, None),
        (
            Err(EmitError::Unavailable("disk full".into())),
            503,
            Some(json!({"message": "Service Unavailable", "reason": "the event could not be stored: disk full"})),
        ),
        (
            Err(EmitError::Refused("the server is stopping".into())),
            503,
            Some(json!({"message": "Service Unavailable", "reason": "the server is stopping"})),
        ),
        (
            Err(EmitError::TooLarge { size: 2, limit: 1 }),
            413,
            Some(json!({"message": "Request Entity Too Large"})),
        ),
    ] {
        let bindings = vec![binding("f/queue", json!("POST /{id}"), Some(InvokeMode::Async))];
        let gateway = Gateway::start(bindings, Script::Emit(result), Bounds::default()).await;
        let answer = gateway.ask(post("/7", "application/json", "{}")).await;
        assert_eq!(answer.status, status);
        assert_eq!((!answer.body.is_empty()).then(|| answer.json()), body);
        assert!(answer.header("apigw-requestid").is_some());
        let seen = gateway.router.seen.lock().unwrap();
        let event: serde_json::Value = serde_json::from_slice(&seen[0].1.payload).unwrap();
        assert_eq!(
            (seen[0].0.as_str(), &event["pathParameters"]["id"]),
            ("f/queue", &json!("7"))
        );
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_own_call_only() {
    let gate = Arc::new(Semaphore::new(0));
    let gateway = Gateway::with(Script::Gated(gate.clone())).await;
    let (mut leaver, mut stayer) = (gateway.client().await, gateway.client().await);
    leaver.send(get("/leaver")).await;
    gateway.wait_for_events(1).await;
    stayer.send(get("/stayer")).await;
    gateway.wait_for_events(2).await;
    drop(leaver);
    soon(gateway.router.ended.acquire()).await.unwrap().forget();
    gate.add_permits(1);
    assert_eq!(stayer.answer().await.json()["rawPath"], "/stayer");
}

#[tokio::test]
async fn more_connections_than_the_bound_wait_their_turn() {
    let bounds = Bounds::listening(|bounds| bounds.connections = 2);
    let gateway = Gateway::start(vec![binding("f/b", json!("$default"), None)], Script::Echo, bounds).await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    for client in [&mut first, &mut second] {
        client.send(get("/")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut third = gateway.client().await;
    third.send(get("/third")).await;
    first.send(get("/first")).await;
    assert_eq!(first.answer().await.json()["rawPath"], "/first");
    assert_eq!(gateway.seen(), 3, "the third connection was served beyond the bound");
    drop(first);
    assert_eq!(third.answer().await.json()["rawPath"], "/third");
}

#[tokio::test]
async fn stopping_lets_requests_in_flight_end_and_takes_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let gateway = Gateway::with(Script::Gated(gate.clone())).await;
    let (mut busy, mut idle, mut fresh) = (gateway.client().await, gateway.client().await, gateway.client().await);
    gate.add_permits(1);
    idle.send(get("/idle")).await;
    assert_eq!(idle.answer().await.status, 200);
    busy.send(get("/busy")).await;
    gateway.wait_for_events(2).await;

    gateway.shutdown.cancel();
    assert!(idle.is_closed().await, "an idle connection stays open");
    assert!(fresh.is_closed().await, "a connection without a request stays open");
    assert!(!gateway.running.is_finished());
    soon(async { while tokio::net::TcpStream::connect(gateway.address).await.is_ok() {} }).await;

    gate.add_permits(1);
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.json()["rawPath"].clone()), (200, json!("/busy")));
    assert!(busy.is_closed().await);
    soon(gateway.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let gate = Arc::new(Semaphore::new(0));
    let bounds = Bounds::listening(|bounds| bounds.drain_time = Duration::from_millis(50));
    let gateway = Gateway::start(
        vec![binding("f/b", json!("$default"), None)],
        Script::Gated(gate),
        bounds,
    )
    .await;
    let mut client = gateway.client().await;
    client.send(get("/")).await;
    gateway.wait_for_events(1).await;
    gateway.shutdown.cancel();
    soon(gateway.running).await.unwrap().unwrap();
    assert!(client.try_answer().await.is_none());
}

#[tokio::test]
async fn run_before_open_is_an_error() {
    let config = crate::spec::read(spec_of(Vec::new())).unwrap();
    let source = Box::new(crate::server::HttpSource::new(config));
    let context = hikigane_trigger::Context {
        events: hikigane_trigger::EventSink::new(Arc::new(super::Router {
            script: Script::Echo,
            seen: Default::default(),
            ended: Arc::new(Semaphore::new(0)),
        })),
        state: hikigane_trigger::PluginState::new("http", Arc::new(super::NoState)),
        shutdown: Default::default(),
        clock: Clock::system(),
    };
    let error = hikigane_trigger::Source::run(source, context).await.unwrap_err();
    assert!(error.to_string().contains("was not opened"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    let bounds = Bounds::listening(|bounds| {
        bounds.connections = 1;
        bounds.stall_time = Duration::from_millis(100);
    });
    let result = serde_json::Value::from("x".repeat(64 * 1024 * 1024)).to_string();
    let script = Script::Outcome(hikigane_model::Outcome::Returned(result.into()));
    let gateway = Gateway::start(vec![binding("f/b", json!("$default"), None)], script, bounds).await;
    let mut sleeper = gateway.client().await;
    sleeper.send(get("/")).await;
    gateway.wait_for_events(1).await;
    // The only connection is the sleeper's, until the gateway takes it away.
    let mut next = gateway.client().await;
    next.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(next.head().await.unwrap().status, 200);
}

#[tokio::test]
async fn bodies_that_are_arriving_have_a_bounded_memory_together() {
    let bounds = Bounds {
        bodies: 100_000,
        ..Bounds::default()
    };
    let gateway = Gateway::start(vec![binding("f/b", json!("$default"), None)], Script::Echo, bounds).await;
    for _ in 0..3 {
        let mut client = gateway.client().await;
        client.send(post("/", "text/plain", &"x".repeat(100_001))).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.json()),
            (503, json!({"message": "Service Unavailable"}))
        );
        assert!(client.is_closed().await);
        // What it had is there again.
        assert_eq!(
            gateway.ask(post("/", "text/plain", &"x".repeat(100_000))).await.status,
            200
        );
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_have_a_bounded_memory_together() {
    // More than sockets hold, so that the rest waits in the gateway.
    const ANSWER: usize = 32 * 1024 * 1024;
    let bounds = Bounds {
        answers: ANSWER * 3 / 2,
        ..Bounds::default()
    };
    let result = serde_json::Value::from("x".repeat(ANSWER)).to_string();
    let script = Script::Outcome(hikigane_model::Outcome::Returned(result.into()));
    let gateway = Gateway::start(vec![binding("f/b", json!("$default"), None)], script, bounds).await;
    let mut sleeper = gateway.client().await;
    sleeper.send(get("/")).await;
    assert_eq!(sleeper.head().await.unwrap().status, 200);
    let refused = gateway.ask(get("/")).await;
    assert_eq!(refused.status, 503);
    assert!(refused.json()["reason"].as_str().unwrap().contains("wait for clients"));
    // Who takes the answer, or goes, makes room for others.
    drop(sleeper);
    soon(async { while gateway.ask(get("/")).await.status != 200 {} }).await;
}

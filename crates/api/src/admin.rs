//! The admin API: what the command line asks a running server. JSON throughout.

use std::convert::Infallible;

use axum::Json;
use axum::Router as Routes;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hikigane_executor::Inspector;
use hikigane_model::{BindingId, FunctionName, RequestId};
use hikigane_router::InvokeRequest;
use hikigane_store::{DeadLetter, RecordedRun, RunFilter, RunStatus, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Endpoint;
use crate::error::ApiError;
use crate::input::Input;
use crate::invoke;

/// The paths, for both sides.
pub mod paths {
    /// `GET`: the version and how much waits.
    pub const STATUS: &str = "/_hikigane/status";
    /// `POST`, before `/{FUNCTION}?target={UUID}`: invokes it in an environment that waits for a debugger.
    pub const DEBUG: &str = "/_hikigane/debug";
    /// `GET`: runs, newest first.
    pub const RUNS: &str = "/_hikigane/runs";
    /// `GET`: log lines as they are written, until the client leaves.
    pub const LOGS: &str = "/_hikigane/logs";
    /// `GET`: dead letters, newest first.
    pub const DEAD_LETTERS: &str = "/_hikigane/dlq";
    /// `POST`: puts dead letters back into the queue.
    pub const REDRIVE: &str = "/_hikigane/dlq/redrive";
    /// `POST`: deletes dead letters.
    pub const PURGE: &str = "/_hikigane/dlq/purge";
    /// `GET`, with the package's hash after it, in the URL-safe alphabet of base64: an uploaded zip as it came.
    pub const PACKAGES: &str = "/_hikigane/packages";
    /// `POST`, in test mode: moves the virtual clock.
    pub const CLOCK: &str = "/_hikigane/clock";
    /// `POST`, in test mode: forgets all but the manifest.
    pub const RESET: &str = "/_hikigane/reset";
}

/// What test suites that know moto's server mode ask for between two tests; its answer is moto's, too.
const MOTO_RESET: &str = "/moto-api/reset";
/// Most entries in one answer.
const PAGE: usize = 1000;

pub(crate) fn routes() -> Routes<Endpoint> {
    Routes::new()
        .route(paths::STATUS, get(status))
        .route("/_hikigane/debug/{function}", post(invoke::debug))
        .route(paths::RUNS, get(runs))
        .route("/_hikigane/runs/{id}", get(run))
        .route("/_hikigane/runs/{id}/replay", post(replay))
        .route(paths::LOGS, get(logs))
        .route(paths::DEAD_LETTERS, get(dead_letters))
        .route("/_hikigane/dlq/{id}", get(dead_letter))
        .route(paths::REDRIVE, post(redrive))
        .route(paths::PURGE, post(purge))
        .route(paths::CLOCK, post(clock))
        .route(paths::RESET, post(reset))
        .route(MOTO_RESET, post(reset))
        .route("/_hikigane/packages/{package}", get(package))
}

async fn status(State(endpoint): State<Endpoint>) -> Result<Json<Value>, ApiError> {
    let router = &endpoint.router;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": router.clock().now(),
        "functions": router.routes().functions(),
        "queued": router.queue().depth().await.map_err(unavailable)?,
        "runsNotRecorded": router.history().dropped(),
        "inspector": endpoint.inspector.as_ref().map(Inspector::address),
        "signatureValidationErrors": endpoint.lambda.distrust().counts(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunQuery {
    function: Option<String>,
    binding: Option<String>,
    request_id: Option<String>,
    status: Option<String>,
    before: Option<i64>,
    limit: Option<usize>,
}

async fn runs(
    State(endpoint): State<Endpoint>,
    Input(Query(query)): Input<Query<RunQuery>>,
) -> Result<Json<Value>, ApiError> {
    let status = query
        .status
        .map(|word| {
            RunStatus::from_word(&word).ok_or_else(|| {
                bad(format!(
                    "\"{word}\" is no status of a run: use succeeded, failed, timed-out, crashed, throttled or skipped"
                ))
            })
        })
        .transpose()?;
    let filter = RunFilter {
        function: function(query.function)?,
        binding: query.binding.as_deref().map(BindingId::from_text),
        request_id: query.request_id.as_deref().map(RequestId::from_text),
        status,
        before: query.before,
        limit: query.limit.unwrap_or(20).min(PAGE),
    };
    let runs = endpoint.router.history().runs(filter).await.map_err(unavailable)?;
    Ok(Json(
        json!({"runs": runs.iter().map(|run| run_json(run, false)).collect::<Vec<_>>()}),
    ))
}

async fn run(State(endpoint): State<Endpoint>, Input(Path(id)): Input<Path<i64>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(run_json(&find_run(&endpoint, id).await?, true)))
}

/// Sends a run's input to its function again, as a new event.
async fn replay(State(endpoint): State<Endpoint>, Input(Path(id)): Input<Path<i64>>) -> Result<Json<Value>, ApiError> {
    let run = find_run(&endpoint, id).await?.run;
    if run.status == RunStatus::Skipped {
        return Err(bad(format!("run {id} was skipped: it has no event to replay")));
    }
    let request = InvokeRequest {
        function: run.function.to_string(),
        qualifier: None,
        payload: run.input,
        client_context: None,
        trace: None,
        tenant_id: None,
    };
    let request_id = endpoint.router.invoke_event(request).await?;
    Ok(Json(json!({"requestId": request_id})))
}

async fn find_run(endpoint: &Endpoint, id: i64) -> Result<RecordedRun, ApiError> {
    let run = endpoint.router.history().run(id).await.map_err(unavailable)?;
    run.ok_or_else(|| not_found(format!("there is no run {id}; \"hikigane runs\" lists them")))
}

fn run_json(recorded: &RecordedRun, whole: bool) -> Value {
    let run = &recorded.run;
    let mut answer = json!({
        "id": recorded.id,
        "requestId": run.request_id,
        "attempt": run.attempt,
        "binding": run.binding,
        "trigger": run.trigger,
        "function": run.function,
        "version": run.version,
        "mode": run.mode,
        "status": run.status.as_str(),
        "reason": run.reason,
        "startedAt": run.started_at,
        "durationMs": run.duration_ms,
        "initMs": run.init_ms,
        "maxMemoryMb": run.max_memory_mb,
    });
    if let (true, Some(answer)) = (whole, answer.as_object_mut()) {
        answer.insert("input".into(), text(&run.input));
        answer.insert("output".into(), text(&run.output));
        answer.insert("log".into(), run.log.clone().into());
    }
    answer
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    function: Option<String>,
    /// Whether each line begins with its function.
    #[serde(default)]
    names: bool,
}

/// Lines from now on, as plain text; a first empty line tells the client that it listens.
async fn logs(
    State(endpoint): State<Endpoint>,
    Input(Query(query)): Input<Query<LogQuery>>,
) -> Result<Response, ApiError> {
    let (wanted, names) = (function(query.function)?, query.names);
    let mut follow = endpoint.router.live_logs().follow();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(64);
    let _ = sender.try_send(Bytes::from_static(b"\n"));
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                line = follow.recv() => line,
                () = sender.closed() => return,
            };
            let text = match line {
                Ok(line) if wanted.as_ref().is_some_and(|wanted| *wanted != line.function) => continue,
                Ok(line) if names => named(line.function.as_str(), &line.text),
                // As in the history, what is written at once is a line at least.
                Ok(line) if !line.text.ends_with('\n') => line.text + "\n",
                Ok(line) => line.text,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                    format!("[hikigane] {missed} pieces of log passed while this client was slow\n")
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            };
            if sender.send(Bytes::from(text)).await.is_err() {
                return;
            }
        }
    });
    let body = Body::new(http_body_util::StreamBody::new(LogBody(receiver)));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// Each line of a log behind the name of its function.
pub fn named(function: &str, log: &str) -> String {
    log.lines().map(|line| format!("{function} | {line}\n")).collect()
}

/// The channel of log text as the frames of a body.
struct LogBody(tokio::sync::mpsc::Receiver<Bytes>);

impl futures_util::Stream for LogBody {
    type Item = Result<http_body::Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0
            .poll_recv(cx)
            .map(|text| text.map(|text| Ok(http_body::Frame::data(text))))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetterQuery {
    function: Option<String>,
    limit: Option<usize>,
}

async fn dead_letters(
    State(endpoint): State<Endpoint>,
    Input(Query(query)): Input<Query<DeadLetterQuery>>,
) -> Result<Json<Value>, ApiError> {
    let function = function(query.function)?;
    let limit = query.limit.unwrap_or(20).min(PAGE);
    let letters = endpoint
        .router
        .queue()
        .dead_letters(function.as_ref(), limit)
        .await
        .map_err(unavailable)?;
    Ok(Json(
        json!({"deadLetters": letters.iter().map(|letter| letter_json(letter, false)).collect::<Vec<_>>()}),
    ))
}

async fn dead_letter(
    State(endpoint): State<Endpoint>,
    Input(Path(id)): Input<Path<i64>>,
) -> Result<Json<Value>, ApiError> {
    let letter = endpoint.router.queue().dead_letter(id).await.map_err(unavailable)?;
    let letter = letter.ok_or_else(|| {
        not_found(format!(
            "there is no dead letter {id}; \"hikigane dlq list\" lists them"
        ))
    })?;
    Ok(Json(letter_json(&letter, true)))
}

fn letter_json(letter: &DeadLetter, whole: bool) -> Value {
    let (event, burial) = (&letter.event, &letter.burial);
    let mut answer = json!({
        "id": letter.id,
        "requestId": event.request_id,
        "function": event.function,
        "binding": event.binding,
        "trigger": event.trigger,
        "condition": burial.condition,
        "attempts": burial.attempts,
        "acceptedAt": event.accepted_at,
        "diedAt": burial.at,
    });
    if let (true, Some(answer)) = (whole, answer.as_object_mut()) {
        answer.insert("payload".into(), text(&event.payload));
        answer.insert("response".into(), burial.response.as_deref().map_or(Value::Null, text));
    }
    answer
}

/// Which dead letters: one, those of a function, or all. None of the three is a mistake, not "all".
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    id: Option<i64>,
    function: Option<String>,
    #[serde(default)]
    all: bool,
}

impl Which {
    fn read(self) -> Result<(Option<i64>, Option<FunctionName>), ApiError> {
        match (self.id, self.function, self.all) {
            (Some(id), None, false) => Ok((Some(id), None)),
            (None, Some(name), false) => Ok((None, function(Some(name))?)),
            (None, None, true) => Ok((None, None)),
            _ => Err(bad("say which dead letters: an id, a function, or all".into())),
        }
    }
}

async fn redrive(
    State(endpoint): State<Endpoint>,
    Input(Json(which)): Input<Json<Which>>,
) -> Result<Json<Value>, ApiError> {
    let (id, function) = which.read()?;
    let router = &endpoint.router;
    let count = router
        .queue()
        .redrive(id, function.as_ref(), router.clock().now())
        .await
        .map_err(unavailable)?;
    router.wake();
    Ok(Json(json!({"redriven": count})))
}

async fn purge(
    State(endpoint): State<Endpoint>,
    Input(Json(which)): Input<Json<Which>>,
) -> Result<Json<Value>, ApiError> {
    let (id, function) = which.read()?;
    let count = endpoint
        .router
        .queue()
        .purge(id, function.as_ref())
        .await
        .map_err(unavailable)?;
    Ok(Json(json!({"purged": count})))
}

/// A package's zip, in pieces: it may be large.
async fn package(
    State(endpoint): State<Endpoint>,
    Input(Path(name)): Input<Path<String>>,
) -> Result<Response, ApiError> {
    let missing = || not_found("there is no such package".into());
    let file = endpoint.lambda.zip(name).await.ok_or_else(missing)?;
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(tokio::fs::File::from_std(file)));
    Ok(([(header::CONTENT_TYPE, "application/zip")], body).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockMove {
    to: DateTime<Utc>,
}

async fn clock(
    State(endpoint): State<Endpoint>,
    Input(Json(wanted)): Input<Json<ClockMove>>,
) -> Result<Json<Value>, ApiError> {
    let clock = endpoint.router.clock();
    if !endpoint.test_mode || !clock.advance_to(wanted.to) {
        return Err(bad(
            "the clock can be moved only when the server was started with --test-mode".into(),
        ));
    }
    let now = clock.now();
    if wanted.to < now {
        let now = now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        return Err(bad(format!("the clock shows {now} and does not go back")));
    }
    Ok(Json(json!({"time": now})))
}

/// Forgets what was deployed, waits, failed, ran, and the roles of IAM. What plug-ins keep stays: it is the manifest's triggers'.
async fn reset(State(endpoint): State<Endpoint>) -> Result<Json<Value>, ApiError> {
    if !endpoint.test_mode {
        return Err(bad(
            "all is forgotten only when the server was started with --test-mode".into(),
        ));
    }
    endpoint.lambda.reset().await?;
    let router = &endpoint.router;
    router.queue().forget_events().await.map_err(unavailable)?;
    router.history().forget_runs().await.map_err(unavailable)?;
    Ok(Json(json!({"status": "ok"})))
}

/// Bytes that are JSON text, or were; always shown as text.
fn text(bytes: impl AsRef<[u8]>) -> Value {
    String::from_utf8_lossy(bytes.as_ref()).into_owned().into()
}

fn function(name: Option<String>) -> Result<Option<FunctionName>, ApiError> {
    name.map(|name| FunctionName::new(&name).map_err(|error| bad(error.to_string())))
        .transpose()
}

fn bad(message: String) -> ApiError {
    ApiError::new(400, "InvalidParameterValueException", message)
}

fn not_found(message: String) -> ApiError {
    ApiError::new(404, "ResourceNotFoundException", message)
}

fn unavailable(error: StoreError) -> ApiError {
    ApiError::new(503, "ServiceException", error.to_string())
}

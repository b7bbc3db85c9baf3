//! Asking a running server: `hikigane invoke`, and the calls that the other commands share.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_api::{paths, sigv4};
use hikigane_model::{AccessKey, REGION, TargetId};
use serde_json::Value;

use crate::arguments::{Client, Invoke};
use crate::{Failure, output};

/// A server that may be running.
pub struct Server {
    base: String,
    agent: ureq::Agent,
    /// What requests are signed with; a server without access keys does not look at it.
    key: Option<AccessKey>,
}

/// Functions that are named when none of them is near.
const LISTED: usize = 20;

type Response = ureq::http::Response<ureq::Body>;

impl Server {
    /// The server at `host:port` or at a URL, and the key for it.
    pub fn of(client: &Client) -> anyhow::Result<Self> {
        let endpoint = &client.endpoint;
        let base = match endpoint.split_once("://") {
            None => format!("http://{endpoint}"),
            Some(("http", _)) => endpoint.trim_end_matches('/').to_owned(),
            Some((scheme, rest)) => {
                bail!("a hikigane server speaks HTTP and not {scheme}: write --endpoint http://{rest}")
            }
        };
        let key = match &client.access_keys {
            Some(file) => {
                let keys = hikigane_manifest::read_access_keys(file).map_err(anyhow::Error::msg)?;
                let first = keys.into_iter().next();
                Some(first.with_context(|| format!("there is no access key in \"{}\"", file.display()))?)
            }
            None => key_of_environment(),
        };
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Ok(Self { base, agent, key })
    }

    /// `GET` of JSON.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.json(self.send("GET", path, query, &[], b"")?)
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let headers = [("content-type", "application/json")];
        self.json(self.send("POST", path, &[], &headers, body.to_string().as_bytes())?)
    }

    /// `GET` of text that comes as it is made.
    pub fn stream(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<impl Read + use<>> {
        let response = self.send("GET", path, query, &[], b"")?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(status, &response.into_body().read_to_string()?));
        }
        Ok(response.into_body().into_reader())
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, String)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", sigv4::encode(value)))
            .collect();
        let query = query.join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}{mark}{query}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).with_context(|| {
            format!(
                "\"{}\" is not the address of a server: write --endpoint as 127.0.0.1:9000 or [::1]:9000",
                self.base
            )
        })?;
        if let Some(key) = &self.key {
            sign(&mut request, key)?;
        }
        let answer = if body.is_empty() {
            self.agent.run(request.map(drop))
        } else {
            self.agent.run(request)
        };
        let response = answer.map_err(|error| self.unreachable(error))?;
        let code = response.headers().get("x-amzn-errortype");
        if code.is_some_and(|code| code == "MissingAuthenticationTokenException") {
            bail!(
                "the server at {} wants requests that are signed with one of its access keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name its file of keys with --access-keys",
                self.base
            );
        }
        Ok(response)
    }

    fn json(&self, response: Response) -> anyhow::Result<Value> {
        let status = response.status();
        let text = response.into_body().read_to_string().with_context(|| self.stranger())?;
        if !status.is_success() {
            return Err(self.refusal(status, &text));
        }
        serde_json::from_str(&text).with_context(|| self.stranger())
    }

    /// What an answer that is no success says; or, when it is not one of a server of ours, that.
    fn refusal(&self, status: ureq::http::StatusCode, body: &str) -> anyhow::Error {
        let json = serde_json::from_str::<Value>(body).ok();
        let message = json
            .as_ref()
            .and_then(|json| json["message"].as_str().or(json["Message"].as_str()));
        match message {
            Some(message) => anyhow!("{message}"),
            None => anyhow!("{}: it answers HTTP {status}", self.stranger()),
        }
    }

    fn stranger(&self) -> String {
        format!("{} does not answer like a hikigane server", self.base)
    }

    /// What to say about a function that the server does not have; `None` when it has it, or cannot be asked.
    pub fn hint(&self, function: &str) -> Option<String> {
        let function = function.split(':').next().filter(|name| *name != "arn")?;
        let names = self.functions().ok()?;
        if names.iter().any(|name| name == function) {
            return None;
        }
        Some(
            match hikigane_trigger::nearest(function, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean \"{name}\"?"),
                None if names.is_empty() => "the server has no functions".to_owned(),
                None if names.len() <= LISTED => format!("the functions are {}", names.join(", ")),
                None => format!("the server has {} others", names.len()),
            },
        )
    }

    /// The names of all functions (Lambda's ListFunctions).
    fn functions(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        let mut query = Vec::new();
        loop {
            let page = self.get("/2015-03-31/functions/", &query)?;
            let functions = page["Functions"].as_array().into_iter().flatten();
            names.extend(functions.filter_map(|function| Some(function["FunctionName"].as_str()?.to_owned())));
            let Some(marker) = page["NextMarker"].as_str().filter(|marker| !marker.is_empty()) else {
                return Ok(names);
            };
            query = vec![("Marker", marker.to_owned())];
        }
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        anyhow!(
            "no server answers at {}: {error}; start one with \"hikigane up\", or name its address with --endpoint",
            self.base
        )
    }
}

/// The key in the variables that the `aws` CLI takes it from, too.
fn key_of_environment() -> Option<AccessKey> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Some(AccessKey {
        id: variable("AWS_ACCESS_KEY_ID")?,
        secret: variable("AWS_SECRET_ACCESS_KEY")?,
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

fn sign(request: &mut ureq::http::Request<&[u8]>, key: &AccessKey) -> anyhow::Result<()> {
    let uri = request.uri().clone();
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    request.headers_mut().insert("host", authority.parse()?);
    let parts = sigv4::Parts {
        method: request.method().as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: request.headers(),
    };
    let signature = sigv4::sign(parts, request.body(), key, (REGION, "lambda"), chrono::Utc::now())?;
    request.headers_mut().extend(signature);
    Ok(())
}

/// Lambda's Invoke. The result goes to standard output; a function error makes the command fail.
pub fn invoke(arguments: &Invoke) -> Result<(), Failure> {
    let event = read_event(arguments.event.as_deref())?;
    let server = Server::of(&arguments.client)?;
    let name = sigv4::encode(&arguments.name);
    let (path, query) = if arguments.inspect {
        let target = TargetId::random();
        announce_debugging(&server, &arguments.name, &target)?;
        let query = vec![("target", target.to_string())];
        (format!("{}/{name}", paths::DEBUG), query)
    } else {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        (path, Vec::new())
    };
    let kind = if arguments.asynchronous {
        "Event"
    } else {
        "RequestResponse"
    };
    let headers = [("x-amz-invocation-type", kind), ("x-amz-log-type", "Tail")];
    let response = server.send("POST", &path, &query, &headers, &event)?;
    let status = response.status();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (request_id, log, function_error) = (
        header("x-amzn-requestid"),
        header("x-amz-log-result"),
        header("x-amz-function-error"),
    );
    let body = response
        .into_body()
        .into_with_config()
        .limit(64 * 1024 * 1024)
        .read_to_string()
        .with_context(|| server.stranger())?;
    if !status.is_success() {
        let refusal = server.refusal(status, &body);
        let hint = (status == 404).then(|| server.hint(&arguments.name)).flatten();
        return Err(match hint {
            Some(hint) => anyhow!("{refusal}; {hint}"),
            None => refusal,
        }
        .into());
    }
    if arguments.client.json {
        let payload = serde_json::from_str(&body).unwrap_or(Value::Null);
        let answer = serde_json::json!({"requestId": request_id, "status": status.as_u16(), "functionError": function_error, "payload": payload});
        output::line(answer)?;
    } else if arguments.asynchronous {
        output::line(format_args!("queued as {}", request_id.unwrap_or_default()))?;
    } else {
        output::line(body)?;
    }
    if let (true, Some(log)) = (arguments.log, log) {
        let log = BASE64_STANDARD.decode(log).context("the server sent a broken log")?;
        output::say(String::from_utf8_lossy(&log).trim_end());
    }
    if function_error.is_some() {
        Err(Failure::Silent)
    } else {
        Ok(())
    }
}

/// Says how to attach to an invocation that is about to wait for it.
fn announce_debugging(server: &Server, function: &str, target: &TargetId) -> anyhow::Result<()> {
    let status = server.get(paths::STATUS, &[])?;
    let Some(address) = status["inspector"].as_str() else {
        bail!(
            "the server at {} does not listen for debuggers; start it with \"hikigane up --inspect\"",
            server.base
        );
    };
    output::say(format_args!(
        "{function} waits for a debugger: open chrome://inspect, attach VS Code to {address}, or open this in Chrome:\n  {}",
        hikigane_api::front_end(address, target)
    ));
    Ok(())
}

fn read_event(event: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match event {
        None => Ok(b"{}".to_vec()),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Some(text) if text.trim_start().starts_with(['{', '[', '"']) => Ok(text.as_bytes().to_vec()),
        // `42`, `true`, `null`: unless a file has this name.
        Some(text) if serde_json::from_str::<Value>(text).is_ok() && !Path::new(text).exists() => {
            Ok(text.as_bytes().to_vec())
        }
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read the event from \"{file}\"")),
    }
}

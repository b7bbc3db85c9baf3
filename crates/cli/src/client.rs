//! Asking a running server: `hikigane invoke`, and the calls that the other commands share.

use std::io::{Read, Write};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_api::paths;
use hikigane_model::TargetId;
use serde_json::Value;

use crate::Failure;
use crate::arguments::Invoke;

/// A server that may be running.
pub struct Server {
    base: String,
    agent: ureq::Agent,
}

impl Server {
    /// The server at `host:port` or at a URL.
    pub fn at(endpoint: &str) -> Self {
        let base = if endpoint.contains("://") {
            endpoint.trim_end_matches('/').to_owned()
        } else {
            format!("http://{endpoint}")
        };
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { base, agent }
    }

    /// `GET` of JSON.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        self.json(request.call())
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        self.json(request.send(body.to_string()))
    }

    /// `GET` of text that comes as it is made.
    pub fn stream(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<impl Read + use<>> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let response = request.call().map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            bail!("{}", message(&response.into_body().read_to_string()?));
        }
        Ok(response.into_body().into_reader())
    }

    fn json(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let response = result.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let text = response.into_body().read_to_string()?;
        if !status.is_success() {
            bail!("{}", message(&text));
        }
        serde_json::from_str(&text).with_context(|| format!("{} does not answer like a hikigane server", self.base))
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        anyhow!(
            "no server answers at {}: {error}; start one with \"hikigane up\", or name its address with --endpoint",
            self.base
        )
    }
}

/// The message of an error answer.
fn message(body: &str) -> String {
    let json = serde_json::from_str::<Value>(body).ok();
    let message = json
        .as_ref()
        .and_then(|json| json["message"].as_str().or(json["Message"].as_str()));
    message.unwrap_or(body).to_owned()
}

/// Lambda's Invoke. The result goes to standard output; a function error makes the command fail.
pub fn invoke(arguments: &Invoke) -> Result<(), Failure> {
    let event = read_event(arguments.event.as_deref())?;
    let server = Server::at(&arguments.client.endpoint);
    let url = if arguments.inspect {
        let target = TargetId::random();
        announce_debugging(&server, &arguments.name, &target)?;
        format!("{}{}/{}?target={target}", server.base, paths::DEBUG, arguments.name)
    } else {
        format!("{}/2015-03-31/functions/{}/invocations", server.base, arguments.name)
    };
    let kind = if arguments.asynchronous {
        "Event"
    } else {
        "RequestResponse"
    };
    let request = server
        .agent
        .post(url)
        .header("x-amz-invocation-type", kind)
        .header("x-amz-log-type", "Tail");
    let response = request.send(event).map_err(|error| server.unreachable(error))?;
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
        .read_to_string()?;
    if !status.is_success() {
        return Err(anyhow!("{}", message(&body)).into());
    }
    if arguments.client.json {
        let payload = serde_json::from_str(&body).unwrap_or(Value::Null);
        let answer = serde_json::json!({"requestId": request_id, "status": status.as_u16(), "functionError": function_error, "payload": payload});
        println!("{answer}");
    } else if arguments.asynchronous {
        println!("queued as {}", request_id.unwrap_or_default());
    } else {
        println!("{body}");
    }
    if let (true, Some(log)) = (arguments.log, log) {
        let log = BASE64_STANDARD.decode(log).context("the server sent a broken log")?;
        eprint!("{}", printable(&String::from_utf8_lossy(&log)));
    }
    std::io::stdout().flush()?;
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
    eprintln!(
        "{function} waits for a debugger: open chrome://inspect, attach VS Code to {address}, or open this in Chrome:\n  {}",
        hikigane_api::front_end(address, target)
    );
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
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read the event from \"{file}\"")),
    }
}

/// Text from a function, without the control characters that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect()
}

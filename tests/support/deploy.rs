use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Answer, Server, archives, get, request, wait_for};

/// The path of Lambda's functions.
pub const FUNCTIONS: &str = "/2015-03-31/functions";

/// A zip of these files.
pub fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<archives::Entry> = files.iter().map(|(name, text)| archives::file(name, text)).collect();
    archives::zip(&entries)
}

/// A zip with a function that answers with this JavaScript expression.
pub fn answering(expression: &str) -> Vec<u8> {
    zip_of(&[(
        "index.mjs",
        &format!("export const handler = async (event) => ({expression});"),
    )])
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The hash of a package as AWS shows it.
pub fn code_sha256(zip: &[u8]) -> String {
    base64(&Sha256::digest(zip))
}

/// A request of Lambda's API; `Value::Null` is no body.
pub fn api(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let text = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    request(
        method,
        &format!("{}{path}", server.endpoint()),
        &[("content-type", "application/json")],
        text.as_bytes(),
    )
}

/// CreateFunction, with members that replace the usual ones.
pub fn create_function(server: &Server, name: &str, zip: &[u8], members: Value) -> Answer {
    let mut body = json!({
        "FunctionName": name,
        "Role": "arn:aws:iam::000000000000:role/test",
        "Runtime": "nodejs22.x",
        "Handler": "index.handler",
        "Code": {"ZipFile": base64(zip)},
    });
    for (member, value) in members.as_object().into_iter().flatten() {
        body[member] = value.clone();
    }
    api(server, "POST", FUNCTIONS, &body)
}

/// UpdateFunctionCode.
pub fn update_code(server: &Server, name: &str, zip: &[u8]) -> Answer {
    let body = json!({"ZipFile": base64(zip)});
    api(server, "PUT", &format!("{FUNCTIONS}/{name}/code"), &body)
}

/// Waits until a function is active and its last update is in force; returns its configuration.
#[track_caller]
pub fn wait_until_ready(server: &Server, name: &str) -> Value {
    wait_for(&format!("{name} to be ready"), || {
        let found = api(
            server,
            "GET",
            &format!("{FUNCTIONS}/{name}/configuration"),
            &Value::Null,
        )
        .json();
        let ready = found["State"] == "Active" && found["LastUpdateStatus"] == "Successful";
        ready.then_some(found)
    })
}

/// An answer's body, which must have this status.
#[track_caller]
pub fn body_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

/// The code and message of an error, which must have this status.
#[track_caller]
pub fn refusal_of(answer: &Answer, status: u16) -> (String, String) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    let message = body.get("message").or(body.get("Message")).and_then(Value::as_str);
    (
        answer.header("x-amzn-errortype").unwrap_or_default().to_owned(),
        message.unwrap_or_default().to_owned(),
    )
}

/// A package whose `index.mjs` is this, as CreateFunction and UpdateFunctionCode take it.
pub fn packed(code: &str) -> String {
    BASE64_STANDARD.encode(zip_of(&[("index.mjs", code)]))
}

/// An operation of Lambda's API by its method and its path, with a body unless that is null.
pub fn lambda(endpoint: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(method, &format!("{endpoint}{path}"), &[], body.as_bytes())
}

/// The request of CreateFunction for this code.
pub fn creation(name: &str, code: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "nodejs22.x", "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/test", "Code": {"ZipFile": packed(code)},
    })
}

/// Creates a function and waits until it is active.
#[track_caller]
pub fn create(server: &Server, name: &str, code: &str) {
    let answer = lambda(
        server.endpoint(),
        "POST",
        "/2015-03-31/functions",
        &creation(name, code),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    settled(server, name);
}

/// Waits until no change of a function is under way.
#[track_caller]
pub fn settled(server: &Server, name: &str) {
    let path = format!("{}/2015-03-31/functions/{name}/configuration", server.endpoint());
    wait_for("the function to be active", || {
        let configuration = get(&path).json();
        (configuration["State"] == "Active" && configuration["LastUpdateStatus"] == "Successful").then_some(())
    });
}

/// Publishes a version; returns its number.
#[track_caller]
pub fn publish(server: &Server, name: &str) -> u64 {
    let path = format!("/2015-03-31/functions/{name}/versions");
    let answer = lambda(server.endpoint(), "POST", &path, &json!({}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Version"].as_str().unwrap().parse().unwrap()
}

//! Lambda's API as a client asks for it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Answer, Project, Server, archives, request, wait_for};

/// The path of Lambda's functions.
pub const FUNCTIONS: &str = "/2015-03-31/functions";

/// A server without functions: tests deploy what they need.
pub fn empty_server() -> (Project, Server) {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up();
    (project, server)
}

/// As [`empty_server`], with the function `declared`, which is the manifest's and therefore not to be changed.
pub fn declaring_server() -> (Project, Server) {
    let project = Project::new(
        "functions:\n  declared: { code: ./declared.js }\n",
        &[("declared.js", "exports.handler = async () => 'declared';")],
    );
    let server = project.up();
    (project, server)
}

/// One request, with a body unless that is null.
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

/// As [`api`], of a request that must succeed with this status: what it says.
#[track_caller]
pub fn done(server: &Server, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let answer = api(server, method, path, body);
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

/// As [`api`], of a request that is expected to be refused: `status code: message`.
pub fn refused(server: &Server, method: &str, path: &str, body: &Value) -> String {
    let answer = api(server, method, path, body);
    format!("{} {}: {}", answer.status, code_of(&answer), message_of(&answer))
}

/// An answer's body, which must have this status.
#[track_caller]
pub fn body_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    answer.json()
}

/// The code and message of a refusal, which must have this status.
#[track_caller]
pub fn refusal_of(answer: &Answer, status: u16) -> (String, String) {
    assert_eq!(answer.status, status, "{}", answer.text());
    (code_of(answer).to_owned(), message_of(answer))
}

fn code_of(answer: &Answer) -> &str {
    answer.header("x-amzn-errortype").unwrap_or("no error")
}

/// Operations differ in how they spell the member.
fn message_of(answer: &Answer) -> String {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = said.get("message").or(said.get("Message"));
    message.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A zip of these files.
pub fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<archives::Entry> = files.iter().map(|(name, text)| archives::file(name, text)).collect();
    archives::zip(&entries)
}

/// A zip of one module, `index.mjs` or `index.js`: it shows by itself which of both it is.
pub fn package(module: &str) -> Vec<u8> {
    let name = if module.contains("export ") {
        "index.mjs"
    } else {
        "index.js"
    };
    zip_of(&[(name, module)])
}

/// As [`package`], as a request takes it.
pub fn packed(module: &str) -> String {
    base64(&package(module))
}

/// A zip with a function that answers with this JavaScript expression.
pub fn answering(expression: &str) -> Vec<u8> {
    package(&format!("export const handler = async (event) => ({expression});"))
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

pub fn from_base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

/// The hash of a package as AWS shows it.
pub fn code_sha256(zip: &[u8]) -> String {
    base64(&Sha256::digest(zip))
}

/// The request of CreateFunction for a zip, with members that replace the usual ones.
pub fn creation(name: &str, zip: &[u8], members: Value) -> Value {
    let body = json!({
        "FunctionName": name,
        "Role": "arn:aws:iam::000000000000:role/r",
        "Runtime": "nodejs22.x",
        "Handler": "index.handler",
        "Code": {"ZipFile": base64(zip)},
    });
    with_members(body, members)
}

/// CreateFunction of a zip, with members that replace the usual ones.
pub fn create_function(server: &Server, name: &str, zip: &[u8], members: Value) -> Answer {
    api(server, "POST", FUNCTIONS, &creation(name, zip, members))
}

/// UpdateFunctionCode with a zip.
pub fn update_code(server: &Server, name: &str, zip: &[u8]) -> Answer {
    let body = json!({"ZipFile": base64(zip)});
    api(server, "PUT", &format!("{FUNCTIONS}/{name}/code"), &body)
}

/// Creates a function of one module and waits until it is active; gives what the creation said.
#[track_caller]
pub fn create(server: &Server, name: &str, module: &str) -> Value {
    let created = body_of(&create_function(server, name, &package(module), json!({})), 201);
    wait_until_ready(server, name);
    created
}

/// Replaces a function's module and waits until the new one is in force.
#[track_caller]
pub fn update(server: &Server, name: &str, module: &str) {
    body_of(&update_code(server, name, &package(module)), 200);
    wait_until_ready(server, name);
}

/// Waits until a function is active and its last update is in force; returns its configuration.
#[track_caller]
pub fn wait_until_ready(server: &Server, name: &str) -> Value {
    wait_for(&format!("{name} to be ready"), || {
        let path = format!("{FUNCTIONS}/{name}/configuration");
        let found = api(server, "GET", &path, &Value::Null).json();
        let ready = found["State"] == "Active" && found["LastUpdateStatus"] == "Successful";
        ready.then_some(found)
    })
}

/// Publishes a version of a function; what the publication said.
#[track_caller]
pub fn publish(server: &Server, name: &str) -> Value {
    done(server, "POST", &format!("{FUNCTIONS}/{name}/versions"), &json!({}), 201)
}

/// The path of layers.
pub const LAYERS: &str = "/2018-10-31/layers";

/// PublishLayerVersion, with more members.
#[track_caller]
pub fn publish_layer(server: &Server, name: &str, zip: &[u8], members: Value) -> Value {
    let body = with_members(json!({"Content": {"ZipFile": base64(zip)}}), members);
    done(server, "POST", &format!("{LAYERS}/{name}/versions"), &body, 201)
}

/// The ARN of a layer, or of `name:version`.
pub fn layer_arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:layer:{name}")
}

fn with_members(mut body: Value, members: Value) -> Value {
    for (member, value) in members.as_object().into_iter().flatten() {
        body[member] = value.clone();
    }
    body
}

//! Operations of Lambda's API as a client asks for them.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Answer, Project, Server, get, request, wait_for, zip_of};

/// A server without a function that tests ask for anything: they deploy their own.
pub fn empty_server() -> (Project, Server) {
    let project = Project::new(
        "functions:\n  declared: { code: ./declared.js }\n",
        &[("declared.js", "exports.handler = async () => 'declared';")],
    );
    let server = project.up();
    (project, server)
}

/// A request of Lambda's API, with a body unless that is null.
pub fn api(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let url = format!("{}/{path}", server.endpoint());
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(method, &url, &[], body.as_bytes())
}

/// As [`api`], of a request that is expected to succeed with this status. What it says.
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
#[track_caller]
pub fn refused(server: &Server, method: &str, path: &str, body: &Value) -> String {
    let answer = api(server, method, path, body);
    let code = answer.header("x-amzn-errortype").unwrap_or("no error");
    let said = if answer.body.is_empty() {
        json!({})
    } else {
        answer.json()
    };
    let message = said.get("message").or(said.get("Message"));
    let message = message.and_then(Value::as_str).unwrap_or_default();
    format!("{} {code}: {message}", answer.status)
}

/// Creates a function of this CommonJS module and waits until it is active.
pub fn create_function(server: &Server, name: &str, module: &str) -> Value {
    let function = json!({
        "FunctionName": name,
        "Runtime": "nodejs22.x",
        "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Code": {"ZipFile": zip_base64(module)},
    });
    let created = done(server, "POST", "2015-03-31/functions", &function, 201);
    wait_until_updated(server, name);
    created
}

/// Replaces a function's module and waits until that is in force.
pub fn update_code(server: &Server, name: &str, module: &str) -> Value {
    let path = format!("2015-03-31/functions/{name}/code");
    let updated = done(server, "PUT", &path, &json!({"ZipFile": zip_base64(module)}), 200);
    wait_until_updated(server, name);
    updated
}

/// Waits until a function is active and its last change is in force.
pub fn wait_until_updated(server: &Server, name: &str) {
    let url = format!("{}/2015-03-31/functions/{name}/configuration", server.endpoint());
    wait_for("the function's change", || {
        let found = get(&url).json();
        (found["State"] == "Active" && found["LastUpdateStatus"] == "Successful").then_some(())
    });
}

/// The zip of a package that is one CommonJS module, `index.js`.
pub fn zip_base64(module: &str) -> String {
    BASE64_STANDARD.encode(zip_of(&[("index.js", module)]))
}

/// Runs the real `aws` command line; `None` when there is none on this machine.
pub fn aws(server: &Server, project: &Project, arguments: &[&str]) -> Option<(bool, Value)> {
    let output = Command::new("aws")
        .args(["--endpoint-url", server.endpoint(), "--output", "json"])
        .arg("lambda")
        .args(arguments)
        .current_dir(project.path())
        .env("AWS_CONFIG_FILE", project.join("aws.ini"))
        .env("AWS_PAGER", "")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => {
            let output = output.unwrap();
            let text = if output.status.success() {
                output.stdout
            } else {
                output.stderr
            };
            let text = String::from_utf8(text).unwrap();
            Some((
                output.status.success(),
                serde_json::from_str(&text).unwrap_or(Value::String(text)),
            ))
        }
    }
}

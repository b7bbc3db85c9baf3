use std::io::ErrorKind;
use std::process::Command;

use serde_json::Value;

use super::{Project, Server, lacking};

/// An access key and its secret.
pub type Key<'a> = (&'a str, &'a str);

/// A key for a server that asks for none.
pub const ANYBODY: Key = ("test", "test");

/// Runs the real `aws` command against the server: whether it went well, and what it printed. `None`: there is no such command here.
#[track_caller]
pub fn aws(server: &Server, project: &Project, key: Key, arguments: &[&str]) -> Option<(bool, Value)> {
    project.write("aws.ini", "[default]\ncli_binary_format = raw-in-base64-out\n");
    let output = with_key(&mut Command::new("aws"), project, key)
        .args(["--endpoint-url", server.endpoint(), "--output", "json"])
        .args(arguments)
        .output();
    match output {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            lacking("`aws` command");
            None
        }
        output => {
            let output = output.unwrap();
            let good = output.status.success();
            let text = String::from_utf8(if good { output.stdout } else { output.stderr }).unwrap();
            Some((good, serde_json::from_str(&text).unwrap_or(Value::String(text))))
        }
    }
}

/// As [`aws`], of a command of its `lambda`.
#[track_caller]
pub fn aws_lambda(server: &Server, project: &Project, arguments: &[&str]) -> Option<(bool, Value)> {
    aws(server, project, ANYBODY, &[&["lambda"], arguments].concat())
}

/// Runs a Python program with boto3, which finds the server in AWS_ENDPOINT_URL, and parses what it prints. `None`: there is no boto3 here.
#[track_caller]
pub fn boto3(server: &Server, project: &Project, key: Key, program: &str) -> Option<Value> {
    let has_boto3 = Command::new("python3").args(["-c", "import boto3"]).output();
    if !has_boto3.is_ok_and(|output| output.status.success()) {
        lacking("boto3 (Python)");
        return None;
    }
    let output = with_key(&mut Command::new("python3"), project, key)
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .args(["-c", program])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout))))
}

fn with_key<'a>(command: &'a mut Command, project: &Project, (id, secret): Key) -> &'a mut Command {
    command
        .current_dir(project.path())
        .env("AWS_CONFIG_FILE", project.join("aws.ini"))
        .env("AWS_SHARED_CREDENTIALS_FILE", project.join("none.ini"))
        .env("AWS_PAGER", "")
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
}

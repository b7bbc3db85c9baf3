//! Code signing of functions, through Lambda's API and that of AWS Signer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::signing::{desk, sign};
use crate::support::{
    Answer, Project, Server, api, create_function, invoke, update_code, value_of, wait_until_ready, zip_of,
};

mod configurations;
mod policies;
mod profiles;

const ACCOUNT: &str = "000000000000";

const NOT_TRUSTED: &str = "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not configured to accept. Check the provided signature for f.";

/// Writes a zip of these files.
fn zip(path: &Path, files: &[(&str, &str)]) {
    std::fs::write(path, zip_of(files)).unwrap();
}

fn code(answer: u32) -> String {
    format!("export const handler = async () => {answer};")
}

/// A server without functions, whose clock stands.
fn up() -> (Project, Server) {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up_with(&["--test-mode"]);
    (project, server)
}

#[track_caller]
fn good(answer: &Answer) -> Value {
    assert!(
        (200..300).contains(&answer.status),
        "{}: {}",
        answer.status,
        answer.text()
    );
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (status, Some(code)),
        "{}",
        answer.text()
    );
    let body = answer.json();
    let text = body["Message"]
        .as_str()
        .or(body["message"].as_str())
        .unwrap_or_default();
    assert!(text.contains(message), "{text}");
}

/// A code signing configuration's ARN.
fn configuration(server: &Server, publisher: &str, policy: &str) -> String {
    let body = json!({
        "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy},
    });
    let answer = api(server, "POST", "/2020-04-22/code-signing-configs", &body);
    let config = &good(&answer)["CodeSigningConfig"];
    config["CodeSigningConfigArn"].as_str().unwrap().to_owned()
}

fn create(server: &Server, name: &str, config: Option<&str>, package: &Path) -> Answer {
    let members = config.map_or(Value::Null, |config| json!({"CodeSigningConfigArn": config}));
    create_function(server, name, &std::fs::read(package).unwrap(), members)
}

fn update(server: &Server, name: &str, package: &Path) -> Answer {
    wait_until_ready(server, name);
    update_code(server, name, &std::fs::read(package).unwrap())
}

#[track_caller]
fn returns(server: &Server, name: &str, expect: u32) {
    wait_until_ready(server, name);
    assert_eq!(value_of(&invoke(server.endpoint(), name, "{}")), json!(expect));
}

/// A desk with `signed-1.zip`, whose code returns 1, and so on: signed for 90 days. And the publisher's ARN.
fn packages(count: u32) -> Option<(TempDir, String)> {
    let desk = desk("P-384")?;
    let mut publisher = String::new();
    for number in 1..=count {
        zip(
            &desk.path().join(format!("plain-{number}.zip")),
            &[("index.mjs", &code(number))],
        );
        let told =
            format!("--key key.pem --cert cert.pem --expires 90d --json plain-{number}.zip -o signed-{number}.zip");
        let told: Value = serde_json::from_str(&sign(&desk, &told).unwrap()).unwrap();
        publisher = told["profileVersionArn"].as_str().unwrap().to_owned();
    }
    Some((desk, publisher))
}

/// Other code with the signature of a signed package: what a tool makes that unpacks, changes and packs again.
fn tampered(desk: &TempDir) -> PathBuf {
    const SIGNATURE: &str = "META-INF/hikigane-signature.jws";
    let bytes = std::fs::read(desk.path().join("signed-1.zip")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (_, rest) = text.split_once(SIGNATURE).unwrap();
    let (signature, _) = rest.split_once("PK").unwrap();
    let path = desk.path().join("tampered.zip");
    zip(&path, &[("index.mjs", &code(7)), (SIGNATURE, signature)]);
    path
}

//! An endpoint with access keys: who may use it, with real clients.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Output, Stdio};

use hikigane_api::sigv4::{self, Parts};
use hikigane_model::AccessKey;
use serde_json::json;

use crate::support::{Answer, Key, Project, Server, aws, boto3, command, get, post, request, wait_for};

const KEY: Key = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
const LIST: &str = "/2015-03-31/functions";

/// A project whose endpoint accepts [`KEY`], with these functions, each one file.
fn project(functions: &[(&str, &str, &str)]) -> Project {
    let mut manifest = format!(
        "accessKeys:\n  - {{ id: {}, secret: \"{}\" }}\nfunctions:\n",
        KEY.0, KEY.1
    );
    for (name, settings, _) in functions {
        manifest.push_str(&format!("  {name}: {{ code: ./{name}.mjs, {settings} }}\n"));
    }
    let project = Project::new(&manifest, &[]);
    for (name, _, code) in functions {
        project.write(&format!("{name}.mjs"), code);
    }
    project
}

fn echo() -> Project {
    project(&[(
        "echo",
        "timeout: 10s",
        "export const handler = async (event) => ({ echo: event });",
    )])
}

/// A request signed with `key`, now.
fn signed(server: &Server, key: Key, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let host = server.endpoint().strip_prefix("http://").unwrap();
    let mut all: Vec<(String, String)> = vec![("host".to_owned(), host.to_owned())];
    all.extend(
        headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    let map = all
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let map: ureq::http::HeaderMap = map.collect();
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let parts = Parts {
        method,
        path: bare,
        query,
        headers: &map,
    };
    let key = AccessKey {
        id: key.0.to_owned(),
        secret: key.1.to_owned(),
        session_token: None,
    };
    let signature = sigv4::sign(parts, body, &key, ("us-east-1", "lambda"), chrono::Utc::now()).unwrap();
    let signature = signature
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    all.extend(signature);
    let all: Vec<(&str, &str)> = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    request(method, &format!("{}{path}", server.endpoint()), &all, body)
}

fn error(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("x-amzn-errortype").unwrap_or_default())
}

#[test]
fn nothing_is_answered_without_a_signature() {
    let project = echo();
    let server = project.up();
    for path in [LIST, "/", "/nothing", "/_hikigane/status", "/_hikigane/logs"] {
        let answer = get(&format!("{}{path}", server.endpoint()));
        assert_eq!(error(&answer), (403, "MissingAuthenticationTokenException"), "{path}");
        assert_eq!(
            answer.json(),
            json!({"message": "Missing Authentication Token"}),
            "{path}"
        );
        assert!(answer.header("x-amzn-requestid").is_some());
    }
    let url = format!("{}{LIST}/echo/invocations", server.endpoint());
    assert_eq!(error(&post(&url, &[], b"{}")).0, 403);
    let bearer = request("GET", &url, &[("authorization", "Bearer x")], b"");
    assert_eq!(error(&bearer), (403, "IncompleteSignatureException"));
}

#[test]
fn a_signed_request_is_served_and_a_changed_one_is_not() {
    let project = echo();
    let server = project.up();
    let invoke = format!("{LIST}/echo/invocations");
    let answer = signed(
        &server,
        KEY,
        "POST",
        &invoke,
        &[("x-amz-log-type", "Tail")],
        b"{\"n\":1}",
    );
    assert_eq!((answer.status, answer.json()), (200, json!({"echo": {"n": 1}})));
    assert!(answer.header("x-amz-log-result").is_some());
    assert_eq!(signed(&server, KEY, "GET", "/_hikigane/status", &[], b"").status, 200);
    // A body as large as Lambda takes.
    let large = format!("\"{}\"", "x".repeat(6 * 1024 * 1024 - 2));
    assert_eq!(signed(&server, KEY, "POST", &invoke, &[], large.as_bytes()).status, 200);
    let answer = signed(&server, KEY, "POST", &invoke, &[], format!("{large} ").as_bytes());
    assert_eq!(error(&answer), (413, "RequestTooLargeException"));

    let answer = signed(&server, (KEY.0, "another secret of some length"), "GET", LIST, &[], b"");
    assert_eq!(error(&answer), (403, "InvalidSignatureException"));
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("The request signature we calculated does not match"),
        "{}",
        answer.text()
    );
    let answer = signed(&server, ("AKIDANOTHER", KEY.1), "GET", LIST, &[], b"");
    assert_eq!(error(&answer), (403, "UnrecognizedClientException"));
    let answer = signed(&server, KEY, "GET", &format!("{LIST}/echo/.."), &[], b"");
    assert_eq!(
        error(&answer).0,
        400,
        "what is not written as it is signed: {}",
        answer.text()
    );
    let headers = [("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")];
    let answer = signed(&server, KEY, "POST", &invoke, &headers, b"{}");
    assert_eq!(error(&answer).0, 400);
    assert!(answer.text().contains("sign the whole body"), "{}", answer.text());
}

#[test]
fn the_aws_command_line_needs_the_right_key() {
    let project = echo();
    let server = project.up();
    let list = ["lambda", "list-functions"];
    let Some((good, answer)) = aws(&server, &project, KEY, &list) else {
        return;
    };
    assert!(good && answer["Functions"][0]["FunctionName"] == "echo", "{answer}");
    let invoke = |name: &str| {
        let arguments = [
            "lambda",
            "invoke",
            "--function-name",
            name,
            "--payload",
            "{\"n\":1}",
            "out.json",
        ];
        aws(&server, &project, KEY, &arguments).unwrap()
    };
    // An ARN is percent-encoded in the path, and once more in what is signed.
    for name in ["echo", "arn:aws:lambda:us-east-1:000000000000:function:echo"] {
        let (good, answer) = invoke(name);
        assert!(good, "{answer}");
        let out = std::fs::read_to_string(project.join("out.json")).unwrap();
        assert_eq!(out, r#"{"echo":{"n":1}}"#);
    }
    for (key, code) in [
        ((KEY.0, "another secret of some length"), "(InvalidSignatureException)"),
        (("AKIDANOTHER", KEY.1), "(UnrecognizedClientException)"),
    ] {
        let (good, answer) = aws(&server, &project, key, &list).unwrap();
        assert!(!good && answer.as_str().unwrap().contains(code), "{answer}");
    }
    let arguments = ["sts", "get-caller-identity"];
    let (good, answer) = aws(&server, &project, ("AKIDANOTHER", KEY.1), &arguments).unwrap();
    assert!(
        !good && answer.as_str().unwrap().contains("(InvalidClientTokenId)"),
        "{answer}"
    );
    let (good, answer) = aws(&server, &project, KEY, &arguments).unwrap();
    assert!(good, "{answer}");
    assert_eq!(answer["Arn"], "arn:aws:iam::000000000000:user/AKIDEXAMPLE");
}

#[test]
fn boto3_signs_headers_and_urls() {
    let project = echo();
    let server = project.up_with(&["--test-mode"]);
    let program = r#"
import boto3, json, urllib.request, urllib.error
def fetch(url, body=None):
    try:
        return [200, urllib.request.urlopen(url, body).read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
client = boto3.client("lambda")
answer = client.invoke(FunctionName="echo", Payload=b'{"n": 2}', ClientContext="e30=")
url = client.generate_presigned_url("list_functions", Params={"MaxItems": 3}, ExpiresIn=120)
whoami = lambda method: boto3.client("sts").generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod=method)
print(json.dumps({
    "invoked": answer["Payload"].read().decode(), "url": url, "fetched": fetch(url)[0],
    "changed": fetch(url.replace("MaxItems=3", "MaxItems=4")), "got": fetch(whoami("GET")), "posted": fetch(whoami("POST"), b""),
}))
"#;
    let Some(answer) = boto3(&server, &project, KEY, program) else {
        return;
    };
    assert_eq!(answer["invoked"], r#"{"echo":{"n":2}}"#, "{answer}");
    assert_eq!(answer["fetched"], 200, "{answer}");
    assert_eq!(answer["changed"][0], 403, "{answer}");
    for identity in [&answer["got"], &answer["posted"]] {
        assert_eq!(identity[0], 200, "{answer}");
        assert!(
            identity[1].as_str().unwrap().contains(":user/AKIDEXAMPLE</Arn>"),
            "{answer}"
        );
    }

    // The virtual clock goes on: first the URL is too old, then the clients' clock is.
    let later = chrono::Utc::now() + chrono::TimeDelta::seconds(240);
    let moved = json!({"to": later}).to_string();
    let answer_of_clock = signed(
        &server,
        KEY,
        "POST",
        "/_hikigane/clock",
        &[("content-type", "application/json")],
        moved.as_bytes(),
    );
    assert_eq!(answer_of_clock.status, 200, "{}", answer_of_clock.text());
    let expired = get(answer["url"].as_str().unwrap());
    assert_eq!(error(&expired), (403, "InvalidSignatureException"));
    assert!(
        expired.text().contains("Signature expired: ") && expired.text().contains(" - 2 min.)"),
        "{}",
        expired.text()
    );
    assert_eq!(signed(&server, KEY, "GET", LIST, &[], b"").status, 200);
    let moved = json!({"to": later + chrono::TimeDelta::seconds(120)}).to_string();
    let headers = [("content-type", "application/json")];
    signed(&server, KEY, "POST", "/_hikigane/clock", &headers, moved.as_bytes());
    let skewed = signed(&server, KEY, "GET", LIST, &[], b"");
    assert!(skewed.text().contains(" - 5 min.)"), "{}", skewed.text());
}

/// Signs in JavaScript with what the function has in its environment, and asks the endpoint.
const CALLER: &str = r#"
import { createHash, createHmac } from "node:crypto";
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const ask = async (method, path, body, token) => {
  const { AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const headers = { host: new URL(AWS_ENDPOINT_URL).host, "x-amz-date": time };
  if (token) headers["x-amz-security-token"] = AWS_SESSION_TOKEN;
  const names = Object.keys(headers).sort();
  const lines = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const scope = `${time.slice(0, 8)}/us-east-1/lambda/aws4_request`;
  const canonical = `${method}\n${path}\n\n${lines}\n${names.join(";")}\n${sha256(body)}`;
  let key = `AWS4${AWS_SECRET_ACCESS_KEY}`;
  for (const part of scope.split("/")) key = hmac(key, part);
  const signature = hmac(key, `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`).toString("hex");
  const { host, ...sent } = headers;
  sent.authorization = `AWS4-HMAC-SHA256 Credential=${AWS_ACCESS_KEY_ID}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  const answer = await fetch(AWS_ENDPOINT_URL + path, { method, headers: sent, body: body || undefined });
  return { status: answer.status, type: answer.headers.get("x-amzn-errortype"), text: await answer.text() };
};
export const handler = async ({ host }) => ({
  list: (await ask("GET", "/2015-03-31/functions", "", true)).status,
  invoked: (await ask("POST", "/2015-03-31/functions/echo/invocations", "7", true)).text,
  tokenless: (await ask("GET", "/2015-03-31/functions", "", false)).type,
  admin: await ask("GET", "/_hikigane/status", "", true),
  unsigned: (await fetch(process.env.AWS_ENDPOINT_URL + "/2015-03-31/functions")).status,
  id: process.env.AWS_ACCESS_KEY_ID,
});
"#;

fn caller() -> Project {
    project(&[
        ("caller", "timeout: 10s, allow: { net: [127.0.0.1] }", CALLER),
        (
            "echo",
            "timeout: 10s",
            "export const handler = async (event) => ({ echo: event });",
        ),
    ])
}

#[test]
fn functions_have_a_key_for_the_lambda_api_and_not_for_the_admin_api() {
    let project = caller();
    let server = project.up();
    let answer = signed(&server, KEY, "POST", &format!("{LIST}/caller/invocations"), &[], b"{}");
    let value = answer.json();
    assert_eq!(value["list"], 200, "{value}");
    assert_eq!(value["invoked"], r#"{"echo":7}"#, "{value}");
    assert_eq!(value["tokenless"], "UnrecognizedClientException", "{value}");
    assert_eq!(value["unsigned"], 403, "{value}");
    assert_eq!(
        (&value["admin"]["status"], &value["admin"]["type"]),
        (&json!(403), &json!("AccessDeniedException")),
        "{value}"
    );
    assert!(value["id"].as_str().unwrap().starts_with("ASIA"), "{value}");
}

#[test]
fn with_keys_the_endpoint_may_listen_on_every_address() {
    let project = caller();
    let server = project.up_as(&mut command(&[
        "up",
        "hikigane.yaml",
        "--endpoint",
        "0.0.0.0:0",
        "--json",
    ]));
    let address: SocketAddr = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    assert!(address.ip().is_unspecified());
    // Its functions find it on loopback, and are told from others there.
    let answer = signed(&server, KEY, "POST", &format!("{LIST}/caller/invocations"), &[], b"{}");
    let value = answer.json();
    assert_eq!(
        (&value["list"], &value["admin"]["status"]),
        (&json!(200), &json!(403)),
        "{value}"
    );
    assert_eq!(get(&format!("{}/_hikigane/status", server.endpoint())).status, 403);
    // Any name will do for the host, as long as it is signed.
    let url = format!("http://localhost:{}{LIST}", address.port());
    assert_eq!(error(&get(&url)), (403, "MissingAuthenticationTokenException"));
}

fn hikigane(project: &Project, server: &Server, key: Option<Key>, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command
        .current_dir(project.path())
        .args(["--endpoint", server.endpoint()]);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", key.map(|key| key.0)),
        ("AWS_SECRET_ACCESS_KEY", key.map(|key| key.1)),
        ("AWS_SESSION_TOKEN", None),
    ] {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().unwrap()
}

#[test]
fn the_command_line_signs_with_the_environment_or_with_a_file() {
    let project = Project::new(
        "accessKeys: ./keys.ini\nfunctions:\n  echo: { code: ./echo.mjs, timeout: 10s }\n",
        &[
            (
                "echo.mjs",
                "export const handler = async (event) => { console.log('hello'); return event; };",
            ),
            (
                "keys.ini",
                &format!(
                    "# made by hand\n[default]\naws_access_key_id = {}\naws_secret_access_key={}\nregion = eu-west-3\n\n[ci]\naws_access_key_id = AKIDCI\naws_secret_access_key = a secret for the machines\n",
                    KEY.0, KEY.1
                ),
            ),
        ],
    );
    let server = project.up();
    let text = |output: &Output| {
        let all = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8(all).unwrap()
    };
    let invoke = ["invoke", "echo", "--event", "{\"a\": 1}"];
    let machines = Some(("AKIDCI", "a secret for the machines"));
    for key in [Some(KEY), machines] {
        let output = hikigane(&project, &server, key, &invoke);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "{\"a\":1}\n");
    }
    let with_file: Vec<&str> = invoke.into_iter().chain(["--access-keys", "keys.ini"]).collect();
    let output = hikigane(
        &project,
        &server,
        Some(("other", "a secret of another server")),
        &with_file,
    );
    assert!(output.status.success(), "the file wins: {}", text(&output));
    // Queries and paths of the admin API are signed, too.
    wait_for("the runs", || {
        let output = hikigane(&project, &server, Some(KEY), &["runs", "--function", "echo", "--json"]);
        assert!(output.status.success(), "{}", text(&output));
        (text(&output).matches("requestId").count() >= 3).then_some(())
    });
    for arguments in [
        &["logs", "echo"][..],
        &["runs", "show", "1"],
        &["dlq"],
        &["dlq", "purge", "--all"],
    ] {
        let output = hikigane(&project, &server, machines, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }

    let output = hikigane(&project, &server, None, &invoke);
    assert!(!output.status.success());
    for part in ["AWS_ACCESS_KEY_ID", "--access-keys"] {
        assert!(text(&output).contains(part), "{}", text(&output));
    }
    let output = hikigane(
        &project,
        &server,
        Some((KEY.0, "another secret of some length")),
        &invoke,
    );
    assert!(
        text(&output).contains("signature we calculated does not match"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_server_says_that_it_wants_signatures_and_no_secret() {
    let project = echo();
    let mut up = command(&["up", "--endpoint", "127.0.0.1:0"])
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(up.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<String> = lines.take_while(|line| !line.starts_with("Ctrl-C")).collect();
    up.kill().unwrap();
    up.wait().unwrap();
    let said = said.join("\n");
    for part in ["requests signed with an access key", "export AWS_ACCESS_KEY_ID="] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains(KEY.1), "{said}");
}

#[test]
fn a_list_without_keys_does_not_leave_the_endpoint_open() {
    let project = Project::new(
        "accessKeys: []\nfunctions:\n  a: { code: ./a.mjs }\n",
        &[("a.mjs", "export const handler = 1;")],
    );
    let output = command(&["up", "--endpoint", "127.0.0.1:0"])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

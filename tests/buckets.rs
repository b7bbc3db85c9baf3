//! Code that lies in buckets: of the manifest, and of an S3 service elsewhere.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{
    FUNCTIONS, Project, answering, api, body_of, code_sha256, create_function, invoke, refusal_of, value_of,
    wait_until_ready, zip_of,
};

const INVALID: &str = "InvalidParameterValueException";
const NO_BUCKET: &str = "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist";
const NO_KEY: &str =
    "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.";

fn in_bucket(bucket: &str, key: &str) -> Value {
    json!({"S3Bucket": bucket, "S3Key": key})
}

#[test]
fn code_is_taken_from_the_buckets_of_the_manifest() {
    let project = Project::new(
        "functions: {}\nsources: { s3: { buckets: { code: { path: ./bucket } } } }\n",
        &[("secret.zip", "secret")],
    );
    project.mkdir("bucket/deep");
    let write = |path: &str, bytes: &[u8]| std::fs::write(project.join("bucket").join(path), bytes).unwrap();
    write("f.zip", &answering("'one'"));
    write("deep/a b+c.zip", &answering("'deep'"));
    write("layer.zip", &zip_of(&[("data", "x")]));
    write(".hidden.zip", &answering("'hidden'"));
    write("not.zip", b"no zip");
    std::os::unix::fs::symlink(project.join("secret.zip"), project.join("bucket/link.zip")).unwrap();
    let server = project.up();
    let create = |name: &str, code: Value| create_function(&server, name, b"", json!({ "Code": code }));
    let created = body_of(&create("f", in_bucket("code", "f.zip")), 201);
    assert_eq!(created["CodeSha256"], code_sha256(&answering("'one'")).as_str());
    wait_until_ready(&server, "f");
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "one");
    write("f.zip", &answering("'two'"));
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        "one",
        "an object that changes is no deployment"
    );
    for (key, answer) in [("f.zip", "two"), ("deep/a b+c.zip", "deep")] {
        body_of(
            &api(&server, "PUT", &format!("{FUNCTIONS}/f/code"), &in_bucket("code", key)),
            200,
        );
        wait_until_ready(&server, "f");
        assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), answer);
    }
    let content = json!({"Content": in_bucket("code", "layer.zip")});
    let layer = body_of(&api(&server, "POST", "/2018-10-31/layers/l/versions", &content), 201);
    assert_eq!(
        layer["Content"]["CodeSha256"],
        code_sha256(&zip_of(&[("data", "x")])).as_str()
    );

    for (code, message) in [
        (in_bucket("absent", "f.zip"), NO_BUCKET),
        (in_bucket("code", "absent.zip"), NO_KEY),
        (in_bucket("code", "../secret.zip"), NO_KEY),
        (in_bucket("code", "deep/../../secret.zip"), NO_KEY),
        (in_bucket("code", "/f.zip"), NO_KEY),
        (in_bucket("code", "link.zip"), NO_KEY),
        (in_bucket("code", ".hidden.zip"), NO_KEY),
        (in_bucket("code", "deep"), NO_KEY),
        (
            in_bucket("code", "not.zip"),
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
    ] {
        let answer = create("g", code.clone());
        assert_eq!(
            refusal_of(&answer, 400),
            (INVALID.to_owned(), message.to_owned()),
            "{code}"
        );
    }
    let versioned = json!({"S3Bucket": "code", "S3Key": "f.zip", "S3ObjectVersion": "1"});
    assert!(
        refusal_of(&create("g", versioned), 400)
            .1
            .contains("S3 Error Code: NoSuchVersion.")
    );
}

/// An S3 service with one object, which notes what is asked of it.
fn service(object: Vec<u8>) -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let line = String::from_utf8(head)
                .unwrap()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            let (status, body) = match line.split(' ').nth(1).unwrap_or_default() {
                "/code/a%20b/f.zip" => (200, object.clone()),
                "/code/large.zip" => (200, vec![0; 300_000_000]),
                "/code/secret.zip" => (
                    403,
                    b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>".to_vec(),
                ),
                "/code/broken.zip" => (500, Vec::new()),
                path if path.starts_with("/code/") => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
                _ => (404, b"<Error><Code>NoSuchBucket</Code></Error>".to_vec()),
            };
            notes.lock().unwrap().push(line);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            // The client may leave: it takes no more than it may.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (address, asked)
}

#[test]
fn code_is_taken_from_an_s3_service_elsewhere() {
    let (address, asked) = service(answering("'from afar'"));
    let project = Project::new(
        &format!(
            "s3Endpoint: {address}\nfunctions: {{}}\nsources: {{ s3: {{ buckets: {{ own: {{ path: ./own }} }} }} }}\n"
        ),
        &[("own/f.zip", "")],
    );
    std::fs::write(project.join("own/f.zip"), answering("'own'")).unwrap();
    let server = project.up();
    let create = |name: &str, code: Value| create_function(&server, name, b"", json!({ "Code": code }));
    for (name, bucket, key, answer) in [("a", "code", "a b/f.zip", "from afar"), ("b", "own", "f.zip", "own")] {
        body_of(&create(name, in_bucket(bucket, key)), 201);
        wait_until_ready(&server, name);
        assert_eq!(value_of(&invoke(server.endpoint(), name, "1")), answer);
    }
    for (bucket, key, status, message) in [
        ("code", "absent.zip", 400, NO_KEY),
        ("code", "../other/f.zip", 400, NO_KEY),
        ("absent", "f.zip", 400, NO_BUCKET),
        ("own", "absent.zip", 400, NO_KEY),
        (
            "code",
            "secret.zip",
            400,
            "Error occurred while GetObject. S3 Error Code: AccessDenied. S3 Error Message: Access Denied",
        ),
        (
            "code",
            "large.zip",
            400,
            "Unzipped size must be smaller than 262144000 bytes",
        ),
    ] {
        assert_eq!(
            refusal_of(&create("c", in_bucket(bucket, key)), status).1,
            message,
            "{bucket} {key}"
        );
    }
    let (code, message) = refusal_of(&create("c", in_bucket("code", "broken.zip")), 503);
    assert!(
        code == "ServiceException" && message.contains("status 500"),
        "{message}"
    );
    let asked = asked.lock().unwrap();
    assert!(
        asked.iter().all(|line| !line.contains("..") && !line.contains("/own/")),
        "{asked:?}"
    );
    assert_eq!(asked[0], "GET /code/a%20b/f.zip HTTP/1.1");
}

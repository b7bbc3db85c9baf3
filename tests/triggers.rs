//! The triggers, from a real file, request or clock to the function and back.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Project, Server, get, post, request, wait_for};

/// A bucket `inbox`, and a function that writes a line per event to `seen.jsonl`.
const FILES: &str = r#"
service: files
functions:
  note:
    code: ./note.mjs
    env: { PROJECT: "${dir}" }
    allow: { read: [./inbox], write: [./seen] }
    events:
      - s3: { bucket: inbox, event: ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], settle: 200ms }
sources:
  s3: { buckets: { inbox: { path: ./inbox } } }
"#;

const NOTE: &str = r#"
import { appendFileSync, existsSync, readFileSync } from "node:fs";
const home = process.env.PROJECT;
export const handler = async ({ Records: [{ eventName, s3 }] }) => {
  const key = decodeURIComponent(s3.object.key.replaceAll("+", " "));
  const file = `${home}/inbox/${key}`;
  const read = existsSync(file) ? readFileSync(file).length : null;
  const line = { name: eventName, key, size: s3.object.size ?? null, read, tagged: "eTag" in s3.object };
  appendFileSync(`${home}/seen/list.jsonl`, JSON.stringify(line) + "\n");
};
"#;

/// Pieces of a slow writer, and the pause after each, longer than the binding's `settle`.
const PIECES: usize = 3;
const PAUSE: Duration = Duration::from_millis(600);

fn file_project() -> Project {
    let project = Project::new(FILES, &[("note.mjs", NOTE)]);
    project.mkdir("inbox");
    project.mkdir("seen");
    project
}

/// The events that the function saw, as `name key` and what it noted.
fn seen(project: &Project) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(project.join("seen/list.jsonl")).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| (format!("{} {}", text_of(&line["name"]), text_of(&line["key"])), line))
        .collect()
}

/// What was seen, in the order of the names, once `last` is among it and the queue is empty.
fn seen_once_there_is(project: &Project, server: &Server, last: &str) -> Vec<String> {
    wait_for(last, || {
        seen(project).iter().any(|(event, _)| event == last).then_some(())
    });
    wait_for("an empty queue", || (server.queued() == 0).then_some(()));
    let mut names: Vec<String> = seen(project).into_iter().map(|(event, _)| event).collect();
    names.sort();
    names
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn each_of_200_dropped_files_4_slowly_written_and_20_moved_in_fires_once_when_it_is_complete() {
    let project = file_project();
    project.mkdir("elsewhere");
    let server = project.up();

    let mut sizes = BTreeMap::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = project.join(&format!("inbox/slow {writer}.bin"));
            sizes.insert(format!("slow {writer}.bin"), PIECES * (700 + writer));
            scope.spawn(move || {
                let mut file = std::fs::File::create(path).unwrap();
                for _ in 0..PIECES {
                    file.write_all(&vec![b's'; 700 + writer]).unwrap();
                    file.sync_all().unwrap();
                    std::thread::sleep(PAUSE);
                }
            });
        }
        for index in 0..200 {
            std::fs::write(project.join(&format!("inbox/burst-{index}.bin")), vec![b'b'; index + 1]).unwrap();
            sizes.insert(format!("burst-{index}.bin"), index + 1);
        }
        for index in 0..20 {
            let name = format!("moved-{index}.bin");
            std::fs::write(project.join("elsewhere").join(&name), vec![b'm'; 5000 + index]).unwrap();
            std::fs::rename(project.join("elsewhere").join(&name), project.join("inbox").join(&name)).unwrap();
            sizes.insert(name, 5000 + index);
        }
    });
    wait_for("an event per file", || {
        (seen(&project).len() >= sizes.len()).then_some(())
    });

    // Another start looks at every file again: none of them is news.
    assert!(server.stop(15).0.success());
    let server = project.up();
    project.write("inbox/last.bin", "the last");
    sizes.insert("last.bin".into(), 8);
    seen_once_there_is(&project, &server, "ObjectCreated:Put last.bin");

    let mut events = BTreeMap::<String, Vec<(Value, Value)>>::new();
    for (_, line) in seen(&project) {
        assert_eq!(line["name"], "ObjectCreated:Put");
        events
            .entry(text_of(&line["key"]).into())
            .or_default()
            .push((line["size"].clone(), line["read"].clone()));
    }
    let expected: BTreeMap<_, _> = sizes
        .into_iter()
        .map(|(key, size)| (key, vec![(json!(size), json!(size))]))
        .collect();
    assert_eq!(events, expected);
}

#[test]
fn what_arrived_changed_or_left_while_the_server_was_down_fires_at_the_start_and_nothing_else_does() {
    let project = file_project();
    let server = project.up();
    for name in ["stays.txt", "changes.txt", "leaves.txt"] {
        project.write(&format!("inbox/{name}"), "first");
    }
    for name in ["stays.txt", "changes.txt", "leaves.txt"] {
        seen_once_there_is(&project, &server, &format!("ObjectCreated:Put {name}"));
    }
    server.kill();
    std::fs::remove_file(project.join("seen/list.jsonl")).unwrap();

    project.write("inbox/deep/er/arrives.txt", "while down");
    project.write("inbox/changes.txt", "second, and longer");
    std::fs::remove_file(project.join("inbox/leaves.txt")).unwrap();

    let server = project.up();
    let expected = [
        "ObjectCreated:Put changes.txt",
        "ObjectCreated:Put deep/er/arrives.txt",
        "ObjectRemoved:Delete leaves.txt",
    ];
    for event in expected {
        seen_once_there_is(&project, &server, event);
    }
    server.kill();

    let server = project.up();
    project.write("inbox/zz-last.txt", "x");
    let events = seen_once_there_is(&project, &server, "ObjectCreated:Put zz-last.txt");
    assert_eq!(
        events,
        [&expected[..2], &["ObjectCreated:Put zz-last.txt"], &expected[2..]].concat()
    );
}

#[test]
fn a_removed_file_fires_object_removed_delete_without_size_and_etag() {
    let project = file_project();
    let server = project.up();
    project.write("inbox/a b.txt", "here");
    project.write("inbox/moved.txt", "here");
    seen_once_there_is(&project, &server, "ObjectCreated:Put a b.txt");
    seen_once_there_is(&project, &server, "ObjectCreated:Put moved.txt");

    std::fs::remove_file(project.join("inbox/a b.txt")).unwrap();
    std::fs::rename(project.join("inbox/moved.txt"), project.join("gone.txt")).unwrap();
    seen_once_there_is(&project, &server, "ObjectRemoved:Delete a b.txt");
    let events = seen_once_there_is(&project, &server, "ObjectRemoved:Delete moved.txt");
    assert_eq!(events.len(), 4, "{events:?}");
    for (event, line) in seen(&project) {
        let created = event.starts_with("ObjectCreated");
        assert_eq!(
            (line["size"].is_null(), &line["tagged"]),
            (!created, &json!(created)),
            "{event}"
        );
    }
}

#[test]
fn dotfiles_part_files_symlinks_fifos_and_directories_never_fire() {
    let project = file_project();
    let server = project.up();
    for path in [
        "inbox/.hidden",
        "inbox/download.csv.part",
        "inbox/.git/config",
        "outside.txt",
    ] {
        project.write(path, "not an object");
    }
    symlink(project.join("outside.txt"), project.join("inbox/link.txt")).unwrap();
    symlink(project.path(), project.join("inbox/linked-directory")).unwrap();
    project.mkdir("inbox/empty");
    assert!(
        Command::new("mkfifo")
            .arg(project.join("inbox/pipe"))
            .status()
            .unwrap()
            .success()
    );
    project.write("inbox/first.txt", "an object");
    seen_once_there_is(&project, &server, "ObjectCreated:Put first.txt");

    // A download gets its name when it is complete: now it is an object.
    std::fs::rename(
        project.join("inbox/download.csv.part"),
        project.join("inbox/download.csv"),
    )
    .unwrap();
    seen_once_there_is(&project, &server, "ObjectCreated:Put download.csv");
    server.kill();

    let server = project.up();
    project.write("inbox/second.txt", "an object");
    let events = seen_once_there_is(&project, &server, "ObjectCreated:Put second.txt");
    assert_eq!(
        events,
        ["download.csv", "first.txt", "second.txt"].map(|key| format!("ObjectCreated:Put {key}"))
    );
}

/// One function behind every kind of route, and one that fails.
const GATEWAY: &str = r#"
service: gateway
functions:
  echo:
    code: ./echo.mjs
    events:
      - name: item
        http: GET /items/{id}
      - name: special
        http: GET /items/special
      - name: part
        http: POST /items/{id}/parts/{part}
      - name: files
        http: GET /files/{proxy+}
      - name: any
        http: ANY /any
      - name: later
        http: POST /later/{id}
        invoke: async
  broken:
    code: ./broken.mjs
    events:
      - http: GET /broken
sources:
  http: { listen: 127.0.0.1:0 }
"#;

const ECHO: &str = r#"export const handler = async (event) => ({
  statusCode: event.requestContext.http.method === "DELETE" ? 204 : 200,
  headers: { "content-type": "application/json", "x-route": event.routeKey },
  cookies: ["a=1", "b=2; Secure"],
  body: JSON.stringify(event),
});"#;

fn gateway_project() -> Project {
    let broken = r#"export const handler = async () => { throw new TypeError("no luck") };"#;
    Project::new(GATEWAY, &[("echo.mjs", ECHO), ("broken.mjs", broken)])
}

#[test]
fn a_hundred_requests_on_parallel_connections_each_get_their_own_answer() {
    let project = gateway_project();
    let server = project.up();
    std::thread::scope(|scope| {
        for connection in 0..5 {
            let gateway = server.gateway();
            scope.spawn(move || {
                for index in 0..20 {
                    let (id, body) = (format!("{connection}-{index}"), format!("body of {connection} {index}"));
                    let url = format!("{gateway}/items/{id}/parts/{index}?q={id}");
                    let answer = post(&url, &[("content-type", "text/plain")], body.as_bytes());
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let event = answer.json();
                    assert_eq!(event["pathParameters"], json!({"id": id, "part": index.to_string()}));
                    assert_eq!(
                        (&event["rawQueryString"], &event["body"]),
                        (&json!(format!("q={id}")), &json!(body))
                    );
                }
            });
        }
    });
    let runs = wait_for("100 runs", || {
        Some(server.runs("?function=echo&limit=1000")).filter(|runs| runs.len() >= 100)
    });
    assert_eq!(runs.len(), 100);
    assert!(
        runs.iter()
            .all(|run| run["status"] == "succeeded" && run["trigger"] == "http" && run["mode"] == "sync")
    );
}

#[test]
fn routes_take_the_most_specific_match_path_parameters_rests_and_any_method() {
    let project = gateway_project();
    let server = project.up();
    let call = |method: &str, path: &str| {
        let answer = request(method, &format!("{}{path}", server.gateway()), &[], &[]);
        let parameters = if answer.status == 200 && method != "HEAD" {
            answer.json()["pathParameters"].clone()
        } else {
            Value::Null
        };
        (
            answer.status,
            answer.header("x-route").unwrap_or("-").to_owned(),
            parameters,
        )
    };
    let case = |status: u16, route: &str, parameters: Value| (status, route.to_owned(), parameters);
    for (method, path, expected) in [
        ("GET", "/items/7", case(200, "GET /items/{id}", json!({"id": "7"}))),
        (
            "GET",
            "/items/a%20b%2Fc",
            case(200, "GET /items/{id}", json!({"id": "a b/c"})),
        ),
        ("GET", "/items/special", case(200, "GET /items/special", Value::Null)),
        (
            "GET",
            "/files/a/b/c.txt",
            case(200, "GET /files/{proxy+}", json!({"proxy": "a/b/c.txt"})),
        ),
        ("GET", "/any", case(200, "ANY /any", Value::Null)),
        ("PUT", "/any", case(200, "ANY /any", Value::Null)),
        ("DELETE", "/any", case(204, "ANY /any", Value::Null)),
        ("GET", "/nothing", case(404, "-", Value::Null)),
        ("POST", "/items/7", case(404, "-", Value::Null)),
        ("GET", "/items/7/parts", case(404, "-", Value::Null)),
    ] {
        assert_eq!(call(method, path), expected, "{method} {path}");
    }
    let missing = get(&format!("{}/nothing", server.gateway()));
    assert_eq!(missing.json(), json!({"message": "Not Found"}));
}

#[test]
fn a_function_sees_payload_2_0_and_its_answer_becomes_the_response() {
    let project = gateway_project();
    let server = project.up_with(&["--test-mode", "--clock", "2026-03-12T19:03:58.390Z"]);
    let url = format!("{}/items/1%202/parts/x?b=2&a=1&b=3%20", server.gateway());
    let headers = [
        ("content-type", "application/json"),
        ("cookie", "k=v; l=w"),
        ("user-agent", "tester/1"),
        ("x-many", "one"),
        ("accept", "*/*"),
    ];
    let answer = post(&url, &headers, br#"{"n":1}"#);

    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let cookies: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(cookies, ["a=1", "b=2; Secure"]);

    let mut event = answer.json();
    let host = server.gateway().trim_start_matches("http://");
    let port = host.rsplit_once(':').unwrap().1;
    let id = event["requestContext"]["requestId"].take();
    assert_eq!(answer.header("apigw-requestid"), id.as_str());
    event["headers"].as_object_mut().unwrap().remove("accept-encoding");
    let trace = event["headers"]["x-amzn-trace-id"].take();
    assert!(text_of(&trace).starts_with("Root=1-69b30e1e-"), "{trace}");
    let expected = json!({
        "version": "2.0",
        "routeKey": "POST /items/{id}/parts/{part}",
        "rawPath": "/items/1 2/parts/x",
        "rawQueryString": "b=2&a=1&b=3%20",
        "cookies": ["k=v", "l=w"],
        "headers": {
            "host": host, "content-type": "application/json", "content-length": "7", "user-agent": "tester/1",
            "x-many": "one", "x-amzn-trace-id": null,
            "accept": "*/*", "x-forwarded-for": "127.0.0.1", "x-forwarded-port": port, "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"a": "1", "b": "2,3 "},
        "requestContext": {
            "accountId": "000000000000", "apiId": "hikigane", "domainName": "127.0.0.1", "domainPrefix": "127.0.0.1",
            "http": {
                "method": "POST", "path": "/items/1 2/parts/x", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                "userAgent": "tester/1",
            },
            "requestId": null, "routeKey": "POST /items/{id}/parts/{part}", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_390_u64,
        },
        "body": "{\"n\":1}",
        "pathParameters": {"id": "1 2", "part": "x"},
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[test]
fn an_asynchronous_route_answers_202_with_the_id_that_its_run_has() {
    let project = gateway_project();
    let server = project.up();
    let answer = post(
        &format!("{}/later/9", server.gateway()),
        &[("content-type", "text/plain")],
        b"do it",
    );
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = text_of(&answer.json()["requestId"]).to_owned();
    let run = wait_for("the run", || server.runs(&format!("?requestId={id}")).pop());
    assert_eq!(
        (&run["mode"], &run["status"], &run["trigger"]),
        (&json!("async"), &json!("succeeded"), &json!("http"))
    );
    let input: Value = serde_json::from_str(text_of(&server.run(&run["id"])["input"])).unwrap();
    assert_eq!(
        (&input["pathParameters"]["id"], &input["body"]),
        (&json!("9"), &json!("do it"))
    );
}

#[test]
fn a_function_error_is_a_500_that_does_not_tell_the_error() {
    let project = gateway_project();
    let server = project.up();
    let answer = get(&format!("{}/broken", server.gateway()));
    assert_eq!(
        (answer.status, answer.json()),
        (500, json!({"message": "Internal Server Error"}))
    );
    let run = wait_for("the run", || server.runs("?function=broken").pop());
    assert_eq!(
        (&run["status"], &run["reason"]),
        (&json!("failed"), &json!("TypeError"))
    );
    assert_eq!(get(&format!("{}/items/1", server.gateway())).status, 200);
}

#[test]
fn the_file_drop_example_files_a_good_invoice_rejects_a_bad_one_and_lists_what_left() {
    let project = Project::copy_of("configs/file-drop");
    let server = project.up();
    let good = json!({"number": "FR-1234", "lines": [{"quantity": 2, "price": 10.5}], "total": 21});
    let bad = json!({"number": "1234", "lines": [{"quantity": 2, "price": 10.5}], "total": 20});
    project.write("drop/in/good one.json", &good.to_string());
    project.write("bad.json", &bad.to_string());
    std::fs::rename(project.join("bad.json"), project.join("drop/in/bad.json")).unwrap();
    project.write("drop/in/notes.txt", "no invoice");

    let audit = wait_for("two lines in the audit list", || {
        std::fs::read_to_string(project.join("accepted/audit.log"))
            .ok()
            .filter(|text| text.lines().count() >= 2)
    });
    let mut gone: Vec<_> = audit.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["in/bad.json", "in/good one.json"]);
    let read = |path: &str| std::fs::read_to_string(project.join(path)).unwrap();
    assert_eq!(read("accepted/good one.json"), good.to_string());
    assert_eq!(read("rejected/bad.json"), bad.to_string());
    assert_eq!(
        read("rejected/bad.json.reason.txt"),
        "\"number\" must look like FR-1234\n\"total\" is 20, but the lines add up to 21\n"
    );
    assert!(!project.join("accepted/bad.json").exists() && !project.join("rejected/good one.json").exists());
    assert_eq!(read("drop/in/notes.txt"), "no invoice");
    // The history may lag behind what the functions did.
    wait_for("both runs", || {
        Some(server.runs("?function=invoices&status=succeeded")).filter(|runs| runs.len() == 2)
    });
}

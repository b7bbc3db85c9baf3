//! The HTTP gateway as its users meet it: many routes of one function, serverless.yml's words, and clients who mean harm.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::json;

use crate::support::{Project, Server, command, get, invoke, post, request, value_of, wait_for};

const ECHO: &str = "export const handler = async (event) => ({ route: event.routeKey, path: event.rawPath });";

/// A function with several routes and no names.
const ROUTES: &str = r#"
functions:
  orders:
    code: ./orders.mjs
    events:
      - http: GET /orders
      - http: POST /orders
      - http: { method: GET, path: "/orders/{id}" }
      - http: DELETE /orders/{id}
        name: cancel
      - http: "*"
sources:
  http: { listen: 127.0.0.1:0, cors: true }
"#;

fn routes() -> (Project, Server) {
    let project = Project::new(ROUTES, &[("orders.mjs", ECHO)]);
    let server = project.up();
    (project, server)
}

#[test]
fn the_routes_of_a_function_need_no_names_and_the_history_tells_them_apart() {
    let (_project, server) = routes();
    let gateway = server.gateway();
    let asked = [
        ("GET", "/orders", "GET /orders", "orders/GET /orders"),
        ("POST", "/orders", "POST /orders", "orders/POST /orders"),
        ("GET", "/orders/7", "GET /orders/{id}", "orders/GET /orders/{id}"),
        ("DELETE", "/orders/7", "DELETE /orders/{id}", "orders/cancel"),
        ("PATCH", "/else", "$default", "orders/$default"),
    ];
    for (method, path, route, _) in asked {
        let answer = request(method, &format!("{gateway}{path}"), &[], &[]);
        assert_eq!(answer.json(), json!({"route": route, "path": path}));
    }
    let runs = wait_for("the runs", || {
        Some(server.runs("?function=orders")).filter(|runs| runs.len() == asked.len())
    });
    let mut bindings: Vec<_> = runs.iter().filter_map(|run| run["binding"].as_str()).collect();
    bindings.reverse();
    assert_eq!(bindings, asked.map(|(_, _, _, binding)| binding));

    let listed = command(&["runs", "--endpoint", server.endpoint()]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for trigger in [
        "http GET /orders  ",
        "http GET /orders/{id}  ",
        "http cancel  ",
        "http $default  ",
    ] {
        assert!(listed.contains(trigger), "{trigger}\n{listed}");
    }
}

#[test]
fn pages_of_other_sites_may_call_what_the_manifest_shares() {
    let (_project, server) = routes();
    let page = ("origin", "http://localhost:5173");
    let answer = post(&format!("{}/orders", server.gateway()), &[page], b"{}");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some(page.1))
    );
}

#[test]
fn serverless_yml_s_word_for_the_trigger_is_told_ours() {
    let manifest = "functions:\n  f:\n    code: ./f.mjs\n    events:\n      - httpApi: GET /a\n      - httpApi: '*'\nsources:\n  httpApi: { cors: true }\n";
    let project = Project::new(manifest, &[("f.mjs", ECHO)]);
    let checked = command(&["check", "hikigane.yaml"])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert_eq!(said.matches("unknown trigger `httpApi`").count(), 3, "{said}");
    assert_eq!(said.matches("it is written `http` here").count(), 3, "{said}");
}

/// A server that was started where `ulimit` says so.
fn limited(limit: &str) -> (Project, Server) {
    let manifest = "functions:\n  f: { code: ./f.mjs, events: [{ http: $default }] }\n  g: { code: ./f.mjs }\nsources:\n  http: { listen: 127.0.0.1:0 }\n";
    let project = Project::new(manifest, &[("f.mjs", ECHO)]);
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_hikigane");
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    shell.args([
        "-c",
        &script,
        program,
        "up",
        "hikigane.yaml",
        "--endpoint",
        "127.0.0.1:0",
        "--json",
    ]);
    let server = project.up_as(&mut shell);
    (project, server)
}

/// Clients who begin a request and do not end it.
fn begin_requests(server: &Server, count: usize) -> Vec<TcpStream> {
    let address = server.gateway().trim_start_matches("http://");
    let begin = |_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: h").unwrap();
        stream
    };
    (0..count).map(begin).collect()
}

/// Whether nothing came of a connection, not even its end.
fn is_held(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_flood_of_connections_does_not_keep_others_out() {
    let (_project, server) = limited("-Sn 128");
    let flood = begin_requests(&server, 300);
    for _ in 0..10 {
        assert_eq!(get(server.gateway()).status, 200);
    }
    assert!(flood.iter().all(is_held), "the flood ended before others were served");
}

#[test]
fn a_flood_of_connections_leaves_descriptors_for_functions_and_the_endpoint() {
    // Half of them wait in the listener's backlog, which a system may bound at 128.
    let (_project, server) = limited("-n 200");
    let flood = begin_requests(&server, 200);
    value_of(&invoke(server.endpoint(), "g", "{}"));
    assert!(is_held(&flood[0]), "the flood ended before the function ran");
}

//! Where functions can connect to: decided on the address, whatever it is called.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::support::{Project, Server, get, invoke, project_of, skipped, value_of};

/// Connects as the event says, and tells what came of it.
const PROBE: &str = r#"
    const clients = {
      fetch: async (host, port) => (await fetch(`http://${host}:${port}/`)).status,
      https: (host, port) => new Promise((done, no) => require('https').get({ host: bare(host), port, timeout: 3000 }, (r) => done(r.statusCode)).on('error', no)),
      http: (host, port) => new Promise((done, no) => require('http').get(`http://${host}:${port}/`, (r) => done(r.statusCode)).on('error', no)),
      net: (host, port) => new Promise((done, no) => { const s = require('net').connect(port, bare(host), () => { s.destroy(); done('open'); }); s.on('error', no); }),
      tls: (host, port) => new Promise((done, no) => { const s = require('tls').connect(port, bare(host), {}, () => done('open')); s.on('error', no); }),
      ws: (host, port) => new Promise((done, no) => { const s = new WebSocket(`ws://${host}:${port}/`); s.onopen = () => done('open'); s.onerror = (e) => no(e.error ?? new Error(e.message)); }),
      udp: (host, port) => new Promise((done, no) => { const s = require('dgram').createSocket(host.includes(':') ? 'udp6' : 'udp4'); s.on('error', no); s.send('x', port, bare(host), (e) => { s.close(); e ? no(e) : done('sent'); }); }),
    };
    const bare = (host) => host.replace(/[\[\]]/g, '');
    exports.handler = async ({ client, host, port, js }) => {
      try {
        if (js) return { value: await new (async () => {}).constructor('require', js)(require) };
        return { value: await clients[client](host, port) };
      } catch (error) {
        return { refused: `${error.code ?? error.name}: ${error.message} ${error.cause ?? ''}` };
      }
    };
"#;

/// This machine's loopback, in every spelling.
const SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "localhost",
    "localhost.",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:0.0.0.0]",
];

/// Names that the resolver takes for loopback: to list one is to list a name that somebody has pointed there.
const NAMES: &str =
    "\"2130706433\", \"0x7f000001\", \"0177.0.0.1\", \"0x7f.1\", \"127.1\", \"127.0.1\", \"0\", api.example.com";

#[track_caller]
fn ask(server: &Server, function: &str, event: &Value) -> Value {
    let answer = invoke(server.endpoint(), function, &event.to_string());
    match answer.header("x-amz-function-error") {
        // Some of Node.js's modules throw where nobody can catch.
        Some(_) => json!({"refused": answer.json()["errorMessage"]}),
        None => value_of(&answer),
    }
}

fn servers(net: &str) -> (Project, Server) {
    let settings = format!("handler: index.handler, timeout: 20s, allow: {{ net: [{net}] }}");
    let project = project_of(&[("probe", &settings, &[("index.js", PROBE)])]);
    let server = project.up();
    (project, server)
}

fn nobody_came(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err()
}

#[test]
fn a_listed_name_does_not_open_this_machine() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    let closed6 = TcpListener::bind(("::1", port)).ok();
    let datagrams = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let (_project, server) = servers(NAMES);
    let mut wrong = Vec::new();
    let mut cases = 0;
    for client in ["fetch", "http", "https", "net", "tls", "ws", "udp"] {
        for host in SPELLINGS {
            cases += 1;
            let answer = ask(&server, "probe", &json!({"client": client, "host": host, "port": port}));
            if answer.get("refused").is_none() {
                wrong.push(format!("{client} {host}: {answer}"));
            }
        }
    }
    assert!(cases >= 80 && wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(nobody_came(&closed) && closed6.as_ref().is_none_or(nobody_came));
    datagrams.set_nonblocking(true).unwrap();
    assert!(datagrams.recv(&mut [0; 8]).is_err(), "a datagram arrived");
}

#[test]
fn a_block_of_ipv6_addresses_opens_them_and_no_others() {
    let Ok(open) = TcpListener::bind("[::1]:0") else {
        skipped("this machine has no IPv6");
        return;
    };
    let port = open.local_addr().unwrap().port();
    // Whoever comes is shown out at once: what is asked is whether the connection may be made.
    std::thread::spawn(move || open.incoming().for_each(drop));
    for (net, opens) in [("\"::/64\"", true), ("\"[::]/64\"", true), ("\"2001:db8::/32\"", false)] {
        let (_project, server) = servers(net);
        for (client, host) in [("net", "::1"), ("http", "[::1]")] {
            let answer = ask(&server, "probe", &json!({"client": client, "host": host, "port": port}));
            let refused = answer["refused"].as_str().unwrap_or_default();
            assert_eq!(refused.contains("EACCES"), !opens, "{net} {client}: {answer}");
        }
    }
}

#[test]
fn a_listed_name_that_points_here_is_refused_at_the_connection_and_by_its_address() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    let (_project, server) = servers(NAMES);
    // The name passes Deno's permissions, which is what makes this a test of the address.
    let answer = ask(
        &server,
        "probe",
        &json!({"client": "net", "host": "127.1", "port": port}),
    );
    assert!(
        answer["refused"]
            .as_str()
            .unwrap()
            .starts_with("EACCES: connect EACCES"),
        "{answer}"
    );
    let answer = ask(
        &server,
        "probe",
        &json!({"client": "fetch", "host": "127.0.0.1", "port": port}),
    );
    assert!(answer["refused"].as_str().unwrap().contains("127.0.0.1"), "{answer}");
    assert!(nobody_came(&closed));
}

#[test]
fn metadata_addresses_are_never_open() {
    let (_project, server) = servers("\"*\"");
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "169.254.170.2",
        "[fd00:ec2::254]",
    ] {
        for client in ["fetch", "http", "net", "ws", "udp"] {
            let answer = ask(&server, "probe", &json!({"client": client, "host": host, "port": 80}));
            let text = answer["refused"].as_str().unwrap_or_default().to_owned();
            // A WebSocket tells its program nothing of why, and a datagram's error is one that Deno's polyfill does not know.
            let said = ["ws", "udp"].contains(&client) || text.contains("EACCES") || text.contains("ermission denied");
            assert!(!text.is_empty() && said, "{client} {host}: {answer}");
        }
    }
}

#[test]
fn redirects_and_proxies_are_looked_at_like_any_connection() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    let redirecting = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = redirecting.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in redirecting.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 2048];
            let length = connection.read(&mut request).unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..length]).into_owned();
            let target = line
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .trim_start_matches("/to/")
                .to_owned();
            let answer = format!(
                "HTTP/1.1 302 Found\r\nlocation: http://{target}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    let (_project, server) = servers(&format!("\"127.0.0.1:{port}\", {NAMES}"));
    let first = ask(
        &server,
        "probe",
        &json!({"js": format!("return (await fetch('http://127.0.0.1:{port}/to/x', {{ redirect: 'manual' }})).status")}),
    );
    assert_eq!(first, json!({"value": 302}), "the listed address answers");
    for target in [
        format!("127.0.0.1:{closed_port}"),
        format!("2130706433:{closed_port}"),
        format!("127.1:{closed_port}"),
        format!("0:{closed_port}"),
        format!("[::ffff:127.0.0.1]:{closed_port}"),
        "169.254.169.254".to_owned(),
    ] {
        let answer = ask(
            &server,
            "probe",
            &json!({"js": format!("return (await fetch('http://127.0.0.1:{port}/to/{target}')).status")}),
        );
        assert!(answer.get("refused").is_some(), "{target}: {answer}");
    }
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        let js = format!(
            "process.env.{proxy} = 'http://127.1:{closed_port}'; return (await fetch('http://api.example.com/')).status"
        );
        let answer = ask(&server, "probe", &json!({ "js": js }));
        assert!(answer.get("refused").is_some(), "{proxy}: {answer}");
    }
    assert!(nobody_came(&closed));
}

#[test]
fn the_endpoint_serves_functions_and_its_admin_api_does_not() {
    let (project, server) = servers("\"*\"");
    let port: u16 = server.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let status = |path: &str, host: &str| {
        let js = format!(
            "return await new Promise((done, no) => require('http').get({{ host: '{host}', port: {port}, path: '{path}', headers: {{ host: '127.0.0.1:{port}' }} }}, (r) => done(r.statusCode)).on('error', no))"
        );
        ask(&server, "probe", &json!({ "js": js }))
    };
    assert_eq!(status("/2015-03-31/functions", "127.0.0.1"), json!({"value": 200}));
    assert_eq!(
        get(&format!("{}/_hikigane/status", server.endpoint())).status,
        200,
        "its user may"
    );
    for host in [
        "127.0.0.1",
        "localhost",
        "127.0.0.2",
        "0.0.0.0",
        "127.1",
        "::ffff:127.0.0.1",
        "::1",
        "::",
    ] {
        for path in [
            "/_hikigane/status",
            "/_hikigane/runs",
            "/_hikigane/dlq",
            "/_hikigane/logs",
        ] {
            let answer = status(path, host);
            assert!(
                answer == json!({"value": 403}) || answer.get("refused").is_some(),
                "{host} {path}: {answer}"
            );
        }
    }
    // A source address of its own does not help.
    let own = format!(
        "return await new Promise((done, no) => require('http').get({{ host: '127.0.0.1', port: {port}, localAddress: '127.0.0.1', path: '/_hikigane/status' }}, (r) => done(r.statusCode)).on('error', no))"
    );
    let answer = ask(&server, "probe", &json!({ "js": own }));
    assert!(
        answer == json!({"value": 403}) || answer.get("refused").is_some(),
        "{answer}"
    );
    let fetched = ask(
        &server,
        "probe",
        &json!({"js": format!("return (await fetch('http://127.0.0.1:{port}/_hikigane/status')).status")}),
    );
    assert_eq!(fetched, json!({"value": 403}));
    drop(project);
}

#[test]
fn a_function_without_a_network_has_no_sockets_at_all() {
    let project = project_of(&[("probe", "handler: index.handler", &[("index.js", PROBE)])]);
    let server = project.up();
    for js in [
        "return await new Promise((done, no) => { const s = require('net').createServer(); s.on('error', no); s.listen(0, () => done('listens')); })",
        "return await new Promise((done, no) => { const s = require('dgram').createSocket('udp4'); s.on('error', no); s.bind(0, () => done('bound')); })",
        "return await new Promise((done, no) => { const s = require('net').createServer(); s.on('error', no); s.listen('/tmp/socket', () => done('listens')); })",
        "return await new Promise((done, no) => { const s = require('net').connect('/tmp/socket', () => done('open')); s.on('error', no); })",
    ] {
        let answer = ask(&server, "probe", &json!({ "js": js }));
        assert!(answer.get("refused").is_some(), "{js}: {answer}");
    }
}

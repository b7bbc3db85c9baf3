//! Who gets to the door of debuggers.

use serde_json::{Value, json};

use super::{F, door, targets, up};
use crate::support::{Debugger, command, get, invoke, project_of, request, value_of};

#[test]
fn only_programs_of_this_machine_get_in() {
    let (_project, server) = up(&[F]);
    invoke(server.endpoint(), "f", r#"{"n":1}"#);
    let door = door(&server);
    let url = targets(&server)[0]["webSocketDebuggerUrl"].as_str().unwrap().to_owned();
    let status = |header: (&str, &str)| request("GET", &format!("http://{door}/json/list"), &[header], &[]).status;
    for refused in [
        ("host", "evil.example"),
        ("host", "localhost.evil.example:9229"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        assert_eq!(status(refused), 403, "{refused:?}");
        let header = format!("{}: {}\r\n", refused.0.replace("host", "Host"), refused.1);
        let refusal = Debugger::try_attach(&url, &header).err().unwrap();
        assert!(refusal.starts_with("HTTP/1.1 403 "), "{refused:?}: {refusal}");
    }
    // Forwarded through another port, and by DevTools itself.
    for welcome in [("host", "localhost:1234"), ("origin", "devtools://devtools")] {
        assert_eq!(status(welcome), 200, "{welcome:?}");
    }
    assert!(Debugger::try_attach(&url, "Origin: devtools://devtools\r\n").is_ok());

    let refusal = |id: &str| Debugger::try_attach(&format!("ws://{door}/{id}"), "").err().unwrap();
    for id in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        assert!(refusal(id).starts_with("HTTP/1.1 404 "), "{id}: {}", refusal(id));
    }
    let plain = get(&url.replace("ws://", "http://"));
    assert_eq!(plain.status, 400, "{}", plain.text());
}

#[test]
fn a_function_gets_neither_to_the_door_nor_to_the_inspector() {
    let (_project, server) = up(&[(
        "f",
        "handler: index.handler, allow: { net: ['*', '127.0.0.0/8'] }",
        &[(
            "index.mjs",
            "import net from 'node:net';\n\
             import inspector from 'node:inspector';\n\
             const code = (run) => { try { run(); return 'open'; } catch (error) { return error.code; } };\n\
             export const handler = async ({ host, port }) => [\n\
             \x20 await new Promise((done) => net.connect(port, host, () => done('open')).on('error', (error) => done(error.code))),\n\
             \x20 code(() => inspector.open(0, '127.0.0.1')),\n\
             \x20 code(() => new inspector.Session().connect()),\n\
             \x20 code(() => inspector.url()),\n\
             ];\n",
        )],
    )]);
    let door = door(&server);
    let (host, port) = door.split_once(':').unwrap();
    let event = json!({"host": host, "port": port.parse::<u16>().unwrap()}).to_string();
    let answer = value_of(&invoke(server.endpoint(), "f", &event));
    assert_eq!(answer, json!(["EACCES", "EACCES", "EACCES", "EACCES"]));
}

#[test]
fn without_inspect_nobody_listens_and_elsewhere_than_on_loopback_nobody_may() {
    let project = project_of(&[F]);
    let server = project.up();
    assert_eq!(server.ready["inspector"], Value::Null);
    let status = get(&format!("{}/_hikigane/status", server.endpoint())).json();
    assert_eq!(status["inspector"], Value::Null);
    let listening = std::fs::read_to_string(format!("/proc/{}/net/tcp", server.pid())).unwrap();
    assert!(
        !listening.contains(":240D 00000000:0000 0A"),
        "somebody listens on 9229"
    );

    let asked = command(&["invoke", "f", "--inspect", "--endpoint", server.endpoint()])
        .output()
        .unwrap();
    let error = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(1));
    assert!(error.contains("start it with \"hikigane up --inspect\""), "{error}");
    let target = "00000000-0000-4000-8000-000000000000";
    let debug = request(
        "POST",
        &format!("{}/_hikigane/debug/f?target={target}", server.endpoint()),
        &[],
        b"{}",
    );
    assert_eq!(debug.status, 400, "{}", debug.text());

    let refused = command(&["up", "--endpoint", "127.0.0.1:0", "--inspect=0.0.0.0:9229"])
        .current_dir(project.path())
        .output()
        .unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(error.contains("the inspector cannot listen on 0.0.0.0:9229"), "{error}");
}

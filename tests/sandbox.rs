//! What a function cannot reach: files, processes, addresses, the server and its other functions.

use std::net::TcpListener;

use serde_json::json;

use crate::support::{
    NEIGHBOUR, PROBE, Project, Server, ask_neighbour, children, command, entries, invoke, js_event, project_of, run_js,
    serve, value_of, wait_for,
};

fn sandbox() -> (Project, Server) {
    let project = project_of(&[
        NEIGHBOUR,
        (
            "probe",
            "handler: index.handler, timeout: 10s, allow: { read: [./in], write: [./out] }",
            &[("index.js", PROBE), ("data.txt", "data")],
        ),
    ]);
    project.write("in/given.txt", "given");
    project.write("out/old.txt", "old");
    project.write("outside/secret.txt", "sesame");
    project.write("in-but-longer/secret.txt", "sesame");
    for (link, target) in [
        ("code/probe/link", "/etc/passwd"),
        ("code/probe/dirlink", "../../outside"),
        ("code/probe/proc", "/proc"),
        ("in/link", "../outside/secret.txt"),
        ("out/escape", "../outside"),
    ] {
        std::os::unix::fs::symlink(target, project.join(link)).unwrap();
    }
    let server = project.up_as(
        command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]).env("HIKIGANE_CANARY", "open-sesame"),
    );
    (project, server)
}

/// What the probe was refused with: an error code that Node.js code knows, or the class that Deno's layer gives.
#[track_caller]
fn refused(server: &Server, js: &str) -> String {
    let answer = value_of(&invoke(server.endpoint(), "probe", &js_event(server, js)));
    answer["refused"]
        .as_str()
        .unwrap_or_else(|| panic!("{js} was not refused: {answer}"))
        .to_owned()
}

#[track_caller]
fn all_are_refused(server: &Server, probes: &[&str]) {
    let through: Vec<String> = probes
        .iter()
        .filter_map(|js| {
            let answer = value_of(&invoke(server.endpoint(), "probe", &js_event(server, js)));
            let refusal = answer["refused"].as_str().unwrap_or_default();
            let good = matches!(
                refusal,
                "EACCES"
                    | "EPERM"
                    | "EROFS"
                    | "ENOENT"
                    | "MODULE_NOT_FOUND"
                    | "NotCapable"
                    | "NotSupported"
                    | "PermissionDenied"
                    | "ERR_ACCESS_DENIED"
                    | "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
            );
            (!good).then(|| format!("{js}: {answer}"))
        })
        .collect();
    assert!(through.is_empty(), "{}", through.join("\n"));
    ask_neighbour(server, 0);
}

#[test]
fn what_is_allowed_works() {
    let (project, server) = sandbox();
    for (js, value) in [
        (
            "return require('fs').readFileSync(root + '/data.txt', 'utf8')",
            json!("data"),
        ),
        (
            "return require('fs').readFileSync('PROJECT/in/given.txt', 'utf8')",
            json!("given"),
        ),
        (
            "return require('fs').readFileSync('PROJECT/out/old.txt', 'utf8')",
            json!("old"),
        ),
        (
            "return require('fs').writeFileSync('PROJECT/out/new.txt', 'new')",
            json!(null),
        ),
        (
            "return require('fs').mkdirSync('PROJECT/out/a/b', { recursive: true }) !== undefined",
            json!(true),
        ),
        (
            "return require('fs').renameSync('PROJECT/out/new.txt', 'PROJECT/out/a/b/moved.txt')",
            json!(null),
        ),
        (
            "return require('fs').readdirSync('PROJECT/out/a/b').join()",
            json!("moved.txt"),
        ),
        ("return require('fs').rmSync('PROJECT/out/old.txt')", json!(null)),
        (
            "return (await require('fs/promises').stat(root + '/data.txt')).size",
            json!(4),
        ),
    ] {
        assert_eq!(run_js(&server, "probe", js), json!({ "value": value }), "{js}");
    }
    assert_eq!(
        std::fs::read_to_string(project.join("out/a/b/moved.txt")).unwrap(),
        "new"
    );
    assert!(!project.join("out/old.txt").exists());
}

#[test]
fn files_outside_are_out_of_reach() {
    let (project, server) = sandbox();
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync('/etc/passwd', 'utf8')",
            "return await require('fs/promises').readFile('/etc/passwd', 'utf8')",
            "return await new Promise((done, no) => require('fs').readFile('/etc/passwd', (error, x) => error ? no(error) : done(x)))",
            "return require('fs').openSync('/etc/passwd')",
            "return require('fs').statSync('/etc/passwd')",
            "return require('fs').readdirSync('/')",
            "return await require('fs').createReadStream('/etc/passwd').toArray()",
            "return require('fs').readFileSync('PROJECT/outside/secret.txt', 'utf8')",
            "return require('fs').readFileSync('PROJECT/in-but-longer/secret.txt', 'utf8')",
            "return require('fs').readFileSync('PROJECT/hikigane.yaml', 'utf8')",
            "return require('fs').readFileSync('PROJECT/code/neighbour/index.mjs', 'utf8')",
            "return require('fs').readdirSync('PROJECT/.hikigane')",
            "return require('fs').copyFileSync('/etc/passwd', 'PROJECT/out/copy')",
            "return require('fs').linkSync('/etc/passwd', 'PROJECT/out/hard')",
            "return require('fs').symlinkSync('/etc/passwd', 'PROJECT/out/soft')",
            "return require('fs').writeFileSync(root + '/new.txt', 'x')",
            "return require('fs').appendFileSync(root + '/data.txt', 'x')",
            "return require('fs').truncateSync(root + '/data.txt')",
            "return require('fs').unlinkSync(root + '/data.txt')",
            "return require('fs').chmodSync(root + '/data.txt', 0)",
            "return require('fs').renameSync(root + '/data.txt', 'PROJECT/out/data.txt')",
            "return require('fs').rmSync(root, { recursive: true })",
            "return require('fs').writeFileSync('PROJECT/in/new.txt', 'x')",
            "return require('fs').writeFileSync('PROJECT/outside/new.txt', 'x')",
            "return require('fs').mkdirSync('/var/evil')",
            "return require('fs').writeFileSync('/dev/shm/evil', 'x')",
            "return require('fs').mkdtempSync('/var/tmp/x')",
            "return process.chdir('/etc')",
            "return require('/etc/passwd')",
            "return require('fs').readFileSync('/dev/mem')",
            "return require('v8').writeHeapSnapshot('/var/tmp/heap')",
        ],
    );
    let imported = refused(&server, "return await import('file:///etc/passwd')");
    assert!(
        imported == "ERR_MODULE_NOT_FOUND" || imported == "NotCapable",
        "{imported}"
    );
    assert_eq!(
        std::fs::read_to_string(project.join("code/probe/data.txt")).unwrap(),
        "data"
    );
    assert_eq!(
        (entries(&project.join("outside")), entries(&project.join("in"))),
        (1, 2)
    );
}

#[test]
fn symbolic_links_do_not_lead_out() {
    let (project, server) = sandbox();
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync(root + '/link', 'utf8')",
            "return require(root + '/link')",
            "return require('fs').readFileSync(root + '/dirlink/secret.txt', 'utf8')",
            "return require('fs').readdirSync(root + '/dirlink')",
            "return require('fs').readFileSync('PROJECT/in/link', 'utf8')",
            "return require('fs').writeFileSync('PROJECT/out/escape/evil.txt', 'x')",
            "return require('fs').rmSync('PROJECT/out/escape/secret.txt')",
            "return require('fs').readdirSync(root + '/proc/self/fd')",
            "return require('fs').readFileSync(root + '/proc/self/maps', 'utf8')",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(project.join("outside/secret.txt")).unwrap(),
        "sesame"
    );
    assert_eq!(entries(&project.join("outside")), 1);
}

#[test]
fn a_refused_file_has_the_error_code_that_nodejs_gives() {
    let (_project, server) = sandbox();
    for js in [
        "return require('fs').readFileSync('/etc/passwd', 'utf8')",
        "return await require('fs/promises').readFile('/etc/passwd', 'utf8')",
        "return await new Promise((done, no) => require('fs').readFile('/etc/passwd', (error, x) => error ? no(error) : done(x)))",
        "return require('fs').writeFileSync(root + '/new.txt', 'x')",
        "return require('fs').accessSync('/etc/passwd')",
    ] {
        assert!(
            matches!(refused(&server, js).as_str(), "EACCES" | "EPERM"),
            "{js}: {}",
            refused(&server, js)
        );
        let answer = run_js(&server, "probe", js);
        assert!(
            !answer["message"].as_str().unwrap().contains("--allow"),
            "no hint for another program: {answer}"
        );
    }
}

#[test]
fn other_processes_are_out_of_reach() {
    let (_project, server) = sandbox();
    let parent = server.pid();
    let kills = [
        format!("return process.kill({parent}, 9)"),
        format!("return process.kill({parent}, 0)"),
        format!("return process.kill(-{parent}, 9)"),
    ];
    let mut probes: Vec<&str> = kills.iter().map(String::as_str).collect();
    probes.extend([
        "return process.kill(process.ppid, 9)",
        "return process.kill(0, 9)",
        "return process.kill(-1, 9)",
        "throw require('child_process').spawnSync('id').error",
        "return await new Promise((done, no) => { const c = require('child_process').spawn('id'); c.on('error', no); c.on('exit', done); })",
        "return await new Promise((done, no) => require('child_process').exec('id', (error, out) => error ? no(error) : done(out)))",
        "return await new Promise((done, no) => require('child_process').execFile('/bin/true', (error, out) => error ? no(error) : done(out)))",
        "return await new Promise((done, no) => { const c = require('child_process').fork(root + '/index.js'); c.on('error', no); c.on('exit', done); })",
        "return new (require('worker_threads').Worker)('1', { eval: true })",
        "return require('cluster').fork()",
        "return process.dlopen({ exports: {} }, '/lib/x86_64-linux-gnu/libc.so.6')",
        "return process.setuid(1)",
    ]);
    all_are_refused(&server, &probes);
    let ran = run_js(
        &server,
        "probe",
        "return require('child_process').execSync('echo out').toString()",
    );
    assert!(ran.get("refused").is_some(), "{ran}");
    assert_eq!(
        run_js(&server, "probe", "return typeof Worker"),
        json!({"value": "undefined"})
    );
    assert_eq!(
        run_js(&server, "probe", "return [process.pid, process.ppid]"),
        json!({"value": [2, 1]})
    );
}

#[test]
fn two_functions_share_no_process() {
    let code = "globalThis.shared ??= []; export const handler = async (event) => { shared.push(event.n); Object.prototype.dirt = event.n; return shared; };";
    let look = "export const handler = async () => ({ shared: globalThis.shared ?? null, dirt: {}.dirt ?? null });";
    let (_project, server) = serve(&[
        ("one", "handler: index.handler", &[("index.mjs", code)]),
        ("two", "handler: index.handler", &[("index.mjs", code)]),
        ("look", "handler: index.handler", &[("index.mjs", look)]),
    ]);
    for n in 1..=3 {
        let expected: Vec<u64> = (1..=n).collect();
        assert_eq!(
            value_of(&invoke(server.endpoint(), "one", &json!({ "n": n }).to_string())),
            json!(expected)
        );
    }
    assert_eq!(value_of(&invoke(server.endpoint(), "two", r#"{"n":9}"#)), json!([9]));
    assert_eq!(
        value_of(&invoke(server.endpoint(), "look", "{}")),
        json!({"shared": null, "dirt": null})
    );
}

#[test]
fn the_network_is_closed_unless_opened() {
    let (_project, server) = sandbox();
    let port = server.endpoint().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    let probes: Vec<String> = [
        "return (await fetch('http://127.0.0.1:PORT/2015-03-31/functions')).status",
        "return (await fetch('http://localhost:PORT/2015-03-31/functions')).status",
        "return (await fetch('http://[::1]:PORT/')).status",
        "return (await fetch('http://169.254.169.254/latest/meta-data/')).status",
        "return (await fetch('http://example.invalid/')).status",
        "return await new Promise((done, no) => { const s = require('net').connect(PORT, '127.0.0.1', () => done('open')); s.on('error', no); })",
        "return await new Promise((done, no) => { const s = require('net').connect('/var/run/x.sock', () => done('open')); s.on('error', no); })",
        "return await new Promise((done, no) => require('http').get('http://127.0.0.1:PORT/', done).on('error', no))",
        "return await new Promise((done, no) => require('https').get('https://127.0.0.1:PORT/', done).on('error', no))",
        "return await new Promise((done, no) => { const s = require('tls').connect(PORT, '127.0.0.1', done); s.on('error', no); })",
        "return await new Promise((done, no) => { const s = new WebSocket('ws://127.0.0.1:PORT/'); s.onerror = (event) => no(event.error ?? new Error(event.message)); s.onopen = done; })",
        "return await require('dns').promises.lookup('localhost')",
        "return await new Promise((done, no) => require('dns').lookup('localhost', (error, a) => error ? no(error) : done(a)))",
    ]
    .iter()
    .flat_map(|js| [port, other_port].map(|port| js.replace("PORT", &port.to_string())))
    .collect();
    all_are_refused(&server, &probes.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!refused(&server, "return await require('dns').promises.resolve4('localhost')").is_empty());
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "nobody connected");

    for js in [
        "return await new Promise((done, no) => { const s = require('net').createServer(); s.on('error', no); s.listen(0, '127.0.0.1', () => done('listens')); })",
        "return await new Promise((done, no) => { const s = require('dgram').createSocket('udp4'); s.on('error', no); s.send('x', 9, '127.0.0.1', (error) => error ? no(error) : done('sent')); })",
    ] {
        let answer = invoke(server.endpoint(), "probe", &json!({ "js": js }).to_string()).json();
        assert_eq!(answer.get("value"), None, "{js}: {answer}");
    }
    ask_neighbour(&server, 1);
}

#[test]
fn only_the_listed_hosts_are_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = format!("handler: index.handler, timeout: 10s, allow: {{ net: [\"127.0.0.1:{port}\"] }}");
    let (_project, server) = serve(&[NEIGHBOUR, ("probe", &settings, &[("index.js", PROBE)])]);
    let connect = |port: &str| {
        let js = format!(
            "return await new Promise((done, no) => {{ const s = require('net').connect({port}, '127.0.0.1', () => {{ s.destroy(); done('open'); }}); s.on('error', no); }})"
        );
        run_js(&server, "probe", &js)
    };
    assert_eq!(connect(&port.to_string()), json!({"value": "open"}));
    let own = server.endpoint().rsplit(':').next().unwrap().to_owned();
    assert!(connect(&own).get("refused").is_some());
}

#[test]
fn nothing_of_the_servers_environment_is_visible() {
    let (_project, server) = sandbox();
    let parent = server.pid();
    assert_eq!(
        run_js(
            &server,
            "probe",
            "return JSON.stringify(process.env).includes('sesame')"
        ),
        json!({"value": false})
    );
    let environ = format!("return require('fs').readFileSync('/proc/{parent}/environ', 'utf8')");
    let linked = format!("return require('fs').readFileSync(root + '/proc/{parent}/environ', 'utf8')");
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync('/proc/self/environ', 'utf8')",
            "return require('fs').readFileSync('/proc/1/environ', 'utf8')",
            "return require('fs').readFileSync('/proc/self/maps', 'utf8')",
            "return require('fs').readdirSync('/proc/self/fd')",
            "return require('fs').readFileSync('/proc/self/cmdline', 'utf8')",
            "return require('fs').readFileSync('/proc/self/mem')",
            "return require('fs').openSync('/proc/self/mem', 'r+')",
            &environ,
            &linked,
        ],
    );
    let report = run_js(
        &server,
        "probe",
        "return JSON.stringify(process.report?.getReport?.() ?? {}).includes('sesame')",
    );
    assert_eq!(report, json!({"value": false}));
    let workers = children(parent);
    assert!(!workers.is_empty());
    for worker in workers {
        let environ = std::fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("sesame"), "worker {worker}");
    }
}

#[test]
fn standard_streams_are_empty_and_descriptors_closed() {
    let (_project, server) = sandbox();
    let input = "return await new Promise((done) => { process.stdin.on('data', done); process.stdin.on('end', () => done('end')); process.stdin.on('error', done); })";
    assert_eq!(run_js(&server, "probe", input), json!({"value": "end"}));
    let each = |what: &str| {
        format!(
            "return Array.from({{ length: 64 }}, (_, fd) => {{ try {{ return String({what}); }} catch (error) {{ return error.code ?? error.name; }} }}).slice(3).every((result) => ['EBADF', 'EINVAL'].includes(result))"
        )
    };
    for what in [
        "require('fs').fstatSync(fd).ino",
        "require('fs').readSync(fd, Buffer.alloc(16))",
        "require('fs').writeSync(fd, 'x')",
        "require('fs').closeSync(fd)",
    ] {
        assert_eq!(run_js(&server, "probe", &each(what)), json!({"value": true}), "{what}");
        ask_neighbour(&server, 1);
    }
    assert_eq!(
        run_js(&server, "probe", "console.log('still logs'); return 'alive'"),
        json!({"value": "alive"})
    );
}

#[test]
fn forged_frames_hurt_nobody_else() {
    let (_project, server) = sandbox();
    // A frame: length, kind (20: returned), memory, text; and what is no frame at all.
    let forged = "const text = Buffer.from('\"forged\"'); const frame = Buffer.alloc(9 + text.length);\
        frame.writeUInt32LE(5 + text.length, 0); frame[4] = 20; text.copy(frame, 9);";
    for bytes in [
        "frame",
        "Buffer.concat([frame, frame, frame])",
        "Buffer.from([255, 255, 255, 255])",
        "Buffer.alloc(64)",
        "Buffer.from([1, 0, 0, 0, 16])",
        "Buffer.from([1, 0, 0, 0, 22])",
        "Buffer.from([200, 0, 0, 0, 20])",
    ] {
        for fd in [3, 7, 11] {
            let js = format!(
                "{forged} await new Promise((done) => {{ const s = new (require('net').Socket)({{ fd: {fd} }}); s.on('error', done); s.write({bytes}, done); setTimeout(done, 50); }}); return 'own';"
            );
            let answer = invoke(server.endpoint(), "probe", &json!({ "js": js }).to_string());
            assert_eq!(answer.status, 200, "{fd} {bytes}");
            ask_neighbour(&server, fd);
        }
    }
    // Whatever the function did to its own environments, an environment that it did not touch answers for itself.
    let mine = wait_for("an own answer", || {
        Some(invoke(server.endpoint(), "probe", r#"{"js":"return 'mine'"}"#))
            .filter(|answer| answer.text() == r#"{"value":"mine"}"#)
    });
    assert_eq!(mine.status, 200);
}

#[test]
fn an_answer_is_never_a_forged_or_stale_one() {
    let (_project, server) = sandbox();
    let forged = "const text = Buffer.from('\"forged\"'); const frame = Buffer.alloc(9 + text.length);\
        frame.writeUInt32LE(5 + text.length, 0); frame[4] = 20; text.copy(frame, 9);\
        await new Promise((done) => { const s = new (require('net').Socket)({ fd: 3 }); s.on('error', done); s.write(Buffer.concat([frame, frame]), done); setTimeout(done, 50); }); return 'own';";
    let _ = invoke(server.endpoint(), "probe", &json!({ "js": forged }).to_string());
    for n in 0..4 {
        let answer = run_js(&server, "probe", &format!("return {n}"));
        assert_eq!(
            answer,
            json!({ "value": n }),
            "the next caller gets an answer of its own"
        );
    }
}

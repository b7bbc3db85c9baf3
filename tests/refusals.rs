//! What a function may not do is refused with errors that Node.js code knows.

use serde_json::{Value, json};

use crate::support::{Project, Server, invoke, serve, value_of};

const PROBE: &str = r#"
exports.handler = async (event) => {
  const fs = require('fs');
  const root = __dirname;
  const tmp = require('os').tmpdir();
  try {
    return { value: await eval(`(async () => { ${event.js} })()`) };
  } catch (error) {
    const { name, message, code, errno, syscall, path } = error;
    return { name, message, code, errno, syscall, path };
  }
};
"#;

fn probe() -> (Project, Server) {
    serve(&[(
        "probe",
        "handler: index.handler, timeout: 20s",
        &[("index.js", PROBE), ("data.txt", "data")],
    )])
}

fn run(server: &Server, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), "probe", &json!({ "js": js }).to_string()))
}

#[test]
fn a_refused_file_gives_nodejs_own_error() {
    let (_project, server) = probe();
    let mut wrong = Vec::new();
    for (js, syscall, path) in [
        ("fs.readFileSync('/etc/passwd')", "open", "/etc/passwd"),
        ("await fs.promises.readFile('/etc/passwd')", "open", "/etc/passwd"),
        (
            "await new Promise((y, n) => fs.readFile('/etc/passwd', (e) => n(e)))",
            "open",
            "/etc/passwd",
        ),
        (
            "await new Promise((y, n) => fs.createReadStream('/etc/passwd').on('error', n))",
            "open",
            "/etc/passwd",
        ),
        ("fs.openSync('/etc/passwd')", "open", "/etc/passwd"),
        ("fs.statSync('/etc/passwd')", "stat", "/etc/passwd"),
        ("await fs.promises.stat('/etc/passwd')", "stat", "/etc/passwd"),
        ("fs.lstatSync('/etc/passwd')", "lstat", "/etc/passwd"),
        ("fs.accessSync('/etc/passwd')", "access", "/etc/passwd"),
        ("await fs.promises.access('/etc/passwd')", "access", "/etc/passwd"),
        ("fs.readdirSync('/etc')", "readdir", "/etc"),
        ("fs.readlinkSync('/etc/localtime')", "readlink", "/etc/localtime"),
        ("fs.writeFileSync(root + '/new.txt', 'x')", "open", "new.txt"),
        ("await fs.promises.writeFile(root + '/new.txt', 'x')", "open", "new.txt"),
        (
            "await new Promise((y, n) => fs.createWriteStream(root + '/new.txt').on('error', n))",
            "open",
            "new.txt",
        ),
        ("fs.appendFileSync(root + '/data.txt', 'x')", "open", "data.txt"),
        ("fs.mkdirSync(root + '/new')", "mkdir", "new"),
        ("fs.unlinkSync(root + '/data.txt')", "unlink", "data.txt"),
        (
            "fs.renameSync(root + '/data.txt', tmp + '/data.txt')",
            "rename",
            "data.txt",
        ),
        ("fs.chmodSync(root + '/data.txt', 0)", "chmod", "data.txt"),
        ("fs.copyFileSync('/etc/passwd', tmp + '/copy')", "access", "/etc/passwd"),
        ("fs.utimesSync(root + '/data.txt', 1, 1)", "access", "data.txt"),
    ] {
        let error = run(&server, &format!("return {js}"));
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let good = text("name") == "Error"
            && text("code") == "EACCES"
            && error["errno"] == -13
            && text("syscall") == syscall
            && text("path").ends_with(path)
            && text("message").starts_with(&format!("EACCES: permission denied, {syscall} '"));
        if !good {
            wrong.push(format!("{js}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_refused_file_does_not_exist() {
    let (_project, server) = probe();
    for (js, expected) in [
        ("return fs.existsSync('/etc/passwd')", json!(false)),
        ("return fs.existsSync(root + '/data.txt')", json!(true)),
        (
            "return await new Promise((done) => fs.exists('/etc/passwd', done))",
            json!(false),
        ),
        (
            "return await require('util').promisify(fs.exists)('/etc/passwd')",
            json!(false),
        ),
        ("return fs.existsSync(7)", json!(false)),
    ] {
        assert_eq!(run(&server, js), json!({ "value": expected }), "{js}");
    }
}

#[test]
fn what_a_function_cannot_have_is_refused_by_name() {
    let (_project, server) = probe();
    let child = "child processes are not available in a function";
    let mut wrong = Vec::new();
    for (js, code, message) in [
        (
            "throw require('child_process').spawnSync('id', ['-u']).error",
            "EACCES",
            child,
        ),
        ("return require('child_process').execSync('id')", "EACCES", child),
        (
            "return require('child_process').execFileSync('/bin/id')",
            "EACCES",
            child,
        ),
        (
            "return await require('util').promisify(require('child_process').exec)('id')",
            "EACCES",
            child,
        ),
        (
            "return await new Promise((y, n) => require('child_process').execFile('id', (e) => n(e)))",
            "EACCES",
            child,
        ),
        (
            "return await new Promise((y, n) => require('child_process').spawn('id').on('error', n))",
            "EACCES",
            child,
        ),
        (
            "return require('child_process').fork(root + '/index.js')",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "child_process is not available in a function",
        ),
        (
            "return new (require('worker_threads').Worker)('1', { eval: true })",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "worker_threads is not available in a function",
        ),
        (
            "fs.writeFileSync(tmp + '/a.node', ''); return require(tmp + '/a.node')",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "native code is not available in a function",
        ),
        (
            "return process.dlopen({ exports: {} }, '/lib/libc.so.6')",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "native code is not available in a function",
        ),
        (
            "return new (require('node:sqlite').DatabaseSync)(':memory:')",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "node:sqlite is not available in a function",
        ),
        (
            "return new (await import('node:sqlite')).DatabaseSync(':memory:')",
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            "node:sqlite is not available in a function",
        ),
        (
            "return await new Promise((y, n) => require('net').connect(80, '192.0.2.1').on('error', n))",
            "EACCES",
            "connect EACCES 192.0.2.1:80: the function may not connect there",
        ),
        (
            "return await fetch('http://192.0.2.1/')",
            "EACCES",
            "connect EACCES 192.0.2.1:80: the function may not connect there",
        ),
    ] {
        let error = run(&server, js);
        if error["code"] != code || !error["message"].as_str().unwrap_or_default().contains(message) {
            wrong.push(format!("{js}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let failed = run(
        &server,
        "const { status, signal, stdout, pid } = require('child_process').spawnSync('id'); return [status, signal, stdout, pid]",
    );
    assert_eq!(failed, json!({"value": [null, null, null, 0]}));
}

#[test]
fn the_error_of_a_fetch_says_why_in_its_cause() {
    let code = "exports.handler = async (event) => { try { await fetch(event); } catch (error) { return [error.name, error.message, error.cause.code]; } };";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, allow: { net: [\"*\"] }",
        &[("index.js", code)],
    )]);
    for (url, code) in [
        ("http://127.0.0.1:49151/", "ECONNREFUSED"),
        ("http://nowhere.invalid/", "ENOTFOUND"),
    ] {
        let answer = value_of(&invoke(server.endpoint(), "f", &json!(url).to_string()));
        assert_eq!(answer, json!(["TypeError", "fetch failed", code]), "{url}");
    }
}

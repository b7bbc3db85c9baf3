//! A function's `/tmp`: how long it lasts and how much it holds.

use serde_json::{Value, json};

use crate::support::{Function, Server, error_of, invoke, serve, value_of, wait_for};

const PROBE: &str = r#"
    const fs = require('fs');
    let used = 0;
    const opened = [];
    const { openSync } = fs;
    fs.openSync = (...how) => { opened.push(openSync(...how)); return opened.at(-1); };
    exports.handler = async (event) => {
      used += 1;
      try {
        return { used, value: await new (async () => {}).constructor('require', 'fs', event.js)(require, fs) ?? null };
      } catch (error) {
        return { used, refused: error.code ?? String(error) };
      } finally {
        if (!event.js.includes('unlinkSync')) for (const fd of opened.splice(0)) fs.closeSync(fd);
      }
    };
"#;

const FUNCTION: Function = (
    "f",
    "handler: index.handler, timeout: 20s, memory: 1024MB",
    &[("index.js", PROBE)],
);

#[track_caller]
fn ask(server: &Server, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), "f", &json!({ "js": js }).to_string()))
}

#[test]
fn files_in_tmp_outlive_a_timeout_and_a_crash_and_nothing_else_does() {
    let (project, server) = serve(&[
        ("f", "handler: index.handler, timeout: 1s", &[("index.js", PROBE)]),
        ("other", "handler: index.handler", &[("index.js", PROBE)]),
    ]);
    assert_eq!(
        ask(&server, "fs.writeFileSync('/tmp/kept', 'text')"),
        json!({"used": 1, "value": null})
    );
    for js in ["while (true) {}", "process.exit(1)", "process.abort()"] {
        error_of(&invoke(server.endpoint(), "f", &json!({ "js": js }).to_string()));
        let found = ask(&server, "return fs.readFileSync('/tmp/kept', 'utf8')");
        assert_eq!(
            found,
            json!({"used": 1, "value": "text"}),
            "after {js}: the file is there, the module is new"
        );
    }
    let other = value_of(&invoke(
        server.endpoint(),
        "other",
        r#"{"js":"return fs.readdirSync('/tmp')"}"#,
    ));
    assert_eq!(other, json!({"used": 1, "value": []}), "another function's is its own");
    let tmp = project.join(".hikigane/tmp");
    let (status, _) = server.stop(15);
    assert!(status.success());
    wait_for("the directories to go", || {
        std::fs::read_dir(&tmp).map_or(0, Iterator::count).eq(&0).then_some(())
    });
}

#[test]
fn more_than_tmp_holds_is_refused() {
    let (_project, server) = serve(&[FUNCTION]);
    let full = |js: &str| {
        let answer = ask(&server, js);
        assert_eq!(answer["refused"], "ENOSPC", "{js}: {answer}");
    };
    full("fs.writeFileSync('/tmp/big', Buffer.alloc(600 * 1024 * 1024))");
    full(
        "const f = fs.openSync('/tmp/a', 'w'); const b = Buffer.alloc(1 << 24, 1); for (let i = 0; i < 40; i += 1) fs.writeSync(f, b)",
    );
    assert_eq!(
        ask(&server, "return fs.statSync('/tmp/a').size")["value"],
        json!(512 * 1024 * 1024)
    );
    full("await fs.promises.writeFile('/tmp/b', Buffer.alloc(1 << 25, 1))");
    full("await require('stream/promises').pipeline(fs.createReadStream('/tmp/a'), fs.createWriteStream('/tmp/c'))");
    full("fs.copyFileSync('/tmp/a', '/tmp/d')");
    full("fs.cpSync('/tmp/a', '/tmp/e')");
    full(
        "const f = fs.openSync('/tmp/g', 'w'); for (let i = 0; i < 40; i += 1) fs.writevSync(f, [Buffer.alloc(1 << 20, 1), Buffer.alloc(1 << 20, 1)])",
    );
    full("const f = fs.openSync('/tmp/h', 'w'); fs.writeSync(f, Buffer.alloc(1 << 25, 1), 0, 1 << 25, 1e9)");
    // Room again: by deleting, by cutting, by writing over what is there.
    assert_eq!(
        ask(
            &server,
            "for (const name of fs.readdirSync('/tmp')) fs.rmSync('/tmp/' + name)"
        )["value"],
        Value::Null
    );
    full("fs.writeFileSync('/tmp/x', Buffer.alloc(513 * 1024 * 1024))");
    let again = "const b = Buffer.alloc(1 << 26, 1); for (let i = 0; i < 20; i += 1) fs.writeFileSync('/tmp/x', b); return fs.readdirSync('/tmp').length";
    let answer = ask(&server, again);
    assert_eq!(answer["value"], 1, "{answer}");
}

#[test]
fn holes_links_and_deleted_files_do_not_hide_what_tmp_holds() {
    let (_project, server) = serve(&[FUNCTION]);
    let half = "{ const b = Buffer.alloc(1 << 24, 1); for (let i = 0; i < 18; i += 1) fs.writeSync(f, b); }";
    // 288 MB that only a descriptor holds, and 288 MB more.
    let answer = ask(
        &server,
        &format!(
            "let f = fs.openSync('/tmp/a', 'w'); {half} fs.unlinkSync('/tmp/a'); f = fs.openSync('/tmp/b', 'w'); {half}"
        ),
    );
    assert_eq!(answer["refused"], "ENOSPC", "{answer}");
    let answer = ask(&server, "return fs.readdirSync('/tmp').join()");
    assert_eq!(answer["value"], "b");
    // The descriptors go with the process; the rest is counted in its place.
    error_of(&invoke(server.endpoint(), "f", r#"{"js":"process.exit(1)"}"#));
    let links = "for (let i = 0; i < 50; i += 1) fs.linkSync('/tmp/b', '/tmp/l' + i);";
    let answer = ask(
        &server,
        &format!("{links} let f = fs.openSync('/tmp/c', 'w'); {half} {half}"),
    );
    assert_eq!(answer["refused"], "ENOSPC", "{answer}");
    let rest = "for (const name of fs.readdirSync('/tmp')) if (name !== 'b' && name[0] !== 'l') fs.rmSync('/tmp/' + name); fs.writeFileSync('/tmp/d', Buffer.alloc(1 << 26, 1)); return 'fits'";
    assert_eq!(ask(&server, rest)["value"], "fits", "links count once");
    let sparse = "fs.rmSync('/tmp/d'); const f = fs.openSync('/tmp/s', 'w'); fs.ftruncateSync(f, 4e9); const b = Buffer.alloc(1 << 24, 1); for (let i = 0; i < 40; i += 1) fs.writeSync(f, b, 0, b.length, i * 1e8)";
    assert_eq!(ask(&server, sparse)["refused"], "ENOSPC");
}

#[test]
fn links_in_tmp_lead_to_what_the_function_may_see_and_nowhere_else() {
    let (project, server) = serve(&[FUNCTION]);
    project.write("secret.txt", "sesame");
    let value = |js: &str| ask(&server, js)["value"].clone();
    assert_eq!(
        value(
            "fs.mkdirSync('/tmp/v1'); fs.writeFileSync('/tmp/v1/a', 'text'); fs.symlinkSync('v1', '/tmp/current'); await fs.promises.symlink('../v1/a', '/tmp/v1/b');\
             await new Promise((done, no) => fs.symlink('/tmp/nothing', '/tmp/dangling', (error) => error ? no(error) : done())); process.chdir('/tmp'); fs.symlinkSync('v1', 'here');\
             return [fs.readFileSync('/tmp/current/b', 'utf8'), fs.readlinkSync('/tmp/current'), fs.realpathSync('/tmp/current/a'), fs.existsSync('/tmp/dangling'),\
             fs.lstatSync('/tmp/dangling').isSymbolicLink(), fs.readdirSync('/tmp/here').length]"
        ),
        json!(["text", "v1", "/tmp/v1/a", false, true, 2])
    );
    for (js, code) in [
        ("fs.symlinkSync('v1', '/tmp/current')", "EEXIST"),
        ("fs.symlinkSync('v1', '/tmp/missing/x')", "ENOENT"),
        ("fs.symlinkSync('/tmp/v1', '/var/task/x')", "EACCES"),
        ("await fs.promises.symlink('/tmp/v1', '/opt/x')", "EACCES"),
        (
            "fs.symlinkSync('/var/task', '/tmp/out'); fs.symlinkSync('x', '/tmp/out/x')",
            "EACCES",
        ),
        ("fs.symlinkSync('/tmp/v1', '/tmp/../opt/x')", "EACCES"),
    ] {
        assert_eq!(ask(&server, js)["refused"], code, "{js}");
    }
    // Wherever a link points, there is nothing but what the function sees anyway, and that keeps its rights.
    let secret = project.join("secret.txt");
    for target in [
        secret.to_str().unwrap(),
        "/etc/passwd",
        "/proc/1/environ",
        "../../etc/shadow",
        "/.code-cache/code.cache",
    ] {
        let js = format!(
            "fs.rmSync('/tmp/l', {{ force: true }}); fs.symlinkSync('{target}', '/tmp/l'); return fs.readFileSync('/tmp/l', 'utf8')"
        );
        let answer = ask(&server, &js);
        assert!(
            ["ENOENT", "EACCES", "EPERM"].contains(&answer["refused"].as_str().unwrap_or_default()),
            "{target}: {answer}"
        );
    }
    let js = "fs.symlinkSync('/var/task/index.js', '/tmp/code'); fs.appendFileSync('/tmp/code', 'x')";
    assert!(ask(&server, js)["refused"].is_string());
}

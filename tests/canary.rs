//! Nothing of the server, its user or other functions can be seen by a function that looks everywhere.

use std::process::Command;

use serde_json::json;

use crate::support::{children, command, invoke, invoke_logged, project_of, value_of, wait_for};

const CANARY: &str = "canary-7d1f";

/// Reads whatever it can reach, and tells all of it.
const SPY: &str = r#"
    const fs = require('fs'); const os = require('os'); const path = require('path'); const util = require('util');
    const found = [];
    const tell = (what, look) => { try { found.push(`${what}: ${util.inspect(look(), { depth: 6, maxStringLength: 1e5, maxArrayLength: 1e4 })}`); } catch (error) { found.push(`${what}! ${error.stack} ${util.inspect(error)}`); } };
    const read = (file) => tell(file, () => { const fd = fs.openSync(file, 'r'); try { const bytes = Buffer.alloc(65536); return bytes.toString('latin1', 0, fs.readSync(fd, bytes)); } finally { fs.closeSync(fd); } });
    const walk = (directory, depth) => {
      let names = [];
      tell(`ls ${directory}`, () => names = fs.readdirSync(directory));
      for (const name of names.slice(0, 300)) {
        const file = path.join(directory, name);
        let kind;
        try { kind = fs.lstatSync(file); } catch (error) { found.push(`${file}! ${error}`); continue; }
        if (kind.isSymbolicLink()) tell(`link ${file}`, () => fs.readlinkSync(file));
        if (kind.isDirectory() && depth > 0) walk(file, depth - 1); else if (kind.isFile()) read(file);
      }
    };
    exports.handler = async ({ files, pids }) => {
      for (const name of Reflect.ownKeys(process)) tell(`process.${String(name)}`, () => process[name]);
      for (const name of Object.keys(os)) tell(`os.${name}`, () => typeof os[name] === 'function' ? os[name]() : os[name]);
      tell('report', () => process.report.getReport());
      tell('global', () => Object.getOwnPropertyNames(globalThis).map((name) => util.inspect(globalThis[name], { depth: 1 })));
      for (const pid of ['self', 'thread-self', ...pids]) {
        for (const name of ['environ', 'cmdline', 'maps', 'mem', 'status', 'stat', 'mountinfo', 'mounts', 'cgroup', 'comm', 'limits', 'fdinfo/0', 'exe', 'root/etc/passwd', 'cwd/x', 'task/1/environ']) read(`/proc/${pid}/${name}`);
        for (const name of ['fd', 'root', 'cwd', 'task', 'ns', 'map_files']) walk(`/proc/${pid}/${name}`, 0);
        for (let fd = 0; fd < 32; fd += 1) { read(`/proc/${pid}/fd/${fd}`); tell('fd', () => fs.readlinkSync(`/proc/${pid}/fd/${fd}`)); read(`/dev/fd/${fd}`); }
      }
      for (let fd = 0; fd < 256; fd += 1) tell(`fd ${fd}`, () => { const bytes = Buffer.alloc(4096); return bytes.toString('latin1', 0, fs.readSync(fd, bytes, 0, 4096, 0)); });
      for (const file of files) { read(file); tell('stat', () => fs.statSync(file)); tell('real', () => fs.realpathSync(file)); tell('require', () => require(file)); walk(path.dirname(file), 1); }
      for (const directory of ['/', '/var', '/var/task', '/opt', '/tmp', '/home', '/root', '/etc', '/proc', '/dev', '/run', '/.host', '/sys/fs/cgroup']) walk(directory, 2);
      for (const up of ['..', '../..', '../../..', '../../../..']) walk(path.join('/var/task', up), 1);
      try { await import('file:///etc/passwd'); } catch (error) { found.push(error.stack); }
      const all = found.join('\n');
      for (let at = 0; at < all.length; at += 100000) console.log(all.slice(at, at + 100000));
      return { size: all.length, all: all.slice(0, 5e6) };
    };
"#;

#[test]
fn a_function_that_reads_all_it_can_sees_no_secret() {
    let other = "const fs = require('fs'); fs.writeFileSync('/tmp/mine', 'canary-7d1f in tmp'); exports.handler = async () => process.env.TOKEN;";
    let project = project_of(&[
        (
            "spy",
            "handler: index.handler, timeout: 60s, memory: 512MB",
            &[("index.js", SPY)],
        ),
        (
            "other",
            "handler: index.handler, env: { TOKEN: \"canary-7d1f in env\" }",
            &[("index.js", other)],
        ),
    ]);
    project.write("secret.txt", "canary-7d1f in a file");
    // A server whose environment, arguments, open files and standard input hold secrets.
    let up = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]);
    let mut start = Command::new("sh");
    start.args(["-c", "exec 9<secret.txt 8<secret.txt <secret.txt; exec \"$@\"", "sh"]);
    start
        .arg(up.get_program())
        .args(up.get_args())
        .env("SECRET", "canary-7d1f in the environment");
    let server = project.up_as(&mut start);
    let token = value_of(&invoke(server.endpoint(), "other", "{}"));
    assert_eq!(token, format!("{CANARY} in env"));

    let mut pids = vec![1, server.pid()];
    pids.extend(children(server.pid()));
    let mut files = vec![
        project.join("secret.txt"),
        project.join("code/other/index.js"),
        project.join("hikigane.yaml"),
    ];
    files.extend([
        project.join(".hikigane/hikigane.db"),
        "/etc/passwd".into(),
        "/etc/shadow".into(),
        "/root/.ssh/id_rsa".into(),
    ]);
    let event = json!({"files": files, "pids": pids.iter().map(u32::to_string).collect::<Vec<_>>()}).to_string();
    let (answer, log) = invoke_logged(server.endpoint(), "spy", &event);
    let told = value_of(&answer);
    assert!(told["size"].as_u64() > Some(10_000), "it looked around");
    assert!(
        told["all"].as_str().unwrap().contains("/var/task/index.js"),
        "and saw what is its own"
    );
    let recorded = wait_for("the run", || server.runs("?function=spy").into_iter().next());
    let recorded = server.run(&recorded["id"])["log"].to_string();
    for text in [answer.text(), log, recorded] {
        if let Some(at) = text.find(CANARY) {
            panic!("{}", &text[at.saturating_sub(300)..(at + 100).min(text.len())]);
        }
        assert!(!text.contains("root:x:0:0"), "/etc/passwd was read");
    }
}

#[test]
fn a_worker_has_only_the_descriptors_it_needs() {
    let project = project_of(&[(
        "f",
        "handler: index.handler",
        &[(
            "index.js",
            "exports.handler = async () => require('fs').promises.readdir('/tmp');",
        )],
    )]);
    project.write("secret.txt", "x");
    let up = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]);
    let mut start = Command::new("sh");
    start
        .args(["-c", "exec 9<secret.txt; exec \"$@\"", "sh"])
        .arg(up.get_program())
        .args(up.get_args());
    let server = project.up_as(&mut start);
    value_of(&invoke(server.endpoint(), "f", "{}"));
    for worker in children(server.pid()) {
        let all = wait_for("the worker's descriptors", || {
            std::fs::read_dir(format!("/proc/{worker}/fd")).ok()
        });
        for entry in all {
            let entry = entry.unwrap();
            let Ok(target) = std::fs::read_link(entry.path()) else {
                continue;
            };
            let target = target.display().to_string();
            let known = [
                "/dev/null",
                "anon_inode:[eventpoll]",
                "anon_inode:[eventfd]",
                "/dev/urandom",
                // How much memory it holds itself.
                "/proc/self/statm",
                // Where compiled code is kept: a directory that has no name in the function's tree.
                "/",
                // In stock only: it closes when the function is known.
                "anon_inode:[landlock-ruleset]",
            ];
            let expected =
                known.contains(&target.as_str()) || target.starts_with("socket:[") || target.starts_with("pipe:[");
            assert!(expected, "{}: {target}", entry.path().display());
        }
    }
}

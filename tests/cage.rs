//! What surrounds a worker: Lambda's file tree, no privileges, a short list of system calls, and whatever the kernel refuses.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Function, Project, Server, children, command, error_of, invoke, project_of, serve, skipped, value_of, wait_for,
};

/// Evaluates what the event says.
const PROBE: &str = r#"
    const AsyncFunction = (async () => {}).constructor;
    exports.handler = async (event) => {
      try {
        return { value: await new AsyncFunction('require', event.js)(require) ?? null };
      } catch (error) {
        return { refused: error.code ?? error.name, message: String(error.message) };
      }
    };
"#;

#[track_caller]
fn probe(server: &Server, function: &str, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, &json!({ "js": js }).to_string()))
}

/// The worker that runs a function, known by the thread's files: the workers in stock have none.
#[track_caller]
fn worker(server: &Server) -> u32 {
    let mounted = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).is_ok_and(|all| all.contains(" /var/task "))
    };
    wait_for("the worker", || children(server.pid()).into_iter().find(mounted))
}

/// The server, started by a program that runs its arguments; `None` when that program does not work here.
fn up_by(project: &Project, starter: &[&str]) -> Option<Server> {
    let mut start = Command::new(starter[0]);
    start.args(&starter[1..]);
    let works = start.arg("true").output().is_ok_and(|output| output.status.success());
    if !works {
        skipped(&format!("{starter:?} does not work here"));
        return None;
    }
    let up = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]);
    let mut start = Command::new(starter[0]);
    Some(project.up_as(start.args(&starter[1..]).arg(up.get_program()).args(up.get_args())))
}

/// Runs its arguments without any privilege, and without the right to new namespaces.
const NO_NAMESPACES: &[&str] = &[
    "unshare",
    "--user",
    "--map-root-user",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"",
    "sh",
];

const TREE: Function = (
    "f",
    "handler: lib/index.handler",
    &[
        (
            "lib/index.mjs",
            "import fs from 'node:fs'; import { where } from '../near.mjs'; import cjs from '../old.cjs';
             export const handler = async () => ({
               url: import.meta.url, dirname: import.meta.dirname, where, cjs, cwd: process.cwd(), tmp: (await import('node:os')).tmpdir(),
               stack: new Error('x').stack, task: fs.readdirSync('/var/task').sort(), opt: fs.readdirSync('/opt'),
             });",
        ),
        ("near.mjs", "export const where = import.meta.filename;"),
        ("old.cjs", "module.exports = [__filename, require.resolve('./near.mjs'), module.paths[0]];"),
    ],
);

#[test]
fn a_function_sees_lambdas_paths_everywhere() {
    let (project, server) = serve(&[TREE]);
    let seen = value_of(&invoke(server.endpoint(), "f", "{}"));
    assert_eq!(seen["url"], "file:///var/task/lib/index.mjs");
    assert_eq!(seen["dirname"], "/var/task/lib");
    assert_eq!(seen["where"], "/var/task/near.mjs");
    assert_eq!(
        seen["cjs"],
        json!(["/var/task/old.cjs", "/var/task/near.mjs", "/var/task/node_modules"])
    );
    assert_eq!((&seen["cwd"], &seen["tmp"]), (&json!("/var/task"), &json!("/tmp")));
    assert_eq!(seen["task"], json!(["lib", "near.mjs", "old.cjs"]));
    assert_eq!(seen["opt"], json!([]));
    assert!(
        seen["stack"].as_str().unwrap().contains("/var/task/lib/index.mjs"),
        "{seen}"
    );
    assert!(!seen.to_string().contains(project.path().to_str().unwrap()), "{seen}");
}

#[test]
fn errors_name_lambdas_paths_only() {
    let (project, server) = serve(&[
        (
            "throws",
            "handler: index.handler",
            &[(
                "index.js",
                "exports.handler = async () => { throw new Error('here'); };",
            )],
        ),
        (
            "broken",
            "handler: index.handler",
            &[("index.js", "exports.handler = ;")],
        ),
        (
            "missing",
            "handler: index.handler",
            &[("index.mjs", "import './nowhere.mjs'; export const handler = () => 1;")],
        ),
    ]);
    for function in ["throws", "broken", "missing"] {
        let answer = invoke(server.endpoint(), function, "{}");
        error_of(&answer);
        let named = function == "broken" || answer.text().contains("/var/task/");
        assert!(named, "{}", answer.text());
        assert!(
            !answer.text().contains(project.path().to_str().unwrap()),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_single_file_sees_its_neighbours_and_cannot_write_them() {
    let code = "import { near } from './near.mjs'; import fs from 'node:fs';
        export const handler = async () => { let refused; try { fs.writeFileSync('/var/task/near.mjs', ''); } catch (error) { refused = error.code; } return { near, refused }; };";
    let project = Project::new(
        "functions:\n  f: { code: ./code/f.mjs }\n",
        &[
            ("code/f.mjs", code),
            ("code/near.mjs", "export const near = import.meta.url;"),
        ],
    );
    let server = project.up();
    let seen = value_of(&invoke(server.endpoint(), "f", "{}"));
    assert_eq!(seen, json!({"near": "file:///var/task/near.mjs", "refused": "EACCES"}));
}

#[test]
fn what_is_allowed_has_its_own_path_inside_other_mounts_too() {
    let project = project_of(&[(
        "probe",
        "handler: index.handler, allow: { read: [./all, ./one.txt, ./missing], write: [./all/out] }",
        &[("index.js", PROBE)],
    )]);
    project.write("all/in.txt", "in");
    project.write("one.txt", "one");
    project.write("two.txt", "two");
    project.mkdir("all/out");
    let server = project.up();
    let read = |path: &str| {
        probe(
            &server,
            "probe",
            &format!(
                "return require('fs').readFileSync('{}', 'utf8')",
                project.join(path).display()
            ),
        )
    };
    assert_eq!(read("all/in.txt"), json!({"value": "in"}));
    assert_eq!(read("one.txt"), json!({"value": "one"}));
    // Where the project lies in the machine's /tmp, its path is one in the function's own, and it is the kernel that refuses.
    let (unseen, unwritable) = if project.path().starts_with("/tmp") {
        ("ENOENT", "EROFS")
    } else {
        ("EACCES", "EACCES")
    };
    assert_eq!(read("two.txt")["refused"], unseen);
    let write = |path: &str| {
        probe(
            &server,
            "probe",
            &format!(
                "return require('fs').writeFileSync('{}', 'x')",
                project.join(path).display()
            ),
        )
    };
    assert_eq!(write("all/out/new.txt"), json!({"value": null}));
    assert_eq!(write("all/new.txt")["refused"], unwritable);
    assert_eq!(std::fs::read_to_string(project.join("all/out/new.txt")).unwrap(), "x");
}

#[test]
fn a_worker_has_no_privilege_on_any_thread() {
    let (_project, server) = serve(&[("probe", "handler: index.handler", &[("index.js", PROBE)])]);
    assert_eq!(
        probe(&server, "probe", "return await require('fs').promises.readdir('/tmp')"),
        json!({"value": []})
    );
    let worker = worker(&server);
    let threads: Vec<_> = std::fs::read_dir(format!("/proc/{worker}/task"))
        .unwrap()
        .flatten()
        .collect();
    assert!(threads.len() >= 2, "V8 has threads of its own");
    for thread in threads {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
            line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
        };
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(name), "0000000000000000", "{name}: {status}");
        }
        assert_eq!(
            (field("NoNewPrivs"), field("Seccomp")),
            ("1".into(), "2".into()),
            "{status}"
        );
    }
}

#[test]
fn a_worker_sees_a_few_mounts_of_the_machine_and_none_of_its_root() {
    let (project, server) = serve(&[("probe", "handler: index.handler", &[("index.js", PROBE)])]);
    probe(&server, "probe", "return 1");
    let worker = worker(&server);
    let mounts = std::fs::read_to_string(format!("/proc/{worker}/mountinfo")).unwrap();
    let expected = [
        "/",
        "/var/task",
        "/tmp",
        "/etc",
        "/usr/share",
        "/dev",
        "/proc",
        "/sys/fs/cgroup",
        "/sys/devices/system/cpu",
    ];
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let (source, target, options) = (fields[3], fields[4], fields[5]);
        assert!(
            expected
                .iter()
                .any(|place| target == *place || (*place != "/" && target.starts_with(&format!("{place}/")))),
            "unexpected: {mount}"
        );
        assert_eq!(options.starts_with("ro,"), target != "/tmp", "{mount}");
        assert!(options.contains("nosuid"), "{mount}");
        assert!(target != "/var/task" || source.ends_with("/code/probe"), "{mount}");
    }
    let root = format!("/proc/{worker}/root");
    let seen: BTreeSet<String> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        seen,
        ["dev", "etc", "opt", "proc", "sys", "tmp", "usr", "var"]
            .map(String::from)
            .into()
    );
    let same = |path: &Path| Path::new(&format!("{root}{}", path.display())).exists();
    assert!(!same(project.path()) && !same(Path::new("/etc/passwd")) && !same(Path::new("/proc/1")));
}

#[test]
fn the_calls_that_are_left_are_enough_for_files_timers_and_compression() {
    let (_project, server) = serve(&[("probe", "handler: index.handler, timeout: 20s", &[("index.js", PROBE)])]);
    for js in [
        "const fs = require('fs'); fs.mkdirSync('/tmp/a/b', { recursive: true }); fs.writeFileSync('/tmp/a/b/c', 'x'); fs.renameSync('/tmp/a/b/c', '/tmp/a/d');\
         fs.linkSync('/tmp/a/d', '/tmp/a/e'); fs.chmodSync('/tmp/a/d', 0o600); fs.utimesSync('/tmp/a/d', 1, 2);\
         fs.truncateSync('/tmp/a/d', 0); fs.copyFileSync('/tmp/a/d', '/tmp/a/g'); fs.rmSync('/tmp/a', { recursive: true }); return null",
        "const fs = require('fs/promises'); await fs.mkdir('/tmp/p'); const f = await fs.open('/tmp/p/x', 'w+'); await f.write('text'); await f.sync(); await f.datasync();\
         await f.truncate(2); await f.stat(); await f.close(); await fs.readdir('/tmp/p'); await fs.access('/tmp/p/x'); await fs.realpath('/tmp/p/x'); await fs.rm('/tmp/p', { recursive: true }); return null",
        "const { pipeline } = require('stream/promises'); const fs = require('fs'); fs.writeFileSync('/tmp/in', 'x'.repeat(1e6));\
         await pipeline(fs.createReadStream('/tmp/in'), require('zlib').createGzip(), fs.createWriteStream('/tmp/out.gz')); return null",
        "await new Promise((done) => setTimeout(done, 20)); setImmediate(() => {}); return null",
        "require('crypto').randomBytes(8); require('crypto').scryptSync('a', 'b', 16); await crypto.subtle.digest('SHA-256', new Uint8Array(8)); return null",
        "const os = require('os'); os.cpus(); os.loadavg(); os.uptime(); os.totalmem(); os.hostname(); os.networkInterfaces(); process.memoryUsage(); process.cpuUsage(); process.hrtime(); return null",
        "const all = Array.from({ length: 200 }, (_, i) => i); await Promise.all(all.map((i) => require('fs/promises').writeFile('/tmp/many' + i, 'x'))); return null",
    ] {
        assert_eq!(probe(&server, "probe", js), json!({"value": null}), "{js}");
    }
    let cpus = probe(&server, "probe", "return require('os').cpus().length");
    assert!(cpus["value"].as_u64() > Some(0), "{cpus}");
}

#[test]
fn a_user_without_privileges_has_the_same_cage() {
    let project = project_of(&[TREE]);
    // Nobody in particular; and nobody at all when the tests run as an ordinary user anyway.
    let nobody = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--"];
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let starter: &[&str] = if root { &nobody } else { &["env"] };
    if root {
        let done = Command::new("chown")
            .args(["-R", "54321:54321"])
            .arg(project.path())
            .status();
        assert!(done.unwrap().success());
    }
    let Some(server) = up_by(&project, starter) else { return };
    let seen = value_of(&invoke(server.endpoint(), "f", "{}"));
    assert_eq!(
        (&seen["dirname"], &seen["tmp"]),
        (&json!("/var/task/lib"), &json!("/tmp"))
    );
    worker(&server);
}

#[test]
fn where_the_kernel_refuses_namespaces_functions_run_at_their_real_paths_and_nothing_else_opens() {
    let project = project_of(&[("probe", "handler: index.handler, timeout: 20s", &[("index.js", PROBE)])]);
    project.write("secret.txt", "sesame");
    let Some(server) = up_by(&project, NO_NAMESPACES) else {
        return;
    };
    let code = project.join("code/probe");
    assert_eq!(probe(&server, "probe", "return process.cwd()"), json!({"value": code}));
    assert_eq!(
        probe(&server, "probe", "return process.env.LAMBDA_TASK_ROOT"),
        json!({"value": code})
    );
    let tmp = "const file = require('os').tmpdir() + '/x'; require('fs').writeFileSync(file, 'mine'); return require('fs').readFileSync(file, 'utf8')";
    assert_eq!(probe(&server, "probe", tmp), json!({"value": "mine"}));
    let full = "const fs = require('fs'); const f = fs.openSync(require('os').tmpdir() + '/full', 'w'); const b = Buffer.alloc(1 << 24); for (let i = 0; i < 40; i += 1) fs.writeSync(f, b)";
    assert_eq!(probe(&server, "probe", full)["refused"], "ENOSPC");
    for path in [project.join("secret.txt"), "/etc/passwd".into()] {
        let refused = probe(
            &server,
            "probe",
            &format!("return require('fs').readFileSync('{}', 'utf8')", path.display()),
        );
        assert_eq!(refused["refused"], "EACCES", "{refused}");
    }
}

#[test]
fn the_doctor_says_what_there_is_and_what_is_missing() {
    let done = command(&["doctor", "--json"]).output().unwrap();
    let all: Value = serde_json::from_slice(&done.stdout).unwrap();
    let layers = ["fileTree", "landlock", "seccomp"];
    let whole = layers.iter().all(|layer| all["sandbox"][*layer]["available"] == true);
    assert_eq!(done.status.code(), Some(if whole { 0 } else { 1 }), "{all}");
    for key in [
        "version",
        "v8",
        "v8Released",
        "v8AgeDays",
        "kernel",
        "userNamespaces",
        "memoryGuard",
        "inotifyWatches",
        "inotifyInstances",
        "openFiles",
    ] {
        assert!(!all[key].is_null(), "{key}: {all}");
    }
    let released = all["v8Released"]
        .as_str()
        .unwrap()
        .parse::<chrono::NaiveDate>()
        .unwrap();
    let age = (chrono::Utc::now().date_naive() - released).num_days();
    assert!((age - all["v8AgeDays"].as_i64().unwrap()).abs() <= 1, "{all}");
    let text = String::from_utf8(command(&["doctor"]).output().unwrap().stdout).unwrap();
    for word in [
        "file tree",
        "Landlock",
        "seccomp",
        "inotify watches",
        "open files",
        "V8",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_manifest_that_demands_the_sandbox_does_not_start_without_it() {
    let manifest = |mode: &str| format!("sandbox: {mode}\nfunctions:\n  f: {{ code: ./f.mjs }}\n");
    let project = Project::new(
        &manifest("required"),
        &[("f.mjs", "export const handler = async () => process.cwd();")],
    );
    let server = project.up();
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "{}")), "/var/task");
    drop(server);
    let start = || {
        let mut start = Command::new(NO_NAMESPACES[0]);
        start.args(&NO_NAMESPACES[1..]).current_dir(project.path());
        start
    };
    if !start().arg("true").output().is_ok_and(|output| output.status.success()) {
        skipped(&format!("{NO_NAMESPACES:?} does not work here"));
        return;
    }
    let up = command(&["up", "--endpoint", "127.0.0.1:0"]);
    let done = start().arg(up.get_program()).args(up.get_args()).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{error}");
    assert!(
        error.contains("sandbox: required") && error.contains("mount namespace"),
        "{error}"
    );
    let doctor = command(&["doctor"]);
    let done = start()
        .arg(doctor.get_program())
        .args(doctor.get_args())
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stdout).contains("MISSING"));
}

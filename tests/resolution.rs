//! Finding modules: Node.js's rules, in a function's own files.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Function, Server, invoke, project_of, value_of};

mod interop;

fn call(server: &Server, function: &str) -> Value {
    let answer = invoke(server.endpoint(), function, "{}");
    if answer.header("x-amz-function-error").is_some() {
        panic!("{function}: {}", answer.text());
    }
    value_of(&answer)
}

/// One function of these files, whose `index.js` or `index.mjs` gives `expected` back.
#[track_caller]
fn check(files: &[(&str, &str)], expected: Value) {
    check_with("runtime: nodejs22.x", files, expected);
}

/// As [`check`], with these settings.
#[track_caller]
fn check_with(settings: &str, files: &[(&str, &str)], expected: Value) {
    let settings = format!("handler: index.handler, {settings}");
    let function: Function = ("f", &settings, files);
    let project = project_of(&[function]);
    let server = project.up();
    assert_eq!(call(&server, "f"), expected, "{settings}");
}

#[test]
fn files_and_directories_are_found_without_their_endings() {
    check(
        &[
            (
                "index.js",
                "exports.handler = async () => ['./data', './part', './folder', './folder/', './main', './bare', './both'].map((path) => require(path).is);",
            ),
            ("data.json", r#"{"is":"data.json"}"#),
            ("part.js", "exports.is = 'part.js';"),
            ("folder/index.js", "exports.is = 'folder/index.js';"),
            ("main/package.json", r#"{"main":"lib/start"}"#),
            ("main/lib/start.js", "exports.is = 'main/lib/start.js';"),
            ("bare/package.json", "{}"),
            ("bare/index.js", "exports.is = 'bare/index.js';"),
            ("both.js", "exports.is = 'both.js';"),
            ("both/index.js", "exports.is = 'both/index.js';"),
        ],
        json!([
            "data.json",
            "part.js",
            "folder/index.js",
            "folder/index.js",
            "main/lib/start.js",
            "bare/index.js",
            "both.js"
        ]),
    );
}

/// A package with an `exports` map, and what each kind of module gets of it.
#[test]
fn exports_maps_decide_what_a_package_shows_and_to_whom() {
    let package = [
        (
            "node_modules/p/package.json",
            r##"{"name":"p","type":"module","imports":{"#inner":{"import":"./inner.mjs","require":"./inner.cjs"}},"exports":{
                ".":{"browser":"./browser.js","deno":"./deno.js","worker":"./worker.js","node":{"import":"./node.mjs","require":"./node.cjs"},"default":"./default.js"},
                "./sync":{"module-sync":"./sync.mjs","default":"./plain.cjs"},
                "./features/*.js":"./lib/*.js","./features/secret.js":null,"./package.json":"./package.json"}}"##,
        ),
        (
            "node_modules/p/node.mjs",
            "import inner from '#inner'; export const is = 'node.mjs and ' + inner;",
        ),
        (
            "node_modules/p/node.cjs",
            "exports.is = 'node.cjs and ' + require('#inner');",
        ),
        ("node_modules/p/inner.mjs", "export default 'inner.mjs';"),
        ("node_modules/p/inner.cjs", "module.exports = 'inner.cjs';"),
        ("node_modules/p/sync.mjs", "export const is = 'sync.mjs';"),
        ("node_modules/p/plain.cjs", "exports.is = 'plain.cjs';"),
        ("node_modules/p/lib/package.json", r#"{"type":"commonjs"}"#),
        ("node_modules/p/lib/a.js", "exports.is = 'lib/a.js';"),
        ("node_modules/p/lib/secret.js", "export const is = 'secret';"),
    ];
    let body = "async () => ({ main: (await load('p')).is, sync: (await load('p/sync')).is, feature: (await load('p/features/a.js')).is,\n\
        secret: await code('p/features/secret.js'), hidden: await code('p/lib/a.js') });\n\
        const code = async (name) => { try { return (await load(name)).is; } catch (error) { return error.code; } };";
    let expected = |main: &str, sync: &str| {
        let hidden = "ERR_PACKAGE_PATH_NOT_EXPORTED";
        json!({"main": main, "sync": sync, "feature": "lib/a.js", "secret": hidden, "hidden": hidden})
    };
    let cjs = format!("const load = require; exports.handler = {body}");
    let esm = format!("const load = (name) => import(name); export const handler = {body}");
    // The condition `module-sync` is of those whose require() loads ES modules.
    for (runtime, sync) in [
        ("runtime: nodejs22.x", "plain.cjs"),
        ("runtime: nodejs24.x", "sync.mjs"),
    ] {
        check_with(
            runtime,
            &[package.as_slice(), &[("index.js", &cjs)]].concat(),
            expected("node.cjs and inner.cjs", sync),
        );
        check_with(
            runtime,
            &[package.as_slice(), &[("index.mjs", &esm)]].concat(),
            expected("node.mjs and inner.mjs", sync),
        );
    }
}

#[test]
fn a_function_may_name_itself_and_its_own_parts() {
    let package = r##"{"name":"@shop/orders","exports":{"./price":"./lib/price.js"},"imports":{"#db":"./lib/db.js","#tools/*":"./lib/*.js"}}"##;
    let files = |main: (&'static str, &'static str)| {
        [
            ("package.json", package),
            ("lib/price.js", "module.exports = 7;"),
            ("lib/db.js", "module.exports = 'db';"),
            main,
        ]
    };
    let cjs = "exports.handler = async () => [require('@shop/orders/price'), require('#db'), require('#tools/price')];";
    let esm = "import price from '@shop/orders/price'; import db from '#db'; import again from '#tools/price';\n\
        export const handler = async () => [price, db, again];";
    check(&files(("index.js", cjs)), json!([7, "db", 7]));
    check(&files(("index.mjs", esm)), json!([7, "db", 7]));
}

/// pnpm's layout: packages lie in a store inside `node_modules` and see what lies beside them there.
#[test]
fn linked_packages_are_where_they_really_lie() {
    let files = |main: (&'static str, &'static str)| {
        [
            (
                "node_modules/.pnpm/a@1.0.0/node_modules/a/index.js",
                "exports.b = require('b'); exports.here = __filename;",
            ),
            (
                "node_modules/.pnpm/b@2.0.0/node_modules/b/index.js",
                "module.exports = { version: 2 };",
            ),
            (
                "node_modules/.pnpm/b@1.0.0/node_modules/b/index.js",
                "module.exports = { version: 1 };",
            ),
            main,
        ]
    };
    let cjs = files((
        "index.js",
        "const a = require('a'); exports.handler = async () => ({ version: a.b.version, own: require('b').version, here: a.here.slice(__dirname.length) });",
    ));
    let esm = files((
        "index.mjs",
        "import a from 'a'; import b from 'b';\n\
         export const handler = async () => ({ version: a.b.version, own: b.version, here: a.here.slice(import.meta.dirname.length) });",
    ));
    let project = project_of(&[
        ("cjs", "handler: index.handler", &cjs),
        ("esm", "handler: index.handler", &esm),
    ]);
    for function in ["cjs", "esm"] {
        let modules = project.join(&format!("code/{function}/node_modules"));
        symlink(".pnpm/a@1.0.0/node_modules/a", modules.join("a")).unwrap();
        symlink(".pnpm/b@1.0.0/node_modules/b", modules.join("b")).unwrap();
        symlink(
            "../../b@2.0.0/node_modules/b",
            modules.join(".pnpm/a@1.0.0/node_modules/b"),
        )
        .unwrap();
    }
    let server = project.up();
    let expected = json!({"version": 2, "own": 1, "here": "/node_modules/.pnpm/a@1.0.0/node_modules/a/index.js"});
    for function in ["cjs", "esm"] {
        assert_eq!(call(&server, function), expected, "{function}");
    }
}

/// What a link out of the code names is no module of the function: not by its package, not by its path.
#[test]
fn links_out_of_the_code_lead_nowhere() {
    let cjs = "const attempt = (name) => { try { return require(name); } catch (error) { return error.code; } };\n\
        exports.handler = async () => [attempt('outer'), attempt('./outer.js'), attempt('./outer/index.js')];";
    let esm = "const attempt = (name) => import(name).then((module) => module.default, (error) => error.code ?? error.name);\n\
        export const handler = async () => [await attempt('outer'), await attempt('./outer.js'), await attempt('./outer/index.js')];";
    let project = project_of(&[
        ("cjs", "handler: index.handler", &[("index.js", cjs)]),
        ("esm", "handler: index.handler", &[("index.mjs", esm)]),
    ]);
    project.write("outside/index.js", "module.exports = 'outside';");
    for function in ["cjs", "esm"] {
        let code = project.join(&format!("code/{function}"));
        std::fs::create_dir(code.join("node_modules")).unwrap();
        symlink(project.join("outside"), code.join("node_modules/outer")).unwrap();
        symlink(project.join("outside"), code.join("outer")).unwrap();
        symlink(project.join("outside/index.js"), code.join("outer.js")).unwrap();
    }
    let server = project.up();
    for function in ["cjs", "esm"] {
        let answer = call(&server, function);
        assert!(!answer.to_string().contains("outside"), "{function}: {answer}");
        assert!(
            answer.as_array().unwrap().iter().all(Value::is_string),
            "{function}: {answer}"
        );
    }
}

#[test]
fn cycles_end() {
    check(
        &[
            (
                "index.mjs",
                "import a from './a.cjs'; import { even } from './even.mjs';\n\
                 export const handler = async () => ({ a: a.done, saw: a.saw, even: even(10) });",
            ),
            (
                "a.cjs",
                "exports.done = false; exports.saw = require('./b.cjs').saw; exports.done = true;",
            ),
            (
                "b.cjs",
                "exports.saw = { done: require('./a.cjs').done, saw: typeof require('./a.cjs').saw };",
            ),
            (
                "even.mjs",
                "import { odd } from './odd.mjs'; export const even = (n) => n === 0 || odd(n - 1);",
            ),
            (
                "odd.mjs",
                "import { even } from './even.mjs'; export const odd = (n) => n !== 0 && even(n - 1);",
            ),
        ],
        json!({"a": true, "saw": {"done": false, "saw": "undefined"}, "even": true}),
    );
}

#[test]
fn a_module_that_is_not_there_has_nodejss_code() {
    let cjs = "const attempt = (name) => { try { return require(name); } catch (error) { return [error.code, error.message.split('\\n')[0]]; } };\n\
        exports.handler = async () => ({ package: attempt('absent'), file: attempt('./absent'), sub: attempt('there/absent'), builtin: attempt('node:absent'),\n\
        stack: (() => { try { require('absent'); } catch (error) { return error.requireStack.length > 0; } })() });";
    let esm = "const attempt = (name) => import(name).catch((error) => [error.code, error.message.replaceAll(import.meta.dirname, '')]);\n\
        export const handler = async () => ({ package: await attempt('absent'), file: await attempt('./absent.js'), sub: await attempt('there/absent.js'),\n\
        builtin: (await attempt('node:absent'))[1] });";
    let there = ("node_modules/there/index.js", "");
    check(
        &[("index.js", cjs), there],
        json!({
            "package": ["MODULE_NOT_FOUND", "Cannot find module 'absent'"],
            "file": ["MODULE_NOT_FOUND", "Cannot find module './absent'"],
            "sub": ["MODULE_NOT_FOUND", "Cannot find module 'there/absent'"],
            "builtin": ["ERR_UNKNOWN_BUILTIN_MODULE", "No such built-in module: node:absent"],
            "stack": true,
        }),
    );
    let not_found = |what: &str| {
        json!([
            "ERR_MODULE_NOT_FOUND",
            format!("Cannot find {what} imported from /index.mjs")
        ])
    };
    check(
        &[("index.mjs", esm), there],
        json!({
            "package": not_found("package 'absent'"),
            "file": not_found("module '/absent.js'"),
            "sub": not_found("module '/node_modules/there/absent.js'"),
            "builtin": "No such built-in module: node:absent",
        }),
    );
}

/// Layers: what `node_modules` has not is looked for where NODE_PATH says, by `require` as in Node.js, and by `import` as AWS's runtime adds.
#[test]
fn node_path_is_searched_last() {
    let files = |main: (&'static str, &'static str)| {
        [
            ("node_modules/own/index.js", "module.exports = 'function';"),
            ("layer/nodejs/node_modules/own/index.js", "module.exports = 'layer';"),
            (
                "layer/nodejs/node_modules/shared/index.js",
                "module.exports = require('inner') + ' of the layer';",
            ),
            ("layer/nodejs/node_modules/inner/index.js", "module.exports = 'inside';"),
            (
                "layer/nodejs/node_modules/dual/package.json",
                r#"{"exports":{"import":"./esm.mjs","require":"./cjs.js"}}"#,
            ),
            ("layer/nodejs/node_modules/dual/esm.mjs", "export default 'esm';"),
            ("layer/nodejs/node_modules/dual/cjs.js", "module.exports = 'cjs';"),
            main,
        ]
    };
    let cjs = files((
        "index.js",
        "exports.handler = async () => [require('own'), require('shared'), require('dual'), (() => { try { require('absent'); } catch (error) { return error.code; } })()];",
    ));
    let esm = files((
        "index.mjs",
        "import own from 'own'; import shared from 'shared'; import dual from 'dual';\n\
         export const handler = async () => [own, shared, dual, await import('absent').catch((error) => error.code)];",
    ));
    let project = project_of(&[
        ("cjs", "handler: index.handler", &cjs),
        ("esm", "handler: index.handler", &esm),
    ]);
    let manifest = ["cjs", "esm"].map(|name| {
        let code = project.join(&format!("code/{name}"));
        let path = "/nowhere:/var/task/layer/nodejs/node_modules";
        format!(
            "  {name}: {{ code: {}, handler: index.handler, env: {{ NODE_PATH: \"{path}\" }} }}\n",
            code.display()
        )
    });
    project.write("hikigane.yaml", &format!("functions:\n{}", manifest.concat()));
    let server = project.up();
    assert_eq!(
        call(&server, "cjs"),
        json!(["function", "inside of the layer", "cjs", "MODULE_NOT_FOUND"])
    );
    assert_eq!(
        call(&server, "esm"),
        json!(["function", "inside of the layer", "esm", "ERR_MODULE_NOT_FOUND"])
    );
}

/// A function may make modules: in `/tmp`, and in its code where it may write there.
#[test]
fn modules_that_a_function_writes_are_found() {
    let js = "const fs = require('fs'); const code = (path) => { try { return require(path); } catch (error) { return error.code; } };\n\
        exports.handler = async ({ work }) => {\n\
          const tmp = require('os').tmpdir(); fs.mkdirSync(`${tmp}/node_modules/p`, { recursive: true });\n\
          const before = [code(`${tmp}/made`), code(`${work}/made`), code(`${work}/folder/made`)];\n\
          fs.writeFileSync(`${tmp}/made.js`, 'module.exports = require(\"p\");'); fs.writeFileSync(`${tmp}/node_modules/p/index.js`, 'module.exports = 1;'); fs.writeFileSync(`${tmp}/node_modules/p/package.json`, '{}');\n\
          fs.writeFileSync(`${work}/made.js`, 'module.exports = 2;'); fs.mkdirSync(`${work}/folder`);\n\
          fs.writeFileSync(`${work}/folder/made.js`, 'module.exports = 3;');\n\
          return [before, code(`${tmp}/made`), code(`${work}/made`), code(`${work}/folder/made`), (await import(`${tmp}/made.js`)).default];\n\
        };";
    let not_found = "MODULE_NOT_FOUND";
    let settings = "handler: index.handler, allow: { write: [./work] }";
    let project = project_of(&[("f", settings, &[("index.js", js)])]);
    project.mkdir("work");
    let server = project.up();
    let work = json!({ "work": project.join("work") }).to_string();
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", &work)),
        json!([[not_found, not_found, not_found], 1, 2, 3, 1])
    );
}

/// A file that was not there when a module first asked for it is found when the function has written it, whatever the code's directory is
/// called inside and outside of the cage.
#[test]
fn code_that_a_function_changes_is_looked_at_again() {
    let js = "const fs = require('fs'); const code = (path) => { try { return require(path); } catch (error) { return error.code; } };\n\
        exports.handler = async ({ at }) => {\n\
          const before = [code('./made'), code('./folder/made')];\n\
          fs.writeFileSync(`${at}/folder/made.js`, 'module.exports = 2;');\n\
          return [before, code('./folder/made')];\n\
        };";
    let files = [("index.js", js), ("folder/other.js", "")];
    let project = project_of(&[
        (
            "whole",
            "handler: index.handler, allow: { write: [./code/whole] }",
            &files,
        ),
        (
            "part",
            "handler: index.handler, allow: { write: [./code/part/folder] }",
            &files,
        ),
    ]);
    let server = project.up();
    for function in ["whole", "part"] {
        let event = json!({ "at": project.join(&format!("code/{function}")) }).to_string();
        let answer = value_of(&invoke(server.endpoint(), function, &event));
        assert_eq!(
            answer,
            json!([["MODULE_NOT_FOUND", "MODULE_NOT_FOUND"], 2]),
            "{function}"
        );
    }
}

/// What packages look at to know where they run.
#[test]
fn the_process_is_nodejss() {
    check(
        &[(
            "index.js",
            "exports.handler = async () => ({ release: process.release.name, versions: ['node', 'v8', 'uv', 'zlib', 'openssl', 'modules', 'ares', 'nghttp2', 'napi', 'unicode', 'icu'].filter((name) => typeof process.versions[name] !== 'string'),\n\
             other: ['deno', 'bun', 'electron'].filter((name) => name in process.versions), tag: Object.prototype.toString.call(process),\n\
             globals: ['Deno', 'Bun', 'window', 'self', 'document', 'importScripts', 'WorkerGlobalScope'].filter((name) => typeof globalThis[name] !== 'undefined'),\n\
             platform: process.platform, arch: process.arch, execArgv: process.execArgv, argv: process.argv, execPath: process.execPath,\n\
             features: ['inspector', 'debug', 'uv', 'ipv6', 'tls_alpn', 'tls_sni', 'tls_ocsp', 'tls', 'cached_builtins', 'require_module', 'typescript'].filter((name) => !(name in process.features)),\n\
             config: typeof process.config.variables, home: require('os').homedir(), user: require('os').userInfo().username,\n\
             stdin: process.stdin.isTTY === true, binding: typeof process.binding, nextTick: process.nextTick.length, uptime: process.uptime() > 0,\n\
             hrtime: typeof process.hrtime.bigint(), usage: process.memoryUsage().heapUsed > 0 && process.cpuUsage().user >= 0, umask: typeof process.umask() });",
        )],
        json!({
            "release": "node", "versions": [], "other": [], "tag": "[object process]", "globals": [], "platform": "linux", "arch": "x64", "execArgv": [],
            "argv": ["/var/lang/bin/node", "/var/runtime/index.mjs"], "execPath": "/var/lang/bin/node", "features": [],
            "config": "object", "home": "/home/sbx_user1051", "user": "sbx_user1051", "stdin": false, "binding": "function", "nextTick": 1, "uptime": true,
            "hrtime": "bigint", "usage": true, "umask": "number",
        }),
    );
}

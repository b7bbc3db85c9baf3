//! Code that works against the runtime it runs in: what the runtime itself does stays as it is.

use serde_json::{Value, json};

use crate::support::{Server, error_of, invoke, invoke_logged, serve, value_of};

const PROBE: &str = r#"
exports.handler = async (event, context) => {
  const run = new Function('require', 'context', 'module', `return (async () => { ${event.js} })()`);
  return await run(require, context, module);
};
"#;

#[track_caller]
fn call(server: &Server, function: &str, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, &json!({ "js": js }).to_string()))
}

/// What a function may do to the realm, none of which its own values depend on.
const POLLUTIONS: &[&str] = &[
    "Object.prototype.errorType = 'polluted'; Object.prototype.message = 'polluted'; Object.prototype.requestId = 'polluted'",
    "Object.prototype.get = () => { throw 1 }; Object.prototype.set = () => { throw 1 }; Object.prototype.value = 1",
    "Array.prototype[Symbol.iterator] = function* () { yield 'polluted' }",
    "Array.prototype.push = Array.prototype.slice = Array.prototype.join = Array.prototype.map = () => 'polluted'",
    "Array.prototype.toJSON = () => 'polluted'",
    "String.prototype.split = String.prototype.replaceAll = String.prototype.startsWith = String.prototype.toString = () => 'polluted'",
    "String.prototype[Symbol.iterator] = () => { throw 1 }; String.prototype.toJSON = () => 'polluted'",
    "Promise.prototype.then = () => { throw 1 }; Promise.resolve = Promise.reject = Promise.all = () => { throw 1 }",
    "Promise.prototype.constructor = class Evil { static get [Symbol.species]() { throw 1 } }",
    "globalThis.Promise = class Evil { constructor() { throw 1 } }",
    "Object.prototype.then = (yes) => yes('polluted')",
    "Map.prototype.get = Map.prototype.set = Set.prototype.has = WeakMap.prototype.get = () => { throw 1 }",
    "JSON.parse = JSON.stringify = () => { throw 1 }; globalThis.JSON = undefined",
    "Error.prepareStackTrace = () => 'polluted'; Error.captureStackTrace = () => { throw 1 }; Error.stackTraceLimit = 0",
    "Error.prototype.toString = () => 'polluted'; Object.defineProperty(Error.prototype, 'name', { get() { return 'Error' }, set() {} })",
    "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw 1 }",
    "Reflect.apply = Reflect.get = Reflect.ownKeys = () => { throw 1 }",
    "Object.defineProperty = Object.keys = Object.assign = Object.freeze = () => { throw 1 }",
    "Date.now = () => 0; globalThis.Date = class { toISOString() { return 'polluted' } }; RegExp.prototype.exec = () => null",
    "Symbol.prototype.toString = () => { throw 1 }; Uint8Array.prototype.set = Uint8Array.prototype.subarray = () => { throw 1 }",
    "process.nextTick = setTimeout = setImmediate = queueMicrotask = () => { throw 1 }",
    "globalThis.console = undefined; globalThis.Buffer = undefined; globalThis.process = undefined; globalThis.awslambda = undefined",
    "for (const name of Object.getOwnPropertyNames(globalThis)) { if (name !== 'globalThis' && name !== 'TypeError') { try { delete globalThis[name]; } catch {} } }",
    "Object.setPrototypeOf(globalThis, null)",
];

#[test]
fn polluted_prototypes_change_nothing_of_what_the_runtime_tells() {
    let code = |pollution: &str| {
        format!(
            "let polluted = false;\n\
             exports.handler = async (event) => {{\n\
               if (!polluted) {{ polluted = true; {pollution}; }}\n\
               if (event === 'throw') {{ const error = new TypeError('thrown'); error.code = 'E'; throw error; }}\n\
               return 'fine';\n\
             }};\n"
        )
    };
    let sources: Vec<String> = POLLUTIONS.iter().map(|pollution| code(pollution)).collect();
    let files: Vec<[(&str, &str); 1]> = sources.iter().map(|source| [("index.js", source.as_str())]).collect();
    let names: Vec<String> = (0..2 * POLLUTIONS.len()).map(|index| format!("f{index}")).collect();
    let functions: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let runtime = if index % 2 == 0 {
                "handler: index.handler, runtime: nodejs22.x"
            } else {
                "handler: index.handler, runtime: nodejs24.x"
            };
            (name.as_str(), runtime, files[index / 2].as_slice())
        })
        .collect();
    let (_project, server) = serve(&functions);
    let mut wrong = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let pollution = POLLUTIONS[index / 2];
        for round in 0..3 {
            let answer = invoke(server.endpoint(), name, "\"return\"").text();
            if answer != "\"fine\"" {
                wrong.push(format!("{pollution}, round {round}: {answer}"));
            }
            let (answer, log) = invoke_logged(server.endpoint(), name, "\"throw\"");
            let answer = answer.json();
            if (&answer["errorType"], &answer["errorMessage"]) != (&json!("TypeError"), &json!("thrown"))
                || !answer["trace"].is_array()
            {
                wrong.push(format!("{pollution}, round {round}: {answer}"));
            }
            let line = log
                .lines()
                .find(|line| line.contains("\tInvoke Error \t"))
                .unwrap_or_default();
            let time_is_real = line.starts_with("20") && line.contains("Z\t");
            if !line.contains(r#"{"errorType":"TypeError","errorMessage":"thrown","code":"E","stack":"#)
                || !time_is_real
            {
                wrong.push(format!("{pollution}, round {round}: {log}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_of_deno_can_be_had() {
    let (_project, server) = serve(&[("f", "handler: index.handler, timeout: 20s", &[("index.js", PROBE)])]);
    // Every way to the global object and every kind of function; callbacks that the runtime's own scripts call; own contexts.
    for js in [
        "return 'Deno' in globalThis",
        "return typeof (0, eval)('typeof Deno === \"undefined\" ? undefined : Deno') !== 'undefined'",
        "return typeof new Function('return typeof Deno === \"undefined\" ? undefined : Deno')() !== 'undefined'",
        "return (await Object.getPrototypeOf(async function () {}).constructor('return typeof Deno')()) !== 'undefined'",
        "return Object.getPrototypeOf(function* () {}).constructor('yield typeof Deno')().next().value !== 'undefined'",
        "return require('vm').runInThisContext('typeof Deno') !== 'undefined'",
        "return require('vm').runInNewContext('typeof Deno') !== 'undefined'",
        "let seen; require('fs').readFile('/x', () => { seen = typeof globalThis.Deno; }); while (seen === undefined) { await new Promise((done) => setImmediate(done)); } return seen !== 'undefined'",
        "let seen = []; [3, 1].sort((a, b) => { seen.push(typeof Deno); return a - b; }); return seen.some((s) => s !== 'undefined')",
        "return await new Promise((done) => process.nextTick(() => done(typeof Deno !== 'undefined')))",
        "return await new Promise((done) => setTimeout(Function('done', 'done(typeof Deno !== \"undefined\")'), 1, done))",
        "let found; const e = new (require('events'))(); e.on('newListener', () => { found = typeof Deno; }); e.on('x', () => {}); return found !== 'undefined'",
        "const seen = []; Error.prepareStackTrace = (e, sites) => { seen.push(...sites.map((s) => s.getThis()), ...sites.map((s) => s.getFunction())); return ''; }; try { require('fs').readFileSync('/x'); } catch (e) { e.stack; } return seen.some((s) => s && s !== globalThis && s.core)",
        "return ['__bootstrap', 'bootstrap', 'hikigane', 'nodeBootstrap', '__infra', '__timers'].some((name) => name in globalThis)",
        "return Reflect.ownKeys(globalThis).some((key) => { const value = globalThis[key]; return value && typeof value === 'object' && ('core' in value || 'ops' in value || 'internals' in value); })",
        "return Object.keys(process.versions).includes('deno')",
        // A debugger sees the scopes of every function.
        "try { new (require('inspector').Session)().connect(); return true; } catch (error) { return error.code !== 'EACCES'; }",
        "try { require('inspector').open(0, '127.0.0.1'); return true; } catch (error) { return error.code !== 'EACCES'; }",
        "require('v8').setFlagsFromString('--allow-natives-syntax'); try { return new Function('return %DebugPrint')() !== undefined; } catch { return false; }",
        "return typeof process.binding === 'function' && (() => { try { return 'op_print_line' in process.binding('ops'); } catch { return false; } })()",
    ] {
        assert_eq!(call(&server, "f", js), json!(false), "{js}");
    }
}

#[test]
fn only_the_functions_own_files_and_nodejs_modules_can_be_imported() {
    let project = crate::support::project_of(&[
        (
            "f",
            "handler: index.handler, timeout: 20s",
            &[("index.js", PROBE), ("part.mjs", "export default import.meta;")],
        ),
        (
            "other",
            "handler: index.handler",
            &[("index.mjs", "export const secret = 'sesame';")],
        ),
    ]);
    project.write("outside.mjs", "export default 'outside';");
    let server = project.up();
    let vm = |name: &str| {
        format!(
            "const vm = require('vm'); return await new vm.Script(\"import('ext:core/ops')\", {{ filename: '{name}', importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER }}).runInThisContext()"
        )
    };
    let outside = format!(
        "return await import('file://{}')",
        project.join("outside.mjs").display()
    );
    let other = format!(
        "return await import('{}')",
        project.join("code/other/index.mjs").display()
    );
    let scripts = [vm("ext:core/mod.js"), vm("node:fs"), vm("file:///x.js"), outside, other];
    let imports = [
        "return await import('file:///etc/passwd')",
        "return await import('../other/index.mjs')",
        "return await import('data:text/javascript,export default 1')",
        "return await import('http://127.0.0.1/x.mjs')",
        "return await import('https://example.invalid/x.mjs')",
        "return await import(URL.createObjectURL(new Blob(['export default 1'], { type: 'text/javascript' })))",
        "return await import('ext:core/ops')",
        "return await import('ext:runtime/lambda.js')",
        "return await import('node:internal/bootstrap')",
        "return await import('npm:lodash')",
        "return await import('jsr:@std/fs')",
        "return await (0, eval)(\"import('ext:core/mod.js')\")",
        "return await new Function(\"return import('data:text/javascript,1')\")()",
        "return require('ext:core/mod.js')",
        "return require('internal/util')",
        "return require('internal/test/binding')",
        "return require('node:internal/test/binding')",
        "return await import('node:internal/test/binding')",
        "require('module').registerHooks({ resolve: (specifier, context, next) => next(specifier, context) }); return require('node:internal/test/binding')",
        "return require('/etc/passwd')",
    ];
    for js in imports.iter().copied().chain(scripts.iter().map(String::as_str)) {
        let (kind, message) = error_of(&invoke(server.endpoint(), "f", &json!({ "js": js }).to_string()));
        assert!(
            matches!(kind.as_str(), "TypeError" | "Error") && !message.is_empty() && !message.contains("--allow"),
            "{js}: {kind}: {message}"
        );
    }
    let meta = call(
        &server,
        "f",
        "const { default: meta } = await import('./part.mjs'); return [Object.keys(meta).sort(), meta.url.startsWith('file:///'), Object.getPrototypeOf(meta)]",
    );
    assert_eq!(
        meta,
        json!([["dirname", "filename", "main", "resolve", "url"], true, null])
    );
    // The module that stands for a refused one is not kept as an empty one.
    assert_eq!(
        call(
            &server,
            "f",
            "return (await import('./part.mjs')).default.url.endsWith('/part.mjs')"
        ),
        json!(true)
    );
}

#[test]
fn user_code_reaches_no_operation_but_those_listed_here() {
    let (_project, server) = serve(&[("f", "handler: index.handler, timeout: 20s", &[("index.js", PROBE)])]);
    // Everything that can be got at from the global object and the modules by members, accessors and prototypes.
    let walk = r#"
        const { builtinModules } = require('module');
        // Accessors that are read on a prototype may give a promise that is rejected.
        process.on('unhandledRejection', () => {});
        const seen = new Set();
        const found = new Set();
        const todo = [globalThis, require, module];
        for (const name of builtinModules) { try { todo.push(require(name)); } catch {} }
        while (todo.length > 0) {
          const value = todo.pop();
          if (value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) { continue; }
          seen.add(value);
          if (typeof value === 'function' && value.name.startsWith('op_')) { found.add(value.name); }
          try { todo.push(Object.getPrototypeOf(value)); } catch {}
          for (const key of Reflect.ownKeys(value)) {
            const { value: member, get, set } = Reflect.getOwnPropertyDescriptor(value, key) ?? {};
            todo.push(member, get, set);
            if (get !== undefined) { try { todo.push(value[key]); } catch {} }
          }
        }
        return [seen.size > 4000, [...found].sort()];
    "#;
    // `require`'s own look at a path, which asks for the permission to read it.
    assert_eq!(call(&server, "f", walk), json!([true, ["op_require_stat"]]));
}

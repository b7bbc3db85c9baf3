//! How the code of a function is loaded: every form of module, single files, packages; and what is said of code that cannot be loaded.

use serde_json::json;

use crate::support::{Project, call, error_of, invoke, serve};

const CJS: &str = "exports.handler = async (event) => ({ kind: typeof require, event });";
/// A function that gives its event back, and tells what kind of module it is.
pub const ESM: &str = "export const handler = async (event) => ({ kind: typeof require, event });";

#[test]
fn every_form_of_module_is_loaded() {
    let awaits =
        "const kind = await Promise.resolve('awaited'); export const handler = async (event) => ({ kind, event });";
    let nested = "exports.a = { b: async (event) => ({ kind: __filename.split('/').at(-1), event }) };";
    let typed = "type Event = { n: number };\nenum Kind { Typed = 'typed' }\n\
        export const handler = async (event: Event): Promise<{ kind: Kind; event: Event }> => ({ kind: Kind.Typed, event } as const);";
    let default = "export default { handler: async (event) => ({ kind: 'default', event }) };";
    let exported = "module.exports = { handler: async (event) => ({ kind: 'module.exports', event }) };";
    let package = |kind| match kind {
        "module" => r#"{"type":"module"}"#,
        _ => r#"{"type":"commonjs"}"#,
    };
    let (_project, server) = serve(&[
        ("js-commonjs", "handler: index.handler", &[("index.js", CJS)]),
        ("cjs", "handler: index.handler", &[("index.cjs", CJS)]),
        (
            "type-commonjs",
            "handler: index.handler",
            &[("index.js", CJS), ("package.json", package("commonjs"))],
        ),
        ("mjs", "handler: index.handler", &[("index.mjs", ESM)]),
        (
            "type-module",
            "handler: index.handler",
            &[("index.js", ESM), ("package.json", package("module"))],
        ),
        ("js-esm-syntax", "handler: index.handler", &[("index.js", ESM)]),
        ("mjs-await", "handler: index.handler", &[("index.mjs", awaits)]),
        ("js-await", "handler: index.handler", &[("index.js", awaits)]),
        (
            "type-module-await",
            "handler: index.handler",
            &[("index.js", awaits), ("package.json", package("module"))],
        ),
        ("nested", "handler: dir/mod.a.b", &[("dir/mod.js", nested)]),
        (
            "default",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.mjs", default)],
        ),
        ("exported", "handler: index.handler", &[("index.js", exported)]),
        ("ts", "handler: index.handler", &[("index.ts", typed)]),
    ]);
    for (function, kind) in [
        ("js-commonjs", "function"),
        ("cjs", "function"),
        ("type-commonjs", "function"),
        ("mjs", "undefined"),
        ("type-module", "undefined"),
        ("js-esm-syntax", "undefined"),
        ("mjs-await", "awaited"),
        ("js-await", "awaited"),
        ("type-module-await", "awaited"),
        ("nested", "mod.js"),
        ("default", "default"),
        ("exported", "module.exports"),
        ("ts", "typed"),
    ] {
        let answer = invoke(server.endpoint(), function, r#"{"n":1}"#);
        assert_eq!(
            answer.text(),
            json!({"kind": kind, "event": {"n": 1}}).to_string(),
            "{function}"
        );
    }
}

#[test]
fn a_function_may_be_a_single_file() {
    let typed = "export const handler = async (event: { n: number }) => event.n + 1;";
    let project = Project::new(
        "functions:\n  js: { code: ./a.js }\n  cjs: { code: ./b.cjs }\n  mjs: { code: ./c.mjs }\n  ts: { code: ./d.ts }\n  named: { code: ./e.mjs, handler: e.work }\n",
        &[
            ("a.js", "exports.handler = async (event) => event.n + 1;"),
            ("b.cjs", "exports.handler = async (event) => event.n + 1;"),
            ("c.mjs", "export const handler = async (event) => event.n + 1;"),
            ("d.ts", typed),
            ("e.mjs", "export const work = async (event) => event.n + 1;"),
        ],
    );
    let server = project.up();
    for function in ["js", "cjs", "mjs", "ts", "named"] {
        assert_eq!(call(&server, function, r#"{"n":1}"#), json!(2), "{function}");
    }
}

/// A compiled file often lies beside its source.
#[test]
fn a_single_file_is_that_file_whatever_lies_beside_it() {
    let source = |kind: &str| format!("export const handler = async (): Promise<string> => '{kind}';");
    let script = |kind: &str| format!("exports.handler = async () => '{kind}';");
    let project = Project::new(
        "functions:\n  ts: { code: ./f.ts }\n  js: { code: ./f.js }\n  cjs: { code: ./f.cjs, handler: f.handler }\n  dots: { code: ./g.v2.js }\n",
        &[
            ("f.ts", &source("ts")),
            ("f.js", &script("js")),
            ("f.cjs", &script("cjs")),
            ("g.v2.js", &script("dots")),
            ("g.js", &script("no dots")),
        ],
    );
    let server = project.up();
    for function in ["ts", "js", "cjs", "dots"] {
        assert_eq!(call(&server, function, "{}"), function);
    }
}

#[test]
fn packages_and_json_are_found_from_both_kinds_of_module() {
    let package = [
        (
            "node_modules/tiny/package.json",
            r#"{"name":"tiny","version":"1.2.3","main":"lib/main.js"}"#,
        ),
        (
            "node_modules/tiny/lib/main.js",
            "const deep = require('deep'); exports.double = (n) => deep(n) * 2;",
        ),
        ("node_modules/deep/index.js", "module.exports = (n) => n + 1;"),
        (
            "node_modules/dual/package.json",
            r#"{"name":"dual","exports":{".":{"deno":"./deno.js","import":"./esm.mjs","require":"./cjs.cjs"},"./sub":"./sub.mjs"}}"#,
        ),
        ("node_modules/dual/deno.js", "export const kind = 'deno';"),
        ("node_modules/dual/esm.mjs", "export const kind = 'esm';"),
        ("node_modules/dual/cjs.cjs", "exports.kind = 'cjs';"),
        ("node_modules/dual/sub.mjs", "export default 'sub';"),
        ("data.json", r#"{"n":7}"#),
        ("part.js", "module.exports = { part: 'js' };"),
    ];
    let cjs = "const { double } = require('tiny'); const { kind } = require('dual'); const data = require('./data.json'); const { part } = require('./part');\n\
        exports.handler = async () => ({ double: double(1), kind, n: data.n, part, sub: (await import('dual/sub')).default });";
    let esm = "import { double } from 'tiny'; import tiny from 'tiny'; import { kind } from 'dual'; import sub from 'dual/sub';\n\
        import data from './data.json' with { type: 'json' }; import { createRequire } from 'node:module'; import { part } from './part.js';\n\
        const require = createRequire(import.meta.url);\n\
        export const handler = async () => ({ double: tiny.double(1) - double(0) + 2, kind, n: require('./data.json').n * data.n / 7, part, sub });";
    let files = |main: (&'static str, &'static str)| -> Vec<(&'static str, &'static str)> {
        package.iter().copied().chain([main]).collect()
    };
    let (cjs, esm) = (files(("index.cjs", cjs)), files(("index.mjs", esm)));
    let (_project, server) = serve(&[
        ("cjs", "handler: index.handler", cjs.as_slice()),
        ("esm", "handler: index.handler", esm.as_slice()),
    ]);
    for function in ["cjs", "esm"] {
        let expected = json!({"double": 4, "kind": function, "n": 7, "part": "js", "sub": "sub"});
        assert_eq!(call(&server, function, "{}"), expected, "{function}");
    }
}

#[test]
fn a_function_that_cannot_be_loaded_says_why_each_time_and_hurts_no_other() {
    let (_project, server) = serve(&[
        ("good", "handler: index.handler", &[("index.mjs", ESM)]),
        ("no-export", "handler: index.missing", &[("index.mjs", ESM)]),
        ("no-export-cjs", "handler: index.missing", &[("index.js", CJS)]),
        (
            "no-function",
            "handler: index.value",
            &[("index.mjs", "export const value = 1;")],
        ),
        ("no-file", "handler: absent.handler", &[("index.mjs", ESM)]),
        (
            "no-package",
            "handler: index.handler",
            &[("index.js", "require('absent-package');")],
        ),
        (
            "no-package-esm",
            "handler: index.handler",
            &[("index.mjs", "import x from 'absent-package'; export const handler = x;")],
        ),
        (
            "no-neighbour-esm",
            "handler: index.handler",
            &[("index.mjs", "import x from './absent.mjs'; export const handler = x;")],
        ),
        (
            "syntax",
            "handler: index.handler",
            &[("index.js", "exports.handler = async () => {\n  const = 1;\n};")],
        ),
        (
            "syntax-esm",
            "handler: index.handler",
            &[("index.mjs", "export const handler = async () => {\n  const = 1;\n};")],
        ),
        (
            "syntax-ts",
            "handler: index.handler",
            &[("index.ts", "export const handler = async (: number) => 1;")],
        ),
        (
            "syntax-deep",
            "handler: index.handler",
            &[("index.mjs", "import './part.mjs';"), ("part.mjs", "let let = 1;")],
        ),
        (
            "throws",
            "handler: index.handler",
            &[("index.mjs", "throw new TypeError('at the start');")],
        ),
        (
            "rejects",
            "handler: index.handler",
            &[("index.mjs", "await Promise.reject(new RangeError('awaited'));")],
        ),
        ("exits", "handler: index.handler", &[("index.js", "process.exit(3);")]),
        (
            "no-json",
            "handler: index.handler",
            &[("index.js", "require('./bad.json');"), ("bad.json", "{")],
        ),
    ]);
    let mut wrong = Vec::new();
    for round in 0..2 {
        for (function, kind, message) in [
            (
                "no-export",
                "Runtime.HandlerNotFound",
                "index.missing is undefined or not exported",
            ),
            (
                "no-export-cjs",
                "Runtime.HandlerNotFound",
                "index.missing is undefined or not exported",
            ),
            (
                "no-function",
                "Runtime.HandlerNotFound",
                "index.value is not a function",
            ),
            (
                "no-file",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'absent'\nRequire stack:",
            ),
            (
                "no-package",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'absent-package'\nRequire stack:",
            ),
            (
                "no-package-esm",
                "Error",
                "Cannot find package 'absent-package' imported from /",
            ),
            ("no-neighbour-esm", "Error", "Cannot find module '/"),
            (
                "syntax",
                "Runtime.UserCodeSyntaxError",
                "SyntaxError: Unexpected token '='",
            ),
            (
                "syntax-esm",
                "Runtime.UserCodeSyntaxError",
                "SyntaxError: Unexpected token '='",
            ),
            ("syntax-ts", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
            ("syntax-deep", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
            ("throws", "TypeError", "at the start"),
            ("rejects", "RangeError", "awaited"),
            ("exits", "Runtime.ExitError", "RequestId: "),
            ("no-json", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ] {
            let (found, text) = error_of(&invoke(server.endpoint(), function, "{}"));
            if found != kind || !text.starts_with(message) {
                wrong.push(format!("{function}, round {round}: {found}: {text}"));
            }
            assert_eq!(
                call(&server, "good", "1"),
                json!({"kind": "undefined", "event": 1}),
                "after {function}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn handler_names_that_aws_refuses_are_refused() {
    for handler in [
        "index",
        "index.",
        ".handler",
        "../index.handler",
        "index..handler",
        "dir/../index.handler",
    ] {
        let project = Project::new(
            &format!("functions:\n  f: {{ code: ./code, handler: \"{handler}\" }}\n  good: {{ code: ./code }}\n"),
            &[("code/index.mjs", ESM)],
        );
        let output = crate::support::command(&["check", "hikigane.yaml"])
            .current_dir(project.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{handler}: {text}");
        assert!(
            text.contains("handler") && text.contains("hikigane.yaml:2:"),
            "{handler}: {text}"
        );
    }
}

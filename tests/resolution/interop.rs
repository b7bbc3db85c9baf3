//! ES modules and CommonJS: what each may load of the other, and what it sees then.

use serde_json::json;

use super::{call, check, check_with};
use crate::support::{error_of, invoke_logged, serve};

/// A dual package is two modules; a package that only has CommonJS is one, whoever loads it.
#[test]
fn import_and_require_share_commonjs_and_nothing_else() {
    check(
        &[
            (
                "index.mjs",
                "import { createRequire } from 'node:module'; import counter from 'counter'; import * as dual from 'dual';\n\
                 const require = createRequire(import.meta.url); counter.n += 1;\n\
                 export const handler = async () => ({ shared: require('counter').n, dual: [dual.kind, require('dual').kind] });",
            ),
            ("node_modules/counter/index.js", "module.exports = { n: 0 };"),
            (
                "node_modules/dual/package.json",
                r#"{"exports":{"import":"./esm.mjs","require":"./cjs.js"}}"#,
            ),
            ("node_modules/dual/esm.mjs", "export const kind = 'esm';"),
            ("node_modules/dual/cjs.js", "exports.kind = 'cjs';"),
        ],
        json!({"shared": 1, "dual": ["esm", "cjs"]}),
    );
}

#[test]
fn an_import_sees_the_names_that_commonjs_exports() {
    check(
        &[
            (
                "index.mjs",
                "import all, { assigned, defined, __esModule as flag } from './names.cjs'; import { a, b } from './literal.cjs';\n\
                 import { assigned as again, own } from './star.cjs'; import { assigned as third } from './whole.cjs'; import * as space from './call.cjs';\n\
                 export const handler = async () => ({ assigned, defined, flag, keys: Object.keys(all).length, a, b, again, own, third,\n\
                 space: [typeof space.default, space.default.name] });",
            ),
            (
                "names.cjs",
                "Object.defineProperty(exports, '__esModule', { value: true }); exports.assigned = 1;\n\
                 Object.defineProperty(exports, 'defined', { enumerable: true, get: function () { return 2; } });",
            ),
            ("literal.cjs", "const a = 3, b = 4; module.exports = { a, b };"),
            (
                "star.cjs",
                "var __exportStar = (m, exports) => { for (const p in m) if (!(p in exports)) exports[p] = m[p]; };\n\
                 exports.own = 5; __exportStar(require('./names.cjs'), exports);",
            ),
            ("whole.cjs", "module.exports = require('./names.cjs');"),
            ("call.cjs", "module.exports = function main() {};"),
        ],
        json!({"assigned": 1, "defined": 2, "flag": true, "keys": 2, "a": 3, "b": 4, "again": 1, "own": 5, "third": 1, "space": ["function", "main"]}),
    );
}

#[test]
fn require_loads_es_modules_where_aws_lets_it() {
    let files = [
        (
            "index.js",
            "const all = require('./both.mjs'); const plain = require('./plain.mjs'); const named = require('./named.mjs');\n\
                 let late; try { require('./late.mjs'); } catch (error) { late = error.code; }\n\
                 exports.handler = async () => ({ default: all.default, a: all.a, flag: all.__esModule, plain: plain.a, flagless: plain.__esModule === undefined,\n\
                 named, late, same: (await import('./both.mjs')).a === all.a });",
        ),
        ("both.mjs", "export default 1; export const a = { n: 2 };"),
        ("plain.mjs", "export const a = 3;"),
        (
            "named.mjs",
            "const whole = { whole: 4 }; export { whole as 'module.exports' };",
        ),
        ("late.mjs", "export default await 5;"),
    ];
    let expected = json!({"default": 1, "a": {"n": 2}, "flag": true, "plain": 3, "flagless": true, "named": {"whole": 4}, "late": "ERR_REQUIRE_ASYNC_MODULE", "same": true});
    let by_option = "runtime: nodejs22.x, env: { NODE_OPTIONS: --experimental-require-module }";
    for settings in ["runtime: nodejs24.x", by_option] {
        check_with(settings, &files, expected.clone());
    }
}

/// AWS switches it off for Node.js 20 and 22 (AWS documentation, "Building Lambda functions with Node.js").
#[test]
fn require_refuses_es_modules_where_aws_does() {
    let code = "let loaded = 0; const attempt = (name) => { try { return Object.keys(require(name)); } catch (error) { return [error.code, error.message]; } };\n\
        exports.handler = async () => ({ mjs: attempt('./one.mjs'), js: attempt('two'), again: attempt('./one.mjs')[0], feature: process.features.require_module,\n\
        imported: [(await import('./one.mjs')).a, (await import('two')).b] });";
    let files = [
        ("index.js", code),
        ("one.mjs", "export const a = 1;"),
        ("node_modules/two/package.json", r#"{"type":"module","main":"two.js"}"#),
        ("node_modules/two/two.js", "export const b = 2;"),
    ];
    let refused = |module: &str, what: &str| {
        json!([
            "ERR_REQUIRE_ESM",
            format!(
                "require() of ES Module /var/task/{module} from /var/task/index.js not supported.\n\
                 Instead change the require of {what} to a dynamic import() which is available in all CommonJS modules."
            )
        ])
    };
    for runtime in ["runtime: nodejs20.x", "runtime: nodejs22.x"] {
        check_with(
            runtime,
            &files,
            json!({
                "mjs": refused("one.mjs", "/var/task/one.mjs"),
                "js": refused("node_modules/two/two.js", "two.js in /var/task/index.js"),
                "again": "ERR_REQUIRE_ESM", "feature": false, "imported": [1, 2],
            }),
        );
    }
    // What requires one while it is loaded is not loaded, and not tried in another way either.
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, runtime: nodejs22.x",
        &[
            (
                "index.js",
                "console.log('begun'); require('./one.mjs'); exports.handler = async () => 1;",
            ),
            ("one.mjs", "export const a = 1;"),
        ],
    )]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let (kind, message) = error_of(&answer);
    assert!(
        kind == "Error" && message.starts_with("require() of ES Module /var/task/one.mjs"),
        "{kind}: {message}"
    );
    assert_eq!(log.matches("begun").count(), 1, "{log}");
}

#[test]
fn import_rejects_with_nodejss_error() {
    let code = "const attempt = (name) => import(name).then(() => 'loaded', (error) =>\n\
          [error.constructor.name, error.code ?? null, error.message.replaceAll(import.meta.dirname, ''), error instanceof Error && error.stack.startsWith(error.name)]);\n\
        export const handler = async () => { const all = {}; for (const name of NAMES) all[name] = await attempt(name); all.twice = await attempt(NAMES[0]); return all; };";
    let cases = [
        (
            "./absent.mjs",
            "Error",
            "ERR_MODULE_NOT_FOUND",
            "Cannot find module '/absent.mjs' imported from /index.mjs",
        ),
        (
            "absent",
            "Error",
            "ERR_MODULE_NOT_FOUND",
            "Cannot find package 'absent' imported from /index.mjs",
        ),
        ("./lib", "Error", "ERR_UNSUPPORTED_DIR_IMPORT", "Directory import '/lib"),
        (
            "p/hidden.js",
            "Error",
            "ERR_PACKAGE_PATH_NOT_EXPORTED",
            "Package subpath './hidden.js' is not defined",
        ),
        (
            "#nothing",
            "TypeError",
            "ERR_PACKAGE_IMPORT_NOT_DEFINED",
            "Package import specifier \"#nothing\" is not defined",
        ),
        (
            "https://127.0.0.1/x.mjs",
            "Error",
            "ERR_UNSUPPORTED_ESM_URL_SCHEME",
            "Only file and data URLs are supported",
        ),
        (
            "./data.json",
            "TypeError",
            "ERR_IMPORT_ATTRIBUTE_MISSING",
            "Module \"/data.json\" needs an import attribute",
        ),
        ("./broken.mjs", "SyntaxError", "", "Unexpected token '='"),
        ("./broken.ts", "SyntaxError", "", ""),
        ("./throws.mjs", "RangeError", "E_OWN", "own"),
        (
            "./deep.mjs",
            "TypeError",
            "ERR_MODULE_NOT_FOUND",
            "Cannot find module '/gone.mjs' imported from /deep.mjs",
        ),
        (
            "./part.mjs",
            "SyntaxError",
            "",
            "The requested module './throws.mjs' does not provide an export named 'none'",
        ),
    ];
    let names = serde_json::to_string(&cases.map(|(name, ..)| name)).unwrap();
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, runtime: nodejs22.x",
        &[
            ("index.mjs", &code.replace("NAMES", &names)),
            ("package.json", "{}"),
            ("lib/a.mjs", "export const a = 1;"),
            ("node_modules/p/package.json", r#"{"exports":{".":"./index.js"}}"#),
            ("data.json", "{}"),
            ("broken.mjs", "const = 1;"),
            ("broken.ts", "const: = 1;"),
            (
                "throws.mjs",
                "throw Object.assign(new RangeError('own'), { code: 'E_OWN' });",
            ),
            ("deep.mjs", "import './gone.mjs';"),
            ("part.mjs", "import { none } from './throws.mjs';"),
        ],
    )]);
    let all = call(&server, "f");
    let mut wrong = Vec::new();
    for (name, class, code, message) in cases {
        let [found_class, found_code, text, is_error] = [0, 1, 2, 3].map(|place| &all[name][place]);
        let right = found_class == class
            && found_code.as_str().unwrap_or_default() == code
            && text.as_str().is_some_and(|text| text.starts_with(message))
            && is_error == true;
        if !right {
            wrong.push(format!("{name}: {}", all[name]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(all["twice"], all["./absent.mjs"]);
}

#[test]
fn require_and_module_have_nodejss_members() {
    check(
        &[
            (
                "index.js",
                "const { builtinModules, createRequire, isBuiltin } = require('module'); const relative = (path) => path.slice(__dirname.length);\n\
                 const atLoad = module.loaded; require('./part');\n\
                 require.extensions['.txt'] = (module, path) => { module.exports = require('fs').readFileSync(path, 'utf8').toUpperCase(); };\n\
                 exports.handler = async () => {\n\
                   const first = require('./part'); delete require.cache[require.resolve('./part')]; const second = require('./part');\n\
                   return { main: require.main === module, id: module.id === __filename, name: relative(module.filename), atLoad, loaded: module.loaded,\n\
                     paths: relative(module.paths[0]), children: relative(module.children[0].filename), anew: first !== second,\n\
                     file: relative(require.resolve('./part')), package: relative(require.resolve('p')), elsewhere: relative(require.resolve('q', { paths: [__dirname + '/deep'] })),\n\
                     builtin: [require.resolve('fs'), require.resolve('node:fs'), isBuiltin('fs'), isBuiltin('p'), builtinModules.includes('crypto')],\n\
                     lookup: require.resolve.paths('p').includes(__dirname + '/node_modules'), text: require('./words.txt'),\n\
                     created: createRequire(__dirname + '/deep/')('q'), same: module.require('p') === require('p') };\n\
                 };",
            ),
            ("part.js", "module.exports = {};"),
            ("words.txt", "words"),
            ("node_modules/p/index.js", "module.exports = { p: 1 };"),
            ("deep/node_modules/q/index.js", "module.exports = 'q';"),
        ],
        json!({
            "main": false, "id": true, "name": "/index.js", "atLoad": false, "loaded": true, "paths": "/node_modules", "children": "/part.js",
            "anew": true, "file": "/part.js", "package": "/node_modules/p/index.js", "elsewhere": "/deep/node_modules/q/index.js",
            "builtin": ["fs", "node:fs", true, false, true], "lookup": true, "text": "WORDS", "created": "q", "same": true,
        }),
    );
}

#[test]
fn import_meta_knows_where_the_module_lies() {
    check(
        &[
            (
                "index.mjs",
                "import { fileURLToPath } from 'node:url'; import data from './data.json' with { type: 'json' };\n\
                 const root = import.meta.dirname; const relative = (url) => fileURLToPath(url).slice(root.length);\n\
                 export const handler = async () => ({ url: relative(import.meta.url), name: import.meta.filename.slice(root.length), package: relative(import.meta.resolve('p')),\n\
                 file: relative(import.meta.resolve('./deep/x.mjs')), builtin: import.meta.resolve('fs'), data: data.n, dynamic: (await import('./data.json', { with: { type: 'json' } })).default.n,\n\
                 query: (await import('./count.mjs?1')).count !== (await import('./count.mjs?2')).count,\n\
                 bare: await import('./data.json').then(() => 'loaded', (error) => error.message.slice(-41)) });",
            ),
            ("data.json", r#"{"n":7}"#),
            ("count.mjs", "export const count = {};"),
            ("deep/x.mjs", ""),
            ("node_modules/p/package.json", r#"{"exports":"./p.mjs"}"#),
            ("node_modules/p/p.mjs", ""),
        ],
        json!({
            "url": "/index.mjs", "name": "/index.mjs", "package": "/node_modules/p/p.mjs", "file": "/deep/x.mjs", "builtin": "node:fs",
            "data": 7, "dynamic": 7, "query": true, "bare": "needs an import attribute of \"type: json\"",
        }),
    );
}

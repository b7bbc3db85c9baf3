//! Stack traces name the places of the source that was written: TypeScript without a build, and bundles with source maps.

use serde_json::{Value, json};

use crate::support::{Project, Server, invoke, invoke_logged, project_of, value_of};

/// A function, its handler, its files, and where its error must come from: the end of the trace's second line.
struct Fixture {
    name: &'static str,
    handler: &'static str,
    files: Vec<(&'static str, String)>,
    place: &'static str,
}

fn fixture(
    name: &'static str,
    handler: &'static str,
    files: Vec<(&'static str, String)>,
    place: &'static str,
) -> Fixture {
    Fixture {
        name,
        handler,
        files,
        place,
    }
}

fn one(name: &'static str, file: &'static str, text: &str, place: &'static str) -> Fixture {
    fixture(name, "index.handler", vec![(file, text.to_owned())], place)
}

/// A bundle of one line that throws at its column 53, and its map, which says where that was: line 7, column 3 of `source`.
const BUNDLED: &str = "exports.handler = async () => {             ; throw new Error('bundled'); };\n";
const BUNDLED_MODULE: &str = "export const handler = async () => {        ; throw new Error('bundled'); };\n";

fn map(source: &str) -> String {
    // Segments of ECMA-426: generated column, source, line and column, each against the one before: (0 0 0 0), (+52 0 +6 +2).
    json!({"version": 3, "sources": [source], "names": [], "mappings": "AAAA,oDAME"}).to_string()
}

fn inline(text: &str, map: &str) -> String {
    format!(
        "{text}//# sourceMappingURL=data:application/json;charset=utf-8;base64,{}\n",
        base64(map.as_bytes())
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .enumerate()
            .fold(0u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            text.push(match place <= group.len() {
                true => char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]),
                false => '=',
            });
        }
    }
    text
}

fn side(text: &str, url: &str) -> String {
    format!("{text}//# sourceMappingURL={url}\n")
}

fn fixtures() -> Vec<Fixture> {
    let deep = map("../src/orders.ts");
    vec![
        // TypeScript.
        one("interface", "index.ts", "interface Order {\n  id: string;\n  lines: number[];\n}\nexport const handler = async (order: Order) => {\n  throw new Error('here');\n};\n", "/var/task/index.ts:6:9"),
        one("column", "index.ts", "type A = { a: number };\nexport const handler = async (event: A, context: unknown): Promise<A> => { const x: A = event; throw new Error('here'); };\n", "/var/task/index.ts:2:102"),
        one("enum", "index.ts", "enum Color {\n  Red = 'red',\n  Green = 'green',\n}\n\nfunction fail(color: Color): never {\n  throw new Error(color);\n}\nexport const handler = async () => fail(Color.Green);\n", "/var/task/index.ts:7:9"),
        one("mts", "index.mts", "import type { Readable } from 'node:stream';\nimport { join } from 'node:path';\n\n\nexport const handler = async (input?: Readable) => {\n  join('a', 'b');\n  throw new Error('here');\n};\n", "/var/task/index.mts:7:9"),
        one("cts", "index.cts", "interface Nothing {}\n\nmodule.exports.handler = async (event: Nothing) => {\n  throw new Error('here');\n};\n", "/var/task/index.cts:4:9"),
        one("class", "index.ts", "class Service {\n  constructor(private readonly name: string, public count = 0) {}\n  run(): never {\n    throw new Error(this.name);\n  }\n}\nexport const handler = async () => new Service('s').run();\n", "/var/task/index.ts:4:11"),
        one("awaited", "index.ts", "declare const unused: string;\nconst later = (): Promise<void> => new Promise((done) => setTimeout(done, 1));\nexport const handler = async (): Promise<void> => {\n  await later();\n  throw new Error('here');\n};\n", "/var/task/index.ts:5:9"),
        one("generic", "index.ts", "export function pick<T extends object,\n  K extends keyof T>(from: T, key: K): T[K] {\n  if (!(key in from)) throw new Error('no key');\n  return from[key];\n}\nexport const handler = async () => pick({} as { a: number }, 'a');\n", "/var/task/index.ts:3:29"),
        one("satisfies", "index.ts", "const table = {\n  a: 1,\n} satisfies Record<string, number>;\nnamespace Inner {\n  export const fail = (): never => {\n    throw new Error(String(table.a));\n  };\n}\nexport const handler = async () => Inner.fail();\n", "/var/task/index.ts:6:11"),
        one("unicode", "index.ts", "// é 𝄞\ntype T = 'é';\nexport const handler = async (t: T) => { const s = '𝄞é' as const; throw new Error(s); };\n", "/var/task/index.ts:3:74"),
        fixture("imported", "index.handler", vec![
            ("index.ts", "import { fail } from './lib/fail.ts';\nexport const handler = async (): Promise<never> => fail('x');\n".into()),
            ("lib/fail.ts", "export type Reason = string;\n\n\nexport function fail(reason: Reason): never {\n  throw new Error(reason);\n}\n".into()),
        ], "/var/task/lib/fail.ts:5:9"),
        fixture("required", "index.handler", vec![
            ("index.js", "const { fail } = require('./fail.cts');\nexports.handler = async () => fail('x');\n".into()),
            ("fail.cts", "type Reason = string;\nexports.fail = (reason: Reason): never => {\n  throw new Error(reason);\n};\n".into()),
        ], "/var/task/fail.cts:3:9"),
        // Bundles.
        one("inline-cjs", "index.js", &inline(BUNDLED, &deep), "/var/src/orders.ts:7:3"),
        one("inline-esm", "index.mjs", &inline(BUNDLED_MODULE, &deep), "/var/src/orders.ts:7:3"),
        fixture("side-cjs", "dist/index.handler", vec![
            ("dist/index.js", side(BUNDLED, "index.js.map")),
            ("dist/index.js.map", deep.clone()),
        ], "/var/task/src/orders.ts:7:3"),
        fixture("side-esm", "dist/index.handler", vec![
            ("dist/index.mjs", side(BUNDLED_MODULE, "maps/index.mjs.map")),
            ("dist/maps/index.mjs.map", deep.clone()),
        ], "/var/task/src/orders.ts:7:3"),
        fixture("webpack", "index.handler", vec![
            ("index.js", side(BUNDLED, "index.js.map")),
            ("index.js.map", map("webpack:///./src/orders.ts")),
        ], "webpack:///src/orders.ts:7:3"),
        fixture("package", "index.handler", vec![
            ("index.js", "const { handler } = require('packed'); exports.handler = () => handler();\n".into()),
            ("node_modules/packed/index.js", side(BUNDLED, "index.js.map")),
            ("node_modules/packed/index.js.map", map("lib.ts")),
        ], "/node_modules/packed/lib.ts:7:3"),
        // Maps that are none: the places of the file itself.
        one("not-base64", "index.js", &side(BUNDLED, "data:application/json;base64,%%%"), "/var/task/index.js:1:53"),
        one("not-json", "index.js", &inline(BUNDLED, "{\"version\":3"), "/var/task/index.js:1:53"),
        one("not-vlq", "index.js", &inline(BUNDLED, &json!({"version": 3, "sources": ["a"], "names": [], "mappings": "!!!!,gggggggggggggggggggg"}).to_string()), "/var/task/index.js:1:53"),
        one("no-source", "index.mjs", &inline(BUNDLED_MODULE, &json!({"version": 3, "sources": [], "names": [], "mappings": "AAgggggggE"}).to_string()), "/var/task/index.mjs:1:53"),
        one("missing", "index.js", &side(BUNDLED, "absent.map"), "/var/task/index.js:1:53"),
        one("outside", "index.mjs", &side(BUNDLED_MODULE, "../../outside.map"), "/var/task/index.mjs:1:53"),
        one("absolute", "index.js", &side(BUNDLED, "file:///etc/passwd"), "/var/task/index.js:1:53"),
        one("remote", "index.js", &side(BUNDLED, "http://127.0.0.1:9/index.js.map"), "/var/task/index.js:1:53"),
        one("directory", "index.js", &side(BUNDLED, "."), "/var/task/index.js:1:53"),
    ]
}

fn serve(fixtures: &[Fixture]) -> (Project, Server) {
    let files: Vec<Vec<(&str, &str)>> = fixtures
        .iter()
        .map(|fixture| {
            fixture
                .files
                .iter()
                .map(|(path, text)| (*path, text.as_str()))
                .collect()
        })
        .collect();
    let settings: Vec<String> = fixtures
        .iter()
        .map(|fixture| format!("handler: {}", fixture.handler))
        .collect();
    let functions: Vec<_> = fixtures
        .iter()
        .zip(&settings)
        .zip(&files)
        .map(|((fixture, settings), files)| (fixture.name, settings.as_str(), files.as_slice()))
        .collect();
    let project = project_of(&functions);
    project.write("outside.map", &map("outside.ts"));
    let server = project.up();
    (project, server)
}

#[test]
fn traces_name_the_source_that_was_written() {
    let fixtures = fixtures();
    let (_project, server) = serve(&fixtures);
    let mut wrong = Vec::new();
    for Fixture { name, place, .. } in &fixtures {
        let (answer, log) = invoke_logged(server.endpoint(), name, "{}");
        let answer = answer.json();
        let first = answer["trace"][1].as_str().unwrap_or_default().trim_end_matches(')');
        if !first.ends_with(place) {
            wrong.push(format!("{name}: {answer}"));
        }
        // The log tells the same place.
        let logged = log
            .lines()
            .find(|line| line.contains("Invoke Error"))
            .unwrap_or_default();
        if !logged.contains(place) {
            wrong.push(format!("{name}: {log}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_reads_mapped_stacks_too_and_may_still_prepare_its_own() {
    let code = "interface A {\n  a: string;\n}\nexport const handler = async (event: A) => {\n\
        \x20 const read = new Error('read').stack!.split('\\n')[1].trim();\n\
        \x20 Error.prepareStackTrace = (error, sites) => [sites[0].getFileName()!.split('/').at(-1), sites[0].getLineNumber(), sites[0].getColumnNumber()];\n\
        \x20 const own: unknown = new Error('own').stack;\n\
        \x20 Error.prepareStackTrace = undefined;\n\
        \x20 console.error(new Error('logged'));\n\
        \x20 return [read, own];\n};\n";
    let fixtures = [one("f", "index.ts", code, "")];
    let (_project, server) = serve(&fixtures);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let answer: Value = value_of(&answer);
    assert!(
        answer[0].as_str().unwrap().contains("/var/task/index.ts:5:16"),
        "{answer}"
    );
    assert_eq!(answer[1], json!(["index.ts", 7, 24]), "{answer}");
    assert!(log.contains("/var/task/index.ts:9:17"), "{log}");
}

#[test]
fn a_map_that_is_too_large_is_no_map() {
    let padding = " ".repeat(33 * 1024 * 1024);
    let fixtures = [fixture(
        "f",
        "index.handler",
        vec![
            ("index.js", side(BUNDLED, "index.js.map")),
            ("index.js.map", format!("{}{padding}", map("big.ts"))),
        ],
        "",
    )];
    let (_project, server) = serve(&fixtures);
    let answer = invoke(server.endpoint(), "f", "{}").json();
    assert!(
        answer["trace"][1].as_str().unwrap().contains("/var/task/index.js:1:53"),
        "{answer}"
    );
}

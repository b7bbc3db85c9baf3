//! Compiled code is kept between environments, and is nothing that anyone could see but in the time it takes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Project, invoke, project_of, value_of, wait_for};

/// A module that is worth to be kept.
fn module(answer: &str) -> String {
    let functions: String = (0..200)
        .map(|n| format!("function f{n}(x) {{ return x * {n} + {n}; }}\n"))
        .collect();
    format!("{functions}module.exports = () => [{answer}, f1(1) + f199(1)];\n")
}

fn project() -> Project {
    let (big, esm) = (
        module("'first'"),
        module("'esm'").replace("module.exports =", "export default"),
    );
    project_of(&[
        (
            "cjs",
            "handler: index.handler, runtime: nodejs22.x",
            &[
                (
                    "index.js",
                    "const big = require('./big.js'); const zlib = require('zlib'); exports.handler = async () => [...big(), zlib.gunzipSync(zlib.gzipSync('z')).toString()];",
                ),
                ("big.js", &big),
            ],
        ),
        (
            "esm",
            "handler: index.handler, runtime: nodejs24.x",
            &[
                (
                    "index.mjs",
                    "import big from './big.mjs'; export const handler = async () => big();",
                ),
                ("big.mjs", &esm),
            ],
        ),
        (
            "ts",
            "handler: index.handler",
            &[(
                "index.ts",
                "enum Kind { A = 'typed' }\nexport const handler = async (): Promise<Kind> => Kind.A;\n",
            )],
        ),
        (
            "small",
            "handler: index.handler",
            &[("index.mjs", "export const handler = async () => 'small';")],
        ),
        (
            "thief",
            "handler: index.handler, timeout: 20s",
            &[(
                "index.js",
                "const fs = require('fs'); const path = require('path');\n\
             exports.handler = async () => {\n\
               const directory = path.join(__dirname, '../../.hikigane/code-cache/thief-$LATEST');\n\
               const attempt = (call) => { try { return call(); } catch (error) { return error.code; } };\n\
               return [fs.readdirSync, (d) => fs.readFileSync(d + '/code.cache'), (d) => fs.writeFileSync(d + '/code.cache', 'x'), (d) => fs.writeFileSync(d + '/x', 'x'), (d) => require(d + '/code.cache')].map((call) => attempt(() => call(directory)));\n\
             };",
            )],
        ),
    ])
}

fn cache(project: &Project, function: &str) -> PathBuf {
    project.join(&format!(".hikigane/code-cache/{function}-$LATEST/code.cache"))
}

/// Runs a function in a fresh environment, of a fresh server.
fn run(project: &Project, function: &str) -> Value {
    let server = project.up();
    value_of(&invoke(server.endpoint(), function, "{}"))
}

/// Runs a function in a fresh environment, and waits until its compiled code is in a file other than `old`.
fn run_and_keep(project: &Project, function: &str, old: Option<Identity>) -> (Value, Identity) {
    let server = project.up();
    let value = value_of(&invoke(server.endpoint(), function, "{}"));
    let file = wait_for("the cache to be written", || {
        identity(&cache(project, function)).filter(|file| Some(*file) != old)
    });
    (value, file)
}

/// Tells one file from another, even where its number is used again.
fn identity(path: &Path) -> Option<Identity> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.ino(), file.mtime(), file.mtime_nsec()))
}

type Identity = (u64, i64, i64);

#[test]
fn compiled_code_is_kept_and_used_and_never_wrong() {
    let project = project();
    for (function, file, first, second) in [
        ("cjs", "big.js", json!(["first", 400, "z"]), json!(["second", 400, "z"])),
        ("esm", "big.mjs", json!(["esm", 400]), json!(["second", 400])),
    ] {
        let (value, kept) = run_and_keep(&project, function, None);
        assert_eq!(value, first);
        // Everything is found: nothing new is written.
        assert_eq!(run(&project, function), first);
        assert_eq!(identity(&cache(&project, function)), Some(kept), "{function}");

        // A source of the same length, and no old code for it.
        let source = std::fs::read_to_string(project.join(&format!("code/{function}/{file}"))).unwrap();
        let (from, to) = if function == "cjs" {
            ("'first'", "'second'")
        } else {
            ("'esm'", "'second'")
        };
        project.write(&format!("code/{function}/{file}"), &source.replace(from, to));
        let (value, kept) = run_and_keep(&project, function, Some(kept));
        assert_eq!(value, second);

        // Broken files are not there: one cut, one of another V8, one with code that is not what was compiled.
        let whole = std::fs::read(cache(&project, function)).unwrap();
        let mut foreign = whole.clone();
        foreign[8] ^= 1;
        let mut flipped = whole.clone();
        let code = flipped.len() / 2;
        flipped[code..].iter_mut().for_each(|byte| *byte ^= 0xff);
        let mut kept = kept;
        for broken in [
            &whole[..whole.len() / 2],
            foreign.as_slice(),
            flipped.as_slice(),
            b"",
            b"hikicc01",
        ] {
            let path = cache(&project, function);
            std::fs::write(path.with_extension("broken"), broken).unwrap();
            std::fs::rename(path.with_extension("broken"), &path).unwrap();
            let (value, next) = run_and_keep(&project, function, identity(&path));
            assert_eq!(value, second, "{function}");
            assert_ne!(next, kept);
            kept = next;
        }
    }
}

#[test]
fn a_small_function_keeps_nothing_but_its_types_stripped_and_no_function_gets_at_what_is_kept() {
    let project = project();
    let (typed, kept) = run_and_keep(&project, "ts", None);
    assert_eq!(typed, "typed");
    assert_eq!(
        (run(&project, "ts"), identity(&cache(&project, "ts"))),
        (json!("typed"), Some(kept))
    );
    assert_eq!(run(&project, "small"), "small");
    assert_eq!(identity(&cache(&project, "small")), None);
    let codes = run(&project, "thief");
    for code in codes.as_array().unwrap() {
        assert!(code == "EACCES" || code == "MODULE_NOT_FOUND", "{codes}");
    }
}

#[test]
fn what_is_kept_of_a_function_goes_with_it() {
    let project = project();
    run_and_keep(&project, "esm", None);
    assert!(cache(&project, "esm").exists());
    project.write(
        "hikigane.yaml",
        "functions:\n  small: { code: ./code/small, handler: index.handler }\n",
    );
    let _server = project.up();
    assert!(!cache(&project, "esm").exists());
}

//! Code and layers as they are deployed: directories and zips.

use std::path::Path;

use serde_json::json;

use crate::support::{Project, command, invoke, value_of, zip_of};

/// Writes a zip of these files.
fn zip(path: &Path, files: &[(&str, &str)]) {
    std::fs::write(path, zip_of(files)).unwrap();
}

const LAYERED: &str = r#"
functions:
  cjs: { code: ./code.zip, handler: lib/cjs.handler, layers: [./layers/one, ./layers/two.zip, ./layers/three] }
  esm: { code: ./code.zip, handler: lib/esm.handler, layers: [./layers/one, ./layers/two.zip, ./layers/three] }
  one: { code: ./code.zip, handler: lib/cjs.handler, layers: [./layers/one] }
"#;

fn layered() -> Project {
    let project = Project::new(
        LAYERED,
        &[
            (
                "layers/one/nodejs/node_modules/alpha/index.js",
                "module.exports = 'alpha of one';",
            ),
            (
                "layers/one/nodejs/node_modules/both/index.js",
                "module.exports = 'both of one';",
            ),
            ("layers/one/data/only-one.txt", "one"),
            (
                "layers/three/nodejs/node22/node_modules/gamma/index.js",
                "module.exports = 'gamma of 22';",
            ),
            (
                "layers/three/nodejs/node_modules/gamma/index.js",
                "module.exports = 'gamma of any';",
            ),
            (
                "layers/three/nodejs/node_modules/own/index.js",
                "module.exports = 'own of three';",
            ),
        ],
    );
    zip(
        &project.join("layers/two.zip"),
        &[
            ("nodejs/node_modules/both/index.js", "module.exports = 'both of two';"),
            (
                "nodejs/node_modules/beta/package.json",
                r#"{"name":"beta","type":"module","exports":"./main.js"}"#,
            ),
            (
                "nodejs/node_modules/beta/main.js",
                "export default 'beta of two'; export const url = import.meta.url;",
            ),
        ],
    );
    let uses = "const fs = require('fs'); const get = (name) => { try { return require(name); } catch (error) { return error.code; } };
        exports.handler = async () => ({ alpha: get('alpha'), both: get('both'), gamma: get('gamma'), own: get('own'), dir: __dirname,
          data: fs.readFileSync('/opt/data/only-one.txt', 'utf8'), opt: fs.readdirSync('/opt').sort() });";
    let imports = "import alpha from 'alpha'; import both from 'both'; import beta, { url } from 'beta'; import gamma from 'gamma'; import own from 'own';
        export const handler = async () => ({ alpha, both, beta, url, gamma, own });";
    zip(
        &project.join("code.zip"),
        &[
            ("lib/cjs.js", uses),
            ("lib/esm.mjs", imports),
            ("node_modules/own/index.js", "module.exports = 'own of the function';"),
        ],
    );
    project
}

#[test]
fn packages_of_layers_are_found_by_require_and_import_after_the_functions_own() {
    let project = layered();
    let server = project.up();
    assert_eq!(
        value_of(&invoke(server.endpoint(), "cjs", "{}")),
        json!({
            "alpha": "alpha of one", "both": "both of two", "gamma": "gamma of 22", "own": "own of the function",
            "dir": "/var/task/lib", "data": "one", "opt": ["data", "nodejs"],
        })
    );
    assert_eq!(
        value_of(&invoke(server.endpoint(), "esm", "{}")),
        json!({
            "alpha": "alpha of one", "both": "both of two", "beta": "beta of two", "gamma": "gamma of 22", "own": "own of the function",
            "url": "file:///opt/nodejs/node_modules/beta/main.js",
        })
    );
    let one = value_of(&invoke(server.endpoint(), "one", "{}"));
    assert_eq!(
        (&one["both"], &one["gamma"]),
        (&json!("both of one"), &json!("MODULE_NOT_FOUND"))
    );
}

#[test]
fn a_zip_is_unpacked_once_and_again_when_it_changes() {
    let project = Project::new("functions:\n  f: { code: ./f.zip }\n", &[]);
    let objects = || -> Vec<_> {
        let all = std::fs::read_dir(project.join(".hikigane/objects")).unwrap();
        all.map(|entry| entry.unwrap().file_name()).collect()
    };
    zip(
        &project.join("f.zip"),
        &[("index.mjs", "export const handler = async () => 1;")],
    );
    let server = project.up();
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "{}")), json!(1));
    let first = objects();
    assert_eq!((first.len(), first[0].len()), (1, 64));
    drop(server);
    let server = project.up();
    assert_eq!(objects(), first);
    drop(server);
    zip(
        &project.join("f.zip"),
        &[("index.mjs", "export const handler = async () => 2;")],
    );
    let server = project.up();
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "{}")), json!(2));
    let second = objects();
    assert!(
        second.len() == 1 && second != first,
        "what nobody uses is removed: {second:?}"
    );
}

#[test]
fn a_hostile_package_stops_the_start_and_the_check_and_is_named() {
    let project = Project::new("functions:\n  f: { code: ./f.zip }\n", &[]);
    zip(&project.join("f.zip"), &[("index.mjs", ""), ("../../evil", "x")]);
    for (arguments, code) in [(["up", "--endpoint", "127.0.0.1:0"].as_slice(), 1), (&["check"], 2)] {
        let done = command(arguments).current_dir(project.path()).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{error}");
        for word in ["function \"f\"", "f.zip", "\"../../evil\"", "`..`"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
    assert!(!project.path().parent().unwrap().join("evil").exists());
}

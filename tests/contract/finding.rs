//! How the handler is found.

use crate::support::{Function, invoke, serve};

/// Node.js, handler, files, and what it answers or the type of the error.
type Case<'a> = (u32, &'a str, &'a [(&'a str, &'a str)], Result<&'a str, &'a str>);

const CASES: &[Case] = &[
    // The order of the files.
    (
        22,
        "index.handler",
        &[
            ("index", "exports.handler = async () => 'plain'"),
            ("index.js", "exports.handler = async () => 'js'"),
        ],
        Ok("plain"),
    ),
    (
        22,
        "index.handler",
        &[
            ("index.js", "exports.handler = async () => 'js'"),
            ("index.mjs", "export const handler = async () => 'mjs'"),
        ],
        Ok("js"),
    ),
    (
        20,
        "index.handler",
        &[
            ("index.mjs", "export const handler = async () => 'mjs'"),
            ("index.cjs", "exports.handler = async () => 'cjs'"),
        ],
        Ok("mjs"),
    ),
    (
        22,
        "index.handler",
        &[
            ("index.cjs", "exports.handler = async () => 'cjs'"),
            ("index.ts", "export const handler = async (): Promise<string> => 'ts'"),
        ],
        Ok("cjs"),
    ),
    (
        24,
        "index.handler",
        &[("index.mts", "export const handler = async (): Promise<string> => 'mts'")],
        Ok("mts"),
    ),
    (
        24,
        "index.handler",
        &[(
            "index.cts",
            "const answer: string = 'cts'; exports.handler = async () => answer;",
        )],
        Ok("cts"),
    ),
    // The kind of a `.js`, by the nearest package.json.
    (
        20,
        "index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            ("index.js", "export const handler = async () => 'module'"),
        ],
        Ok("module"),
    ),
    (
        22,
        "src/index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            ("src/package.json", "{}"),
            ("src/index.js", "exports.handler = async () => typeof require"),
        ],
        Ok("function"),
    ),
    (
        24,
        "index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            (
                "index.js",
                "const answer = await Promise.resolve('awaited'); export const handler = async () => answer",
            ),
        ],
        Ok("awaited"),
    ),
    // A directory is a module up to Node.js 20; later a name without a file is a package, and NODE_PATH, which packages are looked for in
    // last, ends with the function's own directory.
    (
        20,
        "src.handler",
        &[("src/index.js", "exports.handler = async () => 'directory'")],
        Ok("directory"),
    ),
    (
        22,
        "src.handler",
        &[("src/index.js", "exports.handler = async () => 'directory'")],
        Ok("directory"),
    ),
    (
        22,
        "packed.handler",
        &[(
            "node_modules/packed/index.js",
            "exports.handler = async () => 'package'",
        )],
        Ok("package"),
    ),
    (
        20,
        "deep/packed.handler",
        &[(
            "deep/node_modules/packed/index.js",
            "exports.handler = async () => 'deep'",
        )],
        Ok("deep"),
    ),
    // Exports.
    (
        22,
        "index.a.b.c",
        &[("index.mjs", "export const a = { b: { c: async () => 'nested' } }")],
        Ok("nested"),
    ),
    (
        24,
        "index.handler",
        &[("index.mjs", "export default { handler: async () => 'default' }")],
        Ok("default"),
    ),
    (
        22,
        "index.handler",
        &[("index.mjs", "export default { handler: async () => 'default' }")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        22,
        "index.default",
        &[("index.mjs", "export default async () => 'itself'")],
        Ok("itself"),
    ),
    (
        22,
        "index.handler",
        &[("index.mjs", "export const handler = 0")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        24,
        "index.handler",
        &[("index.mjs", "export const handler = {}")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        24,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async function () { return typeof this + (this === module.exports) }",
        )],
        Ok("objectfalse"),
    ),
    // Any Node.js.
    (
        16,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v16"),
    ),
    (
        18,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v18"),
    ),
    (
        26,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v26"),
    ),
];

#[test]
fn handlers_are_found_by_the_rules_of_their_nodejs() {
    let names: Vec<(String, String)> = CASES
        .iter()
        .enumerate()
        .map(|(index, (node, handler, ..))| {
            (
                format!("f{index}"),
                format!("handler: {handler}, runtime: nodejs{node}.x"),
            )
        })
        .collect();
    let functions: Vec<Function> = names
        .iter()
        .zip(CASES)
        .map(|((name, settings), (.., files, _))| (name.as_str(), settings.as_str(), *files))
        .collect();
    let (_project, server) = serve(&functions);
    let mut wrong = Vec::new();
    for ((name, settings), (.., expected)) in names.iter().zip(CASES) {
        let answer = invoke(server.endpoint(), name, "{}").json();
        let found = match answer["errorType"].as_str() {
            Some(error) => Err(error),
            None => Ok(answer.as_str().unwrap_or("no text")),
        };
        if found != *expected {
            wrong.push(format!("{name} ({settings}): {answer} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! What is changed in Deno's scripts on their way into the snapshot.

/// Deno's scripts read one global of their own runtime, `Deno`. It is not for functions: packages take its presence for the Deno
/// runtime, and it reaches past Node.js's API. So each script that names it gets a binding of its own, to an object that
/// `js/namespace.js` fills when a worker starts, and the realm has no such global at all.
const NAMESPACE: &str = "internals.deno ??= { __proto__: null }";

/// Scripts that are replaced by one of ours with the same exports: what they do is refused in a function.
const REPLACED: &[(&str, &str)] = &[
    ("ext:deno_process/40_process.js", include_str!("../js/no_processes.js")),
    ("ext:deno_node/sqlite.ts", include_str!("../js/no_sqlite.js")),
];

/// Places that are changed: script, text, what stands there instead.
const CHANGED: &[(&str, &str, &str)] = &[
    // The body of a `new Function`, which sees globals only.
    (
        "ext:deno_fs/30_fs.js",
        r#"'const unix = Deno.build.os === "darwin" || Deno.build.os === "linux" || Deno.build.os === "android" || Deno.build.os === "openbsd" || Deno.build.os === "freebsd";'"#,
        "'const unix = true;'",
    ),
    // Standard output and error of a function are its log, whoever writes there: many loggers write to the descriptors.
    (
        "ext:deno_node/fs.ts",
        "  op_node_fs_write_deferred,\n  op_node_fs_write_sync,\n",
        "  op_node_fs_write_deferred: writeToFileDeferred,\n  op_node_fs_write_sync: writeToFileSync,\n  op_print_bytes,\n",
    ),
    (
        "ext:deno_node/fs.ts",
        "type FileHandle = any;\n",
        "type FileHandle = any;\n\
         function op_node_fs_write_sync(fd, data, at) { return fd === 1 || fd === 2 ? op_print_bytes(data) : writeToFileSync(fd, data, at); }\n\
         async function op_node_fs_write_deferred(fd, data, at) {\n  return fd === 1 || fd === 2 ? op_print_bytes(data) : await writeToFileDeferred(fd, data, at);\n}\n",
    ),
    // The insides of Node.js's modules, of which one hands out its bindings, are for `--expose-internals` only.
    (
        "node:module",
        "  return request in nativeModuleExports;\n",
        "  return request in nativeModuleExports && !StringPrototypeStartsWith(request, \"internal/\");\n",
    ),
    (
        "node:module",
        "  const modExports = nativeModuleExports[request];\n",
        "  const modExports = StringPrototypeStartsWith(request, \"internal/\") ? undefined : nativeModuleExports[request];\n",
    ),
    // The loader of native code names a global that Node.js does not have.
    (
        "node:module",
        "    buffer.Buffer.from,\n    reportError,\n",
        "    buffer.Buffer.from,\n    null,\n",
    ),
    // Not every version of Node.js loads ES modules here (`js/require.js`).
    (
        "node:module",
        "function loadESMFromCJS(module, filename, code, sourceFromHook = false) {\n",
        "function loadESMFromCJS(module, filename, code, sourceFromHook = false) {\n  \
         internals.beforeRequiringModule(filename, moduleParentCache.get(module)?.filename);\n",
    ),
    // The user of a function is AWS's, whatever the machine's list of users says, which a function cannot read.
    (
        "ext:deno_node/os.ts",
        "  return op_homedir();",
        "  return op_homedir() ?? \"/home/sbx_user1051\";",
    ),
    (
        "ext:deno_node/os.ts",
        "  let { username, homedir: hd, shell } = op_node_os_user_info(uid);",
        "  let { username, hd, shell } = { username: \"sbx_user1051\", hd: \"/home/sbx_user1051\", shell: \"/sbin/nologin\" };",
    ),
    // There is no `navigator` before Node.js 21.
    (
        "ext:deno_node/os.ts",
        "  return navigator.hardwareConcurrency;",
        "  return core.ops.op_processors();",
    ),
    // A file that may not be looked at does not exist, as far as the function can tell. Node.js never throws here.
    (
        "ext:deno_node/_fs/_fs_exists.ts",
        "  return op_node_fs_exists_sync(path);",
        "  try {\n    return op_node_fs_exists_sync(path);\n  } catch {\n    return false;\n  }",
    ),
    (
        "ext:deno_node/_fs/_fs_exists.ts",
        "    op_node_fs_exists(path),\n    callback,\n",
        "    op_node_fs_exists(path),\n    callback,\n    () => callback(false),\n",
    ),
    // A refusal is swallowed here, and the caller gets an object without a status and without an error.
    (
        "ext:deno_node/internal/child_process.ts",
        "      result.error = _createSpawnError(\"ENOENT\", command, args, true);\n    }\n  }\n  return result;",
        "      result.error = _createSpawnError(\"ENOENT\", command, args, true);\n    } else {\n      result.error = err;\n    }\n    \
         result.pid = 0;\n    result.status = result.signal = result.output = result.stdout = result.stderr = null;\n  }\n  return result;",
    ),
];

/// A script as the snapshot gets it, before its types are stripped. Panics when a place that must be changed is not there.
pub fn adapt(specifier: &str, source: String) -> String {
    if let Some((_, ours)) = REPLACED.iter().find(|(replaced, _)| *replaced == specifier) {
        return (*ours).to_owned();
    }
    let mut source = source;
    for (_, from, to) in CHANGED.iter().filter(|(changed, ..)| *changed == specifier) {
        assert!(source.contains(from), "{specifier} has no {from:?}");
        source = source.replace(from, to);
    }
    source
}

/// Binds `Deno` in a script that names it. `source` has no types any more.
pub fn bind_namespace(specifier: &str, source: String) -> String {
    if specifier.starts_with("ext:core/") || specifier.starts_with("ext:runtime/") || !source.contains("Deno.") {
        return source;
    }
    match script_body(&source) {
        Some(at) => {
            let (head, body) = source.split_at(at);
            format!("{head} const Deno = __bootstrap.{NAMESPACE};{body}")
        }
        None => format!("import * as $core from \"ext:core/mod.js\"; const Deno = $core.{NAMESPACE};\n{source}"),
    }
}

/// Where the body of a script of the form `(function () { .. })();` begins; `None` for a module.
fn script_body(source: &str) -> Option<usize> {
    if !source.trim_end().ends_with("})();") {
        return None;
    }
    let open = source.find("(function")?;
    source[open..].find('{').map(|brace| open + brace + 1)
}

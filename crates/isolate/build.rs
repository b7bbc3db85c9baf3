//! Makes the V8 startup snapshot: a realm with all extensions evaluated, so that a worker need not do it.
//!
//! The sources of Deno's extensions lie in cargo's registry, so it can only be made at build time. Scripts that are loaded
//! lazily and were not while the snapshot was made go into a table beside it.

// A build that cannot go on ends with a panic; there is nobody to recover for.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "src/extensions.rs"]
#[allow(dead_code)]
mod extensions;
#[path = "src/files.rs"]
#[allow(dead_code)]
mod files;
#[path = "build/polyfills.rs"]
mod polyfills;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};
use deno_core::{
    ExtensionFileSource, ExtensionFileSourceCode, ModuleCodeString, ModuleName, SourceMapData, v8, wrap_lazy_ext_script,
};
use deno_error::JsErrorBox;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=src/extensions.rs");
    println!("cargo:rerun-if-changed=src/files.rs");
    println!("cargo:rerun-if-changed=js");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let extensions = extensions::extensions();
    let lazy_js: Vec<_> = extensions
        .iter()
        .flat_map(|e| e.lazy_loaded_js_files.iter())
        .filter_map(on_disk)
        .collect();
    let lazy_esm: Vec<_> = extensions
        .iter()
        .flat_map(|e| e.lazy_loaded_esm_files.iter())
        .filter_map(on_disk)
        .collect();

    let output = create_snapshot(
        CreateSnapshotOptions {
            cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
            startup_snapshot: None,
            skip_op_registration: false,
            extensions,
            extension_transpiler: Some(Rc::new(transpile)),
            // The context that `node:vm` makes new contexts from.
            with_runtime_cb: Some(Box::new(|runtime| {
                let isolate = runtime.v8_isolate();
                v8::scope!(scope, isolate);
                let mode = || deno_node::ContextInitMode::ForSnapshot;
                let template = deno_node::init_global_template(scope, mode());
                let context = deno_node::create_v8_context(scope, template, mode(), std::ptr::null_mut());
                assert_eq!(scope.add_context(context), deno_node::VM_CONTEXT_INDEX);
            })),
        },
        None,
    )
    .expect("the snapshot is made from the extensions");
    std::fs::write(out.join("snapshot.bin"), &output.output).expect("OUT_DIR can be written");

    let consumed: HashSet<&str> = output.consumed_lazy_specifiers.iter().map(String::as_str).collect();
    let mut table = String::new();
    write_table(&mut table, &out, "LAZY_JS", &lazy_js, &consumed, |source| {
        wrap_lazy_ext_script(source).to_string()
    });
    write_table(&mut table, &out, "LAZY_ESM", &lazy_esm, &consumed, str::to_owned);
    std::fs::write(out.join("lazy_sources.rs"), table).expect("OUT_DIR can be written");
}

fn on_disk(file: &ExtensionFileSource) -> Option<(String, PathBuf)> {
    match &file.code {
        ExtensionFileSourceCode::LoadedFromFsDuringSnapshot(path) => {
            Some((file.specifier.to_string(), PathBuf::from(path)))
        }
        _ => None,
    }
}

/// Writes a table of `(specifier, source)`, sorted (deno_core searches it by halving), of what the snapshot does not hold.
fn write_table(
    table: &mut String,
    out: &Path,
    name: &str,
    files: &[(String, PathBuf)],
    consumed: &HashSet<&str>,
    wrap: impl Fn(&str) -> String,
) {
    let mut rest: Vec<_> = files
        .iter()
        .filter(|(specifier, _)| !consumed.contains(specifier.as_str()))
        .collect();
    rest.sort();
    rest.dedup();
    writeln!(table, "pub static {name}: &[(&str, &str)] = &[").expect("a string can be written");
    for (specifier, path) in rest {
        let source = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (source, _) = transpile(specifier.clone().into(), source.into()).expect("Deno's scripts parse");
        let source = wrap(source.as_str());
        assert!(source.is_ascii(), "{specifier} must be ASCII to be used without a copy");
        let file: String = specifier
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        std::fs::write(out.join(format!("{file}.js")), source).expect("OUT_DIR can be written");
        writeln!(
            table,
            "    ({specifier:?}, include_str!(concat!(env!(\"OUT_DIR\"), \"/{file}.js\"))),"
        )
        .expect("a string can be written");
    }
    table.push_str("];\n");
}

/// Adapts a script of an extension and strips its types off. The version token is what `deno_node` asks its embedder to replace.
fn transpile(
    name: ModuleName,
    source: ModuleCodeString,
) -> Result<(ModuleCodeString, Option<SourceMapData>), JsErrorBox> {
    let media_type = if name.starts_with("node:") {
        deno_ast::MediaType::TypeScript
    } else {
        deno_ast::MediaType::from_path(std::path::Path::new(name.as_str()))
    };
    let mut code = polyfills::adapt(&name, source.as_str().to_owned());
    if name.ends_with("deno_node/_process/process.ts") {
        code = code.replace("__NODE_VERSION__", deno_node::NODE_VERSION);
    }
    if media_type.is_typed() {
        let specifier = deno_core::url::Url::parse(&name).map_err(JsErrorBox::from_err)?;
        code = extensions::strip_types(specifier, code.into(), media_type, false)?;
    }
    Ok((polyfills::bind_namespace(&name, code).into(), None))
}

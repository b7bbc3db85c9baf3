//! Where a function's code is, and which of its exports is the handler.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hikigane_model::limits;

use crate::diagnostic::Problems;
use crate::section::Spanned;
use crate::suggestion::quote;

/// What a module's file may end with.
const EXTENSIONS: &[&str] = &["js", "mjs", "cjs", "ts"];

/// The longest handler (the `Handler` shape of AWS's Lambda model).
const HANDLER: usize = 128;

enum Code {
    Directory,
    Zip,
    File,
}

/// `path`, relative to the manifest's directory, made absolute. `..` stays: behind a link it is not what it looks like.
pub(crate) fn absolute(base: &Path, path: &str) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

/// The code's absolute path and the handler. Code that is not there yet is a warning: the server starts, and the
/// function's invocations fail until it is.
pub(crate) fn locate(
    code: &Spanned<String>,
    handler: Option<&Spanned<String>>,
    base: &Path,
    problems: &mut Problems,
) -> Option<(PathBuf, String)> {
    let path = absolute(base, &code.value);
    let found = look(code, &path, problems);
    let default = match found {
        Some((Code::File, _)) => format!("{}.handler", stem(&path)),
        _ => "index.handler".to_owned(),
    };
    let handler = match handler {
        Some(handler) => {
            check_handler(handler, problems)?;
            handler.clone()
        }
        None => Spanned {
            span: code.span,
            value: default,
        },
    };
    let (kind, exists) = found?;
    match kind {
        Code::Directory if exists => warn_of_missing_module(&path, &handler, problems),
        Code::File if handler.value.contains('/') || module(&handler.value) != stem(&path) => {
            problems
                .warning(
                    handler.span,
                    format!("the handler {} is not in {}", quote(&handler.value), quote(&code.value)),
                )
                .help(format!("write `{}.{}`", stem(&path), export(&handler.value)));
        }
        _ => {}
    }
    Some((path, handler.value))
}

/// Whether the code is a directory or a file, and whether it is there.
fn look(code: &Spanned<String>, path: &Path, problems: &mut Problems) -> Option<(Code, bool)> {
    const WHAT: &str = "give a directory, a .zip, or a .js, .mjs, .cjs or .ts file";
    if code.value.is_empty() {
        problems.error(code.span, "`code` is empty").help(WHAT);
        return None;
    }
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let is_module = EXTENSIONS.contains(&extension);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Some((Code::Directory, true)),
        Ok(_) if extension == "zip" => Some((Code::Zip, true)),
        Ok(_) if is_module => Some((Code::File, true)),
        Ok(_) => {
            problems
                .error(
                    code.span,
                    format!("{} is not a directory or a JavaScript file", quote(&code.value)),
                )
                .help(WHAT);
            None
        }
        Err(error) => {
            warn_of_missing(code, path, &error, problems);
            Some((if is_module { Code::File } else { Code::Directory }, false))
        }
    }
}

/// Warns of a path that cannot be read, most likely since nothing is there.
pub(crate) fn warn_of_missing(named: &Spanned<String>, path: &Path, error: &std::io::Error, problems: &mut Problems) {
    let why = match error.kind() {
        ErrorKind::NotFound => format!("there is no {}", quote(&named.value)),
        _ => format!("{} cannot be read: {error}", quote(&named.value)),
    };
    problems.warning(named.span, why).help(format!(
        "the path starts at the manifest's directory; it was looked for at `{}`",
        path.display()
    ));
}

/// The layers' absolute paths. As for code, one that is not there yet is a warning.
pub(crate) fn layers(layers: &[Spanned<String>], base: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    // Of more than there may be, those too many are not looked for.
    for layer in layers.iter().take(limits::LAYERS) {
        let path = absolute(base, &layer.value);
        let is_zip = path.extension().is_some_and(|extension| extension == "zip");
        match fs::metadata(&path) {
            Ok(found) if !found.is_dir() && !is_zip => {
                problems
                    .error(
                        layer.span,
                        format!("{} is not a directory or a .zip", quote(&layer.value)),
                    )
                    .help("a layer has packages in its `nodejs/node_modules`");
            }
            Ok(_) => {}
            Err(error) => warn_of_missing(layer, &path, &error, problems),
        }
        if paths.contains(&path) {
            problems
                .error(layer.span, format!("the layer {} is there twice", quote(&layer.value)))
                .help("name each layer once");
        }
        paths.push(path);
    }
    if let Some(more) = layers.get(limits::LAYERS) {
        // AWS's text.
        problems.error(
            more.span,
            format!("Cannot reference more than {} layers.", limits::LAYERS),
        );
    }
    paths
}

/// `file.export`: the file may have directories before it; it ends at the first dot of its base name (AWS's runtime
/// interface client for Node.js, `UserFunction.js`).
fn check_handler(handler: &Spanned<String>, problems: &mut Problems) -> Option<()> {
    let text = handler.value.as_str();
    let help = if text.contains("..") {
        "the file must be inside the code: write no `..`"
    } else if text.len() > HANDLER {
        "it has at most 128 characters"
    } else if text.contains(char::is_whitespace)
        || text.starts_with('/')
        || module(text).is_empty()
        || export(text).is_empty()
    {
        "write `file.export`, as in `index.handler`"
    } else {
        return Some(());
    };
    problems
        .error(handler.span, format!("{} is not a handler", quote(text)))
        .help(help);
    None
}

fn warn_of_missing_module(directory: &Path, handler: &Spanned<String>, problems: &mut Problems) {
    let directory = match handler.value.rsplit_once('/') {
        Some((folder, _)) => directory.join(folder),
        None => directory.to_owned(),
    };
    let module = module(&handler.value);
    let is_there = |extension: &&str| directory.join(format!("{module}.{extension}")).is_file();
    if !EXTENSIONS.iter().any(is_there) {
        problems
            .warning(
                handler.span,
                format!(
                    "there is no `{module}.js`, .mjs, .cjs or .ts for the handler {}",
                    quote(&handler.value)
                ),
            )
            .help(format!("it was looked for in `{}`", directory.display()));
    }
}

fn base_name(handler: &str) -> &str {
    handler.rsplit('/').next().unwrap_or_default()
}

/// The file's name without extension.
fn module(handler: &str) -> &str {
    base_name(handler)
        .split_once('.')
        .map(|(module, _)| module)
        .unwrap_or_default()
}

fn export(handler: &str) -> &str {
    base_name(handler)
        .split_once('.')
        .map(|(_, export)| export)
        .unwrap_or_default()
}

/// The base name of a code file up to its first dot, which is where a handler's file ends.
fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

//! The source maps of a function's files: what stack traces name the places of the original by.
//!
//! A map is looked for only when a stack is read. It is the function's own, and so as hostile as its code: it is taken from where the
//! function may read, it has a bounded size, and what cannot be understood is no map.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deno_ast::MediaType;
use deno_core::url::Url;

use crate::extensions::source_map_of_types;

/// The largest file that is searched for the name of its map, and the largest map.
const LIMIT: u64 = 32 * 1024 * 1024;

/// What names a map, at the end of a file (ECMA-426, "Linking generated code to source maps").
const COMMENT: &str = "//# sourceMappingURL=";

/// The map of a file that a stack names by its URL, as JSON. `readable`: whether the function may read a path.
pub fn of_file(url: &str, readable: impl Fn(&Path) -> bool) -> Option<Vec<u8>> {
    let url = Url::parse(url).ok()?;
    let text = read(&url, &readable)?;
    let media_type = MediaType::from_specifier(&url);
    if media_type.is_typed() {
        return source_map_of_types(url, text.into(), media_type)
            .ok()
            .map(String::into_bytes);
    }
    let at = text.rfind(COMMENT)? + COMMENT.len();
    let reference = text[at..].split_whitespace().next()?;
    if reference.starts_with("data:") {
        let encoded = reference.split_once(";base64,")?.1;
        return STANDARD.decode(encoded).ok();
    }
    beside(url.join(reference).ok()?.as_str(), readable)
}

/// A map that is a file of its own, by its URL.
pub fn beside(url: &str, readable: impl Fn(&Path) -> bool) -> Option<Vec<u8>> {
    read(&Url::parse(url).ok()?, &readable).map(String::into_bytes)
}

fn read(url: &Url, readable: &impl Fn(&Path) -> bool) -> Option<String> {
    if url.scheme() != "file" {
        return None;
    }
    let path = url.to_file_path().ok()?;
    let fits = readable(&path) && std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LIMIT);
    fits.then(|| std::fs::read_to_string(&path).ok())?
}

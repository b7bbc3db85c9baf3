//! An object's key: its path below the bucket's directory, byte for byte.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What S3 leaves as it is in an event's key beside letters and digits; a space becomes `+` (AWS, "Event message
/// structure": "the key is URL encoded"; recorded events keep `/`).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b'*');

/// The key of an object. Names are bytes on Linux, so keys are too; they are ordered by byte, as S3 lists them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey(Arc<[u8]>);

impl ObjectKey {
    /// The key of `path` in the bucket at `root`; `None` for the bucket itself and for paths outside.
    pub(crate) fn of(root: &Path, path: &Path) -> Option<Self> {
        let relative = path.strip_prefix(root).ok()?.as_os_str().as_bytes();
        (!relative.is_empty()).then(|| Self(relative.into()))
    }

    /// The key of the entry `name` in `directory`; `None` is the bucket itself.
    pub(crate) fn inside(directory: Option<&Self>, name: &[u8]) -> Self {
        match directory {
            None => Self(name.into()),
            Some(directory) => Self([&directory.0, b"/".as_slice(), name].concat().into()),
        }
    }

    /// The key as form-url-encoded text, as it stands in an event. Different keys have different texts.
    pub(crate) fn encoded(&self) -> String {
        percent_encode(&self.0, ENCODED).to_string().replace("%20", "+")
    }

    /// The key whose encoded text is `text`.
    pub(crate) fn decode(text: &str) -> Self {
        Self(percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>().into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path below the bucket's directory.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The names on the way: directories, then the file.
    pub(crate) fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The first key that is in the directory of this name: where a walk over ordered keys begins.
    pub(crate) fn first_below(&self) -> Self {
        Self([&self.0, b"/".as_slice()].concat().into())
    }

    /// Whether this is a key in the directory called `directory`.
    pub(crate) fn is_below(&self, directory: &Self) -> bool {
        self.0
            .strip_prefix(directory.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl From<&str> for ObjectKey {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}
impl Borrow<[u8]> for ObjectKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
/// The encoded text: a message must not carry a name's control characters to a terminal.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encoded())
    }
}
impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encoded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_in_recorded_events() {
        let cases: &[(&[u8], &str)] = &[
            (b"a.csv", "a.csv"),
            (b"in/2026/a b.csv", "in/2026/a+b.csv"),
            (b"a@b", "a%40b"),
            (b"a+b", "a%2Bb"),
            (b"100%", "100%25"),
            (b"x=1&y=2", "x%3D1%26y%3D2"),
            (b"-._*", "-._*"),
            (b"~!'()", "%7E%21%27%28%29"),
            ("\u{e4}\u{1f600}".as_bytes(), "%C3%A4%F0%9F%98%80"),
            (b"line\nbreak\t\x1b[31m", "line%0Abreak%09%1B%5B31m"),
            (b"\xff\xfe/\x80", "%FF%FE/%80"),
        ];
        for (bytes, text) in cases {
            let key = ObjectKey::inside(None, bytes);
            assert_eq!(&key.encoded(), text);
            assert_eq!(ObjectKey::decode(text), key, "{text}");
        }
    }

    #[test]
    fn a_directory_holds_only_what_is_below_it() {
        let directory = ObjectKey::from("in");
        assert!(ObjectKey::from("in/a").is_below(&directory));
        assert!(ObjectKey::from("in/a/b").is_below(&directory));
        for other in ["in", "inn/a", "i", "out/in/a"] {
            assert!(!ObjectKey::from(other).is_below(&directory), "{other}");
        }
        assert!(ObjectKey::from("in/a") >= directory.first_below());
    }

    #[test]
    fn the_bucket_itself_has_no_key() {
        let root = Path::new("/bucket");
        assert_eq!(ObjectKey::of(root, root), None);
        assert_eq!(ObjectKey::of(root, Path::new("/elsewhere/a")), None);
        assert_eq!(
            ObjectKey::of(root, Path::new("/bucket/a/b")),
            Some(ObjectKey::from("a/b"))
        );
    }
}

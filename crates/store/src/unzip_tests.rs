//! Packages made to do harm, and packages that look odd and are right.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Objects;
use crate::archives::{
    Hostile, contradictions, file, lies_and_bombs, link, links_that_lead_out, names_that_lead_out, zip,
};

/// A directory with the archive in it, unpacked.
struct Place {
    root: tempfile::TempDir,
    objects: Objects,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let objects = Objects::open(&root.path().join("data")).unwrap();
        Self { root, objects }
    }

    fn unpack(&self, archive: &[u8]) -> Result<PathBuf, String> {
        let path = self.root.path().join("code.zip");
        std::fs::write(&path, archive).unwrap();
        let files = self.objects.files(&path, &[]).map_err(|(at, error)| {
            assert_eq!(at, path);
            error.to_string()
        });
        files.map(|files| files.code)
    }

    /// Everything that is there, by relative path.
    fn all(&self) -> Vec<String> {
        fn walk(root: &Path, path: &Path, all: &mut Vec<String>) {
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                all.push(path.strip_prefix(root).unwrap().display().to_string());
                if path.symlink_metadata().unwrap().is_dir() {
                    walk(root, &path, all);
                }
            }
        }
        let mut all = Vec::new();
        walk(self.root.path(), self.root.path(), &mut all);
        all.sort();
        all
    }
}

/// Each archive is refused with a text that has these words, and leaves nothing.
fn all_are_refused(cases: Vec<Hostile>) {
    let count = cases.len();
    let place = Place::new();
    let mut wrong = Vec::new();
    for (number, (archive, words)) in cases.into_iter().enumerate() {
        match place.unpack(&archive) {
            Ok(_) => wrong.push(format!("{number} {words:?}: it was unpacked")),
            Err(error) if words.iter().all(|word| error.contains(word)) => {}
            Err(error) => wrong.push(format!("{number} {words:?}: {error}")),
        }
        if place.all() != ["code.zip", "data", "data/objects"] {
            wrong.push(format!("{number} {words:?} left {:?}", place.all()));
        }
    }
    assert!(wrong.is_empty(), "of {count}:\n{}", wrong.join("\n"));
}

#[test]
fn names_that_lead_out_are_refused() {
    all_are_refused(names_that_lead_out());
}

#[test]
fn links_that_lead_out_are_refused() {
    all_are_refused(links_that_lead_out());
}

#[test]
fn entries_that_contradict_each_other_or_are_no_files_are_refused() {
    all_are_refused(contradictions());
}

#[test]
fn sizes_that_lie_and_bombs_are_refused() {
    all_are_refused(lies_and_bombs());
}

#[test]
fn odd_packages_that_are_right_are_unpacked() {
    let place = Place::new();
    let archive = zip(&[
        file("./", "").mode(0o040_755),
        file("lib/", "").mode(0o042_755),
        file("./index.js", "code").deflated(),
        file("lib//tool.js", "tool"),
        file("bin/run", "#!").mode(0o100_755),
        file("README", "one"),
        file("readme", "two"),
        file("made on windows.txt", "x").mode(0),
        link("lib/alias.js", "tool.js"),
        link("lib/up.js", "../index.js"),
        link("dir", "lib"),
        link("lib/dangling", "missing"),
        file("..dots", "fine"),
        file("a..b/c", "fine"),
    ]);
    let root = place.unpack(&archive).unwrap();
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    for (path, expected) in [
        ("index.js", "code"),
        ("lib/tool.js", "tool"),
        ("lib/alias.js", "tool"),
        ("lib/up.js", "code"),
        ("dir/tool.js", "tool"),
        ("README", "one"),
        ("readme", "two"),
        ("..dots", "fine"),
        ("a..b/c", "fine"),
        ("made on windows.txt", "x"),
    ] {
        assert_eq!(text(path), expected, "{path}");
    }
    let mode = |path: &str| std::fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("index.js"), mode("bin/run"), mode("lib")), (0o444, 0o555, 0o555));

    let before = std::fs::metadata(&root).unwrap().modified().unwrap();
    assert_eq!(place.unpack(&archive), Ok(root.clone()), "it is unpacked once");
    assert_eq!(std::fs::metadata(&root).unwrap().modified().unwrap(), before);
    let other = place.unpack(&zip(&[file("index.js", "other")])).unwrap();
    assert_ne!(other, root);

    let next = Objects::open(&place.root.path().join("data")).unwrap();
    std::fs::create_dir(place.root.path().join("data/objects/half.part")).unwrap();
    let _held = next.files(&place.root.path().join("code.zip"), &[]).unwrap();
    next.collect(Vec::new).unwrap();
    assert!(other.exists() && !root.exists(), "what nobody uses is removed");
    assert!(!place.root.path().join("data/objects/half.part").exists());
}

#[test]
fn layers_are_merged_and_later_ones_win() {
    let place = Place::new();
    let path = |name: &str| place.root.path().join(name);
    for (name, text) in [
        ("one/a", "a1"),
        ("one/both", "b1"),
        ("one/nodejs/x", "x1"),
        ("one/kind/file", "k1"),
        ("one/flat", "f1"),
        ("two/both", "b2"),
        ("two/nodejs/y", "y2"),
        ("two/kind", "k2"),
        ("two/flat/deep", "f2"),
    ] {
        std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        std::fs::write(path(name), text).unwrap();
    }
    std::fs::write(path("three.zip"), zip(&[file("both", "b3"), link("also", "both")])).unwrap();
    let code = path("one");
    let layers = |names: &[&str]| {
        let names: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
        place.objects.files(&code, &names).unwrap().layers
    };
    assert_eq!(layers(&[]), None);
    assert_eq!(layers(&["two"]), Some(path("two")), "one directory needs no copy");
    let merged = layers(&["one", "two", "three.zip"]).unwrap();
    for (name, expected) in [
        ("a", "a1"),
        ("both", "b3"),
        ("also", "b3"),
        ("nodejs/x", "x1"),
        ("nodejs/y", "y2"),
        ("kind", "k2"),
        ("flat/deep", "f2"),
    ] {
        assert_eq!(std::fs::read_to_string(merged.join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(layers(&["one", "two", "three.zip"]).unwrap(), merged);
    let other = layers(&["three.zip", "two", "one"]).unwrap();
    assert_eq!(std::fs::read_to_string(other.join("both")).unwrap(), "b1");
}

#[test]
fn code_and_layers_share_one_limit() {
    let place = Place::new();
    let sparse = |name: &str, megabytes: u64| {
        std::fs::create_dir(place.root.path().join(name)).unwrap();
        let file = std::fs::File::create(place.root.path().join(name).join("data")).unwrap();
        file.set_len(megabytes * 1000 * 1000).unwrap();
        place.root.path().join(name)
    };
    let (code, small, large) = (sparse("code", 200), sparse("small", 62), sparse("large", 63));
    assert!(place.objects.files(&code, std::slice::from_ref(&small)).is_ok());
    let (path, error) = place.objects.files(&code, std::slice::from_ref(&large)).unwrap_err();
    assert_eq!(
        (path, error.to_string().as_str()),
        (large, "Unzipped size must be smaller than 262144000 bytes")
    );
}

//! Packages that are uploaded: kept whole or not at all, and for as long as they are needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use hikigane_model::limits;

use crate::archives::{file, zip};
use crate::small_disk::SmallDisk;
use crate::{Objects, Package, PackageError};

fn package(text: &str) -> Vec<u8> {
    zip(&[file("index.js", text), file("lib/more.js", text.repeat(100))])
}

fn put(objects: &Objects, mut zip: &[u8]) -> Result<Package, PackageError> {
    objects.put(&mut zip, limits::ZIPPED)
}

/// The names of what is kept.
fn kept(data: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(data.join("objects")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_package_is_kept_once_whoever_uploads_it_at_the_same_time() {
    let data = tempfile::tempdir().unwrap();
    let objects = Objects::open(data.path()).unwrap();
    let archive = package("one");
    let packages: Vec<Package> = std::thread::scope(|scope| {
        let puts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| put(&objects, &archive).unwrap()))
            .collect();
        puts.into_iter().map(|put| put.join().unwrap()).collect()
    });
    for package in &packages {
        assert_eq!(
            (&package.sha256, package.size, package.unzipped),
            (&packages[0].sha256, archive.len() as u64, 303)
        );
    }
    assert_eq!(kept(data.path()).len(), 2, "{:?}", kept(data.path()));
    let files = objects.uploaded(&packages[0].sha256, &[]).unwrap();
    assert_eq!(std::fs::read_to_string(files.code.join("index.js")).unwrap(), "one");
    let mut whole = Vec::new();
    objects
        .zip(&packages[0].sha256)
        .unwrap()
        .read_to_end(&mut whole)
        .unwrap();
    assert_eq!(whole, archive);
    for path in [files.code.clone(), files.code.join("lib"), files.code.join("index.js")] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o222, 0, "{path:?} can be written");
    }
}

#[test]
fn what_is_refused_or_breaks_off_leaves_nothing() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the line is cut"));
            }
            self.0 -= 1;
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let data = tempfile::tempdir().unwrap();
    let objects = Objects::open(data.path()).unwrap();
    let evil = zip(&[file("index.js", "1"), file("../evil", "2")]);
    assert!(matches!(put(&objects, &evil), Err(PackageError::Entry { .. })));
    assert!(matches!(put(&objects, b"PK no"), Err(PackageError::Broken(_))));
    let cut = objects.put(&mut Broken(3), limits::ZIPPED).unwrap_err();
    assert!(matches!(&cut, PackageError::Unreadable(error) if error.to_string() == "the line is cut"));
    let archive = package("one");
    let most = archive.len() as u64;
    assert!(objects.put(&mut archive.as_slice(), most).is_ok());
    let larger = objects.put(&mut package("other").as_slice(), most).unwrap_err();
    assert_eq!(
        larger.to_string(),
        format!("Zipped size must be smaller than {most} bytes")
    );
    objects.collect(Vec::new).unwrap();
    assert_eq!(kept(data.path()), BTreeSet::new());
}

#[test]
fn an_object_goes_when_it_is_neither_pinned_nor_used() {
    let data = tempfile::tempdir().unwrap();
    let objects = Objects::open(data.path()).unwrap();
    let [code, one, two] = ["code", "one", "two"].map(|text| put(&objects, &package(text)).unwrap());
    let all: Vec<String> = [&code, &one, &two].map(|package| package.sha256.clone()).to_vec();
    let files = objects.uploaded(&code.sha256, &[&one.sha256, &two.sha256]).unwrap();
    let merged = files.layers.clone().unwrap();
    assert_eq!(std::fs::read_to_string(merged.join("index.js")).unwrap(), "two");
    drop((code, one, two));
    objects.collect(Vec::new).unwrap();
    assert_eq!(
        kept(data.path()).len(),
        4,
        "the files of three packages are pinned, and what was merged, but none of the zips: {:?}",
        kept(data.path())
    );
    objects.collect(|| all.clone()).unwrap();
    drop(files);
    objects.collect(|| all.clone()).unwrap();
    assert!(!merged.exists(), "what was merged can be merged again");
    objects.collect(|| vec![all[1].clone()]).unwrap();
    assert!(objects.uploaded(&all[0], &[]).is_err());
    assert!(objects.uploaded(&all[1], &[]).is_ok());
    objects.collect(Vec::new).unwrap();
    assert_eq!(kept(data.path()), BTreeSet::new());

    // What a server left that was killed.
    std::fs::create_dir_all(data.path().join("objects/x.part/deep")).unwrap();
    std::fs::write(data.path().join("objects/y.part"), "half").unwrap();
    std::fs::create_dir(data.path().join("objects/z.gone")).unwrap();
    let next = Objects::open(data.path()).unwrap();
    next.collect(Vec::new).unwrap();
    assert_eq!(kept(data.path()), BTreeSet::new());
}

#[test]
fn nothing_is_collected_that_an_upload_is_about_to_name() {
    let data = tempfile::tempdir().unwrap();
    let objects = Objects::open(data.path()).unwrap();
    // One function whose code changes all the time; others upload the same packages.
    let (catalog, turn) = (Mutex::new(String::new()), Mutex::new(()));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                objects.collect(|| vec![catalog.lock().unwrap().clone()]).unwrap();
            }
        });
        let uploads: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..60 {
                        let package = put(&objects, &package(&(round % 3).to_string())).unwrap();
                        // One change at a time, as in the catalog.
                        let _turn = turn.lock().unwrap();
                        catalog.lock().unwrap().clone_from(&package.sha256);
                        let current = package.sha256.clone();
                        drop(package);
                        let files = objects
                            .uploaded(&current, &[])
                            .expect("what the catalog names is there");
                        assert!(files.code.join("lib/more.js").exists());
                        assert!(objects.zip(&current).is_ok());
                    }
                })
            })
            .collect();
        uploads.into_iter().for_each(|upload| upload.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    objects.collect(Vec::new).unwrap();
    assert_eq!(kept(data.path()), BTreeSet::new());
}

#[test]
fn a_full_disk_is_the_machines_fault_and_leaves_nothing_half_kept() {
    let Some(disk) = SmallDisk::mount("size=2m,nr_inodes=64") else {
        return;
    };
    let disk = disk.path();
    let objects = Objects::open(disk).unwrap();
    let random = |size: usize| {
        let mut state = 7_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..size).map(|_| byte()).collect::<Vec<u8>>()
    };
    let many: Vec<_> = (0..100).map(|number| file(format!("d{number}/f"), "1")).collect();
    for (what, archive) in [
        ("no room for the zip", zip(&[file("f", random(3_000_000))])),
        (
            "no room for its files",
            zip(&[file("f", vec![0; 4_000_000]).deflated()]),
        ),
        ("no room for so many files", zip(&many)),
    ] {
        let error = put(&objects, &archive).unwrap_err();
        assert!(matches!(error, PackageError::Io(_)), "{what}: {error:?}");
        objects.collect(Vec::new).unwrap();
        assert_eq!(kept(disk), BTreeSet::new(), "{what}");
    }
    assert!(put(&objects, &package("small")).is_ok(), "and then there is room again");
}

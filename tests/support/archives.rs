//! Zips, made by hand so that they can lie; and those that are made to do harm. The tests of the unpacking and those of the whole program share them.

#![allow(clippy::unwrap_used)]

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An archive that must be refused, and words of the reason.
pub type Hostile = (Vec<u8>, &'static [&'static str]);

const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One entry of an archive, with every chance to lie.
#[derive(Clone)]
pub struct Entry {
    name: Vec<u8>,
    data: Vec<u8>,
    mode: u32,
    method: u16,
    flags: u16,
    size: u32,
    crc: u32,
}

/// A file, stored.
pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Entry {
    let data = data.as_ref();
    let mut crc = flate2::Crc::new();
    crc.update(data);
    Entry {
        name: name.as_ref().to_vec(),
        data: data.to_vec(),
        mode: FILE,
        method: STORED,
        flags: 0x800,
        size: data.len() as u32,
        crc: crc.sum(),
    }
}

/// A symbolic link.
pub fn link(name: &str, target: impl AsRef<[u8]>) -> Entry {
    file(name, target).mode(LINK)
}

impl Entry {
    /// With this mode, of Unix.
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// With this size said, whatever it is.
    fn size(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// Compressed.
    pub fn deflated(mut self) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.data).unwrap();
        self.data = encoder.finish().unwrap();
        Self {
            method: DEFLATED,
            ..self
        }
    }

    /// What the local and the central header share (PKWARE, APPNOTE.TXT 4.3.7 and 4.3.12).
    fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for short in [20, self.flags, self.method, 0, 0x21] {
            out.extend(short.to_le_bytes());
        }
        for long in [self.crc, self.data.len() as u32, self.size] {
            out.extend(long.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        out
    }
}

/// An archive of these entries.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut starts = Vec::new();
    for entry in entries {
        starts.push(out.len() as u32);
        out.extend(b"PK\x03\x04");
        out.extend(entry.header());
        out.extend(&entry.name);
        out.extend(&entry.data);
    }
    with_directory(out, entries, &starts)
}

fn with_directory(mut out: Vec<u8>, entries: &[Entry], starts: &[u32]) -> Vec<u8> {
    let directory = out.len() as u32;
    for (entry, start) in entries.iter().zip(starts) {
        out.extend(b"PK\x01\x02");
        out.extend([20, 3]);
        out.extend(entry.header());
        out.extend([0; 6]);
        out.extend((entry.mode << 16).to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend(&entry.name);
    }
    let length = out.len() as u32 - directory;
    out.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        out.extend((entries.len() as u16).to_le_bytes());
    }
    out.extend(length.to_le_bytes());
    out.extend(directory.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Names that lead out of the package, or are none.
pub fn names_that_lead_out() -> Vec<Hostile> {
    let long = "x".repeat(60_000);
    let one = |name: &[u8]| zip(&[file("index.js", "1"), file(name, "evil")]);
    vec![
        (one(b"../evil"), &["\"../evil\"", "`..`"]),
        (one(b"a/../../evil"), &["\"a/../../evil\"", "`..`"]),
        (one(b"a/.."), &["\"a/..\"", "`..`"]),
        (one(b".."), &["\"..\"", "`..`"]),
        (one(b"./../evil"), &["`..`"]),
        (one(b"/evil"), &["\"/evil\"", "absolute"]),
        (one(b"//evil"), &["absolute"]),
        (one(b"/"), &["absolute"]),
        (one(b"..\\evil"), &["backslash"]),
        (one(b"a\\b"), &["backslash"]),
        (one(b"\\\\host\\share\\evil"), &["backslash"]),
        (one(b"C:/evil"), &["\"C:/evil\"", "drive"]),
        (one(b"c:evil"), &["drive"]),
        (one(b"a\0b"), &["\"a\\0b\"", "zero byte"]),
        (one(b"../\0"), &["zero byte"]),
        (one(b""), &["no name"]),
        (one(b"."), &["no name"]),
        (one(b"a\xff"), &["UTF-8"]),
        (one(b"\xc0\xae\xc0\xae/evil"), &["UTF-8"]),
        (one(long.as_bytes()), &["\"xxxx", "60000 bytes"]),
        (one("y".repeat(256).as_bytes()), &["255 bytes"]),
        (one(b"a\x1b[2Jb/../c"), &["\\u{1b}", "`..`"]),
    ]
}

/// Symbolic links that lead out of the package, in a circle, or are none.
pub fn links_that_lead_out() -> Vec<Hostile> {
    let all = |entries: &[Entry]| zip(entries);
    vec![
        (all(&[link("l", "../evil")]), &["\"l\"", "leads out", "../evil"]),
        (all(&[link("l", "/etc/passwd")]), &["\"l\"", "leads out", "/etc/passwd"]),
        (all(&[link("a/l", "../../evil")]), &["\"a/l\"", "leads out"]),
        (all(&[link("l", "a/../../evil")]), &["leads out"]),
        (all(&[link("l", "..")]), &["leads out"]),
        (all(&[link("l", "l")]), &["\"l\"", "circle"]),
        (all(&[link("a", "b"), link("b", "a")]), &["circle"]),
        // Each looks right by itself: `up` is the root, and `out` goes one further.
        (
            all(&[file("a/b/f", "1"), link("a/b/up", "../.."), link("out", "a/b/up/..")]),
            &["\"out\"", "leads out"],
        ),
        (
            all(&[
                file("a/b/f", "1"),
                link("a/b/up", "../.."),
                link("out", "a/b/up/../../../etc/passwd"),
            ]),
            &["leads out"],
        ),
        (
            all(&[link("l", "d"), file("l/evil", "1")]),
            &["\"l/evil\"", "no directory"],
        ),
        (
            all(&[file("l/evil", "1"), link("l", "d")]),
            &["\"l/evil\"", "no directory"],
        ),
        (all(&[link("l", "/tmp"), file("l/a/evil", "1")]), &["no directory"]),
        (all(&[link("l", ""), file("f", "1")]), &["proper target"]),
        (all(&[link("l", "a\0b")]), &["proper target"]),
        (all(&[link("l", b"a\xff")]), &["UTF-8"]),
        (all(&[link("l", "x/".repeat(3000))]), &["proper target"]),
        (all(&[link("l/", "x")]), &["name of a directory"]),
    ]
}

/// Entries that contradict each other, or are neither files nor directories nor links.
pub fn contradictions() -> Vec<Hostile> {
    let mode = |mode: u32| zip(&[file("odd", "1").mode(mode)]);
    let encrypted = Entry {
        flags: 0x801,
        ..file("odd", "1")
    };
    let method = |method: u16| {
        zip(&[Entry {
            method,
            ..file("odd", "1")
        }])
    };
    vec![
        (zip(&[file("a", "1"), file("a", "2")]), &["\"a\"", "twice"]),
        (zip(&[file("a", "1"), file("./a", "2")]), &["\"./a\"", "twice"]),
        (zip(&[file("a/b", "1"), file("a//b", "2")]), &["\"a//b\"", "twice"]),
        (zip(&[file("a", "1"), file("a/", "").mode(0o040_755)]), &["twice"]),
        (zip(&[file("a", "1"), link("a", "b")]), &["\"a\"", "twice"]),
        (zip(&[file("a", "1"), file("a/b", "2")]), &["\"a/b\"", "no directory"]),
        (
            zip(&[file("a/b/c", "1"), file("a", "2")]),
            &["\"a/b/c\"", "no directory"],
        ),
        (mode(0o104_755), &["\"odd\"", "set-user-id"]),
        (mode(0o102_755), &["\"odd\"", "set-group-id"]),
        (mode(0o010_644), &["\"odd\"", "neither a file"]),
        (mode(0o020_644), &["neither a file"]),
        (mode(0o060_644), &["neither a file"]),
        (mode(0o140_644), &["neither a file"]),
        (zip(&[file("a/", "data").mode(LINK)]), &["name of a directory"]),
        (zip(&[encrypted]), &["\"odd\"", "encrypted"]),
        (method(12), &["\"odd\"", "deflate"]),
        (method(14), &["\"odd\"", "deflate"]),
        (method(93), &["\"odd\"", "deflate"]),
        (method(99), &["deflate"]),
        (method(4242), &["deflate"]),
    ]
}

/// Sizes that lie, bombs, masses of entries, and what is no zip.
pub fn lies_and_bombs() -> Vec<Hostile> {
    const MEGABYTE: usize = 1024 * 1024;
    let zeros = vec![0; 300 * MEGABYTE];
    let bomb = file("bomb", &zeros).deflated();
    let half = file("half", &zeros[..130 * MEGABYTE]).deflated();
    let small = file("small", "12345");
    let broken = Entry {
        crc: 7,
        ..small.clone()
    };
    let too_large: &'static [&'static str] = &["Unzipped size must be smaller than 262144000 bytes"];

    let shared = {
        let entry = file("a", vec![1; 1000]);
        let mut out = b"PK\x03\x04".to_vec();
        out.extend(entry.header());
        out.extend(&entry.name);
        out.extend(&entry.data);
        with_directory(
            out,
            &[
                entry.clone(),
                Entry {
                    name: b"b".to_vec(),
                    ..entry
                },
            ],
            &[0, 0],
        )
    };
    let mut masses = zip(std::slice::from_ref(&small));
    let at = masses.len() - 14;
    // The record that ZIP64 has for the count of entries, with a million of them.
    let mut record = b"PK\x06\x06".to_vec();
    record.extend(44_u64.to_le_bytes());
    record.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    record.extend(1_000_000_u64.to_le_bytes());
    record.extend(1_000_000_u64.to_le_bytes());
    record.extend([0; 16]);
    masses.splice(at - 8..at - 8, record);
    let many: Vec<Entry> = (0..65_000).map(|index| file(format!("f{index}"), "")).collect();
    let mut cut = zip(&[file("a", vec![7; 5000])]);
    cut.drain(100..200);
    let fine = zip(std::slice::from_ref(&small));

    vec![
        (zip(std::slice::from_ref(&bomb)), too_large),
        (
            zip(&[
                half.clone(),
                Entry {
                    name: b"other".to_vec(),
                    ..half.clone()
                },
            ]),
            too_large,
        ),
        (zip(&[bomb.clone().size(10)]), &["\"bomb\""]),
        (zip(&[bomb.size(u32::MAX - 1)]), too_large),
        (zip(&[file("f", "12345").deflated().size(4)]), &["\"f\""]),
        (zip(&[file("f", "12345").deflated().size(6)]), &["\"f\""]),
        (zip(&[small.clone().size(2)]), &["\"small\""]),
        (zip(&[small.size(9)]), &["\"small\""]),
        (zip(&[broken]), &["\"small\"", "damaged"]),
        (
            zip(&[Entry {
                data: vec![0xff; 40],
                ..file("f", "12345").deflated()
            }]),
            &["\"f\"", "damaged"],
        ),
        (shared, &["share their bytes"]),
        (masses, &["1000000 entries"]),
        (zip(&[many, vec![file("../evil", "")]].concat()), &["`..`"]),
        (cut, &["Could not unzip uploaded file."]),
        (
            b"not a zip at all".to_vec(),
            &["Could not unzip uploaded file. Please check your file, then try to upload again."],
        ),
        (Vec::new(), &["Could not unzip uploaded file."]),
        (fine[..fine.len() / 2].to_vec(), &["Could not unzip uploaded file."]),
        (fine[4..].to_vec(), &["Could not unzip uploaded file."]),
    ]
}

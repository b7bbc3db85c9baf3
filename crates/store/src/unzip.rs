//! Unpacking a zip that may have been made to do harm.
//!
//! The parser is the crate `zip`'s; what is written, and where, is decided here. Each name is checked as text first; every file is then
//! opened relative to the target's descriptor by the kernel's rule that the path stays beneath it and follows no link (`openat2`). Symbolic
//! links are made last, so that nothing can be written through one, and each must end inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use hikigane_model::limits;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use zip::{CompressionMethod, ZipArchive};

/// Entries that a package may have. AWS names no limit; the largest packages of real functions have some ten thousand.
const ENTRIES: u64 = 100_000;
/// The longest path, and the longest name in it, bytes (Linux).
const PATH: usize = 4096;
const NAME: usize = 255;

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It is no zip, or a damaged one (AWS's text).
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again. ({0})")]
    Broken(String),
    /// One of its entries is refused.
    #[error("the entry \"{entry}\" {why}")]
    Entry {
        /// Its name, with what cannot be printed escaped.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// With layers, it is too large (AWS's text).
    #[error("Unzipped size must be smaller than {} bytes", limits::UNZIPPED)]
    TooLarge,
    /// The zip itself is too large (AWS's text).
    #[error("Zipped size must be smaller than {0} bytes")]
    ZipTooLarge(u64),
    /// Where it comes from does not give all of it.
    #[error("{0}")]
    Unreadable(#[source] io::Error),
    /// The machine did not do its part.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One entry, checked.
struct Entry {
    index: usize,
    path: String,
    kind: Kind,
    executable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

/// Unpacks `archive` into the empty directory `target`, at most `budget` bytes of files. Files are readable by all and writable by nobody.
/// Returns how many bytes were written.
pub fn unzip(archive: &mut File, target: &Path, budget: u64) -> Result<u64, PackageError> {
    refuse_masses(archive)?;
    let raw = archive.try_clone()?;
    let mut archive = ZipArchive::new(archive).map_err(broken)?;
    let entries = check(&mut archive, raw)?;
    let root = rustix::fs::open(
        target,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)?;
    let mut written = 0;
    for entry in entries.values().filter(|entry| entry.kind != Kind::Link) {
        match entry.kind {
            Kind::Directory => make_directory(&root, &entry.path).map_err(|error| unwritable(&entry.path, error))?,
            _ => written += write_file(&mut archive, &root, entry, budget - written)?,
        }
    }
    let links: Vec<&Entry> = entries.values().filter(|entry| entry.kind == Kind::Link).collect();
    for entry in &links {
        make_link(&mut archive, &root, entry)?;
    }
    // Only when all are there is it known where a chain of them ends.
    for entry in links {
        match rustix::fs::openat2(
            &root,
            &entry.path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH,
        ) {
            Ok(_) | Err(rustix::io::Errno::NOENT) => {}
            Err(_) => {
                return Err(refused(
                    &entry.path,
                    "is a symbolic link that leads out of the package, or in a circle",
                ));
            }
        }
    }
    Ok(written)
}

/// Refuses an archive of too many entries before any of them is read: its end says how many it has.
fn refuse_masses(archive: &mut File) -> Result<(), PackageError> {
    let length = archive.seek(SeekFrom::End(0))?;
    let start = length.saturating_sub(66_000);
    archive.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    archive.take(66_000).read_to_end(&mut tail)?;
    archive.seek(SeekFrom::Start(0))?;
    let last = |signature: [u8; 4]| tail.windows(4).rposition(|bytes| bytes == signature);
    let number = |at: usize, size: usize| {
        let bytes = tail.get(at..at + size).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
    };
    // "End of central directory record" and its ZIP64 form (PKWARE, APPNOTE.TXT 4.3.14 and 4.3.16).
    let plain = last(*b"PK\x05\x06").map_or(0, |at| number(at + 10, 2));
    let large = last(*b"PK\x06\x06").map_or(0, |at| number(at + 32, 8));
    if plain.max(large) > ENTRIES {
        let count = plain.max(large);
        return Err(PackageError::Broken(format!(
            "it has {count} entries, and at most {ENTRIES} are unpacked"
        )));
    }
    Ok(())
}

/// Checks every entry by what the archive says of it, and brings them in the order of their paths.
fn check(archive: &mut ZipArchive<&mut File>, raw: File) -> Result<BTreeMap<String, Entry>, PackageError> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut declared = 0_u64;
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(broken)?;
        let shown = String::from_utf8_lossy(file.name_raw())
            .escape_debug()
            .take(200)
            .collect::<String>();
        let refuse = |why: &str| refused(&shown, why);
        let path = plain_path(file.name_raw()).map_err(|why| refuse(&why))?;
        if file.encrypted() {
            return Err(refuse("is encrypted"));
        }
        let mode = file.unix_mode();
        let kind = match mode.map(|mode| mode & 0o170_000) {
            Some(0o120_000) => Kind::Link,
            Some(0o040_000) => Kind::Directory,
            None | Some(0 | 0o100_000) if file.is_dir() => Kind::Directory,
            None | Some(0 | 0o100_000) => Kind::File,
            Some(_) => return Err(refuse("is neither a file nor a directory nor a symbolic link")),
        };
        if kind != Kind::Directory && file.is_dir() {
            return Err(refuse("has the name of a directory and is none"));
        }
        if kind == Kind::File && mode.is_some() && (file.external_attributes() >> 16) & 0o6000 != 0 {
            return Err(refuse("is a set-user-id or set-group-id file"));
        }
        if !matches!(
            file.compression(),
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            return Err(refuse(&format!(
                "is compressed by a method other than deflate ({:?})",
                file.compression()
            )));
        }
        declared = declared.saturating_add(if kind == Kind::File { file.size() } else { 0 });
        if declared > limits::UNZIPPED {
            return Err(PackageError::TooLarge);
        }
        let entry = Entry {
            index,
            path: path.clone(),
            kind,
            executable: mode.is_some_and(|mode| mode & 0o111 != 0),
        };
        // The root itself, as `./`.
        if path.is_empty() {
            if kind == Kind::Directory {
                continue;
            }
            return Err(refuse("has no name"));
        }
        if let Some(other) = entries.insert(path, entry)
            && (other.kind, kind) != (Kind::Directory, Kind::Directory)
        {
            return Err(refuse("is there twice"));
        }
    }
    if archive.has_duplicate_names() {
        let name = duplicate(raw, archive.central_directory_start())?;
        return Err(refused(&name, "is there twice"));
    }
    for entry in entries.values() {
        let mut parents = entry.path.match_indices('/').map(|(at, _)| &entry.path[..at]);
        if let Some(parent) = parents.find(|parent| {
            entries
                .get(*parent)
                .is_some_and(|parent| parent.kind != Kind::Directory)
        }) {
            return Err(refused(
                &entry.path,
                &format!("lies in \"{parent}\", which is no directory"),
            ));
        }
    }
    if archive.has_overlapping_entries().map_err(broken)? {
        return Err(PackageError::Broken("some of its entries share their bytes".into()));
    }
    Ok(entries)
}

/// A name that the central directory has twice: the parser keeps one of them.
fn duplicate(mut raw: File, directory: u64) -> io::Result<String> {
    raw.seek(SeekFrom::Start(directory))?;
    let mut reader = io::BufReader::new(raw);
    let mut names = BTreeSet::new();
    loop {
        let mut header = [0_u8; 46];
        if reader.read_exact(&mut header).is_err() || header[..4] != *b"PK\x01\x02" {
            return Ok("?".to_owned());
        }
        let length = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let mut name = vec![0; length(28)];
        reader.read_exact(&mut name)?;
        reader.seek_relative((length(30) + length(32)) as i64)?;
        let shown = String::from_utf8_lossy(&name).escape_debug().take(200).collect();
        if !names.insert(name) {
            return Ok(shown);
        }
    }
}

/// The path below the package's root that a name means, without `.` and doubled slashes; or what is wrong with it.
fn plain_path(name: &[u8]) -> Result<String, String> {
    let name = std::str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
    if name.len() > PATH {
        return Err(format!("has a name of {} bytes, more than {PATH}", name.len()));
    }
    if name.contains('\0') {
        return Err("has a name with a zero byte".into());
    }
    if name.contains('\\') {
        return Err("has a name with a backslash".into());
    }
    if name.starts_with('/') {
        return Err("has an absolute name".into());
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("has a name with `..`".into());
    }
    let drive =
        |part: &&&str| part.len() >= 2 && part.as_bytes()[1] == b':' && part.as_bytes()[0].is_ascii_alphabetic();
    if parts.first().filter(drive).is_some() {
        return Err("has a name with a drive".into());
    }
    if parts.iter().any(|part| part.len() > NAME) {
        return Err(format!("has a part of its name with more than {NAME} bytes"));
    }
    Ok(parts.join("/"))
}

fn write_file(
    archive: &mut ZipArchive<&mut File>,
    root: &OwnedFd,
    entry: &Entry,
    budget: u64,
) -> Result<u64, PackageError> {
    let refuse = |why: &dyn std::fmt::Display| refused(&entry.path, &why.to_string());
    if let Some((parent, _)) = entry.path.rsplit_once('/') {
        make_directory(root, parent).map_err(|error| unwritable(&entry.path, error))?;
    }
    let mode = Mode::from_raw_mode(if entry.executable { 0o555 } else { 0o444 });
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(root, &entry.path, flags, mode, BENEATH).map_err(|error| match error {
        // The entries' paths differ; it is the file system that takes them for the same.
        rustix::io::Errno::EXIST => {
            refuse(&"has a name that this file system takes for another's: do they differ by case only?")
        }
        error => unwritable(&entry.path, error),
    })?;
    let mut file = File::from(file);
    let mut source = archive.by_index(entry.index).map_err(|error| refuse(&error))?;
    let declared = source.size();
    if declared > budget {
        return Err(PackageError::TooLarge);
    }
    // One more than it says: what follows is a lie, and is not unpacked to find out how large.
    let mut source = (&mut source).take(declared + 1);
    let mut buffer = [0_u8; 64 * 1024];
    let mut written = 0;
    loop {
        let read = source
            .read(&mut buffer)
            .map_err(|error| refuse(&format!("is damaged: {error}")))?;
        if read == 0 {
            break;
        }
        written += read as u64;
        if written > declared {
            return Err(refuse(&format!("is larger than the {declared} bytes that it says")));
        }
        file.write_all(&buffer[..read])?;
    }
    if written < declared {
        return Err(refuse(&format!("has {written} bytes and says {declared}")));
    }
    Ok(written)
}

fn make_link(archive: &mut ZipArchive<&mut File>, root: &OwnedFd, entry: &Entry) -> Result<(), PackageError> {
    let refuse = |why: &dyn std::fmt::Display| refused(&entry.path, &why.to_string());
    let mut target = Vec::new();
    let source = archive.by_index(entry.index).map_err(|error| refuse(&error))?;
    source
        .take(PATH as u64 + 1)
        .read_to_end(&mut target)
        .map_err(|error| refuse(&format!("is damaged: {error}")))?;
    let target = String::from_utf8(target).map_err(|_| refuse(&"is a symbolic link whose target is not UTF-8"))?;
    if target.is_empty() || target.len() > PATH || target.contains('\0') {
        return Err(refuse(&"is a symbolic link without a proper target"));
    }
    let depth = entry.path.matches('/').count();
    if target.starts_with('/') || climbs(&target, depth) {
        return Err(refuse(&format!(
            "is a symbolic link that leads out of the package, to \"{}\"",
            target.escape_debug()
        )));
    }
    let (parent, name) = entry.path.rsplit_once('/').unwrap_or((".", &entry.path));
    make_directory(root, parent).map_err(|error| unwritable(&entry.path, error))?;
    let parent = rustix::fs::openat2(
        root,
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        BENEATH,
    )
    .map_err(|error| unwritable(&entry.path, error))?;
    rustix::fs::symlinkat(target, parent, name).map_err(|error| unwritable(&entry.path, error))
}

/// Whether a relative path, walked from a directory `depth` below the root, ever leaves the root.
fn climbs(target: &str, mut depth: usize) -> bool {
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Beneath the root, and through no link at all.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Makes a directory and its parents.
fn make_directory(root: &OwnedFd, path: &str) -> rustix::io::Result<()> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (parent, name) = path[..end].rsplit_once('/').unwrap_or((".", &path[..end]));
        if name == "." {
            continue;
        }
        let parent = rustix::fs::openat2(
            root,
            parent,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            BENEATH,
        )?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn refused(entry: &str, why: &str) -> PackageError {
    PackageError::Entry {
        entry: entry.to_owned(),
        why: why.to_owned(),
    }
}

/// An entry that cannot be made: the machine's fault when it has no room, or the entry's.
fn unwritable(entry: &str, error: rustix::io::Errno) -> PackageError {
    use rustix::io::Errno;
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS | Errno::NFILE | Errno::MFILE | Errno::NOMEM => {
            PackageError::Io(error.into())
        }
        error => refused(entry, &error.to_string()),
    }
}

fn broken(error: zip::result::ZipError) -> PackageError {
    PackageError::Broken(error.to_string())
}

//! What V8 compiled of a function's modules, kept in a file for the next environment of the function.
//!
//! The server names a directory; a worker maps the file in it, takes what fits the sources it loads, and writes a new one, on a thread of its own, after an invocation that compiled something new. The file is replaced by renaming, never changed. What
//! is in it is taken only with its checksum, for the same source, and by the same V8 with the same flags; V8 looks at the rest.
//!
//! Functions cannot get at it: in their file tree, the directory has no name, and the code that reads and writes it is not theirs.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut};
use deno_core::{SourceCodeCacheInfo, v8};
use rustix::fs::{AtFlags, Mode, OFlags};

/// The least source, in bytes or UTF-16 units, that is worth it: V8 compiles a smaller one sooner than its cache is checked.
const LEAST_SOURCE: usize = 1024;
/// The most bytes of a file.
const LIMIT: usize = 64 * 1024 * 1024;
/// How often one environment writes: modules that are loaded later and later must not keep it busy.
const SAVES: u32 = 4;
/// After this time, a file that is being written belongs to an environment that is dead.
const ABANDONED: Duration = Duration::from_secs(60);

const NAME: &str = "code.cache";
const NEXT: &str = "code.cache.next";
const MAGIC: &[u8; 8] = b"hikicc01";

/// The cache of one environment. Off until its directory is known.
#[derive(Default)]
pub struct CodeCache(RefCell<Option<Open>>);

struct Open {
    directory: Arc<OwnedFd>,
    old: HashMap<String, Entry>,
    new: HashMap<String, Entry>,
    saves: u32,
}

/// What was compiled of one source.
struct Entry {
    source: u64,
    checksum: u32,
    code: Cow<'static, [u8]>,
}

impl CodeCache {
    /// Opens the cache in this directory. One that is not there or broken is an empty one.
    pub fn open(&self, directory: OwnedFd) {
        let old = map(&directory).and_then(parse).unwrap_or_default();
        *self.0.borrow_mut() = Some(Open {
            directory: Arc::new(directory),
            old,
            new: HashMap::new(),
            saves: 0,
        });
    }

    /// What was compiled of a module with this source, if it was, or where to put it; `None`: it is not worth it.
    pub fn find(&self, module: &str, source: Source) -> Option<SourceCodeCacheInfo> {
        let open = self.0.borrow();
        let open = open.as_ref().filter(|_| source.length() >= LEAST_SOURCE)?;
        let id = source.id();
        Some(SourceCodeCacheInfo {
            hash: id,
            data: open.find(module, id),
        })
    }

    /// JavaScript that was made of another language before, or is made now and kept. The first call of a compiler is dear, however
    /// small the source.
    pub fn made<E>(&self, module: &str, source: &str, make: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        let (module, id) = (format!("{module}#made"), Source::Bytes(source.as_bytes()).id());
        let kept = self.0.borrow().as_ref().and_then(|open| open.find(&module, id));
        if let Some(text) = kept.and_then(|text| String::from_utf8(text.into_owned()).ok()) {
            return Ok(text);
        }
        let text = make()?;
        self.put(&module, id, text.as_bytes());
        Ok(text)
    }

    /// Takes what was compiled of a module.
    pub fn put(&self, module: &str, source: u64, code: &[u8]) {
        if let Some(open) = self.0.borrow_mut().as_mut() {
            let entry = Entry {
                source,
                checksum: crc32fast::hash(code),
                code: Cow::Owned(code.to_vec()),
            };
            open.new.insert(module.to_owned(), entry);
        }
    }

    /// Begins to write what is new, if anything is. The caller does not wait, and nothing depends on it.
    pub fn save(&self) {
        let mut open = self.0.borrow_mut();
        let Some(open) = open.as_mut().filter(|open| !open.new.is_empty() && open.saves < SAVES) else {
            return;
        };
        open.saves += 1;
        for (module, entry) in open.new.drain() {
            open.old.insert(module, entry);
        }
        let file = encode(&open.old);
        let directory = open.directory.clone();
        // A system without room for a thread goes without the cache.
        let _ = std::thread::Builder::new()
            .name("code-cache".into())
            .spawn(move || write(&directory, &file));
    }
}

impl Open {
    fn find(&self, module: &str, source: u64) -> Option<Cow<'static, [u8]>> {
        let entry = self.old.get(module).filter(|entry| entry.source == source)?;
        (crc32fast::hash(&entry.code) == entry.checksum).then(|| entry.code.clone())
    }
}

/// A module's source.
pub enum Source<'a> {
    /// UTF-8, or one byte a character.
    Bytes(&'a [u8]),
    /// UTF-16.
    Units(&'a [u16]),
}

impl Source<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Units(units) => units.len(),
        }
    }

    /// What tells it from another: its length and a checksum. Only the function itself could make two that are alike.
    fn id(&self) -> u64 {
        let checksum = match self {
            Self::Bytes(bytes) => crc32fast::hash(bytes),
            Self::Units(units) => {
                let mut hasher = crc32fast::Hasher::new();
                let mut bytes = Vec::with_capacity(8192);
                for chunk in units.chunks(4096) {
                    bytes.clear();
                    bytes.extend(chunk.iter().flat_map(|unit| unit.to_le_bytes()));
                    hasher.update(&bytes);
                }
                hasher.finalize()
            }
        };
        (self.length() as u64) << 32 | u64::from(checksum)
    }
}

/// The file: a head, an index of modules, and the code of all, one after the other.
fn encode(entries: &HashMap<String, Entry>) -> Vec<u8> {
    let mut index = Vec::new();
    let mut code = Vec::new();
    let mut count = 0;
    for (module, entry) in entries {
        if code.len() + entry.code.len() > LIMIT {
            continue;
        }
        count += 1;
        index.put_u32_le(module.len() as u32);
        index.put_slice(module.as_bytes());
        index.put_u64_le(entry.source);
        index.put_u32_le(entry.checksum);
        index.put_u32_le(entry.code.len() as u32);
        code.extend_from_slice(&entry.code);
    }
    let mut file = Vec::with_capacity(32 + index.len() + code.len());
    file.put_slice(MAGIC);
    file.put_u32_le(v8::script_compiler::cached_data_version_tag());
    file.put_u32_le(crc32fast::hash(&index));
    file.put_u32_le(count);
    file.put_u32_le(index.len() as u32);
    file.append(&mut index);
    file.append(&mut code);
    file
}

/// Reads a file's index; `None`: it is broken, or another V8's.
fn parse(file: &'static [u8]) -> Option<HashMap<String, Entry>> {
    let mut head = file.strip_prefix(MAGIC)?;
    if head.try_get_u32_le().ok()? != v8::script_compiler::cached_data_version_tag() {
        return None;
    }
    let checksum = head.try_get_u32_le().ok()?;
    let count = head.try_get_u32_le().ok()?;
    let length = head.try_get_u32_le().ok()? as usize;
    let (mut index, mut code) = head.split_at_checked(length)?;
    if crc32fast::hash(index) != checksum {
        return None;
    }
    let mut entries = HashMap::new();
    for _ in 0..count {
        let length = index.try_get_u32_le().ok()? as usize;
        let (module, rest) = index.split_at_checked(length)?;
        index = rest;
        let source = index.try_get_u64_le().ok()?;
        let checksum = index.try_get_u32_le().ok()?;
        let (own, rest) = code.split_at_checked(index.try_get_u32_le().ok()? as usize)?;
        code = rest;
        let entry = Entry {
            source,
            checksum,
            code: Cow::Borrowed(own),
        };
        entries.insert(String::from_utf8(module.to_vec()).ok()?, entry);
    }
    Some(entries)
}

/// The directory at this path; `None`: there is none.
pub fn directory(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Maps the file for as long as the process lives.
fn map(directory: &OwnedFd) -> Option<&'static [u8]> {
    let file = rustix::fs::openat(directory, NAME, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = usize::try_from(rustix::fs::fstat(&file).ok()?.st_size).ok()?;
    if length == 0 || length > 2 * LIMIT {
        return None;
    }
    // SAFETY: the mapping is private, read-only and never undone, and no one changes the file: it is only ever replaced by another.
    unsafe {
        let start = rustix::mm::mmap(
            std::ptr::null_mut(),
            length,
            rustix::mm::ProtFlags::READ,
            rustix::mm::MapFlags::PRIVATE,
            &file,
            0,
        )
        .ok()?;
        Some(std::slice::from_raw_parts(start.cast::<u8>(), length))
    }
}

/// Writes the file beside the old one and puts it in its place. Another environment that is writing goes first.
fn write(directory: &OwnedFd, bytes: &[u8]) {
    let remove = || {
        let _ = rustix::fs::unlinkat(directory, NEXT, AtFlags::empty());
    };
    let age = |found: rustix::fs::Stat| {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or_default());
        SystemTime::now().duration_since(modified).unwrap_or_default()
    };
    if rustix::fs::statat(directory, NEXT, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| age(found) > ABANDONED) {
        remove();
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(directory, NEXT, flags, Mode::from_raw_mode(0o644)) else {
        return;
    };
    if std::fs::File::from(file).write_all(bytes).is_err()
        || rustix::fs::renameat(directory, NEXT, directory, NAME).is_err()
    {
        remove();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn entries() -> HashMap<String, Entry> {
        let entry = |code: &'static [u8]| Entry {
            source: 7,
            checksum: crc32fast::hash(code),
            code: Cow::Borrowed(code),
        };
        HashMap::from([
            ("file:///a.js".to_owned(), entry(b"compiled")),
            ("file:///b.js".to_owned(), entry(b"")),
        ])
    }

    #[test]
    fn a_file_comes_back_whole_and_no_part_of_it_breaks_the_reader() {
        let file: &'static [u8] = encode(&entries()).leak();
        let read = parse(file).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read["file:///a.js"].source, &*read["file:///a.js"].code),
            (7, b"compiled".as_slice())
        );
        for cut in 0..file.len() {
            // A file that ends too soon is none, or lacks nothing that it names.
            assert!(parse(&file[..cut]).is_none_or(|entries| entries.len() == 2), "{cut}");
        }
        for at in 0..file.len() - 8 {
            let mut broken = file.to_vec();
            broken[at] ^= 0x55;
            let broken: &'static [u8] = broken.leak();
            assert!(parse(broken).is_none(), "byte {at} is no part of the code");
        }
    }

    #[test]
    fn code_is_given_for_the_same_source_and_checksum_only() {
        let text = "x".repeat(LEAST_SOURCE);
        let source = || Source::Bytes(text.as_bytes());
        let cache = CodeCache::default();
        assert!(cache.find("a", source()).is_none(), "off");
        let directory = tempfile::tempdir().unwrap();
        let opened = || super::directory(directory.path()).unwrap();
        cache.open(opened());
        assert!(cache.find("a", source()).unwrap().data.is_none());
        assert!(cache.find("a", Source::Bytes(b"short")).is_none());
        let write_one = |checksum| {
            let entry = Entry {
                source: source().id(),
                checksum,
                code: Cow::Borrowed(b"code"),
            };
            write(&opened(), &encode(&HashMap::from([("a".to_owned(), entry)])));
            cache.open(opened());
        };
        write_one(crc32fast::hash(b"code"));
        let found = cache.find("a", source()).unwrap();
        assert_eq!(found.data.as_deref(), Some(b"code".as_slice()));
        let other = "y".repeat(LEAST_SOURCE);
        assert!(cache.find("a", Source::Bytes(other.as_bytes())).unwrap().data.is_none());
        assert!(cache.find("b", source()).unwrap().data.is_none());
        write_one(crc32fast::hash(b"code") ^ 1);
        assert!(cache.find("a", source()).unwrap().data.is_none());
    }

    #[test]
    fn what_was_made_once_is_not_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let opened = || super::directory(directory.path()).unwrap();
        let make = |cache: &CodeCache, source: &str, text: &str| {
            cache.made("a.ts", source, || Ok::<_, ()>(text.to_owned())).unwrap()
        };
        let cache = CodeCache::default();
        assert_eq!(make(&cache, "source", "one"), "one");
        cache.open(opened());
        assert_eq!(make(&cache, "source", "two"), "two");
        {
            let mut open = cache.0.borrow_mut();
            let open = open.as_mut().unwrap();
            write(&opened(), &encode(&open.new));
        }
        cache.open(opened());
        assert_eq!(make(&cache, "source", "three"), "two");
        assert_eq!(make(&cache, "another", "four"), "four");
    }
}

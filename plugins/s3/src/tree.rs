//! A bucket's directory on disk. Nothing here follows a symbolic link or waits for a FIFO.
//!
//! Every access starts at the bucket's directory and goes down name by name with `O_NOFOLLOW`, so that nobody who may
//! write into the bucket can make the server look at a file outside of it, not even by swapping a directory for a link
//! between two looks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hikigane_trigger::CancellationToken;
use hikigane_trigger::model::RequestId;
use md5::{Digest, Md5};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

use crate::key::ObjectKey;

/// Bytes read at a time; between two reads a hash can be called off.
const CHUNK: usize = 256 * 1024;

/// What an object is known by: two looks that see the same identity saw the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    inode: u64,
    pub(crate) size: u64,
    modified_ns: i128,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        }
    }

    /// How long ago the content changed; zero when the file's time lies ahead of the machine's.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let modified = u64::try_from(self.modified_ns)
            .map(Duration::from_nanos)
            .unwrap_or_default();
        now.saturating_sub(modified)
    }

    /// The text kept in the state: inode, size, nanoseconds of the last change.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        format!("{} {} {}", self.inode, self.size, self.modified_ns).into_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(bytes).ok()?.split(' ');
        let identity = Self {
            inode: numbers.next()?.parse().ok()?,
            size: numbers.next()?.parse().ok()?,
            modified_ns: numbers.next()?.parse().ok()?,
        };
        numbers.next().is_none().then_some(identity)
    }

    #[cfg(test)]
    pub(crate) const fn for_test(inode: u64, modified_ns: i128) -> Self {
        Self {
            inode,
            size: 1,
            modified_ns,
        }
    }
}

/// What stands at a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A regular file; `links` counts its names.
    Object {
        identity: Identity,
        links: u64,
    },
    Directory,
    /// A symbolic link, a FIFO, a socket or a device: never an object.
    Other,
    Nothing,
    /// The bucket's own directory is not there, so nothing can be said about what is in it.
    NoBucket,
}

/// The content of an object, read once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The file did not change while it was read. `etag` is the MD5 of its content in hexadecimal.
    Steady { identity: Identity, etag: String },
    /// It changed meanwhile, or is no longer what stands at the key.
    Changing,
    /// The reading was called off.
    CalledOff,
}

/// The directory of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Device and inode of the bucket's directory: another directory of the same name has others.
    pub(crate) fn root_identity(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::stat(&self.root).ok()?;
        (FileType::from_raw_mode(stat.st_mode) == FileType::Directory).then_some((stat.st_dev, stat.st_ino))
    }

    /// The path of `directory`; `None` is the bucket itself.
    pub(crate) fn path_of(&self, directory: Option<&ObjectKey>) -> PathBuf {
        directory.map_or_else(|| self.root.clone(), |key| self.root.join(key.as_path()))
    }

    /// Looks at what stands at `key`, without opening it.
    pub(crate) fn look(&self, key: &ObjectKey) -> io::Result<Look> {
        let found = self.parent(key).and_then(|(parent, name)| match parent {
            None => Ok(None),
            Some(parent) => statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).map(Some),
        });
        match found {
            Ok(None) => Ok(Look::NoBucket),
            Ok(Some(stat)) => Ok(look_of(&stat)),
            Err(errno) if is_absence(errno) => Ok(Look::Nothing),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the object at `key`; `None` when no object stands there.
    pub(crate) fn open(&self, key: &ObjectKey) -> io::Result<Option<(File, Identity)>> {
        // A device may act on being opened, so nothing else than a regular file is, as far as a look can tell.
        let Look::Object { identity: seen, .. } = self.look(key)? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = self.parent(key).and_then(|(parent, name)| match parent {
            None => Err(Errno::NOENT),
            Some(parent) => openat(&parent, name, flags, Mode::empty()),
        });
        let file = match opened {
            Ok(file) => file,
            Err(errno) if is_absence(errno) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        match look_of(&rustix::fs::fstat(&file)?) {
            Look::Object { identity, .. } if identity == seen => Ok(Some((File::from(file), identity))),
            _ => Ok(None),
        }
    }

    /// Reads the object at `key` from end to end.
    pub(crate) fn read(&self, key: &ObjectKey, called_off: &CancellationToken) -> io::Result<Reading> {
        let Some((mut file, identity)) = self.open(key)? else {
            return Ok(Reading::Changing);
        };
        let mut digest = Md5::new();
        let mut chunk = vec![0; CHUNK.min(usize::try_from(identity.size).unwrap_or(CHUNK).max(1) + 1)];
        let mut size = 0;
        loop {
            if called_off.is_cancelled() {
                return Ok(Reading::CalledOff);
            }
            let count = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            digest.update(&chunk[..count]);
            size += count as u64;
        }
        let after = Identity::of(&rustix::fs::fstat(&file)?);
        let stands = self.look(key)?;
        if size != identity.size
            || after != identity
            || !matches!(stands, Look::Object { identity: i, .. } if i == identity)
        {
            return Ok(Reading::Changing);
        }
        Ok(Reading::Steady {
            identity,
            etag: hexadecimal(&digest.finalize()),
        })
    }

    /// Puts an object at `key`, whole or not at all; it replaces what stands there. Directories on the way are made.
    pub(crate) fn write(&self, key: &ObjectKey, content: &[u8]) -> io::Result<()> {
        let mut parent = openat(
            CWD,
            &self.root,
            descend(OFlags::PATH) & !OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        let mut names = key.components().peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                return put(&parent, name, content);
            }
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            parent = openat(&parent, name, descend(OFlags::PATH), Mode::empty())?;
        }
        Ok(())
    }

    /// The entries of a directory: objects, and directories to go on with. Nothing when it is not there any more.
    pub(crate) fn entries(&self, directory: Option<&ObjectKey>) -> io::Result<Vec<(Vec<u8>, Look)>> {
        let handle = match self.open_directory(directory, OFlags::RDONLY) {
            Ok(handle) => handle,
            Err(errno) if is_absence(errno) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&handle)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            match statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push((name.to_bytes().to_vec(), look_of(&stat))),
                Err(errno) if is_absence(errno) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(entries)
    }

    /// The directory that holds `key`, and the name there; no directory when the bucket's own is not there.
    fn parent<'k>(&self, key: &'k ObjectKey) -> rustix::io::Result<(Option<OwnedFd>, &'k [u8])> {
        let (directories, name) = match key.as_bytes().iter().rposition(|byte| *byte == b'/') {
            None => (None, key.as_bytes()),
            Some(slash) => (Some(&key.as_bytes()[..slash]), &key.as_bytes()[slash + 1..]),
        };
        let root = match openat(
            CWD,
            &self.root,
            descend(OFlags::PATH) & !OFlags::NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(root) => root,
            Err(errno) if is_absence(errno) => return Ok((None, name)),
            Err(errno) => return Err(errno),
        };
        Ok((
            Some(walk_down(root, directories.unwrap_or_default(), OFlags::PATH)?),
            name,
        ))
    }

    fn open_directory(&self, directory: Option<&ObjectKey>, mode: OFlags) -> rustix::io::Result<OwnedFd> {
        let root_mode = if directory.is_some() { OFlags::PATH } else { mode };
        let root = openat(CWD, &self.root, descend(root_mode) & !OFlags::NOFOLLOW, Mode::empty())?;
        walk_down(root, directory.map_or(b"".as_slice(), ObjectKey::as_bytes), mode)
    }
}

/// Makes a file under a name that buckets ignore unless they are told otherwise, and renames it when it is whole.
fn put(directory: &OwnedFd, name: &[u8], content: &[u8]) -> io::Result<()> {
    let half = format!(".{}.part", RequestId::random());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, &half, flags, Mode::from_raw_mode(0o644))?);
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(rustix::fs::renameat(directory, &half, directory, name)?));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, &half, AtFlags::empty());
    }
    written
}

/// Opens the directory `path` below `start`, name by name; the last one with `mode`.
fn walk_down(start: OwnedFd, path: &[u8], mode: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut directory = start;
    let mut names = path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .peekable();
    while let Some(name) = names.next() {
        let mode = if names.peek().is_some() { OFlags::PATH } else { mode };
        directory = openat(&directory, name, descend(mode), Mode::empty())?;
    }
    Ok(directory)
}

fn descend(mode: OFlags) -> OFlags {
    mode | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// A name that is gone, or that stands for something else now, is simply not there.
fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO)
}

fn look_of(stat: &Stat) -> Look {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Look::Object {
            identity: Identity::of(stat),
            links: stat.st_nlink,
        },
        FileType::Directory => Look::Directory,
        _ => Look::Other,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::new(directory.path().join("bucket"));
        std::fs::create_dir(tree.root()).unwrap();
        (directory, tree)
    }

    fn read(tree: &Tree, key: &str) -> Reading {
        tree.read(&ObjectKey::from(key), &CancellationToken::new()).unwrap()
    }

    #[test]
    fn a_file_is_hashed() {
        let (_keep, tree) = tree();
        std::fs::create_dir(tree.root().join("in")).unwrap();
        std::fs::write(tree.root().join("in/a"), "hello").unwrap();
        let Look::Object { identity, links: 1 } = tree.look(&ObjectKey::from("in/a")).unwrap() else {
            panic!()
        };
        assert_eq!(identity.size, 5);
        assert_eq!(Identity::from_bytes(&identity.to_bytes()), Some(identity));
        assert_eq!(
            read(&tree, "in/a"),
            Reading::Steady {
                identity,
                etag: "5d41402abc4b2a76b9719d911017c592".into()
            }
        );
    }

    #[test]
    fn a_large_file_is_hashed_in_pieces() {
        let (_keep, tree) = tree();
        std::fs::write(tree.root().join("a"), vec![7; CHUNK * 3 + 1]).unwrap();
        let Reading::Steady { identity, etag } = read(&tree, "a") else {
            panic!()
        };
        assert_eq!(identity.size, CHUNK as u64 * 3 + 1);
        assert_eq!(etag, hexadecimal(&Md5::digest(vec![7; CHUNK * 3 + 1])));
        let called_off = CancellationToken::new();
        called_off.cancel();
        assert_eq!(
            tree.read(&ObjectKey::from("a"), &called_off).unwrap(),
            Reading::CalledOff
        );
    }

    #[test]
    fn links_and_fifos_are_neither_followed_nor_opened() {
        let (keep, tree) = tree();
        std::fs::create_dir(keep.path().join("outside")).unwrap();
        std::fs::write(keep.path().join("outside/secret"), "secret").unwrap();
        symlink(keep.path().join("outside/secret"), tree.root().join("link")).unwrap();
        symlink(keep.path().join("outside"), tree.root().join("directory")).unwrap();
        rustix::fs::mknodat(
            CWD,
            tree.root().join("fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        for key in ["link", "fifo", "directory"] {
            assert_eq!(tree.look(&ObjectKey::from(key)).unwrap(), Look::Other, "{key}");
            assert_eq!(read(&tree, key), Reading::Changing, "{key}");
        }
        assert_eq!(tree.look(&ObjectKey::from("directory/secret")).unwrap(), Look::Nothing);
        assert_eq!(read(&tree, "directory/secret"), Reading::Changing);
        assert_eq!(tree.entries(Some(&ObjectKey::from("directory"))).unwrap(), []);
        assert!(tree.entries(None).unwrap().iter().all(|(_, look)| *look == Look::Other));
    }

    #[test]
    fn a_missing_bucket_is_not_an_empty_one() {
        let (_keep, tree) = tree();
        let key = ObjectKey::from("a/b");
        assert_eq!(tree.look(&key).unwrap(), Look::Nothing);
        assert!(tree.root_identity().is_some());
        std::fs::remove_dir(tree.root()).unwrap();
        assert_eq!(tree.look(&key).unwrap(), Look::NoBucket);
        assert!(tree.root_identity().is_none());
    }

    #[test]
    fn a_damaged_identity_is_none() {
        for text in ["", "1 2", "1 2 x", "1 2 3 4", "\u{0}"] {
            assert_eq!(Identity::from_bytes(text.as_bytes()), None, "{text}");
        }
    }
}

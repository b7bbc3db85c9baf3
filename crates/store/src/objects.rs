//! Packages, unpacked once: `objects/<SHA-256>/` below the data directory.
//!
//! An object is made under another name, brought to the disk and then renamed, so that one that is there is whole. It never changes. The name
//! of an unpacked zip is the hash of the zip; of merged layers, the hash of what they were merged from. An uploaded zip is kept beside what was
//! unpacked from it, as `<SHA-256>.zip`.
//!
//! An object stays while it is *pinned* (who made or asked for it holds a [`Pin`]: an upload that is not in the catalog yet, an environment that runs) or
//! *used* (the catalog names it). [`Objects::collect`] removes the others. It asks for the catalog after it has seen that an object is not pinned, and
//! whoever puts an object into the catalog unpins it afterwards: so none is removed that is about to be used.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_model::{RequestId, limits};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::unzip::{PackageError, unzip};

/// The packages of one server.
pub struct Objects {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    /// How many pins there are of each name.
    pinned: Mutex<HashMap<String, usize>>,
    /// Told when a name has no pin any more.
    freed: Notify,
}

/// Keeps objects where they are. Dropped: they may be removed, unless the catalog uses them.
pub struct Pin {
    names: Vec<String>,
    shared: Arc<Shared>,
}

/// An uploaded package, kept and unpacked.
#[derive(Debug)]
pub struct Package {
    /// The SHA-256 of its zip, base64, as AWS shows it. It names the package.
    pub sha256: String,
    /// Bytes of the zip.
    pub size: u64,
    /// Bytes of the files in it.
    pub unzipped: u64,
    /// To be held until the catalog names the package.
    pub pin: Pin,
}

/// A function's code and layers, ready to be mounted.
#[derive(Debug)]
pub struct Files {
    /// The code: a directory, or a file that was named as such.
    pub code: PathBuf,
    /// All layers in one directory; `None` when there are none.
    pub layers: Option<PathBuf>,
    /// To be held while they are in use.
    pub pin: Pin,
}

impl Objects {
    /// The objects below the data directory `data`, which is made when it is missing.
    pub fn open(data: &Path) -> io::Result<Self> {
        let directory = std::path::absolute(data)?.join("objects");
        fs::create_dir_all(&directory)?;
        let shared = Shared {
            directory,
            pinned: Mutex::default(),
            freed: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The files of a manifest's function: unpacks what is zipped and merges the layers, within AWS's limit for all of it.
    ///
    /// # Errors
    ///
    /// The path that is wrong, and why.
    pub fn files(&self, code: &Path, layers: &[PathBuf]) -> Result<Files, (PathBuf, PackageError)> {
        let mut pin = self.pin([]);
        let mut budget = limits::UNZIPPED;
        let mut unpack = |path: &PathBuf| {
            let unpacked = self.unpacked(path, &mut budget, &mut pin);
            unpacked.map_err(|error| (path.clone(), error))
        };
        let code = unpack(&code.to_owned())?;
        let mut layers = layers.iter().map(unpack).collect::<Result<Vec<_>, _>>()?;
        layers.retain(|layer| layer.exists());
        let described = || -> io::Result<String> {
            let mut hash = Sha256::new();
            for layer in &layers {
                describe(layer, layer, &mut hash)?;
            }
            Ok(hex(&hash.finalize()))
        };
        let merged = self.merged(&layers, described, &mut pin);
        match merged {
            Ok(layers) => Ok(Files { code, layers, pin }),
            Err(error) => Err((self.shared.directory.clone(), error.into())),
        }
    }

    /// The files of uploaded packages, named by their hashes.
    ///
    /// # Errors
    ///
    /// One that is not there, or layers that cannot be merged.
    pub fn uploaded(&self, code: &str, layers: &[&str]) -> io::Result<Files> {
        let mut pin = self.pin([]);
        let mut directory = |sha256: &str| -> io::Result<PathBuf> {
            let name = name_of(sha256);
            pin.add(name.clone());
            let path = self.shared.directory.join(name);
            fs::metadata(&path).map(|_| path)
        };
        let code = directory(code)?;
        let directories = layers.iter().map(|sha256| directory(sha256));
        let directories = directories.collect::<io::Result<Vec<_>>>()?;
        let layers = self.merged(&directories, || Ok(hex(&Sha256::digest(layers.join("/")))), &mut pin)?;
        Ok(Files { code, layers, pin })
    }

    /// Keeps an uploaded zip of at most `most` bytes, and unpacks it. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or with the disk. Nothing is kept then.
    pub fn put(&self, zip: &mut dyn Read, most: u64) -> Result<Package, PackageError> {
        let part = self.part();
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&part.path)?;
        let (digest, size) = copy(zip, &mut file, most)?;
        let name = hex(&digest);
        let pin = self.pin([name.clone(), zip_of(&name)]);
        let (files, kept) = (
            self.shared.directory.join(&name),
            self.shared.directory.join(zip_of(&name)),
        );
        if !files.exists() {
            let target = self.part();
            fs::create_dir(&target.path)?;
            unzip(&mut file, &target.path, limits::UNZIPPED)?;
            self.keep(&target.path, &files)?;
        }
        if !kept.exists() {
            self.keep(&part.path, &kept)?;
        }
        Ok(Package {
            sha256: BASE64_STANDARD.encode(digest),
            size,
            unzipped: size_of(&files, u64::MAX)?,
            pin,
        })
    }

    /// The zip of an uploaded package, as it came.
    pub fn zip(&self, sha256: &str) -> io::Result<File> {
        File::open(self.shared.directory.join(zip_of(&name_of(sha256))))
    }

    /// Resolves when something has been unpinned, or [`Objects::look_again`] was called, since the last time: there may be something to collect.
    pub async fn freed(&self) {
        self.shared.freed.notified().await;
    }

    /// Tells that the catalog may need less than before.
    pub fn look_again(&self) {
        self.shared.freed.notify_one();
    }

    /// Removes the objects that are neither pinned nor among those that `used` gives, by the hashes of their packages, and what a server that was killed
    /// left half made. Blocks.
    pub fn collect(&self, used: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        let mut gone = Vec::new();
        {
            // Whoever pins an object from here on finds it either there for good or not at all.
            let pinned = self.shared.pinned();
            let mut free = Vec::new();
            for entry in fs::read_dir(&self.shared.directory)? {
                let name = entry?.file_name();
                if name.to_str().is_none_or(|name| !pinned.contains_key(name)) {
                    free.push(name);
                }
            }
            if free.is_empty() {
                return Ok(());
            }
            let used = used().into_iter().map(|sha256| name_of(&sha256));
            let used: HashSet<String> = used.flat_map(|name| [zip_of(&name), name]).collect();
            for name in free {
                if name.to_str().is_some_and(|name| used.contains(name)) {
                    continue;
                }
                let trash = self.shared.directory.join(format!("{}.gone", RequestId::random()));
                fs::rename(self.shared.directory.join(name), &trash)?;
                gone.push(trash);
            }
        }
        gone.iter().try_for_each(|path| remove(path))
    }

    /// Removes all of them: for objects that were needed for a moment.
    pub fn discard(self) -> io::Result<()> {
        remove(&self.shared.directory)
    }

    fn pin(&self, names: impl IntoIterator<Item = String>) -> Pin {
        let mut pin = Pin {
            names: Vec::new(),
            shared: self.shared.clone(),
        };
        names.into_iter().for_each(|name| pin.add(name));
        pin
    }

    /// The directory with a package's files. What it holds is taken off the budget.
    fn unpacked(&self, path: &Path, budget: &mut u64, pin: &mut Pin) -> Result<PathBuf, PackageError> {
        // What is not there is no mistake of the package; the function's invocations will say so.
        let Ok(found) = fs::metadata(path) else {
            return Ok(path.to_owned());
        };
        let is_zip = found.is_file() && path.extension().is_some_and(|extension| extension == "zip");
        let files = if is_zip {
            let mut archive = File::open(path)?;
            let mut hash = Sha256::new();
            io::copy(&mut archive, &mut hash)?;
            let name = hex(&hash.finalize());
            self.made(name, pin, |target| unzip(&mut archive, target, *budget).map(drop))?
        } else {
            path.to_owned()
        };
        *budget = budget
            .checked_sub(size_of(&files, *budget)?)
            .ok_or(PackageError::TooLarge)?;
        Ok(files)
    }

    /// One directory with all of `layers`, under the name that `name` gives it; of the same path, a later one's file is there.
    fn merged(
        &self,
        layers: &[PathBuf],
        name: impl FnOnce() -> io::Result<String>,
        pin: &mut Pin,
    ) -> io::Result<Option<PathBuf>> {
        match layers {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several => {
                let merge_all = |target: &Path| several.iter().try_for_each(|layer| merge(layer, target));
                self.made(name()?, pin, merge_all).map(Some)
            }
        }
    }

    /// The directory of this name, made by `fill` when it is not there.
    fn made<E: From<io::Error>>(
        &self,
        name: String,
        pin: &mut Pin,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let object = self.shared.directory.join(&name);
        pin.add(name);
        if !object.exists() {
            let part = self.part();
            fs::create_dir(&part.path)?;
            fill(&part.path)?;
            self.keep(&part.path, &object)?;
        }
        Ok(object)
    }

    /// A name for something that is being made. Another may make the same at this moment.
    fn part(&self) -> Part {
        let name = format!("{}.part", RequestId::random());
        Part {
            path: self.shared.directory.join(&name),
            _pin: self.pin([name]),
        }
    }

    /// Brings an object to the disk and gives it its name.
    fn keep(&self, part: &Path, object: &Path) -> io::Result<()> {
        close(part)?;
        let directory = File::open(&self.shared.directory)?;
        rustix::fs::syncfs(&directory)?;
        match fs::rename(part, object) {
            // It was made meanwhile: the same, since its name says what is in it.
            Err(_) if object.exists() => {}
            renamed => renamed?,
        }
        directory.sync_all()
    }
}

impl Shared {
    fn pinned(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    fn add(&mut self, name: String) {
        *self.shared.pinned().entry(name.clone()).or_default() += 1;
        self.names.push(name);
    }
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pin").field(&self.names).finish()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.shared.pinned();
        for name in &self.names {
            if let Some(count) = pinned.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    pinned.remove(name);
                    self.shared.freed.notify_one();
                }
            }
        }
    }
}

/// Something half made. Dropped: removed, unless it was given its name.
struct Part {
    path: PathBuf,
    _pin: Pin,
}

impl Drop for Part {
    fn drop(&mut self) {
        // What cannot be removed now is collected later.
        let _ = remove(&self.path);
    }
}

/// Copies at most `most` bytes. Returns the hash of all of them, and how many they are.
fn copy(from: &mut dyn Read, to: &mut File, most: u64) -> Result<([u8; 32], u64), PackageError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PackageError::Unreadable(error)),
        };
        size += read as u64;
        if size > most {
            return Err(PackageError::ZipTooLarge(most));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    Ok((hash.finalize().into(), size))
}

/// The name of a package's object: its hash, in hexadecimal digits.
fn name_of(sha256: &str) -> String {
    hex(&BASE64_STANDARD.decode(sha256).unwrap_or_default())
}

/// The name of the zip that the object `name` was unpacked from.
fn zip_of(name: &str) -> String {
    format!("{name}.zip")
}

/// Bytes of all files; stops when they are more than `most`. Links are not followed.
fn size_of(path: &Path, most: u64) -> io::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    let mut sum = if found.is_file() { found.len() } else { 0 };
    // The code may be named by a link.
    if found.is_dir() || (found.is_symlink() && path.is_dir()) {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                sum += size_of(&entry.path(), most)?;
            } else if kind.is_file() {
                sum += entry.metadata()?.len();
            }
            if sum > most {
                break;
            }
        }
    }
    Ok(sum)
}

/// Puts into `hash` what is known of a layer's files without reading them.
fn describe(layer: &Path, path: &Path, hash: &mut Sha256) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(path)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    hash.update(layer.as_os_str().as_encoded_bytes());
    for entry in entries {
        let found = entry.metadata()?;
        let (path, name) = (entry.path(), entry.file_name());
        hash.update([0]);
        hash.update(name.as_encoded_bytes());
        for number in [
            found.len() as i64,
            found.mtime(),
            found.mtime_nsec(),
            found.mode().into(),
            found.ino() as i64,
        ] {
            hash.update(number.to_le_bytes());
        }
        if found.is_dir() {
            describe(layer, &path, hash)?;
        }
    }
    hash.update([1]);
    Ok(())
}

/// Copies a layer over what is there.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        let there = fs::symlink_metadata(&target).ok();
        if kind.is_dir() {
            if !there.as_ref().is_some_and(fs::Metadata::is_dir) {
                if there.is_some() {
                    fs::remove_file(&target)?;
                }
                fs::create_dir(&target)?;
            }
            merge(&source, &target)?;
            continue;
        }
        if there.is_some() {
            remove(&target)?;
        }
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Takes the right to write from all directories and files.
fn close(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            close(&entry?.path())?;
        }
    }
    if !found.is_symlink() {
        fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o555))?;
    }
    Ok(())
}

/// Removes a file, or a directory with all in it, whatever its rights; nothing, when it is not there.
fn remove(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(path)? {
        remove(&entry?.path())?;
    }
    fs::remove_dir(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

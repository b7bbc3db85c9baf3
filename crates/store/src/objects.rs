//! Packages, unpacked once: `objects/<SHA-256>/` below the data directory.
//!
//! An object is made under another name, brought to the disk and then renamed, so that one that is there is whole. It never changes. The name
//! of an unpacked zip is the hash of the zip; of merged layers, the hash of what is known of their files. An uploaded zip is kept beside what was
//! unpacked from it, as `<SHA-256>.zip`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_model::{RequestId, limits};
use sha2::{Digest, Sha256};

use crate::unzip::{PackageError, unzip};

/// The packages of one server.
pub struct Objects {
    directory: PathBuf,
    used: Mutex<HashSet<OsString>>,
}

/// An uploaded zip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its SHA-256, base64, as AWS shows it. It names the package.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
}

/// A function's code and layers, ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The code: a directory, or a file that was named as such.
    pub code: PathBuf,
    /// All layers in one directory; `None` when there are none.
    pub layers: Option<PathBuf>,
}

impl Objects {
    /// The objects below the data directory `data`, which is made when it is missing.
    pub fn open(data: &Path) -> io::Result<Self> {
        let directory = std::path::absolute(data)?.join("objects");
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            used: Mutex::default(),
        })
    }

    /// Unpacks what is zipped and merges the layers, within AWS's limit for all of it.
    ///
    /// # Errors
    ///
    /// The path that is wrong, and why.
    pub fn files(&self, code: &Path, layers: &[PathBuf]) -> Result<Files, (PathBuf, PackageError)> {
        let mut budget = limits::UNZIPPED;
        let mut unpack = |path: &PathBuf| self.unpacked(path, &mut budget).map_err(|error| (path.clone(), error));
        let code = unpack(&code.to_owned())?;
        let layers = layers.iter().map(unpack).collect::<Result<Vec<_>, _>>()?;
        let merged = match layers.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            several => Some(
                self.merged(several)
                    .map_err(|error| (self.directory.clone(), error.into()))?,
            ),
        };
        Ok(Files { code, layers: merged })
    }

    /// Keeps an uploaded zip, and unpacks it.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing is kept then.
    pub fn put(&self, zip: &[u8]) -> Result<Package, PackageError> {
        let digest = Sha256::digest(zip);
        let package = Package {
            sha256: BASE64_STANDARD.encode(digest),
            size: zip.len() as u64,
        };
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let kept = self.make::<PackageError>(&format!("{name}.zip"), |target| {
            fs::remove_dir(target)?;
            Ok(fs::write(target, zip)?)
        })?;
        let unpacked = self.make(&name, |target| {
            unzip(&mut File::open(&kept)?, target, limits::UNZIPPED).map(drop)
        });
        if unpacked.is_err() {
            let _ = remove(&kept);
        }
        unpacked?;
        Ok(package)
    }

    /// Where the files of an uploaded package are. It is in use from now on.
    pub fn package(&self, sha256: &str) -> PathBuf {
        let name = named(sha256);
        self.mark(&name);
        self.mark(&format!("{name}.zip"));
        self.directory.join(name)
    }

    /// An uploaded package as it came.
    pub fn zip(&self, sha256: &str) -> io::Result<File> {
        File::open(self.directory.join(format!("{}.zip", named(sha256))))
    }

    /// All of these uploaded packages in one directory; of the same path, a later one's file is there. `None` when there are none.
    pub fn layers(&self, packages: &[String]) -> io::Result<Option<PathBuf>> {
        let directories: Vec<PathBuf> = packages.iter().map(|sha256| self.package(sha256)).collect();
        match directories.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several => {
                let name = hex(Sha256::new().chain_update(packages.join("/")));
                self.make(&name, |target| {
                    several.iter().try_for_each(|layer| merge(layer, target))
                })
                .map(Some)
            }
        }
    }

    fn mark(&self, name: &str) {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.into());
    }

    /// Removes the objects that no call of [`Objects::files`] gave out, and what a server that was killed left half made.
    pub fn collect(&self) -> io::Result<()> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if !used.contains(&entry.file_name()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes all of them: for objects that were needed for a moment.
    pub fn discard(self) -> io::Result<()> {
        remove(&self.directory)
    }

    /// The directory with a package's files. What it holds is taken off the budget.
    fn unpacked(&self, path: &Path, budget: &mut u64) -> Result<PathBuf, PackageError> {
        // What is not there is no mistake of the package; the function's invocations will say so.
        let Ok(found) = fs::metadata(path) else {
            return Ok(path.to_owned());
        };
        let is_zip = found.is_file() && path.extension().is_some_and(|extension| extension == "zip");
        let files = if is_zip {
            let mut archive = File::open(path)?;
            let mut hash = Sha256::new();
            io::copy(&mut archive, &mut hash)?;
            self.make(&hex(hash), |target| unzip(&mut archive, target, *budget).map(drop))?
        } else {
            path.to_owned()
        };
        *budget = budget
            .checked_sub(size(&files, *budget)?)
            .ok_or(PackageError::TooLarge)?;
        Ok(files)
    }

    /// One directory with all of `layers`; of the same path, a later one's file is there.
    fn merged(&self, layers: &[PathBuf]) -> io::Result<PathBuf> {
        let mut hash = Sha256::new();
        for layer in layers {
            describe(layer, layer, &mut hash)?;
        }
        self.make(&hex(hash), |target| {
            layers.iter().try_for_each(|layer| merge(layer, target))
        })
    }

    /// The object of this name, made by `fill` when it is not there.
    fn make<E: From<io::Error>>(&self, name: &str, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<PathBuf, E> {
        let object = self.directory.join(name);
        self.mark(name);
        if object.exists() {
            return Ok(object);
        }
        // Another may make the same at this moment.
        let half = self.directory.join(format!("{name}.{}.part", RequestId::random()));
        let made = fs::create_dir(&half)
            .map_err(E::from)
            .and_then(|()| fill(&half))
            .and_then(|()| self.keep(&half, &object).map_err(E::from));
        if made.is_err() {
            let _ = remove(&half);
        }
        made.map(|()| object)
    }

    /// Brings an object to the disk and gives it its name.
    fn keep(&self, half: &Path, object: &Path) -> io::Result<()> {
        close(half)?;
        let directory = File::open(&self.directory)?;
        rustix::fs::syncfs(&directory)?;
        match fs::rename(half, object) {
            // It was made meanwhile: the same, since its name says what is in it.
            Err(_) if object.exists() => remove(half)?,
            renamed => renamed?,
        }
        directory.sync_all()
    }
}

/// The name of a package's object: its hash, in hexadecimal digits.
fn named(sha256: &str) -> String {
    let digest = BASE64_STANDARD.decode(sha256).unwrap_or_default();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of all files; stops when they are more than `most`. Links are not followed.
fn size(path: &Path, most: u64) -> io::Result<u64> {
    let found = fs::symlink_metadata(path)?;
    let mut sum = if found.is_file() { found.len() } else { 0 };
    // The code may be named by a link.
    if found.is_dir() || (found.is_symlink() && path.is_dir()) {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                sum += size(&entry.path(), most)?;
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

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

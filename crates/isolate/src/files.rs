//! The file system as the search for modules sees it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sys_traits::impls::RealSys;
use sys_traits::{
    BaseEnvVar, BaseFsCanonicalize, BaseFsMetadata, BaseFsOpen, BaseFsRead, BaseFsReadDir, EnvCurrentDir, OpenOptions,
};

type Metadata = <RealSys as BaseFsMetadata>::Metadata;

/// What is remembered at most, so that a function that makes up names does not fill the worker's memory with them.
const REMEMBERED: usize = 100_000;

/// The real file system, which is asked once about what lies in frozen directories: a package of some hundred files is looked for by some
/// ten thousand questions, most of them the same. Only the search for modules asks here; `node:fs` does not.
#[derive(Debug, Clone, Default)]
pub struct Files(Arc<Mutex<Frozen>>);

/// Answers about directories that do not change. All paths are without links.
#[derive(Debug, Default)]
struct Frozen {
    directories: Vec<PathBuf>,
    /// What may change in them.
    except: Vec<PathBuf>,
    /// Where paths really lead; `None`: there is nothing.
    real: HashMap<PathBuf, Option<PathBuf>>,
    found: HashMap<PathBuf, Option<Metadata>>,
}

impl Files {
    /// From now on, what lies in these directories does not change, except in the others. None has links in its path.
    pub fn freeze(&self, directories: Vec<PathBuf>, except: Vec<PathBuf>) {
        *self.lock() = Frozen {
            directories,
            except,
            ..Frozen::default()
        };
    }

    /// Whether a path leads into one of these directories, all links followed; also one at which there is nothing. The directories have
    /// no links in their paths.
    pub fn is_inside(&self, path: &Path, directories: &[PathBuf]) -> bool {
        match self.base_fs_canonicalize(path) {
            Ok(real) => directories.iter().any(|directory| real.starts_with(directory)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                path.parent().is_some_and(|parent| self.is_inside(parent, directories))
            }
            Err(_) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Frozen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Frozen {
    fn covers(&self, path: &Path) -> bool {
        self.directories.iter().any(|directory| path.starts_with(directory))
            && !self.except.iter().any(|except| path.starts_with(except))
            && path.components().all(|part| part != Component::ParentDir)
    }

    /// `realpath`, by way of the parent's: its files share it.
    fn canonicalize(&mut self, path: &Path) -> Result<PathBuf> {
        let (true, Some(parent), Some(name)) = (self.covers(path), path.parent(), path.file_name()) else {
            return std::fs::canonicalize(path);
        };
        if let Some(known) = self.real.get(path) {
            return known.clone().ok_or_else(nothing);
        }
        let place = self.canonicalize(parent)?.join(name);
        // Behind a link it may be where things change.
        let lasts = self.covers(&place);
        let real = match std::fs::read_link(&place) {
            Ok(_) => std::fs::canonicalize(&place),
            // It is there and is no link (man 2 readlink, EINVAL).
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(place),
            Err(error) => Err(error),
        };
        if lasts {
            remember(&mut self.real, path, &real);
        }
        real
    }

    fn metadata(&mut self, path: &Path) -> Result<Metadata> {
        let real = self.canonicalize(path)?;
        if let Some(known) = self.found.get(&real) {
            return known.clone().ok_or_else(nothing);
        }
        let found = RealSys.base_fs_metadata(&real);
        if self.covers(&real) {
            remember(&mut self.found, &real, &found);
        }
        found
    }
}

fn remember<T: Clone>(answers: &mut HashMap<PathBuf, Option<T>>, path: &Path, answer: &Result<T>) {
    let answer = match answer {
        Ok(answer) => Some(answer.clone()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => return,
    };
    if answers.len() >= REMEMBERED {
        answers.clear();
    }
    answers.insert(path.to_owned(), answer);
}

fn nothing() -> Error {
    ErrorKind::NotFound.into()
}

impl BaseFsCanonicalize for Files {
    fn base_fs_canonicalize(&self, path: &Path) -> Result<PathBuf> {
        self.lock().canonicalize(path)
    }
}

impl BaseFsMetadata for Files {
    type Metadata = Metadata;

    fn base_fs_metadata(&self, path: &Path) -> Result<Metadata> {
        let mut frozen = self.lock();
        match frozen.covers(path) {
            true => frozen.metadata(path),
            false => RealSys.base_fs_metadata(path),
        }
    }

    fn base_fs_symlink_metadata(&self, path: &Path) -> Result<Metadata> {
        RealSys.base_fs_symlink_metadata(path)
    }
}

impl BaseFsRead for Files {
    fn base_fs_read(&self, path: &Path) -> Result<Cow<'static, [u8]>> {
        let mut frozen = self.lock();
        // Most of the `package.json` that are looked for are not there, again and again.
        if frozen.covers(path) {
            frozen.canonicalize(path)?;
        }
        RealSys.base_fs_read(path)
    }
}

impl BaseFsReadDir for Files {
    type ReadDirEntry = <RealSys as BaseFsReadDir>::ReadDirEntry;

    fn base_fs_read_dir(&self, path: &Path) -> Result<Box<dyn Iterator<Item = Result<Self::ReadDirEntry>>>> {
        RealSys.base_fs_read_dir(path)
    }
}

impl BaseFsOpen for Files {
    type File = <RealSys as BaseFsOpen>::File;

    fn base_fs_open(&self, path: &Path, options: &OpenOptions) -> Result<Self::File> {
        RealSys.base_fs_open(path, options)
    }
}

impl EnvCurrentDir for Files {
    fn env_current_dir(&self) -> Result<PathBuf> {
        RealSys.env_current_dir()
    }
}

impl BaseEnvVar for Files {
    fn base_env_var_os(&self, key: &OsStr) -> Option<OsString> {
        RealSys.base_env_var_os(key)
    }
}

//! What the kernel lets a worker touch, whatever the code above it believes.
//!
//! Deno's permissions look at paths as they are written; a symbolic link inside an allowed directory leads out of it. Landlock looks at the
//! files themselves.

use std::os::fd::OwnedFd;
use std::path::Path;

use hikigane_executor::WorkerInit;
use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError,
};

use crate::cage::SYSTEM;

const ABI_USED: ABI = ABI::V5;

/// What is to be restricted, before the function is known: only the system's files are open so far.
pub struct Rules(RulesetCreated);

impl Rules {
    /// Opens the files that every function may read.
    pub fn prepare() -> Result<Self, RulesetError> {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI_USED))?
            .create()?;
        SYSTEM.iter().try_fold(Self(rules), |rules, path| {
            rules.open(Path::new(path), AccessFs::from_read(ABI_USED))
        })
    }

    /// Restricts this thread, and those it starts from now on, to the function's files. A kernel without Landlock restricts nothing; Deno's
    /// permissions hold there as everywhere.
    /// `code_cache` is for the thread that writes it: it has no name, or none that the function may use.
    pub fn restrict(mut self, init: &WorkerInit, code_cache: Option<&OwnedFd>) -> Result<(), RulesetError> {
        let readable = [init.root.as_path()]
            .into_iter()
            .chain(init.layers.as_deref())
            .chain(init.read.iter().map(|path| path.as_path()));
        for path in readable {
            self = self.open(path, AccessFs::from_read(ABI_USED))?;
        }
        let writable = init.write.iter().map(|path| path.as_path()).chain([init.tmp.as_path()]);
        for path in writable {
            self = self.open(path, AccessFs::from_all(ABI_USED))?;
        }
        if let Some(directory) = code_cache {
            let rule = PathBeneath::new(directory, AccessFs::from_all(ABI_USED));
            self = self.0.add_rule(rule).map(Self)?;
        }
        self.0.restrict_self().map(drop)
    }

    fn open(self, path: &Path, access: BitFlags<AccessFs>) -> Result<Self, RulesetError> {
        // What is not there cannot be opened later, either.
        let Ok(file) = PathFd::new(path) else { return Ok(self) };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(ABI_USED)
        };
        self.0.add_rule(PathBeneath::new(file, access)).map(Self)
    }
}

/// Closes all files to this thread, and says what the kernel has of Landlock.
pub fn try_out() -> Result<LandlockStatus, RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_USED))?
        .create()?;
    Ok(rules.restrict_self()?.landlock)
}

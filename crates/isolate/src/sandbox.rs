//! What the kernel lets a worker touch, whatever the code above it believes.
//!
//! Deno's permissions look at paths as they are written; a symbolic link inside an allowed directory leads out of it. Landlock looks at the
//! files themselves.

use std::path::Path;

use hikigane_executor::WorkerInit;
use landlock::{
    ABI, Access, AccessFs, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
};

use crate::cage::SYSTEM;

/// Restricts this thread, and those it starts from now on, to the function's files. A kernel without Landlock restricts nothing; Deno's
/// permissions hold there as everywhere.
pub fn restrict(init: &WorkerInit) -> Result<(), RulesetError> {
    let abi = ABI::V5;
    let (read, all) = (AccessFs::from_read(abi), AccessFs::from_all(abi));
    let mut rules = Ruleset::default().handle_access(all)?.create()?;
    let readable = SYSTEM
        .iter()
        .map(Path::new)
        .chain([init.root.as_path()])
        .chain(init.layers.as_deref())
        .chain(init.read.iter().map(|path| path.as_path()));
    for (path, access) in readable.map(|path| (path, read)).chain(
        init.write
            .iter()
            .map(|path| path.as_path())
            .chain([init.tmp.as_path()])
            // For the thread that writes it; no permission names it, so that user code cannot.
            .chain(init.code_cache.as_deref())
            .map(|path| (path, all)),
    ) {
        // What is not there cannot be opened later, either.
        let Ok(file) = PathFd::new(path) else { continue };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(abi)
        };
        rules = rules.add_rule(PathBeneath::new(file, access))?;
    }
    rules.restrict_self().map(drop)
}

/// Closes all files to this thread, and says what the kernel has of Landlock.
pub fn try_out() -> Result<LandlockStatus, RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))?
        .create()?;
    Ok(rules.restrict_self()?.landlock)
}

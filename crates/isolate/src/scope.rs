//! Where a function's modules may lie.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use deno_permissions::{OpenAccessKind, PermissionCheckError, PermissionsContainer};
use hikigane_executor::WorkerInit;

use crate::files::Files;

/// Where a function's modules may lie; nowhere, until the function is known.
pub struct Scope {
    files: Files,
    /// The code's directory, without links.
    root: PathBuf,
    permissions: PermissionsContainer,
    node_path: OnceCell<Vec<PathBuf>>,
    /// `node_modules` outside of the code, and whether they may be looked into: each module asks about those of all its parents.
    others: RefCell<HashMap<PathBuf, bool>>,
}

impl Scope {
    /// The scope of no function.
    pub fn none(files: Files) -> Self {
        Self {
            files,
            root: PathBuf::new(),
            permissions: crate::permissions::none(),
            node_path: OnceCell::new(),
            others: RefCell::new(HashMap::new()),
        }
    }

    /// The scope of a function.
    pub fn of(files: Files, init: &WorkerInit, permissions: PermissionsContainer) -> Self {
        let real = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let root = real(&init.root);
        // Who deploys code anew while it runs gets new environments; what the function itself may write can change under it.
        let writable = init.write.iter().chain([&init.tmp]);
        files.freeze(root.clone(), writable.map(real).collect());
        Self {
            root,
            permissions,
            ..Self::none(files)
        }
    }

    /// Whether a module may be read: one in the code, or in what the function's permissions name. `api` is what wants it.
    pub fn check(&self, path: &Path, api: &str) -> Result<(), PermissionCheckError> {
        if self.is_known() && self.files.is_inside(path, &self.root) {
            return Ok(());
        }
        self.permissions
            .check_open(Cow::Borrowed(path), OpenAccessKind::Read, Some(api))
            .map(drop)
    }

    /// The directories that are searched last: what NODE_PATH names and is there (Node.js documentation, "Loading from the global
    /// folders"). AWS's runtimes set it to where layers put their packages. Read once, as Node.js does.
    pub fn node_path(&self) -> &[PathBuf] {
        self.node_path.get_or_init(|| {
            let value = std::env::var_os("NODE_PATH").unwrap_or_default();
            std::env::split_paths(&value)
                .filter(|path| path.is_absolute() && self.check(path, "require").is_ok() && path.is_dir())
                .collect()
        })
    }

    /// Where `require` looks for packages from `directory`: in all its parents, as far as they may be read, then in NODE_PATH.
    pub fn module_paths(&self, directory: &Path) -> Vec<String> {
        let node_path = self.node_path().iter().map(|path| path.to_string_lossy().into_owned());
        deno_node::default_resolve_require_node_module_paths(directory)
            .into_iter()
            .filter(|path| self.may_look_into(Path::new(path)))
            .chain(node_path)
            .collect()
    }

    fn is_known(&self) -> bool {
        self.root.is_absolute()
    }

    fn may_look_into(&self, path: &Path) -> bool {
        if self.is_known() && path.starts_with(&self.root) {
            return true;
        }
        let mut others = self.others.borrow_mut();
        match others.get(path) {
            Some(&may) => may,
            None => {
                let may = self.check(path, "require").is_ok();
                others.insert(path.to_owned(), may);
                may
            }
        }
    }
}

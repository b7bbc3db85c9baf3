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
    /// The directories of the code and of the layers, without links.
    roots: Vec<PathBuf>,
    permissions: PermissionsContainer,
    node_path: OnceCell<Vec<PathBuf>>,
    /// `node_modules` outside of the code, and whether they may be looked into: each module asks about those of all its parents.
    others: RefCell<HashMap<PathBuf, bool>>,
    inspected: bool,
}

impl Scope {
    /// The scope of no function.
    pub fn none(files: Files) -> Self {
        Self {
            files,
            roots: Vec::new(),
            permissions: crate::permissions::none(),
            node_path: OnceCell::new(),
            others: RefCell::new(HashMap::new()),
            inspected: false,
        }
    }

    /// The scope of a function. `changing` is what [`Scope::changing`] said.
    pub fn of(files: Files, init: &WorkerInit, changing: &[PathBuf], permissions: PermissionsContainer) -> Self {
        let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
        let root = real(&init.root).unwrap_or_else(|| init.root.clone());
        let except = changing.iter().map(|path| root.join(path)).collect();
        let roots: Vec<_> = [root].into_iter().chain(init.layers.as_ref().and_then(real)).collect();
        // Who deploys code anew gets new environments for it.
        files.freeze(roots.clone(), except);
        Self {
            roots,
            permissions,
            inspected: init.inspection.is_some(),
            ..Self::none(files)
        }
    }

    /// What the function itself may change in its code, relative to the code's directory; an empty path: all of it. To be asked before
    /// the cage shows the code by another name.
    pub fn changing(init: &WorkerInit) -> Vec<PathBuf> {
        let inside = |path: &PathBuf| match path.strip_prefix(&init.root) {
            Ok(inside) => Some(inside.to_owned()),
            Err(_) => init.root.starts_with(path).then(PathBuf::new),
        };
        init.write.iter().chain([&init.tmp]).filter_map(inside).collect()
    }

    /// Whether a module may be read: one in the code, or in what the function's permissions name. `api` is what wants it.
    pub fn check(&self, path: &Path, api: &str) -> Result<(), PermissionCheckError> {
        if self.files.is_inside(path, &self.roots) {
            return Ok(());
        }
        self.permissions
            .check_open(Cow::Borrowed(path), OpenAccessKind::Read, Some(api))
            .map(drop)
    }

    /// Whether debuggers may look at the modules.
    pub fn is_inspected(&self) -> bool {
        self.inspected
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

    fn may_look_into(&self, path: &Path) -> bool {
        if self.roots.iter().any(|root| path.starts_with(root)) {
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

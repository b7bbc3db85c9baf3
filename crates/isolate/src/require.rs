//! How `require()` reads files.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use deno_ast::MediaType;
use deno_core::FastString;
use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_permissions::PermissionsContainer;
use deno_resolver::cjs::CjsTracker;
use deno_resolver::npm::DenoInNpmPackageChecker;
use node_resolver::errors::PackageJsonLoadError;

use crate::extensions::strip_types;
use crate::files::Files;
use crate::modules::is_typescript;
use crate::scope::Scope;

/// Tells CommonJS from ES modules.
pub type Tracker = Arc<CjsTracker<DenoInNpmPackageChecker, Files>>;

/// How `require()` reads files.
pub struct RequireLoader {
    /// Tells CommonJS from ES modules.
    pub tracker: Tracker,
    /// Where modules may lie.
    pub scope: Rc<RefCell<Scope>>,
}

impl deno_node::NodeRequireLoader for RequireLoader {
    fn ensure_read_permission<'a>(
        &self,
        _permissions: &mut PermissionsContainer,
        path: Cow<'a, Path>,
    ) -> Result<Cow<'a, Path>, JsErrorBox> {
        self.scope
            .borrow()
            .check(&path, "require")
            .map_err(JsErrorBox::from_err)?;
        Ok(path)
    }

    fn load_text_file_lossy(&self, path: &Path) -> Result<FastString, JsErrorBox> {
        let text = String::from_utf8_lossy(&std::fs::read(path).map_err(JsErrorBox::from_err)?).into_owned();
        let media_type = MediaType::from_path(path);
        if !is_typescript(media_type) {
            return Ok(text.into());
        }
        let specifier = Url::from_file_path(path)
            .map_err(|()| JsErrorBox::type_error(format!("{} is not absolute", path.display())))?;
        let mapped = self.scope.borrow().is_inspected();
        Ok(strip_types(specifier, text.into(), media_type, mapped)?.into())
    }

    fn resolve_require_node_module_paths(&self, from: &Path) -> Vec<String> {
        self.scope.borrow().module_paths(from)
    }

    fn is_maybe_cjs(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.tracker
            .is_maybe_cjs(specifier, MediaType::from_specifier(specifier))
    }

    fn is_maybe_cjs_from_require(&self, specifier: &Url) -> Result<bool, PackageJsonLoadError> {
        self.tracker
            .is_maybe_cjs_from_require(specifier, MediaType::from_specifier(specifier))
    }
}

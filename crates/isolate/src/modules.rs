//! Finding and loading a function's modules, by Node.js's rules.

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use deno_ast::MediaType;
use deno_core::url::Url;
use deno_core::{
    FastString, ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader, ModuleSource,
    ModuleSourceCode, ModuleSpecifier, ModuleType, RequestedModuleType, ResolutionKind, SourceCodeCacheInfo,
};
use deno_error::JsErrorBox;
use deno_node::NodeExtInitServices;
use deno_permissions::{OpenAccessKind, PermissionsContainer};
use deno_resolver::cache::ParsedSourceCache;
use deno_resolver::cjs::analyzer::{DenoAstModuleExportAnalyzer, DenoCjsCodeAnalyzer, NullNodeAnalysisCache};
use deno_resolver::cjs::{CjsTracker, IsCjsResolutionMode};
use deno_resolver::loader::{DenoNpmModuleLoader, LoadedModuleSource, NpmModuleLoader};
use deno_resolver::npm::{
    ByonmNpmResolverCreateOptions, CreateInNpmPkgCheckerOptions, DenoInNpmPackageChecker, NpmResolver,
    NpmResolverCreateOptions,
};
use node_resolver::analyze::{CjsModuleExportAnalyzer, NodeCodeTranslator, NodeCodeTranslatorMode};
use node_resolver::cache::{NodeResolutionSys, NodeResolutionThreadLocalCache};
use node_resolver::errors::PackageJsonLoadError;
use node_resolver::{
    DenoIsBuiltInNodeModuleChecker, NodeConditionOptions, NodeResolutionKind, NodeResolver, NodeResolverOptions,
    PackageJsonResolver, PackageJsonThreadLocalCache, ResolutionMode,
};
use sys_traits::impls::RealSys;

use crate::code_cache::{CodeCache, Source};
use crate::extensions::strip_types;
use crate::source_maps;

type Tracker = Arc<CjsTracker<DenoInNpmPackageChecker, RealSys>>;
type Resolver =
    Arc<NodeResolver<DenoInNpmPackageChecker, DenoIsBuiltInNodeModuleChecker, NpmResolver<RealSys>, RealSys>>;

/// The services that `deno_node` resolves `require()` with.
pub type NodeServices = NodeExtInitServices<DenoInNpmPackageChecker, NpmResolver<RealSys>, RealSys>;

/// Makes the loader of ES modules and the services of CommonJS over one resolver.
pub fn make() -> (Rc<Loader>, NodeServices) {
    let packages = Arc::new(PackageJsonResolver::new(
        RealSys,
        Some(Arc::new(PackageJsonThreadLocalCache)),
    ));
    let cached = NodeResolutionSys::new(RealSys, Some(Arc::new(NodeResolutionThreadLocalCache)));
    let checker = DenoInNpmPackageChecker::new(CreateInNpmPkgCheckerOptions::Byonm);
    let npm = NpmResolver::<RealSys>::new(NpmResolverCreateOptions::Byonm(ByonmNpmResolverCreateOptions {
        root_node_modules_dir: None,
        search_stop_dir: None,
        sys: cached.clone(),
        pkg_json_resolver: packages.clone(),
    }));
    let resolver: Resolver = Arc::new(NodeResolver::new(
        checker.clone(),
        DenoIsBuiltInNodeModuleChecker,
        npm.clone(),
        packages.clone(),
        cached,
        NodeResolverOptions {
            conditions: NodeConditionOptions {
                // Node.js's own conditions; Deno's default would add `deno`.
                import_conditions_override: Some(vec!["node".into(), "import".into(), "module-sync".into()]),
                ..Default::default()
            },
            ..Default::default()
        },
    ));
    let tracker: Tracker = Arc::new(CjsTracker::new(
        checker.clone(),
        packages.clone(),
        IsCjsResolutionMode::ImplicitTypeCommonJs,
        Vec::new(),
    ));
    let analyzer = DenoCjsCodeAnalyzer::new(
        Arc::new(NullNodeAnalysisCache),
        tracker.clone(),
        Arc::new(DenoAstModuleExportAnalyzer::new(Arc::new(ParsedSourceCache::default()))),
    );
    let exports = CjsModuleExportAnalyzer::new(
        analyzer,
        checker.clone(),
        resolver.clone(),
        npm,
        packages.clone(),
        RealSys,
    );
    let translator = NodeCodeTranslator::new(Arc::new(exports), NodeCodeTranslatorMode::ModuleLoader);
    let files = NpmModuleLoader::new(tracker.clone(), checker, Arc::new(translator), RealSys);
    let scope = Rc::new(RefCell::new(Scope {
        root: PathBuf::new(),
        permissions: crate::permissions::none(),
    }));
    let services = NodeExtInitServices {
        node_require_loader: Rc::new(RequireLoader {
            tracker,
            scope: scope.clone(),
        }),
        node_resolver: resolver.clone(),
        pkg_json_resolver: packages,
        sys: RealSys,
    };
    (
        Rc::new(Loader {
            resolver,
            files: Rc::new(files),
            scope,
            code_cache: Rc::default(),
        }),
        services,
    )
}

/// Loads ES modules, and CommonJS that an ES module imports.
pub struct Loader {
    resolver: Resolver,
    files: Rc<DenoNpmModuleLoader<RealSys>>,
    scope: Rc<RefCell<Scope>>,
    code_cache: Rc<CodeCache>,
}

/// Where a function's modules may lie; nowhere, until the function is known.
struct Scope {
    root: PathBuf,
    permissions: PermissionsContainer,
}

impl Loader {
    /// Sets where the code lies and what may be read.
    pub fn set_scope(&self, root: &Path, permissions: PermissionsContainer) {
        *self.scope.borrow_mut() = Scope {
            root: root.to_owned(),
            permissions,
        };
    }

    /// What V8 compiled of the function's modules.
    pub fn code_cache(&self) -> &Rc<CodeCache> {
        &self.code_cache
    }

    fn may_read(&self, path: &Path) -> bool {
        let permissions = &self.scope.borrow().permissions;
        permissions
            .check_open(Cow::Borrowed(path), OpenAccessKind::Read, None)
            .is_ok()
    }
}

impl ModuleLoader for Loader {
    fn resolve(&self, specifier: &str, referrer: &str, _kind: ResolutionKind) -> Result<ModuleSpecifier, JsErrorBox> {
        // The runtime's own import() of a handler names a file: URL.
        let referrer = match Url::parse(referrer) {
            Ok(url) if url.scheme() == "file" => url,
            _ => return Url::parse(specifier).map_err(|error| JsErrorBox::type_error(format!("{specifier}: {error}"))),
        };
        let url = self
            .resolver
            .resolve(
                specifier,
                &referrer,
                ResolutionMode::Import,
                NodeResolutionKind::Execution,
            )
            .map_err(|error| match error.to_string().starts_with("Could not find package") {
                true => cannot_find(specifier, &referrer),
                false => JsErrorBox::from_err(error),
            })?
            .into_url()
            .map_err(JsErrorBox::from_err)?;
        match url.scheme() {
            "node" => Ok(url),
            // The walk up through the `node_modules` of all parents must not find what lies outside.
            "file"
                if self
                    .scope
                    .borrow()
                    .permissions
                    .check_open(Cow::Owned(file(&url)?), OpenAccessKind::Read, None)
                    .is_err() =>
            {
                Err(cannot_find(specifier, &referrer))
            }
            "file" => Ok(url),
            scheme => Err(JsErrorBox::new(
                "TypeError",
                format!("only file: and node: modules can be imported in a function, not {scheme}: ({url})"),
            )),
        }
    }

    fn load(
        &self,
        specifier: &ModuleSpecifier,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        let specifier = specifier.clone();
        let referrer = referrer.map(|referrer| referrer.specifier.clone());
        let files = self.files.clone();
        let permissions = self.scope.borrow().permissions.clone();
        let code_cache = self.code_cache.clone();
        ModuleLoadResponse::Async(Box::pin(async move {
            let path = file(&specifier)?;
            permissions
                .check_open(Cow::Borrowed(&path), OpenAccessKind::Read, Some("import"))
                .map_err(JsErrorBox::from_err)?;
            let media_type = MediaType::from_specifier(&specifier);
            if is_typescript(media_type) && !is_in_node_modules(&path) {
                let source = std::fs::read_to_string(&path).map_err(JsErrorBox::from_err)?;
                let code = code_cache.made(specifier.as_str(), &source, || {
                    strip_types(specifier.clone(), source.as_str().into(), media_type)
                })?;
                let cached = code_cache.find(specifier.as_str(), Source::Bytes(code.as_bytes()));
                return Ok(ModuleSource::new(
                    ModuleType::JavaScript,
                    ModuleSourceCode::String(code.into()),
                    &specifier,
                    cached,
                ));
            }
            let requested = match &options.requested_module_type {
                RequestedModuleType::Json => deno_resolver::loader::RequestedModuleType::Json,
                RequestedModuleType::Text => deno_resolver::loader::RequestedModuleType::Text,
                RequestedModuleType::Bytes => deno_resolver::loader::RequestedModuleType::Bytes,
                _ => deno_resolver::loader::RequestedModuleType::None,
            };
            let module_type = match &options.requested_module_type {
                RequestedModuleType::Text => ModuleType::Text,
                RequestedModuleType::Bytes => ModuleType::Bytes,
                _ if media_type == MediaType::Json => ModuleType::Json,
                _ if media_type == MediaType::Wasm => ModuleType::Wasm,
                _ => ModuleType::JavaScript,
            };
            let loaded = files
                .load(Cow::Borrowed(&specifier), referrer.as_ref(), &requested, None)
                .await;
            let loaded = loaded.map_err(|error| match &referrer {
                Some(referrer) if !path.exists() => cannot_find(&path.display().to_string(), referrer),
                _ => JsErrorBox::from_err(error),
            })?;
            let code = match loaded.source {
                LoadedModuleSource::ArcStr(text) => ModuleSourceCode::String(text.into()),
                LoadedModuleSource::String(text) => ModuleSourceCode::String(text.into_owned().into()),
                LoadedModuleSource::ArcBytes(bytes) => {
                    ModuleSourceCode::Bytes(bytes.to_vec().into_boxed_slice().into())
                }
                LoadedModuleSource::Bytes(bytes) => {
                    ModuleSourceCode::Bytes(bytes.into_owned().into_boxed_slice().into())
                }
            };
            let cached = match module_type {
                ModuleType::JavaScript => code_cache.find(specifier.as_str(), Source::Bytes(code.as_bytes())),
                _ => None,
            };
            Ok(ModuleSource::new(module_type, code, &specifier, cached))
        }))
    }

    /// Of one of Deno's scripts, which are in the binary.
    fn get_code_cache(&self, specifier: &ModuleSpecifier, source: &str) -> Option<SourceCodeCacheInfo> {
        self.code_cache
            .find(specifier.as_str(), Source::Bytes(source.as_bytes()))
    }

    fn code_cache_ready(
        &self,
        specifier: ModuleSpecifier,
        hash: u64,
        code: &[u8],
    ) -> Pin<Box<dyn Future<Output = ()>>> {
        self.code_cache.put(specifier.as_str(), hash, code);
        Box::pin(std::future::ready(()))
    }

    fn get_source_map(&self, file_name: &str) -> Option<Cow<'_, [u8]>> {
        source_maps::of_file(file_name, |path| self.may_read(path)).map(Cow::Owned)
    }

    fn load_external_source_map(&self, source_map_url: &str) -> Option<Cow<'_, [u8]>> {
        source_maps::beside(source_map_url, |path| self.may_read(path)).map(Cow::Owned)
    }

    /// The sources of a bundle are seldom deployed with it. Their names are what its author knows.
    fn source_map_source_exists(&self, _source_url: &str) -> Option<bool> {
        Some(true)
    }
}

/// A module that is not there, in Node.js's words.
fn cannot_find(specifier: &str, referrer: &Url) -> JsErrorBox {
    let what = if specifier.starts_with(['.', '/']) || specifier.contains(':') {
        "module"
    } else {
        "package"
    };
    let from = referrer
        .to_file_path()
        .map_or_else(|()| referrer.to_string(), |path| path.display().to_string());
    JsErrorBox::type_error(format!("Cannot find {what} '{specifier}' imported from {from}"))
}

fn file(url: &Url) -> Result<PathBuf, JsErrorBox> {
    url.to_file_path()
        .map_err(|()| JsErrorBox::type_error(format!("only files can be imported in a function, not {url}")))
}

fn is_typescript(media_type: MediaType) -> bool {
    matches!(
        media_type,
        MediaType::TypeScript | MediaType::Mts | MediaType::Cts | MediaType::Tsx
    )
}

fn is_in_node_modules(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "node_modules")
}

/// How `require()` reads files.
struct RequireLoader {
    tracker: Tracker,
    scope: Rc<RefCell<Scope>>,
}

impl deno_node::NodeRequireLoader for RequireLoader {
    fn ensure_read_permission<'a>(
        &self,
        permissions: &mut PermissionsContainer,
        path: Cow<'a, Path>,
    ) -> Result<Cow<'a, Path>, JsErrorBox> {
        permissions
            .check_open(path, OpenAccessKind::Read, Some("require"))
            .map(|path| path.into_path())
            .map_err(JsErrorBox::from_err)
    }

    fn load_text_file_lossy(&self, path: &Path) -> Result<FastString, JsErrorBox> {
        let text = String::from_utf8_lossy(&std::fs::read(path).map_err(JsErrorBox::from_err)?).into_owned();
        let media_type = MediaType::from_path(path);
        if !is_typescript(media_type) {
            return Ok(text.into());
        }
        let specifier = Url::from_file_path(path)
            .map_err(|()| JsErrorBox::type_error(format!("{} is not absolute", path.display())))?;
        Ok(strip_types(specifier, text.into(), media_type)?.into())
    }

    fn resolve_require_node_module_paths(&self, from: &Path) -> Vec<String> {
        let root = &self.scope.borrow().root;
        deno_node::default_resolve_require_node_module_paths(from)
            .into_iter()
            .filter(|path| Path::new(path).starts_with(root))
            .collect()
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

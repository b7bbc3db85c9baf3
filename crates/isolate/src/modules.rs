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
    ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader, ModuleSource, ModuleSourceCode,
    ModuleSpecifier, ModuleType, RequestedModuleType, ResolutionKind, SourceCodeCacheInfo,
};
use deno_error::JsErrorBox;
use deno_node::NodeExtInitServices;
use deno_permissions::PermissionsContainer;
use deno_resolver::cache::ParsedSourceCache;
use deno_resolver::cjs::analyzer::{DenoAstModuleExportAnalyzer, DenoCjsCodeAnalyzer, NullNodeAnalysisCache};
use deno_resolver::cjs::{CjsTracker, IsCjsResolutionMode};
use deno_resolver::loader::{DenoNpmModuleLoader, LoadedModuleSource, NpmModuleLoader};
use deno_resolver::npm::{
    ByonmNpmResolverCreateOptions, CreateInNpmPkgCheckerOptions, DenoInNpmPackageChecker, NpmResolver,
    NpmResolverCreateOptions,
};
use hikigane_executor::WorkerInit;
use node_resolver::analyze::{
    CjsAnalysisSourceProvider, CjsModuleExportAnalyzer, NodeCodeTranslator, NodeCodeTranslatorMode,
};
use node_resolver::cache::{NodeResolutionSys, NodeResolutionThreadLocalCache};
use node_resolver::errors::{
    NodeJsErrorCode, NodeJsErrorCoded as _, NodeResolveError, NodeResolveErrorKind, PackageFolderResolveErrorKind,
    PackageResolveErrorKind,
};
use node_resolver::{
    DenoIsBuiltInNodeModuleChecker, NodeConditionOptions, NodeResolutionKind, NodeResolver, NodeResolverOptions,
    PackageJsonResolver, PackageJsonThreadLocalCache, ResolutionMode,
};

use crate::code_cache::{CodeCache, Source};
use crate::extensions::strip_types;
use crate::files::Files;
use crate::import_errors::{ImportErrors, Refused, throwing};
use crate::require::{RequireLoader, Tracker};
use crate::scope::Scope;
use crate::source_maps;

/// Finds modules.
pub type Resolver =
    Arc<NodeResolver<DenoInNpmPackageChecker, DenoIsBuiltInNodeModuleChecker, NpmResolver<Files>, Files>>;

/// The services that `deno_node` resolves `require()` with.
pub type NodeServices = NodeExtInitServices<DenoInNpmPackageChecker, NpmResolver<Files>, Files>;

/// Makes the loader of ES modules and the services of CommonJS over one resolver.
pub fn make() -> (Rc<Loader>, NodeServices) {
    let files = Files::default();
    let packages = Arc::new(PackageJsonResolver::new(
        files.clone(),
        Some(Arc::new(PackageJsonThreadLocalCache)),
    ));
    let cached = NodeResolutionSys::new(files.clone(), Some(Arc::new(NodeResolutionThreadLocalCache)));
    let checker = DenoInNpmPackageChecker::new(CreateInNpmPkgCheckerOptions::Byonm);
    let npm = NpmResolver::<Files>::new(NpmResolverCreateOptions::Byonm(ByonmNpmResolverCreateOptions {
        root_node_modules_dir: None,
        search_stop_dir: None,
        sys: cached.clone(),
        pkg_json_resolver: packages.clone(),
    }));
    // Node.js's own conditions; Deno's defaults would add `deno`, and `module-sync` always.
    let with_conditions = |import: &[&'static str], require: &[&'static str]| -> Resolver {
        let conditions = |names: &[&'static str]| Some(names.iter().map(|&name| name.into()).collect());
        Arc::new(NodeResolver::new(
            checker.clone(),
            DenoIsBuiltInNodeModuleChecker,
            npm.clone(),
            packages.clone(),
            cached.clone(),
            NodeResolverOptions {
                conditions: NodeConditionOptions {
                    import_conditions_override: conditions(import),
                    require_conditions_override: conditions(require),
                    ..Default::default()
                },
                ..Default::default()
            },
        ))
    };
    let resolvers = Resolvers {
        plain: with_conditions(&["node", "import"], &["node", "require"]),
        sync: with_conditions(&["node", "import", "module-sync"], &["node", "require", "module-sync"]),
    };
    let resolver = &resolvers.plain;
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
        files.clone(),
    );
    let translator = NodeCodeTranslator::new(Arc::new(exports), NodeCodeTranslatorMode::ModuleLoader);
    let loader = NpmModuleLoader::new(tracker.clone(), checker, Arc::new(translator), files.clone());
    let scope = Rc::new(RefCell::new(Scope::none(files.clone())));
    let services = NodeExtInitServices {
        node_require_loader: Rc::new(RequireLoader {
            tracker,
            scope: scope.clone(),
        }),
        node_resolver: resolver.clone(),
        pkg_json_resolver: packages,
        sys: files.clone(),
    };
    (
        Rc::new(Loader {
            resolver: RefCell::new(resolver.clone()),
            resolvers,
            loader: Rc::new(loader),
            files,
            scope,
            code_cache: Rc::default(),
            import_errors: ImportErrors::default(),
        }),
        services,
    )
}

/// By Node.js's rules without and with `require()` of ES modules, which has a condition of its own (Node.js documentation, "Conditional exports").
struct Resolvers {
    plain: Resolver,
    sync: Resolver,
}

/// Loads ES modules, and CommonJS that an ES module imports.
pub struct Loader {
    resolvers: Resolvers,
    resolver: RefCell<Resolver>,
    loader: Rc<DenoNpmModuleLoader<Files>>,
    files: Files,
    scope: Rc<RefCell<Scope>>,
    code_cache: Rc<CodeCache>,
    import_errors: ImportErrors,
}

type Loading = Pin<Box<dyn Future<Output = Result<ModuleSource, JsErrorBox>>>>;

impl Loader {
    /// Sets where the code lies, what in it may change ([`Scope::changing`]), and what may be read.
    pub fn set_scope(&self, init: &WorkerInit, changing: &[PathBuf], permissions: PermissionsContainer) {
        self.scope
            .replace(Scope::of(self.files.clone(), init, changing, permissions));
    }

    /// Chooses the rules of a function's Node.js, and gives what `require()` resolves with.
    pub fn set_rules(&self, init: &WorkerInit) -> Resolver {
        let Resolvers { plain, sync } = &self.resolvers;
        let chosen = if init.require_modules { sync } else { plain };
        self.resolver.replace(chosen.clone());
        chosen.clone()
    }

    /// Forgets the function and what was found of it.
    pub fn clear_scope(&self) {
        self.scope.replace(Scope::none(self.files.clone()));
        self.files.freeze(Vec::new(), Vec::new());
        PackageJsonThreadLocalCache::clear();
        NodeResolutionThreadLocalCache::clear();
    }

    /// Resolves by Node.js's rules; a package that the importing module does not find may be in NODE_PATH: AWS's runtimes look for ES
    /// modules of layers there, too (AWS Compute Blog, "Node.js 18.x runtime now available in AWS Lambda").
    fn find(&self, specifier: &str, referrer: &Url) -> Result<Url, JsErrorBox> {
        let resolve = |referrer: &Url| {
            let (mode, kind) = (ResolutionMode::Import, NodeResolutionKind::Execution);
            self.resolver.borrow().resolve(specifier, referrer, mode, kind)
        };
        let found = match resolve(referrer) {
            Err(error) if is_absent(&error) => {
                let scope = self.scope.borrow();
                let layers = scope.node_path().iter().filter(|path| path.ends_with("node_modules"));
                layers
                    .filter_map(|path| Url::from_file_path(path.with_file_name("layer")).ok())
                    .map(|layer| resolve(&layer))
                    .find(|found| !found.as_ref().is_err_and(is_absent))
                    .ok_or_else(|| cannot_find(specifier, referrer))?
            }
            found => found,
        };
        found
            .map_err(|error| match error.as_kind() {
                NodeResolveErrorKind::FinalizeResolution(inner)
                    if inner.code() == NodeJsErrorCode::ERR_MODULE_NOT_FOUND =>
                {
                    let path = inner
                        .maybe_specifier()
                        .and_then(|path| path.into_owned().into_path().ok());
                    let path = path.map(|path| path.components().collect::<PathBuf>().display().to_string());
                    cannot_find(path.as_deref().unwrap_or(specifier), referrer)
                }
                _ => JsErrorBox::from_err(error),
            })?
            .into_url()
            .map_err(JsErrorBox::from_err)
    }

    /// What [`Self::find`] finds, if it may be imported.
    fn find_inside(&self, specifier: &str, referrer: &Url) -> Result<Url, JsErrorBox> {
        let url = self.find(specifier, referrer)?;
        match url.scheme() {
            "node" => Ok(url),
            // The walk up through the `node_modules` of all parents must not find what lies outside.
            "file" if self.scope.borrow().check(&file(&url)?, "import").is_err() => {
                Err(cannot_find(specifier, referrer))
            }
            "file" => Ok(url),
            scheme => Err(JsErrorBox::from_err(Refused {
                code: "ERR_UNSUPPORTED_ESM_URL_SCHEME",
                message: format!("only file: and node: modules can be imported in a function, not {scheme}: ({url})"),
            })),
        }
    }

    /// Reads a module's source.
    fn read(
        &self,
        specifier: ModuleSpecifier,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> Loading {
        let referrer = referrer.map(|referrer| referrer.specifier.clone());
        let loader = self.loader.clone();
        let scope = self.scope.clone();
        let code_cache = self.code_cache.clone();
        Box::pin(async move {
            let path = file(&specifier)?;
            scope.borrow().check(&path, "import").map_err(JsErrorBox::from_err)?;
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
                RequestedModuleType::None if media_type == MediaType::Json => {
                    return Err(JsErrorBox::from_err(Refused {
                        code: "ERR_IMPORT_ATTRIBUTE_MISSING",
                        message: format!("Module \"{specifier}\" needs an import attribute of \"type: json\""),
                    }));
                }
                _ if media_type == MediaType::Json => ModuleType::Json,
                _ if media_type == MediaType::Wasm => ModuleType::Wasm,
                _ => ModuleType::JavaScript,
            };
            let sources = Sources(scope);
            let loaded = loader
                .load(Cow::Borrowed(&specifier), referrer.as_ref(), &requested, Some(&sources))
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
        })
    }

    /// What V8 compiled of the function's modules.
    pub fn code_cache(&self) -> &Rc<CodeCache> {
        &self.code_cache
    }

    fn may_read(&self, path: &Path) -> bool {
        self.scope.borrow().check(path, "source map").is_ok()
    }
}

impl ModuleLoader for Loader {
    fn resolve(&self, specifier: &str, referrer: &str, kind: ResolutionKind) -> Result<ModuleSpecifier, JsErrorBox> {
        // The runtime's own import() of a handler names a file: URL.
        let referrer = match Url::parse(referrer) {
            Ok(url) if url.scheme() == "file" => url,
            _ => return Url::parse(specifier).map_err(|error| JsErrorBox::type_error(format!("{specifier}: {error}"))),
        };
        match self.find_inside(specifier, &referrer) {
            // Told when it is loaded: then it is known whether `import()` names it, or a module that is imported so.
            Err(error) if kind == ResolutionKind::DynamicImport => {
                self.import_errors.stand_in(specifier, &referrer, error)
            }
            found => found,
        }
    }

    fn load(
        &self,
        specifier: &ModuleSpecifier,
        referrer: Option<&ModuleLoadReferrer>,
        options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        let specifier = specifier.clone();
        // What `import()` names has none; what such a module imports has.
        let named = options.is_dynamic_import && referrer.is_none();
        let loaded: Loading = match self.import_errors.of(&specifier) {
            Some(error) => Box::pin(std::future::ready(Err(error))),
            None => self.read(specifier.clone(), referrer, options),
        };
        ModuleLoadResponse::Async(Box::pin(async move {
            let error = match loaded.await {
                Err(error) if named => error,
                loaded => return loaded,
            };
            let source = ModuleSourceCode::String(throwing(&error).into());
            Ok(ModuleSource::new(ModuleType::JavaScript, source, &specifier, None))
        }))
    }

    fn import_meta_resolve(&self, specifier: &str, referrer: &str) -> Result<ModuleSpecifier, JsErrorBox> {
        self.resolve(specifier, referrer, ResolutionKind::Import)
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

/// The function's own CommonJS files whose exports another file exports again.
struct Sources(Rc<RefCell<Scope>>);

impl CjsAnalysisSourceProvider for Sources {
    fn load_source<'a>(&'a self, specifier: &Url) -> Option<Cow<'a, str>> {
        let path = specifier.to_file_path().ok()?;
        self.0.borrow().check(&path, "import").ok()?;
        let source = std::fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&source).into_owned().into())
    }
}

/// Whether no directory has a package of that name.
fn is_absent(error: &NodeResolveError) -> bool {
    let NodeResolveErrorKind::PackageResolve(error) = error.as_kind() else {
        return false;
    };
    let PackageResolveErrorKind::PackageFolderResolve(error) = error.as_kind() else {
        return false;
    };
    matches!(error.as_kind(), PackageFolderResolveErrorKind::PackageNotFound(_))
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
    JsErrorBox::from_err(Refused {
        code: "ERR_MODULE_NOT_FOUND",
        message: format!("Cannot find {what} '{specifier}' imported from {from}"),
    })
}

fn file(url: &Url) -> Result<PathBuf, JsErrorBox> {
    url.to_file_path()
        .map_err(|()| JsErrorBox::type_error(format!("only files can be imported in a function, not {url}")))
}

/// Whether types must be stripped off.
pub fn is_typescript(media_type: MediaType) -> bool {
    matches!(
        media_type,
        MediaType::TypeScript | MediaType::Mts | MediaType::Cts | MediaType::Tsx
    )
}

fn is_in_node_modules(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "node_modules")
}

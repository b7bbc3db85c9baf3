//! The manifest: YAML in, functions, bindings and sources out; or every mistake at once, each with its place.
//!
//! [`load`] goes through five steps, and none of them stops at the first mistake:
//!
//! 1. `yaml`: text to a tree whose values know their place. Limits, duplicate keys, ambiguous spellings, variables.
//! 2. `section` and `document`: the tree to typed sections. Unknown keys and wrong types.
//! 3. `function`: sections to [`FunctionConfig`]s. Names, ranges, paths, environment.
//! 4. `event`: items of `events:` to bindings with stable identities and compiled filters.
//! 5. `source`: each plug-in builds its source from its part; its mistakes come back to their places.
//!
//! The JSON Schema for editors ([`schema()`]) comes from the same sections.

mod access_keys;
mod code;
mod destination;
mod diagnostic;
mod document;
mod event;
mod function;
mod recursion;
mod schema;
mod section;
mod source;
mod suggestion;
mod units;
mod url;
mod variables;
mod yaml;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hikigane_model::{
    AccessKey, Allow, BindingId, FunctionConfig, FunctionName, FunctionUrl, InvokeMode, SandboxMode, limits,
};
use hikigane_pattern::Pattern;
use hikigane_trigger::{Source, TriggerPlugin, nearest};

pub use crate::access_keys::read_file as read_access_keys;
pub use crate::diagnostic::{Diagnostic, Location, Report, Severity};
pub use crate::schema::schema;

use crate::diagnostic::{Problems, Span, unreadable};
use crate::document::{Defaults, Document};
use crate::section::{FromNode, Named, Setting, Spanned};
use crate::suggestion::quote;

/// A manifest that can be run.
pub struct Loaded {
    /// What it says.
    pub manifest: Manifest,
    /// The sources that its triggers need, by kind; built, not opened.
    pub sources: Vec<(&'static str, Box<dyn Source>)>,
    /// What is legal and still looks wrong.
    pub warnings: Report,
    /// Directories that are not there, and that `up` does not start without.
    pub missing: Report,
    /// The file as it was named.
    pub file: String,
    /// Where in it each function begins.
    places: HashMap<FunctionName, Location>,
}

impl Loaded {
    /// A warning about a function, found after loading, with the function's name as its place.
    pub fn warning(&self, function: &FunctionName, message: String, help: Option<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            file: self.file.clone(),
            location: self.places.get(function).cloned(),
            path: Some(format!("functions.{function}")),
            message,
            help,
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = self.sources.iter().map(|(kind, _)| *kind).collect();
        f.debug_struct("Loaded")
            .field("manifest", &self.manifest)
            .field("sources", &kinds)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// What a manifest says, checked and complete: no defaults are left to fill in.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file; absolute.
    pub path: PathBuf,
    /// What the set of functions is called.
    pub service: Option<String>,
    /// The file's directory, absolute: where its relative paths start.
    pub base: PathBuf,
    /// `defaults.timezone`, an IANA name.
    pub timezone: Option<String>,
    /// What requests to the endpoint must be signed with; empty: they need not be.
    pub access_keys: Vec<AccessKey>,
    /// Whether the whole sandbox is demanded.
    pub sandbox: SandboxMode,
    /// What the sandbox opens to functions that are not in the file: `defaults.allow`, or else the network, as on AWS.
    pub allow: Allow,
    /// Where objects of buckets are that no source has: `http://host:port`.
    pub s3_endpoint: Option<String>,
    /// Invocations that may run at once in all.
    pub account_concurrency: u32,
    /// The functions, in the order of the file.
    pub functions: Vec<FunctionConfig>,
    /// The URLs of those that have one.
    pub urls: HashMap<FunctionName, FunctionUrl>,
    /// The events of all functions, in the order of the file; disabled ones too.
    pub bindings: Vec<Binding>,
}

/// One event of a function: which trigger runs it, and how.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Its identity: the function's name, and its own or its trigger's kind.
    pub id: BindingId,
    /// The function it runs.
    pub function: FunctionName,
    /// The trigger's kind.
    pub kind: String,
    /// Whether the trigger waits for the result; `None`: as the trigger does by itself.
    pub invoke: Option<InvokeMode>,
    /// Events that do not match are not delivered.
    pub filter: Option<Pattern>,
    /// A disabled binding is checked and listed, and never fires.
    pub enabled: bool,
}

/// Reads the manifest at `path`, or `hikigane.yaml` in the directory there, with the triggers that `plugins` provide; `env` answers `${env:NAME}`.
///
/// # Errors
///
/// All mistakes of the file, and the warnings with them. When the file cannot be read: one diagnostic without a place.
pub fn load(
    path: &Path,
    plugins: &[Arc<dyn TriggerPlugin>],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Report> {
    let inside;
    let path = if path.is_dir() {
        inside = path.join("hikigane.yaml");
        &inside
    } else {
        path
    };
    let source = Arc::new(read(path)?);
    let absolute = std::path::absolute(path).map_err(|error| {
        unreadable(
            path.display().to_string(),
            format!("the working directory is gone: {error}"),
            None,
        )
    })?;
    let base = absolute.parent().unwrap_or(&absolute).to_owned();
    let mut problems = Problems::new(source.clone());
    let dir = base.to_string_lossy();
    let tree = yaml::parse(source.text(), yaml::Variables { env, dir: &dir }, &mut problems);
    let document = tree.as_ref().and_then(|tree| {
        let document = Document::from_node(tree, &mut problems)?;
        if matches!(document.functions, Setting::Missing) {
            problems
                .error(tree.span, "the manifest has no `functions`")
                .help("add `functions:`, with a name and its `code`; or `functions: {}` when all are deployed through the API");
        }
        Some(document)
    });
    let places = document
        .as_ref()
        .map(|document| places(document, &source))
        .unwrap_or_default();
    let loaded = document.map(|document| assemble(&document, absolute, base, plugins, &mut problems));
    let report = problems.finish(tree.as_ref());
    match loaded {
        Some((manifest, sources)) if report.counts().0 == 0 => Ok(Loaded {
            missing: missing_directories(&sources, tree.as_ref(), &manifest.base, source),
            manifest,
            sources,
            warnings: report,
            file: path.display().to_string(),
            places,
        }),
        _ => Err(report),
    }
}

/// The directories that sources claim, and that are none.
fn missing_directories(
    sources: &[source::Named],
    tree: Option<&yaml::Node>,
    base: &Path,
    source: Arc<diagnostic::Source>,
) -> Report {
    let mut problems = Problems::new(source);
    let settings = tree.and_then(|tree| tree.child("sources"));
    for (kind, source) in sources {
        let place = settings.and_then(|settings| settings.child(kind));
        source::warn_of_missing_directories(source.as_ref(), place, base, &mut problems);
    }
    problems.finish(tree)
}

/// Where each function's name stands.
fn places(document: &Document, source: &Arc<diagnostic::Source>) -> HashMap<FunctionName, Location> {
    let names = document
        .functions
        .value()
        .into_iter()
        .flat_map(|functions| &functions.0);
    let places =
        names.filter_map(|(name, _)| Some((FunctionName::new(&name.value).ok()?, source.locate(name.span, None))));
    places.collect()
}

/// The file's text, within [`yaml::MAX_BYTES`].
fn read(path: &Path) -> Result<diagnostic::Source, Report> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let limit = yaml::MAX_BYTES as u64 + 1;
    if let Err(error) = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        let help = (error.kind() == std::io::ErrorKind::NotFound).then(|| {
            "name your manifest, or write one; the smallest is `functions: { hello: { code: ./hello.mjs } }`".to_owned()
        });
        return Err(unreadable(
            name.clone(),
            format!("cannot read {}: {error}", quote(&name)),
            help,
        ));
    }
    if bytes.len() > yaml::MAX_BYTES {
        let message = format!("{} is larger than {} bytes", quote(&name), yaml::MAX_BYTES);
        return Err(unreadable(
            name,
            message,
            Some("put data into files beside the manifest".to_owned()),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(diagnostic::Source::new(name, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let mut problems = Problems::new(Arc::new(diagnostic::Source::new(name, text)));
            let shown = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
            problems
                .error(shown, "this is not UTF-8")
                .help("save the file as UTF-8");
            Err(problems.finish(None))
        }
    }
}

/// Steps 3 to 5. What it returns is meant to be used only when `problems` has no errors.
fn assemble(
    document: &Document,
    path: PathBuf,
    base: PathBuf,
    plugins: &[Arc<dyn TriggerPlugin>],
    problems: &mut Problems,
) -> (Manifest, Vec<source::Named>) {
    let kinds = event::Kinds(plugins);
    let no_defaults = Defaults::default();
    let defaults = document.defaults.value().unwrap_or(&no_defaults);
    function::check_defaults(defaults, &base, problems);
    let timezone = timezone(defaults, problems);

    let mut functions = Vec::new();
    let mut events = Vec::new();
    let mut urls = HashMap::new();
    for (name, section) in document
        .functions
        .value()
        .into_iter()
        .flat_map(|functions| &functions.0)
    {
        let Some(Spanned { value: section, .. }) = section else {
            function::function_name(name, problems);
            continue;
        };
        if let Some(url) = section.url.given().and_then(|url| url::read(url, problems))
            && let Ok(name) = FunctionName::new(&name.value)
        {
            urls.insert(name, url);
        }
        functions.extend(function::configure(name, section, defaults, &base, problems));
        events.extend(event::read(name, section, kinds, problems));
    }
    let sections = document.functions.value().into_iter().flat_map(Named::known);
    let account_concurrency = document
        .account_concurrency
        .value()
        .map_or(limits::ACCOUNT_CONCURRENCY, |account| account.0);
    function::check_reservations(
        sections.map(|(_, section)| &section.value),
        account_concurrency,
        problems,
    );
    if let Some(functions) = document.functions.value() {
        destination::check(functions, problems);
    }

    let settings = document.sources.value().map_or(&[][..], |sources| &sources.0);
    for (kind, _) in settings.iter().filter(|(kind, _)| !kinds.has(&kind.value)) {
        event::refuse_source(kind, kinds, problems);
    }
    let builder = source::Builder {
        base: &base,
        timezone: timezone.as_deref(),
        settings,
        events: &events,
    };
    let sources = builder.build(plugins, problems);
    recursion::check(&events, &functions, &sources, problems);

    let service = document.service.value().cloned();
    let bindings = events.into_iter().filter_map(binding).collect();
    let access_keys = access_keys::configure(&document.access_keys, &base, problems);
    (
        Manifest {
            path,
            service,
            access_keys,
            timezone,
            sandbox: document.sandbox.value().map(|mode| mode.0).unwrap_or_default(),
            allow: function::allow_others(defaults, &base),
            s3_endpoint: s3_endpoint(document, problems),
            account_concurrency,
            base,
            functions,
            urls,
            bindings,
        },
        sources,
    )
}

fn binding(event: event::Event) -> Option<Binding> {
    Some(Binding {
        id: event.id,
        function: event.function?,
        kind: event.kind,
        invoke: event.invoke,
        filter: event.filter,
        enabled: event.enabled,
    })
}

fn s3_endpoint(document: &Document, problems: &mut Problems) -> Option<String> {
    let url = document.s3_endpoint.given()?;
    let authority = url.value.strip_prefix("http://").unwrap_or_default();
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', '\\', ' ']) {
        problems
            .error(
                url.span,
                format!("{} is not the address of an S3 service", quote(&url.value)),
            )
            .help("write `http://`, a host and a port, as `http://127.0.0.1:9100`");
        return None;
    }
    Some(format!("http://{authority}"))
}

fn timezone(defaults: &Defaults, problems: &mut Problems) -> Option<String> {
    let zone = defaults.timezone.given()?;
    if zone.value.parse::<chrono_tz::Tz>().is_ok() {
        return Some(zone.value.clone());
    }
    let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let help = match nearest(&zone.value, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write an IANA name, as `Europe/Paris` or `UTC`".to_owned(),
    };
    problems
        .error(zone.span, format!("{} is not a time zone", quote(&zone.value)))
        .help(help);
    None
}

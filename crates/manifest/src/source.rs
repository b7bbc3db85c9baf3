//! Building the plug-ins' sources, and bringing their mistakes back to their places in the file.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hikigane_model::BindingId;
use hikigane_trigger::{BindingSpec, Resource, Source, SourceSpec, SpecError, SpecErrors, SpecPlace, TriggerPlugin};

use crate::code;
use crate::diagnostic::{Problems, Span};
use crate::event::Event;
use crate::section::Spanned;
use crate::suggestion::quote;
use crate::yaml::{Node, Value};

/// A source under its plug-in's kind.
pub(crate) type Named = (&'static str, Box<dyn Source>);

/// What the manifest says to all plug-ins.
pub(crate) struct Builder<'a> {
    pub(crate) base: &'a Path,
    pub(crate) timezone: Option<&'a str>,
    /// The keys and values under `sources:`.
    pub(crate) settings: &'a [(Spanned<String>, Node)],
    pub(crate) events: &'a [Event],
}

impl Builder<'_> {
    /// The sources that the manifest asks for, in the order of the plug-ins.
    pub(crate) fn build(&self, plugins: &[Arc<dyn TriggerPlugin>], problems: &mut Problems) -> Vec<Named> {
        let mut sources: Vec<(Span, Named)> = Vec::new();
        for plugin in plugins {
            let part = Part::new(self, plugin.kind());
            part.check_disabled(plugin.as_ref(), problems);
            if let Some(source) = part.build(plugin.as_ref(), problems) {
                sources.push((part.place(), (plugin.kind(), source)));
            }
        }
        refuse_shared_resources(&sources, problems);
        sources.into_iter().map(|(_, source)| source).collect()
    }
}

/// One plug-in's part of the manifest.
struct Part<'a> {
    manifest: &'a Builder<'a>,
    settings: Option<&'a (Spanned<String>, Node)>,
    events: Vec<&'a Event>,
}

impl<'a> Part<'a> {
    fn new(manifest: &'a Builder<'a>, kind: &str) -> Self {
        Self {
            manifest,
            settings: manifest.settings.iter().find(|(name, _)| name.value == kind),
            events: manifest.events.iter().filter(|event| event.kind == kind).collect(),
        }
    }

    /// Builds the source of the enabled bindings. `None` when nothing asks for it and the plug-in needs none, or with diagnostics.
    fn build(&self, plugin: &dyn TriggerPlugin, problems: &mut Problems) -> Option<Box<dyn Source>> {
        let enabled: Vec<&Event> = self.events.iter().copied().filter(|event| event.enabled).collect();
        if enabled.is_empty() && self.settings.is_none() && !plugin.runs_without_bindings() {
            return None;
        }
        match plugin.build(self.spec(&enabled)) {
            Ok(source) => Some(source),
            Err(errors) => {
                self.report(plugin.kind(), errors, problems);
                None
            }
        }
    }

    /// Checks each disabled binding alone: it may claim what an enabled one has, since only one of them will run.
    fn check_disabled(&self, plugin: &dyn TriggerPlugin, problems: &mut Problems) {
        for event in self.events.iter().copied().filter(|event| !event.enabled) {
            if let Err(errors) = plugin.build(self.spec(&[event])) {
                self.report(plugin.kind(), errors, problems);
            }
        }
    }

    fn spec(&self, events: &[&Event]) -> SourceSpec {
        let binding = |event: &&Event| BindingSpec {
            id: event.id.clone(),
            config: event.config.to_json(),
            invoke: event.invoke,
        };
        SourceSpec {
            settings: self
                .settings
                .filter(|(_, value)| !value.is_null())
                .map(|(_, value)| value.to_json()),
            bindings: events.iter().map(binding).collect(),
            base: self.manifest.base.to_owned(),
            timezone: self.manifest.timezone.map(str::to_owned),
        }
    }

    fn report(&self, kind: &str, SpecErrors(errors): SpecErrors, problems: &mut Problems) {
        if errors.is_empty() {
            problems.error(
                self.place(),
                format!("the plug-in {} refuses this and does not say why", quote(kind)),
            );
        }
        let configs: HashMap<&BindingId, &Node> = self.events.iter().map(|event| (&event.id, &event.config)).collect();
        for SpecError {
            place,
            path,
            message,
            help,
        } in errors
        {
            let root: Option<&Node> = match &place {
                SpecPlace::Settings => self.settings.map(|(_, value)| value),
                SpecPlace::Binding(id) => configs.get(id).copied(),
            };
            let node = root.map(|root| root.at(&path));
            // The value was refused when it was read; what the plug-in thinks of its text is beside the point.
            if node.is_some_and(Node::is_refused) {
                continue;
            }
            // A path ends with the offending value; but of an unknown key it is the key that offends.
            let key = root
                .filter(|_| message.starts_with("unknown key"))
                .and_then(|root| root.key_at(&path));
            let span = key
                .or_else(|| node.map(|node| node.span))
                .unwrap_or_else(|| self.place());
            let diagnostic = problems.error(span, message);
            if let Some(help) = help {
                diagnostic.help(help);
            }
        }
    }

    /// Where the manifest first names the kind.
    fn place(&self) -> Span {
        let setting = self.settings.map(|(name, _)| name.span);
        setting
            .or_else(|| self.events.first().map(|event| event.kind_span))
            .unwrap_or(Span::new(0, 0))
    }
}

/// Warns of the directories that the source claims and that are none, where the settings name them.
pub(crate) fn warn_of_missing_directories(
    source: &dyn Source,
    settings: Option<&Node>,
    base: &Path,
    problems: &mut Problems,
) {
    for resource in source.resources() {
        let Resource::Directory(path) = resource else { continue };
        let why = match fs::metadata(&path) {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => "is not a directory".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => "does not exist".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        let span = settings.and_then(|settings| span_of(settings, &path, base));
        problems
            .warning(
                span.unwrap_or(Span::new(0, 0)),
                format!("the directory {} {why}", quote(&path.display().to_string())),
            )
            .help("`hikigane up` does not start without it");
    }
}

/// Where the directory is named below `node`.
fn span_of(node: &Node, path: &Path, base: &Path) -> Option<Span> {
    match &*node.value {
        Value::Scalar(scalar) => (code::absolute(base, &scalar.text) == path).then_some(node.span),
        Value::Sequence(items) => items.iter().find_map(|item| span_of(item, path, base)),
        Value::Mapping(entries) => entries.iter().find_map(|entry| span_of(&entry.node, path, base)),
        Value::Refused(_) => None,
    }
}

fn refuse_shared_resources(sources: &[(Span, Named)], problems: &mut Problems) {
    let claims: Vec<(Span, &str, Vec<Resource>)> = sources
        .iter()
        .map(|(span, (kind, source))| (*span, *kind, source.resources()))
        .collect();
    for (position, (span, kind, resources)) in claims.iter().enumerate() {
        for (_, other_kind, others) in &claims[..position] {
            for resource in resources {
                if others.iter().any(|other| conflict(resource, other)) {
                    problems
                        .error(
                            *span,
                            format!("`{kind}` and `{other_kind}` both claim {}", describe(resource)),
                        )
                        .help("give one of them another");
                }
            }
        }
    }
}

/// Whether only one of the two can be had: a wildcard address takes the port on every address.
fn conflict(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        (Resource::Listen(one), Resource::Listen(other)) => {
            let wildcard = |address: &SocketAddr| address.ip().is_unspecified();
            one.port() != 0
                && one.port() == other.port()
                && (one.ip() == other.ip() || wildcard(one) || wildcard(other))
        }
        (one, other) => one == other,
    }
}

fn describe(resource: &Resource) -> String {
    match resource {
        Resource::Listen(address) => format!("the address {address}"),
        Resource::Directory(path) => format!("the directory {}", quote(&path.display().to_string())),
    }
}

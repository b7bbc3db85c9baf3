//! The manifest's part: buckets under `sources: s3:`, and the bindings that listen to them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hikigane_trigger::model::{BindingId, InvokeMode};
use hikigane_trigger::{BindingSpec, SourceSpec, SpecError, SpecErrors, SpecPlace, nearest, parse_duration};
use serde_json::Value;

use crate::glob::{DEFAULT_IGNORE, Ignore};
use crate::key::ObjectKey;
use crate::reader::{Node, kind, quoted};
use crate::schema::{BINDING_KEYS, BUCKET_KEYS, OnStart, RULE_KEYS, SETTINGS_KEYS};

/// Quiet time before an object counts as finished, unless the binding says otherwise.
const DEFAULT_SETTLE: Duration = Duration::from_millis(500);
/// Longest quiet time, seconds: a longer one is more likely a slip of the unit.
pub(crate) const MAX_SETTLE: u32 = 24 * 60 * 60;

/// A directory that acts as a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    /// Absolute when the manifest's directory is; `.` and `..` are resolved.
    pub(crate) path: PathBuf,
    pub(crate) on_start: OnStart,
    pub(crate) ignore: Ignore,
    /// The bindings on this bucket, in the order of the manifest.
    pub(crate) listeners: Vec<Listener>,
}

/// A binding: which events of which objects it wants.
#[derive(Debug, Clone)]
pub(crate) struct Listener {
    pub(crate) id: BindingId,
    pub(crate) wants: Wants,
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    /// How long an object must have been quiet.
    pub(crate) settle: Duration,
}

impl Listener {
    pub(crate) fn matches(&self, key: &ObjectKey) -> bool {
        key.as_bytes().starts_with(self.prefix.as_bytes()) && key.as_bytes().ends_with(self.suffix.as_bytes())
    }
}

/// Which events a binding wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) created: bool,
    pub(crate) removed: bool,
}

/// The events that directories have. S3 knows more; the ones left out cannot happen here.
pub(crate) const EVENTS: [(&str, Wants); 4] = [
    (
        "s3:ObjectCreated:*",
        Wants {
            created: true,
            removed: false,
        },
    ),
    (
        "s3:ObjectCreated:Put",
        Wants {
            created: true,
            removed: false,
        },
    ),
    (
        "s3:ObjectRemoved:*",
        Wants {
            created: false,
            removed: true,
        },
    ),
    (
        "s3:ObjectRemoved:Delete",
        Wants {
            created: false,
            removed: true,
        },
    ),
];

/// Reads the settings and all bindings; every mistake is in the error.
pub(crate) fn read(spec: &SourceSpec) -> Result<Vec<Bucket>, SpecErrors> {
    let mut errors = Vec::new();
    let (mut buckets, declared) = read_settings(spec, &mut errors);
    for binding in &spec.bindings {
        let Some((bucket, listener)) = read_binding(binding, &declared, &mut errors) else {
            continue;
        };
        if let Some(bucket) = buckets.iter_mut().find(|candidate| candidate.name == bucket) {
            bucket.listeners.push(listener);
        }
    }
    if errors.is_empty() {
        Ok(buckets)
    } else {
        Err(SpecErrors(errors))
    }
}

/// The buckets that could be read, and the names of all that were declared: a mistake in a bucket's settings
/// must not make its bindings look wrong too.
fn read_settings(spec: &SourceSpec, errors: &mut Vec<SpecError>) -> (Vec<Bucket>, Vec<String>) {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut declared = Vec::new();
    let Some(settings) = &spec.settings else {
        return (buckets, declared);
    };
    let root = Node::root(settings, &SpecPlace::Settings);
    let help = "write buckets: { NAME: { path: ./DIRECTORY } }";
    if root.fields(&SETTINGS_KEYS, errors).is_none() {
        return (buckets, declared);
    }
    let Some(node) = root.field("buckets") else {
        errors.push(root.mistake("no \"buckets\"", help));
        return (buckets, declared);
    };
    let Some(fields) = node.object(help, errors) else {
        return (buckets, declared);
    };
    for name in fields.keys() {
        let Some(node) = node.field(name) else { continue };
        declared.push(name.clone());
        if !is_bucket_name(name) {
            errors.push(node.mistake(
                format!("\"{name}\" is not a bucket name"),
                "use 3 to 63 lower-case letters, digits, \".\" and \"-\", with a letter or digit at both ends, as in S3",
            ));
        }
        let Some(bucket) = read_bucket(name, &node, &spec.base, errors) else {
            continue;
        };
        if let Some(other) = buckets.iter().find(|other| overlap(&other.path, &bucket.path)) {
            errors.push(node.field("path").unwrap_or(node).mistake(
                format!(
                    "the directories of \"{}\" and \"{name}\" are the same or one inside the other",
                    other.name
                ),
                "give each bucket a directory of its own, or use one bucket and \"rules\" with a prefix",
            ));
        }
        buckets.push(bucket);
    }
    (buckets, declared)
}

fn read_bucket(name: &str, node: &Node<'_>, base: &Path, errors: &mut Vec<SpecError>) -> Option<Bucket> {
    node.fields(&BUCKET_KEYS, errors)?;
    let path_help = "write path: ./DIRECTORY, relative to the manifest";
    let path = match node.field("path") {
        Some(path) => match path.text(path_help, errors) {
            Some("") => {
                errors.push(path.mistake("the path is empty", path_help));
                None
            }
            text => text,
        },
        None => {
            errors.push(node.mistake(format!("bucket \"{name}\" has no \"path\""), path_help));
            None
        }
    };
    let on_start = node
        .field("onStart")
        .map_or(Some(OnStart::default()), |node| read_on_start(&node, errors));
    let ignore = node
        .field("ignore")
        .map_or_else(|| Some(Ignore::new(DEFAULT_IGNORE)), |node| read_ignore(&node, errors));
    Some(Bucket {
        name: name.to_owned(),
        path: resolve(base, path?),
        on_start: on_start?,
        ignore: ignore?,
        listeners: Vec::new(),
    })
}

fn read_on_start(node: &Node<'_>, errors: &mut Vec<SpecError>) -> Option<OnStart> {
    let help = "write \"scan\" to get what arrived while the server was down, or \"ignore\"";
    match node.text(help, errors)? {
        "scan" => Some(OnStart::Scan),
        "ignore" => Some(OnStart::Ignore),
        other => {
            errors.push(node.mistake(format!("\"{other}\" is not a way to start"), help));
            None
        }
    }
}

fn read_ignore(node: &Node<'_>, errors: &mut Vec<SpecError>) -> Option<Ignore> {
    let help = "write a list of patterns with * and ?, each for one name, as [\"*.part\", \".*\"]";
    let Some(elements) = node.elements() else {
        errors.push(node.mistake(format!("a list was expected, not {}", kind(node.value)), help));
        return None;
    };
    let mut patterns = Vec::new();
    for element in &elements {
        match element.text(help, errors)? {
            "" => errors.push(element.mistake("the pattern is empty", help)),
            pattern if pattern.contains('/') => errors.push(element.mistake(
                format!("the pattern \"{pattern}\" has a \"/\""),
                "a pattern is compared with each name on the path; name the directory alone to ignore all in it",
            )),
            pattern => patterns.push(pattern),
        }
    }
    Some(Ignore::new(patterns))
}

/// Reads a binding; the name of its bucket comes first. A bare text is the bucket's name, as in serverless.yml.
fn read_binding(spec: &BindingSpec, declared: &[String], errors: &mut Vec<SpecError>) -> Option<(String, Listener)> {
    let place = SpecPlace::Binding(spec.id.clone());
    let node = Node::root(&spec.config, &place);
    if spec.invoke == Some(InvokeMode::Sync) {
        errors.push(node.mistake(
            "an s3 event cannot be invoked synchronously",
            "remove \"invoke: sync\": S3 invokes asynchronously, as on AWS",
        ));
    }
    if spec.config.is_string() {
        let bucket = read_bucket_name(&node, declared, errors)?;
        return Some((bucket, listener(spec, EVENTS[0].1, Rules::default(), DEFAULT_SETTLE)));
    }
    node.fields(&BINDING_KEYS, errors)?;
    let bucket = match node.field("bucket") {
        Some(node) => read_bucket_name(&node, declared, errors),
        None => {
            errors.push(node.mistake("no \"bucket\"", bucket_help(declared)));
            None
        }
    };
    let wants = node
        .field("event")
        .map_or(Some(EVENTS[0].1), |node| read_events(&node, errors));
    let rules = node
        .field("rules")
        .map_or_else(|| Some(Rules::default()), |node| read_rules(&node, errors));
    let settle = node
        .field("settle")
        .map_or(Some(DEFAULT_SETTLE), |node| read_settle(&node, errors));
    Some((bucket?, listener(spec, wants?, rules?, settle?)))
}

fn listener(spec: &BindingSpec, wants: Wants, rules: Rules, settle: Duration) -> Listener {
    Listener {
        id: spec.id.clone(),
        wants,
        prefix: rules.prefix.unwrap_or_default(),
        suffix: rules.suffix.unwrap_or_default(),
        settle,
    }
}

fn read_bucket_name(node: &Node<'_>, declared: &[String], errors: &mut Vec<SpecError>) -> Option<String> {
    let name = node.text(&bucket_help(declared), errors)?;
    if declared.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    let help = match nearest(name, declared.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"? {}", bucket_help(declared)),
        None => bucket_help(declared),
    };
    errors.push(node.mistake(format!("bucket \"{name}\" is not declared"), help));
    None
}

fn bucket_help(declared: &[String]) -> String {
    if declared.is_empty() {
        return "declare it: sources: { s3: { buckets: { NAME: { path: ./DIRECTORY } } } }".to_owned();
    }
    format!("declared under sources.s3.buckets: {}", quoted(declared))
}

fn read_events(node: &Node<'_>, errors: &mut Vec<SpecError>) -> Option<Wants> {
    let names = EVENTS.map(|(name, _)| name);
    let help = format!("the events are {}", quoted(&names));
    let single = node.clone();
    let nodes = node.elements().unwrap_or_else(|| vec![single]);
    if nodes.is_empty() {
        errors.push(node.mistake("the list of events is empty", &help));
        return None;
    }
    let mut all = Some(Wants::default());
    for node in nodes {
        let Some(name) = node.text(&help, errors) else {
            all = None;
            continue;
        };
        let Some((_, wants)) = EVENTS.iter().find(|(known, _)| *known == name) else {
            let help = match nearest(name, names) {
                Some(near) => format!("did you mean \"{near}\"? {help}"),
                None => help.clone(),
            };
            errors.push(node.mistake(format!("\"{name}\" is not an event of a directory"), help));
            all = None;
            continue;
        };
        if let Some(all) = &mut all {
            all.created |= wants.created;
            all.removed |= wants.removed;
        }
    }
    all
}

#[derive(Default)]
struct Rules {
    prefix: Option<String>,
    suffix: Option<String>,
}

/// `[{prefix: in/}, {suffix: .csv}]`, as in serverless.yml: one key a map, each at most once (S3 allows one of each).
fn read_rules(node: &Node<'_>, errors: &mut Vec<SpecError>) -> Option<Rules> {
    let help = "write rules: [{ prefix: in/ }, { suffix: .csv }]";
    let before = errors.len();
    let Some(elements) = node.elements() else {
        errors.push(node.mistake(format!("a list was expected, not {}", kind(node.value)), help));
        return None;
    };
    let mut rules = Rules::default();
    for element in &elements {
        let Some(fields) = element.fields(&RULE_KEYS, errors) else {
            continue;
        };
        if fields.len() != 1 {
            errors.push(element.mistake(format!("a rule has one key, not {}", fields.len()), help));
            continue;
        }
        for (key, slot) in [("prefix", &mut rules.prefix), ("suffix", &mut rules.suffix)] {
            let Some(field) = element.field(key) else { continue };
            let Some(text) = field.text("put the value in quotes", errors) else {
                continue;
            };
            if slot.replace(text.to_owned()).is_some() {
                errors.push(field.mistake(
                    format!("a second {key}"),
                    "a binding has at most one of each; add another binding",
                ));
            }
        }
    }
    (errors.len() == before).then_some(rules)
}

fn read_settle(node: &Node<'_>, errors: &mut Vec<SpecError>) -> Option<Duration> {
    let text = match node.value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => {
            let message = format!("a duration was expected, not {}", kind(other));
            errors.push(node.mistake(message, "write it as 500ms, 2s or 1m, or as a number of seconds"));
            return None;
        }
    };
    match parse_duration(&text) {
        Ok(duration) if duration <= Duration::from_secs(MAX_SETTLE.into()) => return Some(duration),
        Ok(_) => errors.push(node.mistake(format!("{text:?} is longer than a day"), "write at most 24h")),
        Err(error) => errors.push(node.mistake(format!("{text:?} is {error}"), error.help())),
    }
    None
}

/// S3's rules, roughly (AWS, "General purpose bucket naming rules").
fn is_bucket_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(byte) || *byte == b'.' || *byte == b'-')
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
}

/// Whether two directories are the same or one holds the other.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// `path` from `base`, with `.` and `..` resolved by name: `build` may not look at the disk.
fn resolve(base: &Path, path: &str) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in base.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if resolved.file_name().is_some() => {
                resolved.pop();
            }
            Component::ParentDir if resolved.has_root() => {}
            component => resolved.push(component),
        }
    }
    resolved
}

/// The functions that listen to a bucket, each once, in the order of the manifest.
pub(crate) fn functions(bucket: &Bucket) -> Vec<&str> {
    let mut seen = BTreeMap::new();
    let names = bucket.listeners.iter().map(|listener| {
        let id = listener.id.as_str();
        id.split_once('/').map_or(id, |(function, _)| function)
    });
    names.filter(|name| seen.insert(*name, ()).is_none()).collect()
}

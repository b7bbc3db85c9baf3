//! A plug-in for the tests, a directory with code, and `check`, which all diagnostic tests go through.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use hikigane_manifest::{Loaded, Report, load};
use hikigane_trigger::schemars::{Schema, json_schema};
use hikigane_trigger::{
    Announcement, Clock, Context, PathStep, PluginState, Resource, Source, SourceError, SourceSpec, SpecError,
    SpecErrors, SpecPlace, TriggerPlugin, async_trait,
};
use serde_json::Value;
use tempfile::TempDir;

/// A trigger whose bindings are `{ slot: TEXT, tags: [TEXT] }` or `TEXT`, and whose settings are `{ listen: ADDRESS }`.
/// Two bindings may not have one slot.
pub struct Demo(pub &'static str);

/// What [`Demo`] builds: the spec that it was given.
pub struct Built(pub SourceSpec);

pub fn plugins() -> Vec<Arc<dyn TriggerPlugin>> {
    vec![Arc::new(Demo("demo")), Arc::new(Demo("other"))]
}

impl TriggerPlugin for Demo {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn binding_schema(&self) -> Schema {
        json_schema!({
            "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Binding"}],
            "$defs": {"Binding": {
                "type": "object",
                "properties": {"slot": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
                "required": ["slot"],
                "additionalProperties": false,
            }},
        })
    }

    fn settings_schema(&self) -> Schema {
        json_schema!({"type": "object", "properties": {"listen": {"type": "string"}}, "additionalProperties": false})
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors> {
        let mut errors = Vec::new();
        if let Some(settings) = &spec.settings {
            match settings.as_object() {
                Some(settings) => {
                    for key in settings.keys().filter(|key| *key != "listen") {
                        errors.push(mistake(
                            SpecPlace::Settings,
                            vec![key.as_str().into()],
                            format!("unknown setting `{key}`"),
                        ));
                    }
                }
                None => errors.push(mistake(
                    SpecPlace::Settings,
                    vec![],
                    "settings are a mapping".to_owned(),
                )),
            }
            if settings.get("listen").is_some_and(|listen| {
                listen
                    .as_str()
                    .is_none_or(|text| text.parse::<std::net::SocketAddr>().is_err())
            }) {
                errors.push(mistake(
                    SpecPlace::Settings,
                    vec!["listen".into()],
                    "not an address".to_owned(),
                ));
            }
        }
        let mut slots = HashMap::new();
        for binding in &spec.bindings {
            let mut wrong = |path: Vec<PathStep>, message: String| {
                errors.push(mistake(SpecPlace::Binding(binding.id.clone()), path, message))
            };
            let slot = match &binding.config {
                Value::String(slot) => Some(slot),
                Value::Object(config) => {
                    for (i, _) in config
                        .get("tags")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .enumerate()
                        .filter(|(_, tag)| !tag.is_string())
                    {
                        wrong(vec!["tags".into(), i.into()], "a tag is text".to_owned());
                    }
                    match config.get("slot") {
                        Some(Value::String(slot)) => Some(slot),
                        Some(_) => {
                            wrong(vec!["slot".into()], "a slot is text".to_owned());
                            None
                        }
                        None => {
                            wrong(vec!["slot".into()], "needs a `slot`".to_owned());
                            None
                        }
                    }
                }
                _ => {
                    wrong(vec![], "write a slot".to_owned());
                    None
                }
            };
            if let Some(other) = slot.and_then(|slot| slots.insert(slot, &binding.id)) {
                wrong(vec!["slot".into()], format!("`{other}` has the same slot"));
            }
        }
        if errors.is_empty() {
            Ok(Box::new(Built(spec)))
        } else {
            Err(SpecErrors(errors))
        }
    }
}

fn mistake(place: SpecPlace, path: Vec<PathStep>, message: String) -> SpecError {
    SpecError {
        place,
        path,
        message,
        help: None,
    }
}

#[async_trait]
impl Source for Built {
    /// The address of the settings, and a directory for each binding: what the spec was can be seen in them.
    fn resources(&self) -> Vec<Resource> {
        let listen = self
            .0
            .settings
            .as_ref()
            .and_then(|settings| settings["listen"].as_str())
            .and_then(|text| text.parse().ok());
        let seen = self
            .0
            .bindings
            .iter()
            .map(|binding| Resource::Directory(PathBuf::from(format!("{} {}", binding.id, binding.config))));
        listen.map(Resource::Listen).into_iter().chain(seen).collect()
    }

    async fn open(&mut self, _: &Clock, _: &PluginState) -> Result<Vec<Announcement>, SourceError> {
        Ok(Vec::new())
    }

    async fn run(self: Box<Self>, _: Context) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A directory with `f.js`, `dir/index.mjs`, `dir/lib/app.ts`, `pack.zip`, `f.py` and, for each test, `hikigane.yml`.
pub struct Project(pub TempDir);

impl Project {
    pub fn new() -> Self {
        let project = Self(TempDir::new().unwrap());
        fs::create_dir_all(project.0.path().join("dir/lib")).unwrap();
        for file in ["f.js", "dir/index.mjs", "dir/lib/app.ts", "pack.zip", "f.py"] {
            fs::write(project.0.path().join(file), "").unwrap();
        }
        project
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("hikigane.yml")
    }

    pub fn load(&self, yaml: impl AsRef<[u8]>) -> Result<Loaded, Report> {
        self.load_with(&plugins(), yaml)
    }

    pub fn load_with(&self, plugins: &[Arc<dyn TriggerPlugin>], yaml: impl AsRef<[u8]>) -> Result<Loaded, Report> {
        fs::write(self.file(), yaml).unwrap();
        load(&self.file(), plugins, &env)
    }
}

pub fn env(name: &str) -> Option<String> {
    match name {
        "HOST" => Some("example.com".to_owned()),
        "SECONDS" => Some("45".to_owned()),
        "FLAG" => Some("false".to_owned()),
        "NORWAY" => Some("no".to_owned()),
        _ => None,
    }
}

/// Loads `yaml` and compares its diagnostics, one a line: `LINE:COLUMN SEVERITY [UNDERLINED] MESSAGE -> HELP`.
#[track_caller]
pub fn check(yaml: &str, expected: &str) {
    check_with(&plugins(), yaml, expected);
}

/// [`check`] with other plug-ins.
#[track_caller]
pub fn check_with(plugins: &[Arc<dyn TriggerPlugin>], yaml: &str, expected: &str) {
    let project = Project::new();
    let (Ok(Loaded { warnings: report, .. }) | Err(report)) = project.load_with(plugins, yaml);
    let base = project.0.path().display().to_string();
    let lines: Vec<String> = report
        .0
        .iter()
        .map(|diagnostic| line(diagnostic).replace(&base, "BASE"))
        .collect();
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

fn line(diagnostic: &hikigane_manifest::Diagnostic) -> String {
    let place = diagnostic.location.as_ref().map_or("-".to_owned(), |location| {
        assert_eq!(location.end_column - location.column, location.text().chars().count());
        format!("{}:{}", location.line, location.column)
    });
    let text = diagnostic.location.as_ref().map_or("", |location| location.text());
    let severity = format!("{:?}", diagnostic.severity).to_lowercase();
    let help = diagnostic
        .help
        .as_ref()
        .map_or(String::new(), |help| format!(" -> {help}"));
    format!("{place} {severity} [{text}] {}{help}", diagnostic.message)
}

/// [`check`] for the lines under `f:`, a function with code; the first of them is line 4.
#[track_caller]
pub fn check_function(lines: &str, expected: &str) {
    check(
        &format!("functions:\n  f:\n    code: f.js\n{}", indent(lines, 4)),
        expected,
    );
}

fn indent(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

//! What a good manifest says.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hikigane_manifest::{Loaded, Severity, load};
use hikigane_model::{Allow, AsyncConfig, FunctionConfig, InvokeMode, LogFormat, LogLevel};
use hikigane_trigger::Resource;
use serde_json::json;

use crate::demo::{Project, env, plugins};

/// A manifest with every key.
pub const FULL: &str = include_str!("full.yml");

fn function<'a>(loaded: &'a Loaded, name: &str) -> &'a FunctionConfig {
    loaded
        .manifest
        .functions
        .iter()
        .find(|function| function.name.as_str() == name)
        .unwrap()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[test]
fn every_key() {
    let project = Project::new();
    let base = std::path::absolute(project.0.path()).unwrap();
    let loaded = project.load(FULL).unwrap();
    // It may open directories that are not there.
    let warnings = loaded.warnings.to_string();
    assert_eq!(warnings.matches("warning: there is no `").count(), 3, "{warnings}");
    assert_eq!(warnings.matches("warning: ").count(), 3, "{warnings}");
    assert_eq!(warnings.matches(".allow.").count(), 3, "{warnings}");
    let manifest = &loaded.manifest;
    assert_eq!(manifest.path, base.join("hikigane.yml"));
    assert_eq!(manifest.base, base);
    assert_eq!(manifest.service.as_deref(), Some("invoices"));
    assert_eq!(manifest.timezone.as_deref(), Some("Europe/Paris"));
    let keys: Vec<(&str, &str)> = manifest
        .access_keys
        .iter()
        .map(|key| (key.id.as_str(), key.secret.as_str()))
        .collect();
    let host = env("HOST").unwrap();
    assert_eq!(
        keys,
        [
            ("AKIDEXAMPLE", format!("of the {host} and nobody else").as_str()),
            ("ci-1", "0123456789abcdef")
        ]
    );
    assert!(
        !format!("{manifest:?}").contains("nobody else"),
        "secrets are not printed"
    );
    assert_eq!(manifest.account_concurrency, 5_000);

    let ingest = function(&loaded, "ingest");
    let expected = FunctionConfig {
        name: "ingest".to_owned().try_into().unwrap(),
        description: "takes files in".to_owned(),
        code: base.join("dir"),
        layers: Vec::new(),
        handler: "lib/app.run".to_owned(),
        runtime: "nodejs24.x".to_owned(),
        timeout: Duration::from_secs(300),
        memory_mb: 1024,
        ephemeral_storage_mb: 2048,
        env: texts(&[
            ("STAGE", "prod"),
            ("LEVEL", "1.10"),
            ("DEBUG", "true"),
            ("URL", "http://example.com/x"),
        ]),
        allow: Allow {
            read: vec![base.join("shared"), "/etc/ssl".into()],
            write: vec![base.join("../out")],
            net: vec!["api.example.com:443".to_owned()],
        },
        reserved_concurrency: Some(4),
        provisioned_concurrency: Some(1),
        asynchronous: AsyncConfig {
            retries: 1,
            max_age: Duration::from_secs(5400),
            ..AsyncConfig::default()
        },
        log_format: LogFormat::JSON,
        log_level: Some(LogLevel::Debug),
    };
    assert_eq!(*ingest, expected);

    let report = function(&loaded, "report");
    let expected = FunctionConfig {
        name: "report".to_owned().try_into().unwrap(),
        description: String::new(),
        code: base.join("f.js"),
        layers: Vec::new(),
        handler: "f.handler".to_owned(),
        runtime: "nodejs20.x".to_owned(),
        timeout: Duration::from_secs(45),
        memory_mb: 256,
        ephemeral_storage_mb: 512,
        env: texts(&[("STAGE", "dev"), ("LEVEL", "1.10")]),
        allow: Allow {
            read: vec![base.join("defaults")],
            write: vec![],
            net: vec!["*".to_owned()],
        },
        reserved_concurrency: None,
        provisioned_concurrency: None,
        asynchronous: AsyncConfig::default(),
        log_format: LogFormat::Text,
        log_level: None,
    };
    assert_eq!(*report, expected);

    let bindings: Vec<_> = manifest
        .bindings
        .iter()
        .map(|binding| {
            (
                binding.id.as_str(),
                binding.kind.as_str(),
                binding.invoke,
                binding.filter.is_some(),
                binding.enabled,
            )
        })
        .collect();
    assert_eq!(
        bindings,
        [
            ("ingest/drop", "demo", Some(InvokeMode::Async), true, true),
            ("ingest/hand", "demo", None, false, true),
            ("ingest/other", "other", Some(InvokeMode::Sync), false, true),
            ("report/demo", "demo", None, false, false),
        ]
    );
    assert!(
        manifest.bindings[0]
            .filter
            .as_ref()
            .unwrap()
            .matches(&json!({"detail": {"kind": "urgent"}}))
    );
    assert!(
        !manifest.bindings[0]
            .filter
            .as_ref()
            .unwrap()
            .matches(&json!({"detail": {"kind": "spam"}}))
    );
}

/// The sources, each with what [`crate::demo::Built`] lets see of its spec.
fn seen(loaded: &Loaded) -> Vec<(&'static str, Vec<String>)> {
    let text = |resource: &Resource| match resource {
        Resource::Listen(address) => address.to_string(),
        Resource::Directory(path) => path.display().to_string(),
    };
    loaded
        .sources
        .iter()
        .map(|(kind, source)| (*kind, source.resources().iter().map(text).collect()))
        .collect()
}

#[test]
fn sources_get_settings_and_enabled_bindings() {
    let loaded = Project::new().load(FULL).unwrap();
    let expected = [
        (
            "demo",
            vec![
                "127.0.0.1:8080",
                r#"ingest/drop {"slot":"in","tags":["a","1"]}"#,
                r#"ingest/hand "by example.com""#,
            ],
        ),
        ("other", vec![r#"ingest/other {"slot":"x"}"#]),
    ];
    assert_eq!(
        seen(&loaded),
        expected.map(|(kind, lines)| (kind, lines.into_iter().map(str::to_owned).collect()))
    );
}

#[test]
fn which_sources_are_built() {
    for (yaml, expected) in [
        ("functions: {}", vec![]),
        ("functions: {}\nsources: {demo: {}}", vec!["demo"]),
        ("functions: {}\nsources: {demo: }", vec!["demo"]),
        ("functions: {f: {code: f.js, events: [{other: x}]}}", vec!["other"]),
        (
            "functions: {f: {code: f.js, events: [{other: x, enabled: false}]}}",
            vec![],
        ),
        (
            "functions: {f: {code: f.js, events: [{other: x, enabled: false}]}}\nsources: {other: {}}",
            vec!["other"],
        ),
    ] {
        let loaded = Project::new().load(yaml).unwrap();
        let kinds: Vec<&str> = loaded.sources.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, expected, "{yaml}");
    }
}

#[test]
fn nothing_under_a_key_that_holds_others_is_an_empty_one() {
    let loaded = Project::new()
        .load("defaults:\nfunctions:\n  f:\n    code: f.js\n    env:\n    allow:\n    async:\n    events:\nsources:\n")
        .unwrap();
    assert_eq!(loaded.manifest.functions.len(), 1);
    assert!(loaded.manifest.bindings.is_empty());
}

#[test]
fn handlers_of_single_files_and_directories() {
    for (code, expected) in [
        ("f.js", "f.handler"),
        ("./f.js", "f.handler"),
        ("dir", "index.handler"),
        ("none.mjs", "none.handler"),
        ("none", "index.handler"),
    ] {
        let loaded = Project::new()
            .load(format!("functions: {{f: {{code: {code}}}}}"))
            .unwrap();
        assert_eq!(loaded.manifest.functions[0].handler, expected, "{code}");
    }
}

#[test]
fn variables_without_quotes_have_the_type_that_they_look_like() {
    let yaml = "functions:\n  f:\n    code: f.js\n    timeout: ${env:SECONDS}\n    reservedConcurrency: ${env:NOPE, '7'}\n    env:\n      AA: ${env:SECONDS}\n      BB: ${env:NORWAY}\n      CC: $${env:HOST}\n    events:\n      - demo: x\n        enabled: ${env:FLAG}\n";
    let loaded = Project::new().load(yaml).unwrap();
    let f = function(&loaded, "f");
    assert_eq!(f.timeout, Duration::from_secs(45));
    assert_eq!(f.reserved_concurrency, Some(7));
    assert_eq!(f.env, texts(&[("AA", "45"), ("BB", "no"), ("CC", "${env:HOST}")]));
    assert!(!loaded.manifest.bindings[0].enabled);
}

#[test]
fn variables_in_quotes_serve_as_numbers_too() {
    let yaml = r#"functions: {f: {code: f.js, timeout: "${env:SECONDS}", reservedConcurrency: "${env:NOPE, '7'}", events: [{demo: "${env:SECONDS}", enabled: "${env:FLAG}"}]}}"#;
    let loaded = Project::new().load(yaml).unwrap();
    assert_eq!(function(&loaded, "f").timeout, Duration::from_secs(45));
    assert_eq!(function(&loaded, "f").reserved_concurrency, Some(7));
    assert!(!loaded.manifest.bindings[0].enabled);
}

#[test]
fn merge_keys_add_what_is_not_there() {
    let yaml = "functions:\n  f: &f {code: f.js, timeout: 5, env: {AA: f}}\n  g: &g {timeout: 9, memory: 512, code: dir}\n  h: {<<: *f, memory: 256}\n  i: {timeout: 7, <<: [*f, *g]}\n";
    let loaded = Project::new().load(yaml).unwrap();
    let (h, i) = (function(&loaded, "h"), function(&loaded, "i"));
    assert_eq!(
        (
            h.timeout.as_secs(),
            h.memory_mb,
            h.handler.as_str(),
            h.env["AA"].as_str()
        ),
        (5, 256, "f.handler", "f")
    );
    assert_eq!(
        (i.timeout.as_secs(), i.memory_mb, i.handler.as_str()),
        (7, 512, "f.handler")
    );
}

#[test]
fn warnings_do_not_stop() {
    let loaded = Project::new()
        .load("functions: {f: {code: nope, runtime: nodejs30.x}}")
        .unwrap();
    assert_eq!(loaded.warnings.counts(), (0, 2));
    assert_eq!(loaded.manifest.functions.len(), 1);
}

#[test]
fn a_file_that_cannot_be_read() {
    let project = Project::new();
    for (path, part) in [
        (project.0.path().join("none.yml"), "cannot read"),
        (project.0.path().to_owned(), "cannot read"),
    ] {
        let report = load(&path, &plugins(), &env).unwrap_err();
        assert_eq!(report.0.len(), 1);
        assert!(report.0[0].location.is_none());
        assert!(report.0[0].message.contains(part), "{report}");
        assert!(report.to_string().starts_with("error: cannot read `"), "{report}");
    }
    let report = project.load("# ".to_owned() + &"x".repeat(1024 * 1024)).unwrap_err();
    assert!(
        report.0[0].message.ends_with("is larger than 1048576 bytes"),
        "{report}"
    );
}

#[test]
fn a_relative_path_is_shown_as_given() {
    let report = load(Path::new("none.yml"), &plugins(), &env).unwrap_err();
    assert_eq!(report.0[0].file, "none.yml");
}

#[test]
fn text_that_is_not_utf8() {
    let report = Project::new().load(b"functions:\n  f\xe9: {}\n").unwrap_err();
    let location = report.0[0].location.as_ref().unwrap();
    assert_eq!((location.line, location.column, location.end_column), (2, 4, 5));
    assert_eq!(report.0[0].message, "this is not UTF-8");
}

#[test]
fn drawn_like_the_compilers() {
    let project = Project::new();
    let report = project
        .load("functions:\n  f:\n    code: f.js\n    timout: 30s\n")
        .unwrap_err();
    let expected = format!(
        "error: unknown key `timout`\n --> {}:4:5\n  |\n4 |     timout: 30s\n  |     ^^^^^^ functions.f.timout\n  |\n  = help: did you mean `timeout`?",
        project.file().display()
    );
    assert_eq!(report.to_string(), expected);
    assert_eq!(report.render(false), expected);
    let colored = report.render(true);
    assert!(colored.contains("\u{1b}[") && colored.contains("timout"), "{colored}");
}

#[test]
fn as_json() {
    let project = Project::new();
    let report = project.load("functions: {f: {code: f.js, tïmout: 3}}").unwrap_err();
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        json!([{
            "file": project.file(), "line": 1, "column": 29, "endColumn": 35, "path": "functions.f.tïmout", "severity": "error",
            "message": "unknown key `tïmout`", "help": "did you mean `timeout`?",
        }])
    );
    let report = load(Path::new("none.yml"), &plugins(), &env).unwrap_err();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json[0]["line"], &json[0]["path"]), (&json!(null), &json!(null)));
}

#[test]
fn a_path_names_the_keys_above_a_mistake() {
    let project = Project::new();
    for (yaml, paths) in [
        ("servise: x\nfunctions: {}\n", vec!["servise"]),
        (
            "functions:\n  f: { code: f.js, timeout: 901, env: { 1A: x } }\n",
            vec!["functions.f.timeout", "functions.f.env.1A"],
        ),
        (
            "functions:\n  f:\n    code: f.js\n    allow:\n      net:\n        - a b\n        - c\n        - d e\n",
            vec!["functions.f.allow.net[0]", "functions.f.allow.net[2]"],
        ),
        (
            "functions:\n  f:\n    code: f.js\n    events:\n      - name: a\n        demo: x\n      - name: b\n      - demo: y\n        name: c\n        enabld: true\n",
            vec!["functions.f.events[1]", "functions.f.events[2].enabld"],
        ),
        // What is given twice is no part of what stands before it.
        (
            "functions:\n  f: { code: f.js }\n  f: { code: g.js }\n  g:\n    code: f.js\n    code: g.js\n",
            vec!["functions", "functions.g"],
        ),
        // What an alias brings in is wrong where it is written.
        (
            "functions:\n  f: &f { code: f.js, timeot: 1 }\n  g: *f\n  h: { <<: *f, memory: 1 }\n",
            vec!["functions.f.timeot", "functions.h.memory"],
        ),
        ("- a\n", vec![""]),
    ] {
        let report = project.load(yaml).unwrap_err();
        let errors = report
            .0
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error);
        let found: Vec<&str> = errors
            .map(|diagnostic| diagnostic.path.as_deref().unwrap_or_default())
            .collect();
        assert_eq!(found, paths, "{yaml}\n{report}");
    }
}

#[test]
fn a_manifest_that_is_not_there_says_what_to_do() {
    let project = Project::new();
    let directory = project.file().parent().unwrap().to_owned();
    for (path, wanted) in [
        (directory.join("none.yml"), "none.yml"),
        (directory.clone(), "hikigane.yaml"),
    ] {
        let report = load(&path, &plugins(), &env).unwrap_err();
        let [missing] = &report.0[..] else { panic!("{report}") };
        assert!(missing.message.contains(wanted), "{report}");
        let help = missing.help.as_deref().unwrap_or_default();
        assert!(help.contains("functions: {"), "{report}");
    }
    let inside = directory.join("hikigane.yaml");
    std::fs::write(&inside, "functions: {}\n").unwrap();
    let loaded = load(&directory, &plugins(), &env).unwrap();
    assert_eq!(
        (loaded.file, loaded.manifest.base),
        (inside.display().to_string(), directory)
    );
}

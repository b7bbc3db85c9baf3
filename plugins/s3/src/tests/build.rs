//! Reading the manifest's part.

use hikigane_trigger::model::InvokeMode;
use hikigane_trigger::{PathStep, Resource, SpecError, SpecPlace, TriggerPlugin};

use super::*;
use crate::config::{Bucket, Wants};

fn spec(settings: Value, bindings: Vec<Value>) -> SourceSpec {
    let bindings = bindings.into_iter().enumerate();
    SourceSpec {
        settings: Some(settings),
        bindings: bindings.map(|(i, config)| binding(&format!("f/{i}"), config)).collect(),
        base: "/project".into(),
        timezone: None,
    }
}

fn buckets() -> Value {
    json!({"buckets": {"inbox": {"path": "./inbox"}, "outbox": {"path": "/var/outbox"}}})
}

/// The buckets of a spec that must be right.
fn read(settings: Value, bindings: Vec<Value>) -> Vec<Bucket> {
    config::read(&spec(settings, bindings)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// `PLACE: MESSAGE` of each mistake, where a place is `settings.buckets.a` or `f/0.rules.1`.
fn mistakes(spec: &SourceSpec) -> Vec<String> {
    let place = |error: &SpecError| {
        let mut place = match &error.place {
            SpecPlace::Settings => "settings".to_owned(),
            SpecPlace::Binding(id) => id.to_string(),
        };
        for step in &error.path {
            match step {
                PathStep::Key(key) => place += &format!(".{key}"),
                PathStep::Index(index) => place += &format!(".{index}"),
            }
        }
        place
    };
    let errors = config::read(spec).err().map(|errors| errors.0).unwrap_or_default();
    assert!(
        errors
            .iter()
            .all(|error| error.help.as_ref().is_some_and(|help| !help.is_empty())),
        "each has a help"
    );
    errors
        .iter()
        .map(|error| format!("{}: {}", place(error), error.message))
        .collect()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let buckets = read(buckets(), vec![json!({"bucket": "inbox"}), json!("inbox")]);
    assert_eq!(buckets[0].path, Path::new("/project/inbox"));
    assert_eq!(buckets[1].path, Path::new("/var/outbox"));
    assert_eq!((buckets[0].listeners.len(), buckets[1].listeners.len()), (2, 0));
    for listener in &buckets[0].listeners {
        assert_eq!(
            listener.wants,
            Wants {
                created: true,
                removed: false
            }
        );
        assert_eq!(listener.settle, Duration::from_millis(500));
        assert_eq!((listener.prefix.as_str(), listener.suffix.as_str()), ("", ""));
    }
}

#[test]
fn events_and_times_have_several_spellings() {
    for (event, created, removed) in [
        (json!("s3:ObjectCreated:*"), true, false),
        (json!("s3:ObjectCreated:Put"), true, false),
        (json!("s3:ObjectRemoved:*"), false, true),
        (json!(["s3:ObjectRemoved:Delete"]), false, true),
        (json!(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]), true, true),
    ] {
        let buckets = read(buckets(), vec![json!({"bucket": "inbox", "event": event})]);
        assert_eq!(buckets[0].listeners[0].wants, Wants { created, removed }, "{event}");
    }
    for (settle, ms) in [
        (json!("500ms"), 500),
        (json!("2s"), 2_000),
        (json!("1s500ms"), 1_500),
        (json!("1m"), 60_000),
        (json!("1h"), 3_600_000),
        (json!(2), 2_000),
        (json!("2"), 2_000),
        (json!(0), 0),
    ] {
        let buckets = read(buckets(), vec![json!({"bucket": "inbox", "settle": settle})]);
        assert_eq!(buckets[0].listeners[0].settle, Duration::from_millis(ms), "{settle}");
    }
}

#[test]
fn mistakes_in_bindings_are_all_found() {
    let cases = [
        (json!(7), vec!["f/0: a map was expected, not a number"]),
        (json!("inbx"), vec!["f/0: bucket \"inbx\" is not declared"]),
        (json!({}), vec!["f/0: no \"bucket\""]),
        (
            json!({"bucket": "inbx", "evnt": 1, "event": "s3:ObjectCreated:Copy", "settle": "5 minutes", "rules": {}}),
            vec![
                "f/0.evnt: unknown key \"evnt\"",
                "f/0.bucket: bucket \"inbx\" is not declared",
                "f/0.event: \"s3:ObjectCreated:Copy\" is not an event of a directory",
                "f/0.rules: a list was expected, not a map",
                "f/0.settle: \"5 minutes\" is not a duration",
            ],
        ),
        (
            json!({"bucket": "inbox", "rules": [{"prefix": "a", "suffix": "b"}, {"prefix": 1}, {"sufix": "x"}, "y", {}]}),
            vec![
                "f/0.rules.0: a rule has one key, not 2",
                "f/0.rules.1.prefix: text was expected, not a number",
                "f/0.rules.2.sufix: unknown key \"sufix\"",
                "f/0.rules.3: a map was expected, not text",
                "f/0.rules.4: a rule has one key, not 0",
            ],
        ),
        (
            json!({"bucket": "inbox", "rules": [{"prefix": "a"}, {"prefix": "b"}]}),
            vec!["f/0.rules.1.prefix: a second prefix"],
        ),
        (
            json!({"bucket": "inbox", "event": []}),
            vec!["f/0.event: the list of events is empty"],
        ),
        (
            json!({"bucket": 1, "event": ["ObjectCreated:Put", 2]}),
            vec![
                "f/0.bucket: text was expected, not a number",
                "f/0.event.0: \"ObjectCreated:Put\" is not an event of a directory",
                "f/0.event.1: text was expected, not a number",
            ],
        ),
        (
            json!({"bucket": "inbox", "settle": -1}),
            vec!["f/0.settle: \"-1\" is not a duration"],
        ),
        (
            json!({"bucket": "inbox", "settle": 0.25}),
            vec!["f/0.settle: \"0.25\" is not a duration"],
        ),
        (
            json!({"bucket": "inbox", "settle": "25h"}),
            vec!["f/0.settle: \"25h\" is longer than a day"],
        ),
        (
            json!({"bucket": "inbox", "settle": null}),
            vec!["f/0.settle: a duration was expected, not nothing"],
        ),
    ];
    for (binding, expected) in cases {
        assert_eq!(mistakes(&spec(buckets(), vec![binding.clone()])), expected, "{binding}");
    }
}

#[test]
fn mistakes_in_settings_are_all_found() {
    let cases = [
        (json!([]), vec!["settings: a map was expected, not a list"]),
        (json!({}), vec!["settings: no \"buckets\""]),
        (
            json!({"buckets": null}),
            vec!["settings.buckets: a map was expected, not nothing"],
        ),
        (
            json!({"bucket": {}, "buckets": {"A": {"path": "a"}, "b-": {}, "ccc": "ccc"}}),
            vec![
                "settings.bucket: unknown key \"bucket\"",
                "settings.buckets.A: \"A\" is not a bucket name",
                "settings.buckets.b-: \"b-\" is not a bucket name",
                "settings.buckets.b-: bucket \"b-\" has no \"path\"",
                "settings.buckets.ccc: a map was expected, not text",
            ],
        ),
        (
            json!({"buckets": {"inbox": {"path": "", "onStart": "skip", "ignore": ["a/b", 1], "watch": true}}}),
            vec![
                "settings.buckets.inbox.watch: unknown key \"watch\"",
                "settings.buckets.inbox.path: the path is empty",
                "settings.buckets.inbox.onStart: \"skip\" is not a way to start",
                "settings.buckets.inbox.ignore.0: the pattern \"a/b\" has a \"/\"",
                "settings.buckets.inbox.ignore.1: text was expected, not a number",
            ],
        ),
        (
            json!({"buckets": {"one": {"path": "data"}, "two": {"path": "./x/../data/sub"}, "three": {"path": "database"}}}),
            vec![
                "settings.buckets.two.path: the directories of \"one\" and \"two\" are the same or one inside the other",
            ],
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(mistakes(&spec(settings.clone(), vec![])), expected, "{settings}");
    }
}

#[test]
fn a_mistake_in_a_bucket_does_not_make_its_bindings_wrong() {
    let settings = json!({"buckets": {"inbox": {"paht": "inbox"}}});
    let expected = [
        "settings.buckets.inbox.paht: unknown key \"paht\"",
        "settings.buckets.inbox: bucket \"inbox\" has no \"path\"",
    ];
    assert_eq!(mistakes(&spec(settings, vec![json!({"bucket": "inbox"})])), expected);
}

#[test]
fn help_names_what_is_known() {
    let help = |binding: Value| {
        let errors = config::read(&spec(buckets(), vec![binding])).unwrap_err();
        errors.0[0].help.clone().unwrap()
    };
    assert_eq!(
        help(json!({"bucket": "inbox", "setle": 1})),
        "did you mean \"settle\"? the keys here are \"bucket\", \"event\", \"rules\" and \"settle\""
    );
    assert_eq!(
        help(json!({"bucket": "Inbox"})),
        "did you mean \"inbox\"? declared under sources.s3.buckets: \"inbox\" and \"outbox\""
    );
    assert!(
        help(json!({"bucket": "inbox", "event": "ObjectCreated:*"}))
            .starts_with("did you mean \"s3:ObjectCreated:*\"?")
    );
}

#[test]
fn without_settings_a_binding_is_told_how_to_declare_its_bucket() {
    let mut spec = spec(json!({}), vec![json!("inbox")]);
    spec.settings = None;
    let errors = config::read(&spec).unwrap_err();
    assert_eq!(errors.to_string(), "bucket \"inbox\" is not declared");
    let help = errors.0[0].help.as_deref();
    assert_eq!(
        help,
        Some("declare it: sources: { s3: { buckets: { NAME: { path: ./DIRECTORY } } } }")
    );
    spec.bindings.clear();
    assert!(config::read(&spec).is_ok_and(|buckets| buckets.is_empty()));
}

#[test]
fn a_synchronous_invocation_is_refused() {
    let mut spec = spec(buckets(), vec![json!("inbox"), json!("inbox")]);
    spec.bindings[0].invoke = Some(InvokeMode::Sync);
    spec.bindings[1].invoke = Some(InvokeMode::Async);
    assert_eq!(mistakes(&spec), ["f/0: an s3 event cannot be invoked synchronously"]);
}

#[test]
fn the_plugin_claims_the_directories() {
    let plugin = crate::plugin();
    assert_eq!(plugin.kind(), "s3");
    let source = plugin.build(spec(buckets(), vec![])).unwrap();
    let directories = ["/project/inbox", "/var/outbox"].map(|path| Resource::Directory(path.into()));
    assert_eq!(source.resources(), directories);
}

#[test]
fn a_binding_without_rules_is_fed_by_its_whole_directory() {
    let bindings = vec![
        json!("inbox"),
        json!({"bucket": "inbox", "rules": [{"prefix": "in/"}]}),
        json!({"bucket": "inbox", "rules": [{"suffix": ".csv"}]}),
        json!({"bucket": "inbox", "event": "s3:ObjectRemoved:*"}),
        json!({"bucket": "outbox", "event": ["s3:ObjectRemoved:*", "s3:ObjectCreated:Put"]}),
    ];
    let source = crate::plugin().build(spec(buckets(), bindings)).unwrap();
    let fed = [("f/0", "/project/inbox"), ("f/4", "/var/outbox")];
    let found = source.fed_by().into_iter().map(|feed| (feed.binding, feed.directory));
    assert_eq!(
        found.collect::<Vec<_>>(),
        fed.map(|(id, path)| (BindingId::from_text(id), path.into()))
    );
}

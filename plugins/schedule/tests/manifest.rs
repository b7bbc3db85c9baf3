//! What `build` accepts, what it says about mistakes, and what `open` announces.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use hikigane_trigger::model::{BindingId, InvokeMode, StateWrite, limits};
use hikigane_trigger::{
    BindingSpec, Clock, PathStep, PluginState, SourceSpec, SpecErrors, SpecPlace, StateError, StateStore,
    TriggerPlugin, async_trait,
};
use serde_json::{Value, json};

fn spec(config: Value) -> SourceSpec {
    let binding = BindingSpec {
        id: BindingId::from_text("f/x"),
        config,
        invoke: None,
    };
    SourceSpec {
        bindings: vec![binding],
        ..SourceSpec::default()
    }
}

/// `place path: message (help)`, one line a mistake.
fn mistakes(spec: SourceSpec) -> Vec<String> {
    let SpecErrors(errors) = hikigane_schedule::plugin().build(spec).err().unwrap_or_default();
    errors
        .into_iter()
        .map(|error| {
            let place = match error.place {
                SpecPlace::Settings => "settings".to_owned(),
                SpecPlace::Binding(id) => id.to_string(),
            };
            let path: String = error
                .path
                .iter()
                .map(|step| match step {
                    PathStep::Key(key) => format!(" {key}"),
                    PathStep::Index(index) => format!(" {index}"),
                })
                .collect();
            format!("{place}{path}: {} ({})", error.message, error.help.unwrap())
        })
        .collect()
}

#[test]
fn good_bindings_build() {
    for config in [
        json!("rate(5 minutes)"),
        json!("*/5 * * * *"),
        json!({ "rate": "cron(0 2 * * ? *)" }),
        json!({ "rate": "at(2020-01-01T00:00:00)", "timezone": "Europe/Paris", "overlap": "queue", "catchUp": "all", "input": null }),
    ] {
        assert_eq!(mistakes(spec(config.clone())), [""; 0], "{config}");
    }
    assert_eq!(
        mistakes(SourceSpec {
            settings: Some(json!({ "catchUpLimit": 5 })),
            ..SourceSpec::default()
        }),
        [""; 0]
    );
}

#[test]
fn mistakes_in_bindings() {
    for (config, wanted) in [
        (
            json!("cron(0 25 * * ? *)"),
            &[
                "f/x: invalid schedule expression: \"25\" is not allowed in the hours field (use 0-23, with \",\" \"-\" \"*\" \"/\")",
            ][..],
        ),
        (
            json!("cron(0 0 31 2 ? *)"),
            &[
                "f/x: the schedule \"cron(0 0 31 2 ? *)\" never fires (no such day exists in any of its months and years: change one of them)",
            ],
        ),
        (
            json!({ "rate": "cron(30 2 29 3 ? 2026)", "timezone": "Europe/Paris" }),
            &[
                "f/x rate: the schedule \"cron(30 2 29 3 ? 2026)\" never fires (clocks in Europe/Paris go forward over its time: choose another, or another \"timezone\")",
            ],
        ),
        (
            json!({ "rate": "at(2026-03-29T02:30:00)", "timezone": "Europe/Paris" }),
            &[
                "f/x rate: the schedule \"at(2026-03-29T02:30:00)\" never fires (clocks in Europe/Paris go forward over its time: choose another, or another \"timezone\")",
            ],
        ),
        (
            json!(5),
            &[
                "f/x: a schedule is an expression or an object with \"rate\", not a number (the keys are: rate, timezone, overlap, catchUp, input)",
            ],
        ),
        (
            json!({}),
            &[
                "f/x: \"rate\" is missing (add an expression, as cron(0 2 * * ? *), rate(5 minutes), at(2026-11-22T23:00:00) or 0 2 * * *)",
            ],
        ),
        (
            json!({ "rate": ["rate(1 day)"] }),
            &[
                "f/x rate: \"rate\" is one expression, not a list (write one entry under \"events\" for each expression)",
            ],
        ),
        (
            json!({ "rate": "rate(1 day)", "catchup": "all" }),
            &["f/x catchup: unknown key \"catchup\" (did you mean \"catchUp\"?)"],
        ),
        (
            // Where serverless.yml has it.
            json!({ "rate": "rate(1 day)", "enabled": false }),
            &["f/x enabled: unknown key \"enabled\" (write it beside \"schedule\", not within)"],
        ),
        (
            json!({ "cron": "0 2 * * *" }),
            &[
                "f/x cron: unknown key \"cron\" (write the expression under \"rate\", whatever its form)",
                "f/x: \"rate\" is missing (add an expression, as cron(0 2 * * ? *), rate(5 minutes), at(2026-11-22T23:00:00) or 0 2 * * *)",
            ],
        ),
        (
            json!({ "rate": "rate(1 day)", "jitter": 1 }),
            &["f/x jitter: unknown key \"jitter\" (the keys are: rate, timezone, overlap, catchUp, input)"],
        ),
        (
            json!({ "rate": "rate(1 day)", "timezone": "Europe/Pariss" }),
            &["f/x timezone: \"Europe/Pariss\" is not a known time zone (did you mean \"Europe/Paris\"?)"],
        ),
        (
            json!({ "rate": "rate(1 day)", "timezone": "europe/paris" }),
            &["f/x timezone: \"europe/paris\" is not a known time zone (did you mean \"Europe/Paris\"?)"],
        ),
        (
            json!({ "rate": "rate(1 day)", "timezone": 2 }),
            &["f/x timezone: \"timezone\" is a name, not a number (use a name as \"Europe/Paris\")"],
        ),
        (
            // All at once.
            json!({ "rate": "cron(60 24 * * ? *)", "overlap": "forbid", "catchUp": "lst", "timezone": "Mars" }),
            &[
                "f/x timezone: \"Mars\" is not a known time zone (use an IANA name, as \"Europe/Paris\" or \"UTC\")",
                "f/x overlap: \"forbid\" is not allowed for \"overlap\" (use one of: skip, allow, queue)",
                "f/x catchUp: \"lst\" is not allowed for \"catchUp\" (did you mean \"last\"?)",
                "f/x rate: invalid schedule expression: \"60\" is not allowed in the minutes field (use 0-59, with \",\" \"-\" \"*\" \"/\")",
                "f/x rate: invalid schedule expression: \"24\" is not allowed in the hours field (use 0-23, with \",\" \"-\" \"*\" \"/\")",
            ],
        ),
    ] {
        assert_eq!(mistakes(spec(config.clone())), wanted, "{config}");
    }
}

#[test]
fn an_input_over_the_limit_of_an_event_is_a_mistake() {
    let most = json!({ "rate": "rate(1 day)", "input": "x".repeat(limits::ASYNC_PAYLOAD - 2) });
    assert_eq!(mistakes(spec(most)), [""; 0]);
    let more = json!({ "rate": "rate(1 day)", "input": "x".repeat(limits::ASYNC_PAYLOAD - 1) });
    assert_eq!(
        mistakes(spec(more)),
        ["f/x input: \"input\" has 1048577 bytes as JSON (an event may have 1048576 bytes)"]
    );
}

#[test]
fn mistakes_elsewhere() {
    let mut sync = spec(json!("rate(1 day)"));
    sync.bindings[0].invoke = Some(InvokeMode::Sync);
    assert_eq!(
        mistakes(sync),
        [
            "f/x: a schedule cannot invoke synchronously (remove \"invoke: sync\": nobody waits for the result of a schedule)"
        ]
    );
    let zone = SourceSpec {
        timezone: Some("Nowhere".into()),
        ..SourceSpec::default()
    };
    assert_eq!(mistakes(zone).len(), 1);
    for (settings, wanted) in [
        (
            json!({ "catchUpLimit": 0 }),
            "settings catchUpLimit: 0 is not allowed for \"catchUpLimit\" (use a whole number from 1 to 10000)",
        ),
        (
            json!({ "catchUpLimt": 1 }),
            "settings catchUpLimt: unknown key \"catchUpLimt\" (did you mean \"catchUpLimit\"?)",
        ),
        (
            json!([]),
            "settings: the settings of schedules are an object, not a list (the keys are: catchUpLimit)",
        ),
    ] {
        assert_eq!(
            mistakes(SourceSpec {
                settings: Some(settings),
                ..SourceSpec::default()
            }),
            [wanted]
        );
    }
}

#[test]
fn the_schema_has_the_keys_that_build_takes() {
    let plugin = hikigane_schedule::plugin();
    let schema = plugin.binding_schema().to_value();
    let properties = schema["anyOf"][1]["properties"].as_object().unwrap();
    assert!(properties.len() == 5);
    for key in properties.keys() {
        let wrong = json!({ "rate": "rate(1 day)", key: [] });
        assert!(
            mistakes(spec(wrong))
                .iter()
                .all(|mistake| !mistake.contains("unknown key")),
            "{key}"
        );
    }
    for key in ["overlap", "catchUp"] {
        for word in properties[key]["enum"].as_array().unwrap() {
            assert_eq!(mistakes(spec(json!({ "rate": "rate(1 day)", key: word }))), [""; 0]);
        }
    }
    let settings = plugin.settings_schema().to_value();
    assert_eq!(
        settings["properties"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["catchUpLimit"]
    );
}

#[tokio::test]
async fn what_is_announced_is_when_it_fires_after_a_restart_too() {
    let decided =
        |slot: &str, expression: &str| json!({ "slot": slot, "expression": expression, "timezone": "UTC" }).to_string();
    for (now, slot, expression, next) in [
        // A rate keeps its beat: from 10:00 every 90 minutes, also over what was missed.
        (
            "2026-05-01T10:50:00Z",
            "2026-05-01T10:00:00Z",
            "rate(90 minutes)",
            "11:30:00",
        ),
        (
            "2026-05-01T11:30:00Z",
            "2026-05-01T10:00:00Z",
            "rate(90 minutes)",
            "13:00:00",
        ),
        (
            "2026-05-01T14:59:59Z",
            "2026-05-01T10:00:00Z",
            "rate(90 minutes)",
            "16:00:00",
        ),
        // The clock was set back: slots that were decided do not come again, unless it was far ahead.
        ("2026-05-01T08:50:00Z", "2026-05-01T10:00:00Z", "0 * * * *", "11:00:00"),
        ("2026-05-01T08:50:00Z", "2026-05-03T10:00:00Z", "0 * * * *", "09:00:00"),
        (
            "2026-05-01T09:59:30Z",
            "2026-05-01T10:00:00Z",
            "rate(90 minutes)",
            "11:30:00",
        ),
        (
            "2026-05-01T08:50:00Z",
            "2026-05-01T10:00:00Z",
            "rate(90 minutes)",
            "10:20:00",
        ),
    ] {
        let state = PluginState::new("schedule", std::sync::Arc::new(State(Some(decided(slot, expression)))));
        let clock = Clock::virtual_at(now.parse().unwrap());
        let mut source = hikigane_schedule::plugin().build(spec(json!(expression))).unwrap();
        let lines = source.open(&clock, &state).await.unwrap();
        let text = &lines[0].text;
        assert!(
            text.ends_with(&format!("Fri 2026-05-01 {next} UTC")),
            "{expression} at {now} after {slot}: {text}"
        );
    }
}

#[tokio::test]
async fn open_announces_each_schedule_and_claims_nothing() {
    let clock = Clock::virtual_at("2026-11-22T21:30:00Z".parse().unwrap());
    let state = PluginState::new("schedule", std::sync::Arc::new(State(None)));
    for (config, ends) in [
        (
            json!({ "rate": "cron(0 23 * * ? *)", "timezone": "Europe/Paris" }),
            "Sun 2026-11-22 23:00:00 CET (Europe/Paris)",
        ),
        (json!("rate(90 minutes)"), "Sun 2026-11-22 23:00:00 UTC"),
        (
            json!("at(2026-01-01T00:00:00)"),
            "f/x  at(2026-01-01T00:00:00)  does not fire any more",
        ),
    ] {
        let mut source = hikigane_schedule::plugin().build(spec(config)).unwrap();
        assert_eq!(source.resources(), []);
        let lines = source.open(&clock, &state).await.unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].label, "schedule");
        assert!(
            lines[0].text.starts_with("f/x  ") && lines[0].text.ends_with(ends),
            "{}",
            lines[0].text
        );
    }
}

/// The state of `f/x`, when a server ran before.
struct State(Option<String>);

#[async_trait]
impl StateStore for State {
    async fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(None)
    }
    async fn scan(&self, _: &str, _: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        let state = self
            .0
            .clone()
            .map(|state| ("decided/f/x".to_owned(), state.into_bytes()));
        Ok(state.into_iter().collect())
    }
    async fn write(&self, _: &str, _: Vec<StateWrite>) -> Result<(), StateError> {
        Ok(())
    }
}

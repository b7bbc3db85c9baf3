//! Bindings that are known by their configuration, and kinds that other tools call otherwise.

use std::sync::Arc;

use hikigane_trigger::schemars::Schema;
use hikigane_trigger::{Source, SourceSpec, SpecErrors, TriggerPlugin};
use serde_json::Value;

use crate::demo::{Demo, Project, check_with};

/// As [`Demo`], but a binding is known by its slot.
struct Known;

impl TriggerPlugin for Known {
    fn kind(&self) -> &'static str {
        "known"
    }
    fn foreign_names(&self) -> &'static [&'static str] {
        &["conocido"]
    }
    fn own_name(&self, config: &Value) -> Option<String> {
        let slot = config.as_str().or_else(|| config["slot"].as_str());
        Some(slot.map_or_else(|| config.to_string(), |slot| format!("slot {slot}")))
    }
    fn binding_schema(&self) -> Schema {
        Demo("known").binding_schema()
    }
    fn settings_schema(&self) -> Schema {
        Demo("known").settings_schema()
    }
    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors> {
        Demo("known").build(spec)
    }
}

fn plugins() -> Vec<Arc<dyn TriggerPlugin>> {
    vec![Arc::new(Demo("demo")), Arc::new(Known)]
}

fn ids(events: &str) -> Vec<String> {
    let project = Project::new();
    let yaml = format!("functions:\n  f: {{code: f.js, events: [{events}]}}\n");
    let loaded = project.load_with(&plugins(), yaml).unwrap();
    loaded
        .manifest
        .bindings
        .iter()
        .map(|binding| binding.id.to_string())
        .collect()
}

#[track_caller]
fn check(events: &str, expected: &str) {
    let yaml = format!("functions:\n  f:\n    code: f.js\n    events:\n{events}");
    check_with(&plugins(), &yaml, expected);
}

#[test]
fn events_that_are_known_by_themselves_need_no_names() {
    for (events, expected) in [
        ("known: a", &["f/slot a"][..]),
        ("known: a}, {known: {slot: b}", &["f/slot a", "f/slot b"]),
        // Whatever their order, and whatever is beside them.
        (
            "known: {slot: b}}, {demo: x}, {known: a",
            &["f/slot b", "f/demo", "f/slot a"],
        ),
        ("known: a, name: mine}, {known: b", &["f/mine", "f/slot b"]),
        (
            "known: a, enabled: false}, {known: a, name: again",
            &["f/slot a", "f/again"],
        ),
    ] {
        assert_eq!(ids(&format!("{{{events}}}")), expected, "{events}");
    }
}

#[test]
fn two_events_that_are_the_same_are_one_too_many() {
    check(
        "      - known: a\n      - known: {slot: a, tags: 5}\n",
        "6:9 error [known] another event of function `f` is `slot a`, too -> it is on line 5: delete one of them",
    );
    // Given one, it is the plug-in that tells whether both can be.
    check(
        "      - known: a\n      - {known: a, name: again}\n",
        "6:17 error [a] `f/slot a` has the same slot",
    );
    // What is wrong is told of once.
    check(
        "      - known: {slot: 1}\n      - known: 7\n",
        "
            5:23 error [1] a slot is text
            6:16 error [7] write a slot
        ",
    );
    // Other kinds ask for names, as ever.
    check(
        "      - known: a\n      - known: b\n      - demo: x\n      - {demo: y, name: why}\n",
        "7:9 error [demo] two `demo` events in function `f`: give each a `name` -> history and catch-up follow the name, so that the events can be reordered",
    );
}

#[test]
fn a_kind_of_another_tool_is_told_its_name_here() {
    check(
        "      - conocido: a\n      - {conocido: b, name: x}\n",
        "
            5:9 error [conocido] unknown trigger `conocido` -> it is written `known` here
            6:10 error [conocido] unknown trigger `conocido` -> it is written `known` here
        ",
    );
    check_with(
        &plugins(),
        "sources:\n  conocido: {}\nfunctions: {}\n",
        "2:3 error [conocido] unknown trigger `conocido` -> it is written `known` here",
    );
}

//! The shape of the configuration, for editors. `config` reads it; a test holds the two together.

use std::collections::BTreeMap;

use hikigane_trigger::duration_schema;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, json_schema};

use crate::config::{EVENTS, MAX_SETTLE};

pub(crate) const SETTINGS_KEYS: [&str; 1] = ["buckets"];
pub(crate) const BUCKET_KEYS: [&str; 3] = ["path", "onStart", "ignore"];
pub(crate) const BINDING_KEYS: [&str; 4] = ["bucket", "event", "rules", "settle"];
pub(crate) const RULE_KEYS: [&str; 2] = ["prefix", "suffix"];

/// What happens to objects that came, changed or went while the server was down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum OnStart {
    /// They get their events at the start.
    #[default]
    Scan,
    /// They are taken as they are, without events.
    Ignore,
}

/// Directories that act as buckets.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "only its schema is used")]
struct Settings {
    /// Bucket names, and what each stands for.
    buckets: BTreeMap<String, Bucket>,
}

/// A directory that acts as a bucket: each file in it, at any depth, is an object.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "only its schema is used")]
struct Bucket {
    /// The directory, relative to the manifest. It must exist.
    path: String,
    /// What happens to objects that came, changed or went while the server was down.
    #[schemars(default = "default::on_start")]
    on_start: OnStart,
    /// Names that are not objects: patterns with * and ?, compared with every file and directory name on the path.
    /// Replaces the default.
    #[schemars(default = "default::ignore")]
    ignore: Vec<String>,
}

/// Runs the function for files that arrive in, or go from, a bucket.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "only its schema is used")]
struct Binding {
    /// A bucket of sources.s3.buckets.
    bucket: String,
    /// Which events.
    #[schemars(schema_with = "events", default = "default::event")]
    event: String,
    /// Which objects: at most one prefix and one suffix of the key.
    #[schemars(default = "default::rules")]
    rules: Vec<Rule>,
    /// How long a file must have been quiet after its writer closed it: 500ms, 2s, or seconds.
    #[schemars(schema_with = "settle", default = "default::settle")]
    settle: String,
}

/// A condition on the object's key.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
enum Rule {
    /// How the key begins.
    Prefix(String),
    /// How the key ends.
    Suffix(String),
}

/// The defaults as they would be written; `config` holds the same ones as values.
mod default {
    use crate::config::EVENTS;
    use crate::glob::DEFAULT_IGNORE;

    pub(super) fn on_start() -> &'static str {
        "scan"
    }
    pub(super) fn ignore() -> [&'static str; DEFAULT_IGNORE.len()] {
        DEFAULT_IGNORE
    }
    pub(super) fn event() -> &'static str {
        EVENTS[0].0
    }
    pub(super) fn rules() -> [&'static str; 0] {
        []
    }
    pub(super) fn settle() -> &'static str {
        "500ms"
    }
}

fn events(_: &mut schemars::SchemaGenerator) -> Schema {
    let names = EVENTS.map(|(name, _)| name);
    json_schema!({
        "anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}],
    })
}

fn settle(_: &mut schemars::SchemaGenerator) -> Schema {
    duration_schema(0, MAX_SETTLE)
}

/// The schema of a binding: a map, or the bucket's name alone.
pub(crate) fn binding() -> Schema {
    let map = root::<Binding>();
    json_schema!({
        "description": "Runs the function for files that arrive in, or go from, a bucket.",
        "anyOf": [{"type": "string", "description": "A bucket of sources.s3.buckets."}, map],
    })
}

/// The schema of the settings.
pub(crate) fn settings() -> Schema {
    root::<Settings>()
}

/// A schema without references: the manifest's schema takes it in as it is.
fn root<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys(schema: &Value) -> Vec<&str> {
        assert_eq!(schema["additionalProperties"], false, "{schema}");
        schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys().map(String::as_str))
            .collect()
    }

    #[test]
    fn the_schema_knows_the_keys_that_are_read() {
        let settings = settings().to_value();
        assert_eq!(keys(&settings), SETTINGS_KEYS);
        let bucket = &settings["properties"]["buckets"]["additionalProperties"];
        assert_eq!(keys(bucket), BUCKET_KEYS);
        assert_eq!(bucket["required"], json!(["path"]));
        assert_eq!(bucket["properties"]["onStart"]["default"], "scan");
        assert_eq!(bucket["properties"]["ignore"]["default"], json!(["*.part", ".*"]));

        let binding = binding().to_value();
        let map = &binding["anyOf"][1];
        assert_eq!(keys(map), BINDING_KEYS);
        assert_eq!(map["required"], json!(["bucket"]));
        assert_eq!(map["properties"]["event"]["default"], "s3:ObjectCreated:*");
        assert_eq!(map["properties"]["settle"]["default"], "500ms");
        let rules = map["properties"]["rules"]["items"]["oneOf"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert_eq!(rules.iter().flat_map(|rule| keys(rule)).collect::<Vec<_>>(), RULE_KEYS);
    }

    #[test]
    fn the_schemas_stand_alone() {
        for schema in [settings(), binding()] {
            assert!(!schema.to_value().to_string().contains("$ref"));
        }
    }
}

//! The JSON Schema of a manifest, for editors: from the same types that read it, and the plug-ins' own.

use std::sync::Arc;

use hikigane_trigger::TriggerPlugin;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::document::{Document, EventKeys};

/// JSON Schema (draft 2020-12) of a whole manifest, given the plug-ins.
pub fn schema(plugins: &[Arc<dyn TriggerPlugin>]) -> Value {
    let mut generator = SchemaGenerator::default();
    let mut event = EventKeys::json_schema(&mut generator).to_value();
    let mut root = generator.into_root_schema_for::<Document>().to_value();
    let mut definitions = match root.get_mut("$defs").map(Value::take) {
        Some(Value::Object(definitions)) => definitions,
        _ => Map::new(),
    };
    let mut settings = Map::new();
    for plugin in plugins {
        let kind = plugin.kind();
        event["properties"][kind] = adopt(plugin.binding_schema(), &format!("{kind} event"), &mut definitions);
        settings.insert(
            kind.to_owned(),
            adopt(plugin.settings_schema(), &format!("{kind} settings"), &mut definitions),
        );
    }
    event["type"] = json!("object");
    event["description"] = json!("One event: exactly one trigger's kind, and what every event may have.");
    // `oneOf` of nothing is not a schema.
    if !plugins.is_empty() {
        event["oneOf"] = plugins
            .iter()
            .map(|plugin| json!({"required": [plugin.kind()]}))
            .collect();
    }
    definitions.insert("Event".to_owned(), event);
    definitions.insert(
        "Sources".to_owned(),
        json!({"type": ["object", "null"], "properties": settings, "additionalProperties": false}),
    );
    root["title"] = json!("Hikigane manifest");
    root["$defs"] = Value::Object(definitions);
    root
}

/// Takes a plug-in's schema over into `definitions` under `name` and returns a reference to it. Its own definitions
/// move along, under names that begin with `name`, so that two plug-ins may use one name for two things.
fn adopt(schema: Schema, name: &str, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = schema.to_value();
    rename_references(&mut schema, name);
    if let Value::Object(object) = &mut schema {
        object.remove("$schema");
        if let Some(Value::Object(own)) = object.remove("$defs") {
            definitions.extend(
                own.into_iter()
                    .map(|(own_name, definition)| (format!("{name} {own_name}"), definition)),
            );
        }
    }
    definitions.insert(name.to_owned(), schema);
    json!({"$ref": reference(name)})
}

/// Makes `#/$defs/X` and `#` of a schema that stood alone point to where [`adopt`] puts them.
fn rename_references(value: &mut Value, name: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(own_name) = target.strip_prefix("#/$defs/") {
                            *target = reference(&format!("{name} {own_name}"));
                        } else if target == "#" {
                            *target = reference(name);
                        }
                    }
                    _ => rename_references(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, name)),
        _ => {}
    }
}

/// A reference to a definition; a URI fragment has no spaces (RFC 3986).
fn reference(name: &str) -> String {
    format!("#/$defs/{}", name.replace(' ', "%20"))
}

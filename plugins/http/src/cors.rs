//! `sources: http: cors:`, what pages of other sites may do: everything (`true`), or what is listed under the names of an HTTP API's
//! configuration (API Gateway developer guide, "Configure CORS for HTTP APIs").

use hikigane_model::Cors;
use hikigane_trigger::proxy::cors::{CorsMistake, check};
use hikigane_trigger::{duration_schema, parse_duration};
use serde_json::{Map, Value, json};

use crate::route::Mistake;
use crate::spec::{Report, describe};

const KEYS: [&str; 6] = [
    "allowCredentials",
    "allowHeaders",
    "allowMethods",
    "allowOrigins",
    "exposeHeaders",
    "maxAge",
];

/// JSON Schema of the setting.
pub(crate) fn schema() -> Value {
    let list = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
    let mut max_age = duration_schema(0, Cors::LONGEST_AGE);
    max_age.insert(
        "description".to_owned(),
        "How long a browser may remember all this: at most a day.".into(),
    );
    json!({
        "description": "What pages of other sites may do: everything (`true`), or what is listed. Unless set, functions answer them themselves. A preflight goes to a function only if a route takes OPTIONS there.",
        "oneOf": [
            {"type": "boolean"},
            {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "allowCredentials": {"type": "boolean", "description": "Whether cookies and credentials may come along."},
                    "allowHeaders": list("The request headers that they may set; `\"*\"`: any."),
                    "allowMethods": list("The methods that they may use; `\"*\"`: any."),
                    "allowOrigins": list("Their origins, as `https://example.com`; `\"*\"`: any; `\"https://*\"` and `\"http://*\"`: any of the scheme."),
                    "exposeHeaders": list("The response headers that they may read."),
                    "maxAge": max_age
                }
            }
        ]
    })
}

/// Reads the setting. `None`: functions answer for themselves.
pub(crate) fn read(value: &Value, report: &mut Report<'_>) -> Option<Cors> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(Cors::everything()),
        Value::Object(map) => Some(read_map(map, report)),
        other => {
            report.add(
                &["cors"],
                Mistake::new(
                    format!("\"cors\" is {}, not a boolean or a mapping", describe(other)),
                    "write \"true\" for everything, or a mapping, as in \"{ allowOrigins: [http://localhost:5173] }\"",
                ),
            );
            None
        }
    }
}

fn read_map(map: &Map<String, Value>, report: &mut Report<'_>) -> Cors {
    report.unknown_keys(&["cors"], map, &KEYS);
    let cors = Cors {
        allow_credentials: flag(map, "allowCredentials", report),
        allow_headers: texts(map, "allowHeaders", report),
        allow_methods: texts(map, "allowMethods", report),
        allow_origins: texts(map, "allowOrigins", report),
        expose_headers: texts(map, "exposeHeaders", report),
        max_age: seconds(map, "maxAge", report),
    };
    for CorsMistake { path, message, help } in check(&cors) {
        let path = std::iter::once("cors".into()).chain(path).collect();
        report.add_at(path, Mistake::new(message, help));
    }
    cors
}

fn flag(map: &Map<String, Value>, key: &str, report: &mut Report<'_>) -> Option<bool> {
    let value = map.get(key)?;
    if value.as_bool().is_none() {
        wrong(key, value, "a boolean", "write \"true\" or \"false\"", report);
    }
    value.as_bool()
}

fn texts(map: &Map<String, Value>, key: &str, report: &mut Report<'_>) -> Option<Vec<String>> {
    let value = map.get(key)?;
    let texts = value
        .as_array()
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    if texts.is_none() {
        wrong(key, value, "a list of texts", "write a list, as in \"[a, b]\"", report);
    }
    texts
}

fn seconds(map: &Map<String, Value>, key: &str, report: &mut Report<'_>) -> Option<u32> {
    let value = map.get(key)?;
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            wrong(
                key,
                value,
                "a duration",
                "write it as \"1h\", or as a number of seconds",
                report,
            );
            return None;
        }
    };
    let mistake = match parse_duration(&text) {
        Ok(age) => match u32::try_from(age.as_secs()) {
            Ok(seconds) if age.subsec_nanos() == 0 && seconds <= Cors::LONGEST_AGE => return Some(seconds),
            _ => Mistake::new(
                format!("\"{text}\" is out of range"),
                "write whole seconds, a day at most",
            ),
        },
        Err(error) => Mistake::new(format!("\"{text}\" is {error}"), error.help()),
    };
    report.add(&["cors", key], mistake);
    None
}

fn wrong(key: &str, value: &Value, what: &str, help: &str, report: &mut Report<'_>) {
    let message = format!("\"{key}\" is {}, not {what}", describe(value));
    report.add(&["cors", key], Mistake::new(message, help));
}

//! `sources: http: cors:`, what pages of other sites may do: everything (`true`), or what is listed under the names of an HTTP API's
//! configuration (API Gateway developer guide, "Configure CORS for HTTP APIs").

use hikigane_model::Cors;
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
/// The longest a browser may remember, seconds (API Gateway, `Cors`).
const MOST: u64 = 86_400;

/// JSON Schema of the setting.
pub(crate) fn schema() -> Value {
    let list = |description: &str| json!({"type": "array", "items": {"type": "string"}, "description": description});
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
                    "allowOrigins": list("Their origins, as `https://example.com`; `\"*\"`: any; `\"https://*\"`: any of this scheme."),
                    "exposeHeaders": list("The response headers that they may read."),
                    "maxAge": {"type": "integer", "minimum": 0, "maximum": MOST, "description": "How many seconds a browser may remember all this."}
                }
            }
        ]
    })
}

/// Reads the setting. `None`: functions answer for themselves.
pub(crate) fn read(value: &Value, report: &mut Report<'_>) -> Option<Cors> {
    let any = || Some(vec!["*".to_owned()]);
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(Cors {
            allow_headers: any(),
            allow_methods: any(),
            allow_origins: any(),
            ..Cors::default()
        }),
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
    // A page of any site could act for whoever is logged in; API Gateway refuses it, too.
    let open = cors.allow_origins.iter().flatten().any(|origin| origin == "*");
    if open && cors.allow_credentials == Some(true) {
        let mistake = Mistake::new(
            "credentials would be sent along from every site",
            "name the origins, as in \"allowOrigins: [http://localhost:5173]\"",
        );
        report.add(&["cors", "allowCredentials"], mistake);
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
    let seconds = value.as_u64().filter(|seconds| *seconds <= MOST);
    if seconds.is_none() {
        wrong(
            key,
            value,
            "a number of seconds up to a day",
            "write 0 to 86400",
            report,
        );
    }
    seconds.and_then(|seconds| u32::try_from(seconds).ok())
}

fn wrong(key: &str, value: &Value, what: &str, help: &str, report: &mut Report<'_>) {
    let message = format!("\"{key}\" is {}, not {what}", describe(value));
    report.add(&["cors", key], Mistake::new(message, help));
}

//! Reads the plug-in's part of the manifest, with every mistake at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hikigane_model::{BindingId, Cors, InvokeMode};
use hikigane_trigger::{BindingSpec, PathStep, SourceSpec, SpecError, SpecErrors, SpecPlace, nearest, parse_duration};
use serde_json::{Map, Value};

use crate::cors;
use crate::route::{self, Methods, Mistake, Pattern, RoutePath};
use crate::table::{Route, RouteTable};

/// Where the gateway listens unless the settings say otherwise.
pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Longest and shortest a caller waits; the longest is the default (API Gateway's integration timeout of an HTTP API).
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// A gateway that can be opened.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) cors: Option<Cors>,
    pub(crate) table: RouteTable,
}

/// Reads settings and bindings.
pub(crate) fn read(spec: SourceSpec) -> Result<Config, SpecErrors> {
    let mut errors = Vec::new();
    let (listen, cors) = read_settings(
        spec.settings.as_ref(),
        &mut Report {
            place: SpecPlace::Settings,
            errors: &mut errors,
        },
    );
    let mut routes = Vec::new();
    for binding in spec.bindings {
        let mut report = Report {
            place: SpecPlace::Binding(binding.id.clone()),
            errors: &mut errors,
        };
        routes.extend(read_binding(binding, &mut report));
    }
    let table = RouteTable::new(routes).map_err(|conflicts| {
        errors.extend(conflicts.into_iter().map(|conflict| SpecError {
            place: SpecPlace::Binding(conflict.second.clone()),
            path: Vec::new(),
            message: if conflict.first_key == conflict.second_key {
                format!(
                    "the bindings \"{}\" and \"{}\" claim the same route \"{}\"",
                    conflict.first, conflict.second, conflict.first_key
                )
            } else {
                format!(
                    "\"{}\" of binding \"{}\" takes the same requests as \"{}\" of binding \"{}\"",
                    conflict.second_key, conflict.second, conflict.first_key, conflict.first
                )
            },
            help: Some("a request goes to one function: change one of the routes, or remove it".into()),
        }));
    });
    match table {
        Ok(table) if errors.is_empty() => Ok(Config { listen, cors, table }),
        _ => Err(SpecErrors(errors)),
    }
}

/// The route key of a binding; of one that has none, its configuration as it stands.
pub(crate) fn route_key(config: &Value) -> String {
    let mut nobody = Vec::new();
    let pattern = match config {
        Value::String(text) => Pattern::parse(text).ok(),
        Value::Object(map) => read_pattern(
            map,
            &mut Report {
                place: SpecPlace::Settings,
                errors: &mut nobody,
            },
        ),
        _ => None,
    };
    pattern.map_or_else(|| config.to_string(), |pattern| pattern.to_string())
}

/// Collects the mistakes of one place.
pub(crate) struct Report<'a> {
    place: SpecPlace,
    errors: &'a mut Vec<SpecError>,
}

impl Report<'_> {
    pub(crate) fn add(&mut self, path: &[&str], mistake: Mistake) {
        self.add_at(path.iter().map(|key| PathStep::from(*key)).collect(), mistake);
    }

    pub(crate) fn add_at(&mut self, path: Vec<PathStep>, mistake: Mistake) {
        self.errors.push(SpecError {
            place: self.place.clone(),
            path,
            message: mistake.message,
            help: Some(mistake.help),
        });
    }

    /// Says which keys do not belong into the mapping at `path`, and what to do.
    pub(crate) fn unknown_keys(&mut self, path: &[&str], map: &Map<String, Value>, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let help = match (key.as_str(), path) {
                ("cors", []) => "it is of the whole gateway: write it under \"sources: http:\"".to_owned(),
                _ => match nearest(key, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => {
                        let known: Vec<String> = known.iter().map(|key| format!("\"{key}\"")).collect();
                        format!("known here: {}", known.join(", "))
                    }
                },
            };
            let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            self.add(&path, Mistake::new(format!("unknown key \"{key}\""), help));
        }
    }
}

fn read_settings(settings: Option<&Value>, report: &mut Report<'_>) -> (SocketAddr, Option<Cors>) {
    let map = match settings {
        None | Some(Value::Null) => return (DEFAULT_LISTEN, None),
        Some(Value::Object(map)) => map,
        Some(other) => {
            let message = format!("the gateway's settings are {}, not a mapping", describe(other));
            report.add(&[], Mistake::new(message, "write \"http: { listen: 127.0.0.1:8080 }\""));
            return (DEFAULT_LISTEN, None);
        }
    };
    report.unknown_keys(&[], map, &["listen", "cors"]);
    let cors = map.get("cors").and_then(|value| cors::read(value, report));
    let listen = map.get("listen").map_or(Ok(DEFAULT_LISTEN), read_listen);
    let listen = listen.unwrap_or_else(|mistake| {
        report.add(&["listen"], mistake);
        DEFAULT_LISTEN
    });
    (listen, cors)
}

fn read_listen(value: &Value) -> Result<SocketAddr, Mistake> {
    let form = "write a loopback address and a port, as in \"127.0.0.1:8080\"";
    let Value::String(text) = value else {
        return Err(Mistake::new(
            format!("\"listen\" is {}, not an address", describe(value)),
            form,
        ));
    };
    // No name is looked up: `build` has no effects, and this one means the same on every machine.
    let spelled = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = spelled
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| Mistake::new(format!("\"{text}\" is not an address to listen on"), form))?;
    if !address.ip().is_loopback() {
        return Err(Mistake::new(
            format!("the gateway would be open to the network on \"{text}\", and it has no authentication"),
            format!(
                "listen on a loopback address, as \"127.0.0.1:{}\"; to be reached from outside, put a proxy that authenticates before it",
                address.port()
            ),
        ));
    }
    Ok(address)
}

fn read_binding(binding: BindingSpec, report: &mut Report<'_>) -> Option<Route> {
    let mode = binding.invoke.unwrap_or(InvokeMode::Sync);
    let (pattern, timeout) = match &binding.config {
        Value::String(text) => {
            let pattern = Pattern::parse(text);
            let pattern = pattern.map_err(|mistakes| mistakes.into_iter().for_each(|mistake| report.add(&[], mistake)));
            (pattern.ok(), None)
        }
        Value::Object(map) => {
            report.unknown_keys(&[], map, &["method", "path", "timeout"]);
            (
                read_pattern(map, report),
                read_timeout(map.get("timeout"), mode, report),
            )
        }
        other => {
            let message = format!("the route is {}, not a text or a mapping", describe(other));
            let help = "write \"GET /hello/{name}\", \"$default\" or \"{ method: GET, path: /hello, timeout: 10s }\"";
            report.add(&[], Mistake::new(message, help));
            (None, None)
        }
    };
    let binding: BindingId = binding.id;
    pattern.map(|pattern| Route {
        binding,
        pattern,
        mode,
        timeout: timeout.unwrap_or(TIMEOUT.1),
    })
}

/// The pattern of a binding in mapping form.
fn read_pattern(map: &Map<String, Value>, report: &mut Report<'_>) -> Option<Pattern> {
    let path = match map.get("path") {
        Some(Value::String(path)) => Some(path.trim()),
        Some(other) => {
            let message = format!("\"path\" is {}, not a text", describe(other));
            report.add(
                &["path"],
                Mistake::new(message, "write a path, as in \"/hello/{name}\""),
            );
            None
        }
        None => {
            report.add(
                &[],
                Mistake::new("the route has no \"path\"", "add one, as in \"path: /hello/{name}\""),
            );
            None
        }
    };
    let methods = match map.get("method") {
        Some(Value::String(method)) => Methods::parse(method)
            .map_err(|mistake| report.add(&["method"], mistake))
            .ok(),
        Some(other) => {
            let message = format!("\"method\" is {}, not a text", describe(other));
            report.add(&["method"], Mistake::new(message, "write a method, as in \"GET\""));
            None
        }
        None if path.is_none_or(route::is_default) => Some(Methods::Any),
        None => {
            report.add(
                &[],
                Mistake::new("the route has no \"method\"", "add one, as in \"method: GET\""),
            );
            None
        }
    };
    let path = path?;
    if route::is_default(path) {
        if let Some(Methods::Only(verb)) = methods {
            let message = format!(
                "the route \"$default\" takes every method, not \"{}\" only",
                verb.as_str()
            );
            report.add(
                &["method"],
                Mistake::new(message, "remove \"method\", or write the path \"/{proxy+}\""),
            );
            return None;
        }
        return methods.map(|_| Pattern::Default);
    }
    let path = RoutePath::parse(path)
        .map_err(|mistakes| mistakes.into_iter().for_each(|mistake| report.add(&["path"], mistake)))
        .ok();
    Some(Pattern::Path(methods?, path?))
}

fn read_timeout(value: Option<&Value>, mode: InvokeMode, report: &mut Report<'_>) -> Option<Duration> {
    let value = value?;
    if mode == InvokeMode::Async {
        let mistake = Mistake::new(
            "\"timeout\" has no meaning with \"invoke: async\": the caller does not wait for the function",
            "remove \"timeout\"",
        );
        report.add(&["timeout"], mistake);
        return None;
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            let message = format!("\"timeout\" is {}, not a duration", describe(value));
            report.add(
                &["timeout"],
                Mistake::new(message, "write it as \"500ms\" or \"10s\", or as a number of seconds"),
            );
            return None;
        }
    };
    let mistake = match parse_duration(&text) {
        Ok(duration) if (TIMEOUT.0..=TIMEOUT.1).contains(&duration) => return Some(duration),
        Ok(_) => Mistake::new(
            format!("the timeout \"{text}\" is out of range"),
            "a caller waits 50ms to 30s (30s is API Gateway's limit too); for longer work use \"invoke: async\"",
        ),
        Err(error) => Mistake::new(format!("\"{text}\" is {error}"), error.help()),
    };
    report.add(&["timeout"], mistake);
    None
}

/// A value in a message: texts and numbers as they are, others by their kind.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) => format!("\"{number}\""),
        Value::String(text) => format!("\"{text}\""),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
    }
}

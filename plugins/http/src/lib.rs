//! The trigger `http`: an HTTP gateway that turns requests into events of API Gateway's HTTP API (payload format 2.0) and a
//! function's answers into responses.
//!
//! ```yaml
//! functions:
//!   hello: { code: ./hello, events: [{ http: GET /hello/{name} }] }
//! sources:
//!   http: { listen: 127.0.0.1:8080, cors: true }
//! ```
//!
//! The way of a request: `server` accepts the connection, `gateway` checks the request and asks `table` for its route,
//! `body` reads the body, [`hikigane_trigger::proxy`] writes the event's JSON and makes the response of the function's result.
//!
//! There is no authentication, so the gateway listens on loopback addresses only.

mod body;
mod cors;
mod gateway;
mod route;
mod server;
mod spec;
mod table;

#[cfg(test)]
mod tests;

use hikigane_trigger::schemars::{Schema, json_schema};
use hikigane_trigger::{Source, SourceSpec, SpecErrors, TriggerPlugin, duration_schema};
use serde_json::Value;

/// The plug-in for the trigger kind `http`.
pub fn plugin() -> impl TriggerPlugin {
    HttpPlugin
}

struct HttpPlugin;

impl TriggerPlugin for HttpPlugin {
    fn kind(&self) -> &'static str {
        "http"
    }

    fn foreign_names(&self) -> &'static [&'static str] {
        // serverless.yml; AWS SAM.
        &["httpApi", "HttpApi", "Api"]
    }

    fn own_name(&self, config: &Value) -> Option<String> {
        Some(spec::route_key(config))
    }

    fn binding_schema(&self) -> Schema {
        let mut timeout = duration_schema(1, 30);
        timeout.insert(
            "description".to_owned(),
            "How long a caller waits before 503: 50ms to 30s (default 30s). A plain number is seconds.".into(),
        );
        let path = "A path with `{name}` for one segment and `{name+}`, last, for all that follow; or `$default`.";
        json_schema!({
            "title": "HTTP route",
            "description": "Answers HTTP requests on the gateway, as Amazon API Gateway's HTTP APIs do (payload 2.0).",
            "oneOf": [
                {
                    "type": "string",
                    "description": "`METHOD /path`, or `$default` for every request that no other route takes.",
                    "pattern": r"^(\$default|\*|([A-Za-z]+|\*)\s+/\S*)$",
                    "examples": ["GET /hello/{name}", "ANY /files/{proxy+}", "$default"]
                },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["path"],
                    "properties": {
                        "method": {
                            "type": "string",
                            "description": "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS, or ANY (`*`).",
                            "pattern": r"^([A-Za-z]+|\*)$"
                        },
                        "path": { "type": "string", "description": path, "pattern": r"^(/\S*|\$default|\*)$" },
                        "timeout": timeout
                    }
                }
            ]
        })
    }

    fn settings_schema(&self) -> Schema {
        json_schema!({
            "title": "HTTP gateway",
            "description": "The gateway that all routes share.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "listen": {
                    "type": "string",
                    "description": "Loopback address and port of the gateway; port 0 is any free port.",
                    "default": spec::DEFAULT_LISTEN.to_string(),
                    "examples": ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"]
                },
                "cors": cors::schema()
            }
        })
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors> {
        Ok(Box::new(server::HttpSource::new(spec::read(spec)?)))
    }
}

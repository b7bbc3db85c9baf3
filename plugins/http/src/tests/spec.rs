//! The manifest's part: what is accepted, and every mistake with its place.

use std::collections::BTreeSet;

use hikigane_model::InvokeMode;
use hikigane_trigger::{PathStep, Resource, SourceSpec, SpecErrors, SpecPlace, TriggerPlugin};
use serde_json::{Value, json};

use super::binding;
use crate::plugin;

fn errors_of(spec: SourceSpec) -> SpecErrors {
    match plugin().build(spec) {
        Ok(_) => panic!("it was accepted"),
        Err(errors) => errors,
    }
}

/// The one mistake of a binding: its path and message. It must come with help.
fn mistake(config: Value, invoke: Option<InvokeMode>) -> (String, String) {
    let errors = errors_of(SourceSpec {
        bindings: vec![binding("f/b", config.clone(), invoke)],
        ..Default::default()
    })
    .0;
    assert_eq!(errors.len(), 1, "{config}: {errors:?}");
    assert!(
        matches!(&errors[0].place, SpecPlace::Binding(id) if id.as_str() == "f/b"),
        "{config}: {errors:?}"
    );
    assert!(errors[0].help.is_some(), "{config}: {errors:?}");
    (path_of(&errors[0].path), errors[0].message.clone())
}

fn path_of(path: &[PathStep]) -> String {
    let step = |step: &PathStep| match step {
        PathStep::Key(key) => key.clone(),
        PathStep::Index(index) => index.to_string(),
    };
    path.iter().map(step).collect::<Vec<_>>().join(".")
}

#[test]
fn every_mistake_of_a_binding_is_named() {
    for (config, path, message) in [
        (json!(7), "", "the route is \"7\", not a text or a mapping"),
        (json!(null), "", "the route is empty, not a text or a mapping"),
        (json!(["GET /a"]), "", "the route is a list, not a text or a mapping"),
        (json!("GET"), "", "\"GET\" is not a route"),
        (json!("/a"), "", "\"/a\" is not a route"),
        (json!("GET a"), "", "the path \"a\" does not start with \"/\""),
        (json!("FETCH /a"), "", "\"FETCH\" is not a method of a route"),
        (json!("TRACE /a"), "", "\"TRACE\" is not a method of a route"),
        (json!("GET /a//b"), "", "the path \"/a//b\" has an empty segment"),
        (
            json!("GET /{a+}/b"),
            "",
            "\"{a+}\" is not at the end of the path \"/{a+}/b\"",
        ),
        (json!("GET /{}/b"), "", "\"{}\" is not a parameter"),
        (json!("GET /{a b}"), "", "\"{a b}\" is not a parameter"),
        (json!("GET /{+}"), "", "\"{+}\" is not a parameter"),
        (json!("GET /x{a}"), "", "the segment \"x{a}\" is partly a parameter"),
        (
            json!("GET /a?b=c"),
            "",
            "the segment \"a?b=c\" has a query or a fragment",
        ),
        (json!("GET /a b"), "", "the segment \"a b\" has a space in it"),
        (
            json!("GET /{a}/{a}"),
            "",
            "the path \"/{a}/{a}\" has two parameters called \"a\"",
        ),
        (json!({"method": "GET"}), "", "the route has no \"path\""),
        (json!({"path": "/a"}), "", "the route has no \"method\""),
        (
            json!({"method": "GET", "path": 1}),
            "path",
            "\"path\" is \"1\", not a text",
        ),
        (
            json!({"method": true, "path": "/a"}),
            "method",
            "\"method\" is a boolean, not a text",
        ),
        (
            json!({"method": "GOT", "path": "/a"}),
            "method",
            "\"GOT\" is not a method of a route",
        ),
        (
            json!({"method": "GET", "path": "a"}),
            "path",
            "the path \"a\" does not start with \"/\"",
        ),
        (
            json!({"method": "GET", "path": "$default"}),
            "method",
            "the route \"$default\" takes every method, not \"GET\" only",
        ),
        (
            json!({"method": "GET", "path": "/a", "cors": true}),
            "cors",
            "unknown key \"cors\"",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": "49ms"}),
            "timeout",
            "the timeout \"49ms\" is out of range",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": "31s"}),
            "timeout",
            "the timeout \"31s\" is out of range",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": 31}),
            "timeout",
            "the timeout \"31\" is out of range",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": -1}),
            "timeout",
            "\"-1\" is not a duration",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": "1 s"}),
            "timeout",
            "\"1 s\" is not a duration",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": 0.05}),
            "timeout",
            "\"0.05\" is not a duration",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": true}),
            "timeout",
            "\"timeout\" is a boolean, not a duration",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": "soon"}),
            "timeout",
            "\"soon\" is not a duration",
        ),
        (
            json!({"method": "GET", "path": "/a", "timeout": "99999999999999999999s"}),
            "timeout",
            "\"99999999999999999999s\" is not a duration",
        ),
    ] {
        assert_eq!(mistake(config.clone(), None), (path.into(), message.into()), "{config}");
    }
    let config = json!({"method": "GET", "path": "/a", "timeout": "1s"});
    let (path, message) = mistake(config, Some(InvokeMode::Async));
    assert_eq!(path, "timeout");
    assert!(message.contains("has no meaning with \"invoke: async\""), "{message}");
}

#[test]
fn every_mistake_of_the_settings_is_named() {
    for (settings, path, message) in [
        (
            json!("127.0.0.1:1"),
            "",
            "the gateway's settings are \"127.0.0.1:1\", not a mapping",
        ),
        (json!({"port": 1}), "port", "unknown key \"port\""),
        (
            json!({"cors": "*"}),
            "cors",
            "\"cors\" is \"*\", not a boolean or a mapping",
        ),
        (
            json!({"cors": {"allowedOrigins": ["*"]}}),
            "cors.allowedOrigins",
            "unknown key \"allowedOrigins\"",
        ),
        (
            json!({"cors": {"allowOrigins": "*"}}),
            "cors.allowOrigins",
            "\"allowOrigins\" is \"*\", not a list of texts",
        ),
        (
            json!({"cors": {"allowMethods": ["GET", 1]}}),
            "cors.allowMethods",
            "\"allowMethods\" is a list, not a list of texts",
        ),
        (
            json!({"cors": {"allowCredentials": "yes"}}),
            "cors.allowCredentials",
            "\"allowCredentials\" is \"yes\", not a boolean",
        ),
        (
            json!({"cors": {"maxAge": 86401}}),
            "cors.maxAge",
            "\"86401\" is out of range",
        ),
        (
            json!({"cors": {"maxAge": "1500ms"}}),
            "cors.maxAge",
            "\"1500ms\" is out of range",
        ),
        (
            json!({"cors": {"maxAge": true}}),
            "cors.maxAge",
            "\"maxAge\" is a boolean, not a duration",
        ),
        (
            json!({"cors": {"allowOrigins": ["https://a.example", "http*"], "allowCredentials": true}}),
            "cors.allowOrigins.1",
            "\"http*\" has a \"*\" in it",
        ),
        (
            json!({"cors": {"allowMethods": ["get"]}}),
            "cors.allowMethods.0",
            "\"get\" is not a method",
        ),
        (
            json!({"cors": {"allowOrigins": ["*"], "allowCredentials": true}}),
            "cors.allowCredentials",
            "credentials would be sent along from every site",
        ),
        (
            json!({"listen": 8080}),
            "listen",
            "\"listen\" is \"8080\", not an address",
        ),
        (
            json!({"listen": "127.0.0.1"}),
            "listen",
            "\"127.0.0.1\" is not an address to listen on",
        ),
        (
            json!({"listen": "example.com:80"}),
            "listen",
            "\"example.com:80\" is not an address to listen on",
        ),
        (
            json!({"listen": "localhost:99999"}),
            "listen",
            "\"localhost:99999\" is not an address to listen on",
        ),
        (
            json!({"listen": "0.0.0.0:80"}),
            "listen",
            "the gateway would be open to the network on \"0.0.0.0:80\", and it has no authentication",
        ),
        (
            json!({"listen": "[::]:80"}),
            "listen",
            "the gateway would be open to the network on \"[::]:80\", and it has no authentication",
        ),
    ] {
        let errors = errors_of(SourceSpec {
            settings: Some(settings.clone()),
            ..Default::default()
        })
        .0;
        assert_eq!(errors.len(), 1, "{settings}: {errors:?}");
        assert_eq!(errors[0].place, SpecPlace::Settings);
        assert!(errors[0].help.is_some());
        assert_eq!(
            (path_of(&errors[0].path).as_str(), errors[0].message.as_str()),
            (path, message),
            "{settings}"
        );
    }
}

#[test]
fn all_mistakes_come_at_once() {
    let errors = errors_of(SourceSpec {
        settings: Some(json!({"listen": "0.0.0.0:1", "tls": true})),
        bindings: vec![
            binding("a/one", json!("GOT a"), None),
            binding("b/two", json!("GET /{x}/{x}/{y+}/z"), None),
            binding(
                "c/three",
                json!({"method": "NO", "path": "no", "timeout": "1h", "x": 1}),
                None,
            ),
            binding("d/good", json!("GET /p/{id}"), None),
            binding("e/same", json!("get /p/{name}"), None),
            binding("e/also", json!({"method": "GET", "path": "/p/{id}"}), None),
        ],
        ..Default::default()
    });
    let messages: BTreeSet<&str> = errors.0.iter().map(|error| error.message.as_str()).collect();
    let expected = BTreeSet::from([
        "unknown key \"tls\"",
        "the gateway would be open to the network on \"0.0.0.0:1\", and it has no authentication",
        "\"GOT\" is not a method of a route",
        "the path \"a\" does not start with \"/\"",
        "the path \"/{x}/{x}/{y+}/z\" has two parameters called \"x\"",
        "\"{y+}\" is not at the end of the path \"/{x}/{x}/{y+}/z\"",
        "unknown key \"x\"",
        "\"NO\" is not a method of a route",
        "the path \"no\" does not start with \"/\"",
        "the timeout \"1h\" is out of range",
        "\"GET /p/{name}\" of binding \"e/same\" takes the same requests as \"GET /p/{id}\" of binding \"d/good\"",
        "the bindings \"d/good\" and \"e/also\" claim the same route \"GET /p/{id}\"",
    ]);
    assert_eq!(messages, expected);
}

#[test]
fn routes_that_look_alike_and_differ_are_no_conflict() {
    let routes = [
        "GET /a",
        "POST /a",
        "ANY /a",
        "GET /a/",
        "GET /{x}",
        "GET /{x+}",
        "POST /{y}",
        "$default",
    ];
    let bindings = routes
        .iter()
        .map(|route| binding(&format!("f/{route}"), json!(route), None))
        .collect();
    assert!(
        plugin()
            .build(SourceSpec {
                bindings,
                ..Default::default()
            })
            .is_ok()
    );
    for (one, two) in [
        ("$default", "*"),
        ("ANY /a", "* /a"),
        ("GET /%61", "get  /a"),
        ("GET /{x+}", "GET /{y+}"),
    ] {
        let bindings = vec![binding("f/1", json!(one), None), binding("f/2", json!(two), None)];
        assert_eq!(
            errors_of(SourceSpec {
                bindings,
                ..Default::default()
            })
            .0
            .len(),
            1,
            "{one} and {two}"
        );
    }
}

#[test]
fn a_route_is_known_by_its_key() {
    for (config, name) in [
        (json!("get /a/{b}"), "GET /a/{b}"),
        (json!({"method": "*", "path": "/a", "timeout": "soon"}), "ANY /a"),
        (json!("*"), "$default"),
        (json!({"path": "$default"}), "$default"),
        // What is no route is refused later; till then it is known as it stands.
        (json!("GET a"), "\"GET a\""),
        (json!({"path": "/a"}), "{\"path\":\"/a\"}"),
        (json!(null), "null"),
    ] {
        assert_eq!(plugin().own_name(&config).as_deref(), Some(name), "{config}");
    }
}

#[test]
fn what_is_right_is_accepted() {
    for config in [
        json!("GET /"),
        json!("any /a/{b}/c/{d+}"),
        json!({"method": "*", "path": "/a", "timeout": "50ms"}),
        json!({"method": "GET", "path": "/a", "timeout": "1s500ms"}),
        json!({"method": "GET", "path": "/a", "timeout": "10"}),
        json!({"method": "GET", "path": "/a", "timeout": 30}),
        json!({"path": "$default", "timeout": "30s"}),
        json!({"path": "*", "method": "ANY"}),
    ] {
        let bindings = vec![binding("f/b", config.clone(), None)];
        let built = plugin().build(SourceSpec {
            bindings,
            ..Default::default()
        });
        assert!(built.is_ok(), "{config}: {:?}", built.err());
    }
    for (settings, address) in [
        (None, "127.0.0.1:8080"),
        (Some(json!(null)), "127.0.0.1:8080"),
        (Some(json!({})), "127.0.0.1:8080"),
        (Some(json!({"listen": "localhost:81"})), "127.0.0.1:81"),
        (Some(json!({"listen": "127.9.9.9:0"})), "127.9.9.9:0"),
        (Some(json!({"listen": "[::1]:82"})), "[::1]:82"),
    ] {
        let source = plugin()
            .build(SourceSpec {
                settings,
                ..Default::default()
            })
            .unwrap();
        assert_eq!(source.resources(), [Resource::Listen(address.parse().unwrap())]);
    }
}

#[test]
fn the_schemas_speak_of_what_is_read() {
    let binding = plugin().binding_schema().to_value();
    let keys = |schema: &Value| {
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&binding["oneOf"][1]), ["method", "path", "timeout"]);
    let settings = plugin().settings_schema().to_value();
    assert_eq!(keys(&settings), ["listen", "cors"]);
    let cors = &settings["properties"]["cors"]["oneOf"][1];
    let names = [
        "allowCredentials",
        "allowHeaders",
        "allowMethods",
        "allowOrigins",
        "exposeHeaders",
        "maxAge",
    ];
    assert_eq!(keys(cors), names);
    assert_eq!(settings["properties"]["listen"]["default"], "127.0.0.1:8080");
}

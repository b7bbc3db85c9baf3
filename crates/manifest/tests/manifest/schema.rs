//! The JSON Schema and the reader say the same.

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::demo::{Project, plugins};

fn validator() -> Validator {
    let schema = hikigane_manifest::schema(&plugins());
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

/// A manifest as JSON, which is YAML too.
fn manifest(function: Value) -> Value {
    let mut full = json!({"code": "f.js"});
    full.as_object_mut()
        .unwrap()
        .extend(function.as_object().unwrap().clone());
    json!({"functions": {"f": full}})
}

#[test]
fn both_accept() {
    let validator = validator();
    for good in [
        json!({"functions": {}}),
        json!({"functions": null, "defaults": null, "sources": null}),
        json!({"service": "x", "functions": {}, "defaults": {"timezone": "UTC", "runtime": "nodejs22.x", "env": {"AA": 1}}}),
        manifest(json!({"timeout": 30, "memory": 256, "ephemeralStorage": "1GB", "reservedConcurrency": 0})),
        manifest(
            json!({"timeout": "5m", "memory": "1GB", "async": {"retries": 0, "maxAge": "1h30m"}, "logFormat": "json", "logLevel": "debug"}),
        ),
        manifest(
            json!({"timeout": "${env:SECONDS}", "reservedConcurrency": "${env:NOPE, '1'}", "env": {"AA": "x", "BB": true}}),
        ),
        manifest(json!({"allow": {"read": ["."], "write": [], "net": ["*"]}, "description": "x", "handler": "f.x"})),
        manifest(
            json!({"events": [{"demo": "x"}, {"other": {"slot": "x", "tags": ["a"]}, "name": "o", "enabled": false}]}),
        ),
        manifest(json!({"events": [{"demo": "x", "filter": {"a": ["b"]}, "invoke": "sync"}]})),
        json!({"functions": {}, "sources": {"demo": {"listen": "127.0.0.1:80"}}}),
        json!({"functions": {}, "accessKeys": [{"id": "a", "secret": "0123456789abcdef"}]}),
    ] {
        if let Err(report) = Project::new().load(good.to_string()) {
            panic!("{good}\n{report}");
        }
        if let Err(error) = validator.validate(&good) {
            panic!("{good}\n{error}");
        }
    }
}

#[test]
fn both_refuse() {
    let validator = validator();
    for bad in [
        json!({}),
        json!([]),
        json!({"functions": {"f": {}}}),
        json!({"functions": [], "service": "x"}),
        json!({"functions": {}, "banana": 1}),
        json!({"functions": {}, "accessKeys": null}),
        json!({"functions": {}, "accessKeys": []}),
        json!({"functions": {}, "accessKeys": 5}),
        json!({"functions": {}, "accessKeys": [{"id": "a"}]}),
        json!({"functions": {}, "accessKeys": [{"id": 5, "secret": "0123456789abcdef"}]}),
        json!({"functions": {}, "accessKeys": [{"id": "a", "secret": "0123456789abcdef", "role": "x"}]}),
        json!({"functions": {}, "layers": {}}),
        json!({"functions": {}, "defaults": {"handler": "x.y"}}),
        json!({"functions": {}, "sources": {"banana": {}}}),
        json!({"functions": {}, "sources": {"demo": {"listen": 5}}}),
        manifest(json!({"code": 5})),
        manifest(json!({"timout": 30})),
        manifest(json!({"timeout": 901})),
        manifest(json!({"timeout": "x"})),
        manifest(json!({"timeout": true})),
        manifest(json!({"memory": 64})),
        manifest(json!({"memory": "1TB"})),
        manifest(json!({"reservedConcurrency": "5"})),
        manifest(json!({"reservedConcurrency": -1})),
        manifest(json!({"env": {"AA": []}})),
        manifest(json!({"env": {"AA": null}})),
        manifest(json!({"allow": {"net": "x"}})),
        manifest(json!({"async": {"retries": 3}})),
        manifest(json!({"async": {"onFailure": "x"}})),
        manifest(json!({"logFormat": "xml"})),
        manifest(json!({"url": {}})),
        manifest(json!({"events": {}})),
        manifest(json!({"events": [{}]})),
        manifest(json!({"events": [{"name": "x"}]})),
        manifest(json!({"events": [{"banana": "x"}]})),
        manifest(json!({"events": [{"demo": "x", "other": "y"}]})),
        manifest(json!({"events": [{"demo": "x", "enabled": 1}]})),
        manifest(json!({"events": [{"demo": "x", "invoke": "later"}]})),
        manifest(json!({"events": [{"demo": {"tags": []}}]})),
        manifest(json!({"events": ["demo"]})),
    ] {
        assert!(Project::new().load(bad.to_string()).is_err(), "{bad}");
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

#[test]
fn every_key_has_a_description() {
    let schema = hikigane_manifest::schema(&plugins());
    let sections = schema["$defs"].as_object().unwrap();
    let mut seen = 0;
    for name in [
        "Defaults",
        "Function",
        "Allow",
        "Asynchronous",
        "Cors",
        "Url",
        "Event",
        "AccessKeyItem",
    ] {
        for (key, property) in sections[name]["properties"].as_object().unwrap() {
            let is_reference = property.get("$ref").is_some();
            let description = property["description"].as_str().unwrap_or_default();
            assert!(is_reference || description.ends_with('.'), "{name}.{key}: {property}");
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn definitions_of_plugins_do_not_clash() {
    let schema = hikigane_manifest::schema(&plugins());
    assert_eq!(
        schema["$defs"]["demo event"]["anyOf"][1]["$ref"],
        "#/$defs/demo%20event%20Binding"
    );
    assert_eq!(schema["$defs"]["other event Binding"]["required"], json!(["slot"]));
}

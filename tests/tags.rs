//! Tags.

use serde_json::{Map, Value, json};

use crate::support::{assert_recorded, create, declaring_server, done, empty_server, refused};

const MODULE: &str = "exports.handler = async () => 1;";

fn tags(resource: &str) -> String {
    format!("/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3A{resource}")
}

#[test]
fn functions_have_tags() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    let f = tags("function%3Af");
    let list = |expect: Value| assert_eq!(done(&server, "GET", &f, &Value::Null, 200), json!({"Tags": expect}));
    list(json!({}));
    done(&server, "POST", &f, &json!({"Tags": {"a": "1", "b": "2"}}), 204);
    done(&server, "POST", &f, &json!({"Tags": {"b": "3", "c d": ""}}), 204);
    list(json!({"a": "1", "b": "3", "c d": ""}));
    let whole = done(&server, "GET", "/2015-03-31/functions/f", &Value::Null, 200);
    assert_eq!(whole["Tags"], json!({"a": "1", "b": "3", "c d": ""}));
    done(
        &server,
        "DELETE",
        &format!("{f}?tagKeys=a&tagKeys=c%20d&tagKeys=none"),
        &Value::Null,
        204,
    );
    list(json!({"b": "3"}));

    let many = |from: usize, to: usize| -> Value {
        let tags: Map<String, Value> = (from..to).map(|n| (format!("{n}_key"), "v".into())).collect();
        json!({ "Tags": tags })
    };
    let limit = "400 InvalidParameterValueException: Number of tags exceeds resource tag limit.";
    assert_eq!(refused(&server, "POST", &f, &many(0, 51)), limit);
    done(&server, "POST", &f, &many(0, 49), 204);
    assert_eq!(refused(&server, "POST", &f, &many(49, 50)), limit);

    drop(server);
    let server = project.up();
    let found = done(&server, "GET", &f, &Value::Null, 200);
    assert_eq!(found["Tags"].as_object().unwrap().len(), 50);
}

#[test]
fn mappings_have_tags() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    let mapping =
        json!({"FunctionName": "f", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q", "Tags": {"a": "1"}});
    let created = done(&server, "POST", "/2015-03-31/event-source-mappings", &mapping, 202);
    let path = tags(&format!("event-source-mapping%3A{}", created["UUID"].as_str().unwrap()));
    done(&server, "POST", &path, &json!({"Tags": {"b": "2"}}), 204);
    done(&server, "DELETE", &format!("{path}?tagKeys=a"), &Value::Null, 204);
    assert_eq!(
        done(&server, "GET", &path, &Value::Null, 200),
        json!({"Tags": {"b": "2"}})
    );
}

#[test]
fn what_cannot_have_tags_is_refused_in_awss_words() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    let uuid = "11111111-2222-3333-4444-555555555555";
    for (method, path, body) in [
        (
            "POST",
            "/2017-03-31/tags/arn%3Aaws%3Asomething".to_owned(),
            json!({"Tags": {"a": "1"}}),
        ),
        ("POST", tags("function%3Adoesnotexist"), json!({"Tags": {"a": "1"}})),
        ("POST", tags("function%3Af%3Aalias"), json!({"Tags": {"a": "1"}})),
        ("GET", tags("function%3Af%3Aalias"), Value::Null),
        ("GET", tags("function%3Adoesnotexist"), Value::Null),
        ("GET", tags(&format!("event-source-mapping%3A{uuid}")), Value::Null),
        ("GET", tags("capacity-provider%3Ac"), Value::Null),
        ("GET", tags("code-signing-config%3Acsc-0123456789abcdefg"), Value::Null),
        ("DELETE", tags("function%3Af"), Value::Null),
        ("DELETE", tags("function%3Adoesnotexist"), Value::Null),
    ] {
        assert_recorded(&refused(&server, method, &path, &body));
    }
    assert_eq!(
        refused(&server, "POST", &tags("function%3Af"), &json!({"Tags": {}})),
        "400 InvalidParameterValueException: An error occurred and the request cannot be processed."
    );
    assert!(refused(&server, "GET", &tags("layer%3Al"), &Value::Null).starts_with("404 "));
}

#[test]
fn what_marks_a_function_of_the_manifest_stays() {
    let (_project, server) = declaring_server();
    let path = tags("function%3Adeclared");
    let mark = json!({"Tags": {"hikigane:declared-in": "manifest"}});
    assert_eq!(done(&server, "GET", &path, &Value::Null, 200), mark);
    let remove = format!("{path}?tagKeys=hikigane%3Adeclared-in");
    let refusal = refused(&server, "DELETE", &remove, &Value::Null);
    assert!(
        refusal.starts_with("409 ") && refusal.contains("declared in the manifest"),
        "{refusal}"
    );
    assert_eq!(done(&server, "GET", &path, &Value::Null, 200), mark);
}

//! Code signing configurations.

use serde_json::{Value, json};

use super::{ACCOUNT, code, create, good, refused, up, zip};
use crate::support::api;

#[test]
fn configurations_are_made_changed_listed_and_deleted() {
    let (project, server) = up();
    let publisher = format!("arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/test/AbCdEfGh12");
    let base = "/2020-04-22/code-signing-configs";
    let body = json!({
        "Description": "Testing CodeSigning Config",
        "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
    });
    let answer = api(&server, "POST", base, &body);
    assert_eq!(answer.status, 201);
    let config = answer.json()["CodeSigningConfig"].clone();
    let arn = config["CodeSigningConfigArn"].as_str().unwrap();
    let id = config["CodeSigningConfigId"].as_str().unwrap();
    assert_eq!(
        config,
        json!({
            "CodeSigningConfigId": id,
            "CodeSigningConfigArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:code-signing-config:{id}"),
            "Description": "Testing CodeSigning Config",
            "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
            "LastModified": config["LastModified"],
        })
    );
    assert_eq!(id.len(), 21);

    let body = json!({"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"}});
    let changed = good(&api(&server, "PUT", &format!("{base}/{arn}"), &body));
    assert_eq!(
        changed["CodeSigningConfig"]["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"],
        "Enforce"
    );
    assert_eq!(
        changed["CodeSigningConfig"]["Description"],
        "Testing CodeSigning Config"
    );
    assert_eq!(
        good(&api(&server, "GET", &format!("{base}/{arn}"), &Value::Null)),
        changed
    );
    let listed = good(&api(&server, "GET", &format!("{base}/"), &Value::Null));
    assert_eq!(listed, json!({"CodeSigningConfigs": [changed["CodeSigningConfig"]]}));

    let tags = format!("/2017-03-31/tags/{arn}");
    good(&api(&server, "POST", &tags, &json!({"Tags": {"team": "a"}})));
    let shown = good(&api(&server, "GET", &tags, &Value::Null));
    assert_eq!(shown, json!({"Tags": {"team": "a"}}));

    zip(&project.join("plain.zip"), &[("index.mjs", &code(1))]);
    good(&create(&server, "f", None, &project.join("plain.zip")));
    let own = "/2020-06-30/functions/f/code-signing-config";
    assert_eq!(
        good(&api(&server, "GET", own, &Value::Null)),
        json!({"FunctionName": "f"})
    );
    let pair = json!({"CodeSigningConfigArn": arn, "FunctionName": "f"});
    let body = json!({"CodeSigningConfigArn": arn});
    assert_eq!(good(&api(&server, "PUT", own, &body)), pair);
    assert_eq!(good(&api(&server, "GET", own, &Value::Null)), pair);
    let functions = format!("{base}/{arn}/functions");
    assert_eq!(
        good(&api(&server, "GET", &functions, &Value::Null)),
        json!({"FunctionArns": [format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f")]})
    );
    let answer = api(&server, "DELETE", &format!("{base}/{arn}"), &Value::Null);
    refused(&answer, 409, "ResourceConflictException", "the function f uses it");

    // All of it is there after a start.
    drop(server);
    let server = project.up_with(&["--test-mode"]);
    assert_eq!(good(&api(&server, "GET", own, &Value::Null)), pair);
    assert_eq!(api(&server, "DELETE", own, &Value::Null).status, 204);
    assert_eq!(
        api(&server, "DELETE", &format!("{base}/{arn}"), &Value::Null).status,
        204
    );

    let message = format!("The Lambda code signing configuration {arn} can not be found.");
    let answer = api(&server, "GET", &format!("{base}/{arn}"), &Value::Null);
    refused(&answer, 404, "ResourceNotFoundException", &message);
    assert_eq!(answer.json(), json!({"Message": message}));
    for (method, path) in [
        ("PUT", format!("{base}/{arn}")),
        ("DELETE", format!("{base}/{arn}")),
        ("GET", functions),
    ] {
        refused(
            &api(&server, method, &path, &json!({})),
            404,
            "ResourceNotFoundException",
            &message,
        );
    }
    let message = format!(
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    );
    let answer = api(&server, "PUT", own, &body);
    refused(&answer, 404, "CodeSigningConfigNotFoundException", &message);
    assert_eq!(answer.json(), json!({"Type": "User", "Message": message}));
    refused(
        &create(&server, "g", Some(arn), &project.join("plain.zip")),
        404,
        "CodeSigningConfigNotFoundException",
        &message,
    );
    refused(
        &api(
            &server,
            "POST",
            base,
            &json!({"AllowedPublishers": {"SigningProfileVersionArns": []}}),
        ),
        400,
        "ValidationException",
        "allowedPublishers.signingProfileVersionArns",
    );
}

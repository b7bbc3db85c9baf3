//! Layers through Lambda's API: their versions, and who may use them.

use serde_json::{Value, json};

use crate::support::{
    LAYERS, Server, api, base64, body_of, code_sha256, empty_server, get, layer_arn, publish_layer, refusal_of, zip_of,
};

fn look(server: &Server, path: &str) -> Value {
    body_of(&api(server, "GET", &format!("{LAYERS}{path}"), &Value::Null), 200)
}

#[test]
fn a_layers_versions_are_published_shown_listed_and_deleted() {
    let (project, server) = empty_server();
    let zip = zip_of(&[("nodejs/node_modules/alpha/index.js", "module.exports = 1;")]);
    let first = publish_layer(
        &server,
        "alpha",
        &zip,
        json!({
            "Description": "the first", "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["nodejs22.x", "nodejs24.x"], "CompatibleArchitectures": ["x86_64"],
        }),
    );
    let created = first["CreatedDate"].as_str().unwrap();
    assert_eq!((created.len(), &created[23..]), (28, "+0000"), "{created}");
    let location = first["Content"]["Location"].as_str().unwrap();
    assert_eq!(get(location).body, zip);
    assert_eq!(
        first,
        json!({
            "LayerArn": layer_arn("alpha"), "LayerVersionArn": layer_arn("alpha:1"), "Version": 1, "Description": "the first", "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["nodejs22.x", "nodejs24.x"], "CompatibleArchitectures": ["x86_64"], "CreatedDate": created,
            "Content": {"Location": location, "CodeSha256": code_sha256(&zip), "CodeSize": zip.len()},
        })
    );
    assert_eq!(look(&server, "/alpha/versions/1"), first);
    let by_arn = format!("?find=LayerVersion&Arn={}", layer_arn("alpha:1").replace(':', "%3A"));
    assert_eq!(look(&server, &by_arn), first);
    assert_eq!(look(&server, &format!("/{}/versions/1", layer_arn("alpha"))), first);

    let second = publish_layer(&server, "alpha", &zip, json!({"CompatibleRuntimes": ["nodejs24.x"]}));
    assert_eq!((&second["Version"], &second["Description"]), (&json!(2), &json!("")));
    assert_eq!(
        (second.get("LicenseInfo"), second.get("CompatibleArchitectures")),
        (None, None)
    );
    let empty = publish_layer(
        &server,
        "empty",
        &zip,
        json!({"CompatibleRuntimes": [], "CompatibleArchitectures": []}),
    );
    assert_eq!(
        (&empty["CompatibleRuntimes"], &empty["CompatibleArchitectures"]),
        (&json!([]), &json!([]))
    );

    let entry = |version: &Value| {
        let mut entry = version.clone();
        entry
            .as_object_mut()
            .unwrap()
            .retain(|member, _| member != "Content" && member != "LayerArn");
        entry
    };
    let layer = |name: &str, version: &Value| json!({"LayerName": name, "LayerArn": layer_arn(name), "LatestMatchingVersion": entry(version)});
    assert_eq!(
        look(&server, ""),
        json!({"Layers": [layer("alpha", &second), layer("empty", &empty)]})
    );
    assert_eq!(
        look(&server, "?CompatibleRuntime=nodejs22.x"),
        json!({"Layers": [layer("alpha", &first)]})
    );
    assert_eq!(
        look(&server, "?CompatibleRuntime=nodejs24.x&CompatibleArchitecture=x86_64"),
        json!({"Layers": [layer("alpha", &first)]})
    );
    assert_eq!(look(&server, "?CompatibleArchitecture=arm64"), json!({"Layers": []}));
    assert_eq!(
        look(&server, "/alpha/versions"),
        json!({"LayerVersions": [entry(&second), entry(&first)]})
    );
    assert_eq!(
        look(&server, "/alpha/versions?CompatibleRuntime=nodejs22.x"),
        json!({"LayerVersions": [entry(&first)]})
    );
    assert_eq!(look(&server, "/absent/versions"), json!({"LayerVersions": []}));
    let page = look(&server, "/alpha/versions?MaxItems=1");
    assert_eq!(page["LayerVersions"], json!([entry(&second)]));
    let marker = page["NextMarker"].as_str().unwrap();
    assert_eq!(
        look(&server, &format!("/alpha/versions?MaxItems=1&Marker={marker}")),
        json!({"LayerVersions": [entry(&first)]})
    );
    let page = look(&server, "?MaxItems=1");
    let marker = page["NextMarker"].as_str().unwrap();
    assert_eq!(
        look(&server, &format!("?MaxItems=1&Marker={marker}")),
        json!({"Layers": [layer("empty", &empty)]})
    );

    let delete = |number: &str| {
        api(
            &server,
            "DELETE",
            &format!("{LAYERS}/alpha/versions/{number}"),
            &Value::Null,
        )
    };
    for number in ["1", "2", "2", "77"] {
        let answer = delete(number);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
    }
    assert_eq!(look(&server, "/alpha/versions"), json!({"LayerVersions": []}));
    assert_eq!(look(&server, ""), json!({"Layers": [layer("empty", &empty)]}));
    drop(server);
    let server = project.up();
    assert_eq!(
        publish_layer(&server, "alpha", &zip, json!({}))["Version"],
        3,
        "numbers are never given twice"
    );
    assert_eq!(
        look(&server, "/empty/versions/1")["Content"]["CodeSha256"],
        code_sha256(&zip).as_str()
    );
}

#[test]
fn what_is_wrong_with_a_request_for_a_layer_is_said_in_awss_words() {
    let (_project, server) = empty_server();
    publish_layer(&server, "alpha", &zip_of(&[("a", "1")]), json!({}));
    let invalid = "InvalidParameterValueException";
    let nothing = (
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    );
    for (method, path, status, (code, message)) in [
        ("GET", "/alpha/versions/2", 404, nothing),
        ("GET", "/absent/versions/1", 404, nothing),
        (
            "GET",
            "/alpha/versions/0",
            400,
            (invalid, "Layer Version Cannot be less than 1"),
        ),
        (
            "GET",
            "/alpha/versions/-1",
            400,
            (invalid, "Layer Version Cannot be less than 1"),
        ),
        (
            "DELETE",
            "/alpha/versions/-1",
            400,
            (invalid, "Layer Version Cannot be less than 1"),
        ),
        (
            "GET",
            &format!("?find=LayerVersion&Arn={}", layer_arn("alpha:7")),
            404,
            nothing,
        ),
        (
            "GET",
            "?find=LayerVersion&Arn=arn:aws:lambda:::awslayer:Amazon",
            404,
            nothing,
        ),
        (
            "GET",
            &format!(
                "?find=LayerVersion&Arn={}",
                layer_arn("alpha:1").replace("us-east-1", "eu-west-1")
            ),
            404,
            nothing,
        ),
    ] {
        let answer = api(&server, method, &format!("{LAYERS}{path}"), &Value::Null);
        assert_eq!(
            refusal_of(&answer, status),
            (code.to_owned(), message.to_owned()),
            "{method} {path}"
        );
        assert_eq!(answer.json()["Type"], "User");
    }
    for (path, message) in [
        (
            format!("?find=LayerVersion&Arn={}", layer_arn("alpha")),
            "at 'arn' failed to satisfy constraint",
        ),
        (
            "?CompatibleArchitecture=sparc".to_owned(),
            "Value 'sparc' at 'compatibleArchitecture' failed to satisfy constraint: Member must satisfy enum value set: [x86_64, arm64]",
        ),
        (
            "?CompatibleRuntime=cobol".to_owned(),
            "Value 'cobol' at 'compatibleRuntime' failed",
        ),
        (
            "/bad%20name/versions".to_owned(),
            "Value 'bad name' at 'layerName' failed",
        ),
        ("/alpha/versions/x".to_owned(), "can not be converted to a Long"),
    ] {
        let answer = api(&server, "GET", &format!("{LAYERS}{path}"), &Value::Null);
        let (_, found) = refusal_of(&answer, 400);
        assert!(found.contains(message), "{path}: {found}");
    }
    let foreign = layer_arn("insights:14").replace("000000000000", "580247275435");
    let answer = api(
        &server,
        "GET",
        &format!("{LAYERS}?find=LayerVersion&Arn={foreign}"),
        &Value::Null,
    );
    let (code, message) = refusal_of(&answer, 403);
    assert!(
        code == "AccessDeniedException" && message.contains(&format!("lambda:GetLayerVersion on resource: {foreign}")),
        "{message}"
    );
    let answer = api(
        &server,
        "POST",
        &format!("{LAYERS}/alpha/versions"),
        &json!({"Content": {}}),
    );
    assert_eq!(refusal_of(&answer, 400).0, invalid);
    let broken = json!({"Content": {"ZipFile": base64(b"no zip")}});
    assert_eq!(
        refusal_of(&api(&server, "POST", &format!("{LAYERS}/alpha/versions"), &broken), 400).1,
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    );
    assert_eq!(
        publish_layer(&server, "alpha", &zip_of(&[("a", "1")]), json!({}))["Version"],
        2,
        "what was refused has no number"
    );
}

#[test]
fn who_may_use_a_layer_version_is_kept_as_a_policy() {
    let (_project, server) = empty_server();
    publish_layer(&server, "alpha", &zip_of(&[("a", "1")]), json!({}));
    let policy = |version: u32| format!("{LAYERS}/alpha/versions/{version}/policy");
    let add = |version: u32, query: &str, members: Value| {
        let mut body = json!({"StatementId": "s1", "Action": "lambda:GetLayerVersion", "Principal": "*"});
        for (member, value) in members.as_object().unwrap() {
            body[member] = value.clone();
        }
        api(&server, "POST", &format!("{}{query}", policy(version)), &body)
    };
    let shown = || api(&server, "GET", &policy(1), &Value::Null);
    let not_found = |message: &str| ("ResourceNotFoundException".to_owned(), message.to_owned());
    let no_policy = not_found("No policy is associated with the given resource.");
    let no_version = not_found(&format!("Layer version {} does not exist.", layer_arn("alpha:2")));
    assert_eq!(refusal_of(&shown(), 404), no_policy);
    assert_eq!(refusal_of(&add(2, "", json!({})), 404), no_version);
    assert_eq!(
        refusal_of(&api(&server, "GET", &policy(2), &Value::Null), 404),
        no_version
    );
    let remove = |version: u32, sid: &str| api(&server, "DELETE", &format!("{}/{sid}", policy(version)), &Value::Null);
    assert_eq!(refusal_of(&remove(2, "s1"), 404), no_version);

    let first = body_of(&add(1, "", json!({})), 201);
    let all = json!({"Sid": "s1", "Effect": "Allow", "Principal": "*", "Action": "lambda:GetLayerVersion", "Resource": layer_arn("alpha:1")});
    assert_eq!(
        serde_json::from_str::<Value>(first["Statement"].as_str().unwrap()).unwrap(),
        all
    );
    let duplicate = "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement.";
    assert_eq!(
        refusal_of(&add(1, "", json!({})), 409),
        ("ResourceConflictException".to_owned(), duplicate.to_owned())
    );
    let (_, message) = refusal_of(&add(1, "", json!({"Action": "*", "StatementId": "s2"})), 400);
    assert!(message.contains("Value '*' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: lambda:GetLayerVersion"), "{message}");
    let stale = "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id";
    assert_eq!(
        refusal_of(&add(1, "?RevisionId=wrong", json!({"StatementId": "s2"})), 412),
        ("PreconditionFailedException".to_owned(), stale.to_owned())
    );
    let revision = first["RevisionId"].as_str().unwrap();
    let second = json!({"StatementId": "s2", "Principal": "123456789012", "OrganizationId": "o-1234567890"});
    body_of(&add(1, &format!("?RevisionId={revision}"), second), 201);
    let document = body_of(&shown(), 200);
    assert_ne!(document["RevisionId"], revision);
    let one = json!({
        "Sid": "s2", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "lambda:GetLayerVersion",
        "Resource": layer_arn("alpha:1"), "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
    });
    assert_eq!(
        serde_json::from_str::<Value>(document["Policy"].as_str().unwrap()).unwrap(),
        json!({"Version": "2012-10-17", "Id": "default", "Statement": [all, one]})
    );
    assert_eq!(
        refusal_of(&remove(1, "s3"), 404),
        not_found("Statement s3 is not found in resource policy.")
    );
    let answer = api(
        &server,
        "DELETE",
        &format!("{}/s1?RevisionId=wrong", policy(1)),
        &Value::Null,
    );
    assert_eq!(refusal_of(&answer, 412).1, stale);
    for sid in ["s1", "s2"] {
        assert_eq!(remove(1, sid).status, 204);
    }
    assert_eq!(refusal_of(&shown(), 404), no_policy);
    let mut added = 0;
    let refused = loop {
        let answer = add(1, "", json!({"StatementId": format!("statement-{added:085}")}));
        if answer.status != 201 {
            break answer;
        }
        added += 1;
    };
    let (code, message) = refusal_of(&refused, 400);
    assert_eq!(code, "PolicyLengthExceededException");
    assert!(
        added > 50 && message.ends_with("is bigger than the limit (20480)."),
        "{added}: {message}"
    );
}

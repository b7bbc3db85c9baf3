//! Versions: what is published, and how it is shown.

use serde_json::{Value, json};

use crate::support::{
    assert_as_recorded, create, declaring_server, done, empty_server, invoke, packed, recorded, update, wait_for,
    wait_until_ready,
};

fn module(variant: &str) -> String {
    format!("exports.handler = async (event, context) => ['{variant}', context.functionVersion];")
}

#[test]
fn versions_are_shown_as_aws_shows_them() {
    let (_project, server) = empty_server();
    let code = |variant: &str| packed(&module(variant));
    let function = json!({
        "FunctionName": "f",
        "Description": "No version :(",
        "Runtime": "nodejs22.x",
        "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Code": {"ZipFile": code("version1")},
    });
    let created = done(&server, "POST", "/2015-03-31/functions", &function, 201);
    wait_until_ready(&server, "f");
    let configuration = || {
        done(
            &server,
            "GET",
            "/2015-03-31/functions/f/configuration",
            &Value::Null,
            200,
        )
    };
    let publish = |description: &str| {
        let body = json!({ "Description": description });
        done(&server, "POST", "/2015-03-31/functions/f/versions", &body, 201)
    };
    let before = configuration();
    let first = publish("First version description :)");
    assert_ne!(
        configuration()["RevisionId"],
        before["RevisionId"],
        "a publication is a change"
    );
    assert_eq!(publish("again"), first, "nothing changed");
    let updated = done(
        &server,
        "PUT",
        "/2015-03-31/functions/f/code",
        &json!({"ZipFile": code("version2")}),
        200,
    );
    wait_until_ready(&server, "f");
    let second = publish("Second version description :)");
    let body = json!({"ZipFile": code("version3"), "Publish": true});
    let third = done(&server, "PUT", "/2015-03-31/functions/f/code", &body, 200);
    let invoked = wait_for("version 3", || {
        Some(invoke(server.endpoint(), "f:3", "{}")).filter(|answer| answer.status == 200)
    });
    assert_eq!(invoked.json(), json!(["version3", "3"]));
    wait_until_ready(&server, "f");
    for (name, expect) in [
        ("f", json!(["version3", "$LATEST"])),
        ("f:1", json!(["version1", "1"])),
        ("f:2", json!(["version2", "2"])),
    ] {
        assert_eq!(invoke(server.endpoint(), name, "{}").json(), expect);
    }
    let one = done(
        &server,
        "GET",
        "/2015-03-31/functions/f/configuration?Qualifier=1",
        &Value::Null,
        200,
    );
    assert_eq!(one, first, "a version never changes");

    if let Some(all) = recorded("aws_lambda_behaviour.json") {
        let all = &all["TestLambdaVersions::test_lambda_versions_with_code_changes"]["recorded-content"];
        for (name, found) in [
            ("create_response", &created),
            ("first_publish_response", &first),
            ("update_lambda_response", &updated),
            ("second_publish_response", &second),
            ("update_lambda_response_with_publish", &third),
        ] {
            assert_as_recorded(&all[name], found);
        }
    }

    // A list leaves out what only GetFunction shows (AWS documentation, ListFunctions).
    let list = done(&server, "GET", "/2015-03-31/functions/f/versions", &Value::Null, 200);
    let list = list["Versions"].as_array().unwrap();
    let numbers: Vec<&Value> = list.iter().map(|version| &version["Version"]).collect();
    assert_eq!(numbers, ["$LATEST", "1", "2", "3"]);
    let mut short = first.clone();
    for member in ["State", "LastUpdateStatus", "RuntimeVersionConfig"] {
        assert!(short.as_object_mut().unwrap().remove(member).is_some(), "{member}");
    }
    assert_eq!(list[1], short);
}

#[test]
fn what_is_in_no_environment_leaves_the_environments_alone() {
    let (_project, server) = empty_server();
    create(&server, "f", "let count = 0; exports.handler = async () => ++count;");
    let count = || invoke(server.endpoint(), "f", "{}").json();
    assert_eq!(count(), 1);
    let permission = json!({"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"});
    done(&server, "POST", "/2015-03-31/functions/f/policy", &permission, 201);
    assert_eq!(count(), 2, "a permission");
    done(&server, "POST", "/2015-03-31/functions/f/versions", &json!({}), 201);
    assert_eq!(count(), 3, "a publication");
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    done(&server, "POST", "/2015-03-31/functions/f/aliases", &alias, 201);
    assert_eq!(count(), 4, "an alias");
    let change = json!({"Description": "other"});
    done(&server, "PUT", "/2015-03-31/functions/f/configuration", &change, 200);
    wait_until_ready(&server, "f");
    assert_eq!(
        count(),
        1,
        "a change of the configuration is in force in a new environment"
    );
}

#[test]
fn all_versions_of_all_functions_are_listed_page_by_page() {
    let (_project, server) = declaring_server();
    // "f-" comes before "f/" in the order of bytes, and after "f" in that of names.
    for name in ["f", "f-"] {
        create(&server, name, &module("one"));
        let versions = format!("/2015-03-31/functions/{name}/versions");
        done(&server, "POST", &versions, &json!({}), 201);
        update(&server, name, &module("two"));
        done(&server, "POST", &versions, &json!({}), 201);
    }
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let path = format!("/2015-03-31/functions?FunctionVersion=ALL&MaxItems=1&Marker={marker}");
        let page = done(&server, "GET", &path, &Value::Null, 200);
        for function in page["Functions"].as_array().unwrap() {
            let (name, version) = (&function["FunctionName"], &function["Version"]);
            seen.push(format!("{}:{}", name.as_str().unwrap(), version.as_str().unwrap()));
        }
        match page["NextMarker"].as_str() {
            Some(next) => marker = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(
        seen,
        [
            "declared:$LATEST",
            "f:$LATEST",
            "f:1",
            "f:2",
            "f-:$LATEST",
            "f-:1",
            "f-:2"
        ]
    );
}

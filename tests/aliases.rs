//! Aliases: what they are, where they lead, and what they are refused.

use serde_json::{Value, json};

use crate::support::{
    Server, api, assert_as_recorded, assert_recorded, aws_lambda, create, declaring_server, done, empty_server, invoke,
    publish, recorded, refused, update,
};

/// A module whose answer is the version that runs and the ARN that was invoked.
const WHO: &str = "exports.handler = async (event, context) => [context.functionVersion, context.invokedFunctionArn];";

/// A function with versions 1 and 2.
fn two_versions(server: &Server, name: &str) {
    create(server, name, WHO);
    publish(server, name);
    update(server, name, &format!("{WHO} // 2"));
    assert_eq!(publish(server, name)["Version"], "2");
}

fn aliases(name: &str) -> String {
    format!("/2015-03-31/functions/{name}/aliases")
}

fn arn(rest: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{rest}")
}

#[test]
fn an_alias_leads_to_a_version_and_can_be_moved() {
    let (project, server) = empty_server();
    two_versions(&server, "f");
    let created = done(
        &server,
        "POST",
        &aliases("f"),
        &json!({"Name": "live", "FunctionVersion": "1"}),
        201,
    );
    assert_eq!(
        invoke(server.endpoint(), "f:live", "{}").json(),
        json!(["1", arn("f:live")])
    );
    let answer = api(
        &server,
        "POST",
        "/2015-03-31/functions/f/invocations?Qualifier=live",
        &json!({}),
    );
    assert_eq!(
        (answer.json(), answer.header("x-amz-executed-version")),
        (json!(["1", arn("f:live")]), Some("1"))
    );
    let live = format!("{}/live", aliases("f"));
    assert_eq!(done(&server, "GET", &live, &Value::Null, 200), created);

    let stale = json!({"FunctionVersion": "2", "RevisionId": "11111111-2222-3333-4444-555555555555"});
    assert_recorded(&refused(&server, "PUT", &live, &stale));
    let change = json!({"FunctionVersion": "2", "RevisionId": created["RevisionId"], "Description": "moved"});
    let moved = done(&server, "PUT", &live, &change, 200);
    assert_ne!(moved["RevisionId"], created["RevisionId"]);
    assert_eq!(
        (&moved["FunctionVersion"], &moved["Description"]),
        (&json!("2"), &json!("moved"))
    );
    assert_eq!(
        invoke(server.endpoint(), "f:live", "{}").json(),
        json!(["2", arn("f:live")])
    );

    if let Some(all) = recorded("aws_lambda_behaviour.json") {
        let all = &all["TestLambdaAliases::test_lambda_alias_moving"]["recorded-content"];
        let mut as_created = moved.clone();
        as_created["Description"] = json!("");
        for (name, found) in [
            ("create_alias_response", &created),
            ("update_alias_response", &as_created),
        ] {
            let mut recorded = all[name].clone();
            let alias = recorded["AliasArn"].as_str().unwrap().replace(":alias1", ":live");
            (recorded["AliasArn"], recorded["Name"]) = (alias.into(), "live".into());
            assert_as_recorded(&recorded, found);
        }
    }

    // The queue keeps what the alias led to when the event was accepted; so does a server that is started again.
    drop(server);
    let server = project.up();
    assert_eq!(done(&server, "GET", &live, &Value::Null, 200), moved);
    assert_eq!(
        invoke(server.endpoint(), "f:live", "{}").json(),
        json!(["2", arn("f:live")])
    );
    done(&server, "DELETE", &live, &Value::Null, 204);
    done(&server, "DELETE", &live, &Value::Null, 204);
    assert_eq!(
        refused(&server, "POST", "/2015-03-31/functions/f:live/invocations", &json!({})),
        format!("404 ResourceNotFoundException: Function not found: {}", arn("f:live"))
    );
}

#[test]
fn an_alias_shares_invocations_by_weight() {
    const CALLS: usize = 2_000;
    let (_project, server) = empty_server();
    two_versions(&server, "f");
    let alias =
        json!({"Name": "canary", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}});
    let created = done(&server, "POST", &aliases("f"), &alias, 201);
    assert_eq!(created["RoutingConfig"], alias["RoutingConfig"]);
    let seconds: usize = std::thread::scope(|scope| {
        let server = &server;
        let caller = |calls| move || (0..calls).filter(|_| is_second(server)).count();
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(caller(CALLS / 4))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    // Four standard deviations of a binomial distribution: wrong once in 15,000 runs.
    let (expected, four_sigma) = (0.1 * CALLS as f64, 4.0 * (CALLS as f64 * 0.1 * 0.9).sqrt());
    assert!(
        (seconds as f64 - expected).abs() < four_sigma,
        "{seconds} of {CALLS} invocations went to version 2, not {expected} ± {four_sigma}"
    );

    for (weight, expect) in [(1.0, true), (0.0, false)] {
        let all = json!({"RoutingConfig": {"AdditionalVersionWeights": {"2": weight}}});
        done(&server, "PUT", &format!("{}/canary", aliases("f")), &all, 200);
        assert!((0..20).all(|_| is_second(&server) == expect), "{weight}");
    }
    let none = json!({"RoutingConfig": {}});
    let updated = done(&server, "PUT", &format!("{}/canary", aliases("f")), &none, 200);
    assert_eq!(updated.get("RoutingConfig"), None);
}

fn is_second(server: &Server) -> bool {
    let answer = invoke(server.endpoint(), "f:canary", "{}");
    match answer.header("x-amz-executed-version") {
        Some("1") => false,
        Some("2") => true,
        other => panic!("{other:?}: {}", answer.text()),
    }
}

#[test]
fn what_cannot_be_an_alias_is_refused_in_awss_words() {
    let (_project, server) = declaring_server();
    two_versions(&server, "f");
    let weights = |version: &str, weights: Value| json!({"Name": "a", "FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}});
    done(
        &server,
        "POST",
        &aliases("f"),
        &json!({"Name": "custom", "FunctionVersion": "1"}),
        201,
    );
    for body in [
        json!({"Name": "2024", "FunctionVersion": "1"}),
        json!({"Name": "a", "FunctionVersion": "10"}),
        json!({"Name": "custom", "FunctionVersion": "1"}),
        weights("1", json!({"2": 0.5, "3": 0.1})),
        weights("1", json!({"1": 0.5})),
        weights("1", json!({"10": 0.5})),
        weights("1", json!({"2": -1.0})),
        weights("1", json!({"$LATEST": 0.5})),
    ] {
        let refusal = refused(&server, "POST", &aliases("f"), &body);
        assert_recorded(&refusal);
    }
    let latest = api(&server, "POST", &aliases("f"), &weights("$LATEST", json!({"2": 0.5})));
    assert_eq!(
        (latest.status, latest.json()),
        (
            400,
            json!({"message": "$LATEST is not supported for an alias pointing to more than 1 version"})
        )
    );
    let huge = "99999999999999999999999";
    let refusal = refused(
        &server,
        "POST",
        &aliases("f"),
        &json!({"Name": "a", "FunctionVersion": huge}),
    );
    assert_eq!(
        refusal,
        format!(
            "404 ResourceNotFoundException: Function not found: {}",
            arn(&format!("f:{huge}"))
        )
    );
    assert!(refused(&server, "POST", &aliases("f"), &weights("1", json!({huge: 0.5}))).starts_with("404 "));

    let gone = format!("{}/doesnotexist", aliases("f"));
    assert_recorded(&refused(&server, "GET", &gone, &Value::Null));
    assert_eq!(
        refused(&server, "PUT", &gone, &json!({})),
        format!(
            "404 ResourceNotFoundException: Alias not found: {}",
            arn("f:doesnotexist")
        )
    );
    assert_recorded(&refused(&server, "GET", &aliases("doesnotexist"), &Value::Null));
    let conflict = refused(
        &server,
        "POST",
        &aliases("declared"),
        &json!({"Name": "a", "FunctionVersion": "$LATEST"}),
    );
    assert!(conflict.contains("declared in the manifest"), "{conflict}");

    // Versions of different roles cannot share.
    let role = json!({"Role": "arn:aws:iam::000000000000:role/other", "Description": "3"});
    done(&server, "PUT", "/2015-03-31/functions/f/configuration", &role, 200);
    crate::support::wait_until_ready(&server, "f");
    assert_eq!(publish(&server, "f")["Version"], "3");
    let refusal = refused(&server, "POST", &aliases("f"), &weights("1", json!({"3": 0.5})));
    assert!(refusal.contains("the same execution role"), "{refusal}");
}

#[test]
fn an_alias_stands_wherever_a_qualifier_does() {
    let (_project, server) = empty_server();
    two_versions(&server, "f");
    let alias = |name: &str, version: &str| json!({"Name": name, "FunctionVersion": version});
    for (name, version) in [("b", "2"), ("a", "1"), ("c", "1"), ("latest", "$LATEST")] {
        done(&server, "POST", &aliases("f"), &alias(name, version), 201);
    }
    for (qualifier, version) in [("a", "1"), ("b", "2"), ("latest", "$LATEST")] {
        let path = format!("/2015-03-31/functions/f/configuration?Qualifier={qualifier}");
        let found = done(&server, "GET", &path, &Value::Null, 200);
        assert_eq!(
            (&found["Version"], &found["FunctionArn"]),
            (&json!(version), &json!(arn(&format!("f:{qualifier}"))))
        );
        let whole = done(
            &server,
            "GET",
            &format!("/2015-03-31/functions/f:{qualifier}"),
            &Value::Null,
            200,
        );
        assert_eq!(whole["Configuration"], found);
    }
    assert_recorded(&refused(
        &server,
        "GET",
        "/2015-03-31/functions/f?Qualifier=aliasdoesnotexist",
        &Value::Null,
    ));

    let names = |query: &str| -> (Vec<String>, Option<String>) {
        let list = done(&server, "GET", &format!("{}{query}", aliases("f")), &Value::Null, 200);
        let names = list["Aliases"].as_array().unwrap().iter();
        let names = names.map(|alias| alias["Name"].as_str().unwrap().to_owned()).collect();
        (names, list["NextMarker"].as_str().map(str::to_owned))
    };
    assert_eq!(names("").0, ["a", "b", "c", "latest"]);
    assert_eq!(names("?FunctionVersion=1").0, ["a", "c"]);
    assert_eq!(names("?FunctionVersion=$LATEST").0, ["latest"]);
    let (first, marker) = names("?MaxItems=3");
    assert_eq!(first, ["a", "b", "c"]);
    assert_eq!(
        names(&format!("?MaxItems=3&Marker={}", marker.unwrap())),
        (vec!["latest".to_owned()], None)
    );

    // A version that an alias leads to, always or at times, cannot be deleted.
    let canary = json!({"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}});
    done(&server, "PUT", &format!("{}/c", aliases("f")), &canary, 200);
    let delete = |query: &str| {
        refused(
            &server,
            "DELETE",
            &format!("/2015-03-31/functions/f{query}"),
            &Value::Null,
        )
    };
    let text = "409 ResourceConflictException: Unable to delete version because the following aliases reference it:";
    assert_eq!(delete("?Qualifier=1"), format!("{text} [a, c]"));
    assert_eq!(delete("?Qualifier=2"), format!("{text} [b, c]"));
    assert_eq!(
        delete("?Qualifier=a"),
        "400 InvalidParameterValueException: Deletion of aliases is not currently supported."
    );
    for name in ["a", "c"] {
        done(
            &server,
            "DELETE",
            &format!("{}/{name}", aliases("f")),
            &Value::Null,
            204,
        );
    }
    done(
        &server,
        "DELETE",
        "/2015-03-31/functions/f?Qualifier=1",
        &Value::Null,
        204,
    );

    // With the function its aliases go; a new one of that name has none.
    done(&server, "DELETE", "/2015-03-31/functions/f", &Value::Null, 204);
    create(&server, "f", WHO);
    assert_eq!(names("").0, Vec::<String>::new());
}

#[test]
fn the_aws_command_line_manages_aliases() {
    let (project, server) = empty_server();
    two_versions(&server, "f");
    let run = |arguments: &[&str]| aws_lambda(&server, &project, arguments);
    let create = [
        "create-alias",
        "--function-name",
        "f",
        "--name",
        "live",
        "--function-version",
        "1",
    ];
    let Some((good, alias)) = run(&create) else {
        return;
    };
    assert!(good, "{alias}");
    let routing = "AdditionalVersionWeights={2=0.25}";
    let update = [
        "update-alias",
        "--function-name",
        "f",
        "--name",
        "live",
        "--routing-config",
        routing,
    ];
    let (good, alias) = run(&update).unwrap();
    assert!(good, "{alias}");
    assert_eq!(alias["RoutingConfig"]["AdditionalVersionWeights"], json!({"2": 0.25}));
    let (_, list) = run(&["list-aliases", "--function-name", "f"]).unwrap();
    assert_eq!(list["Aliases"], json!([alias]));
    let (good, wrong) = run(&["get-alias", "--function-name", "f", "--name", "none"]).unwrap();
    assert!(
        !good && wrong.as_str().unwrap().contains("(ResourceNotFoundException)"),
        "{wrong}"
    );
}

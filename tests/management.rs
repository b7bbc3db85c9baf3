//! The account's settings, configurations that are small, and InvokeAsync.

use serde_json::{Value, json};

use crate::support::{Project, api, assert_recorded, create, done, empty_server, post, refused, wait_for};

const MODULE: &str = "exports.handler = async () => 1;";

#[test]
fn the_account_shows_its_limits_and_what_is_used() {
    let project = Project::new(
        "functions:\n  a: { code: ./a.js, reservedConcurrency: 7 }\n",
        &[("a.js", MODULE)],
    );
    let server = project.up();
    let settings = || done(&server, "GET", "/2016-08-19/account-settings", &Value::Null, 200);
    let before = settings();
    assert_eq!(
        before["AccountLimit"],
        json!({
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": 1_000,
            "UnreservedConcurrentExecutions": 993,
        })
    );
    assert_eq!(
        before["AccountUsage"],
        json!({"TotalCodeSize": MODULE.len(), "FunctionCount": 1})
    );
    let created = create(&server, "f", MODULE);
    done(&server, "POST", "/2015-03-31/functions/f/versions", &json!({}), 201);
    let size = MODULE.len() as u64 + 2 * created["CodeSize"].as_u64().unwrap();
    assert_eq!(
        settings()["AccountUsage"],
        json!({"TotalCodeSize": size, "FunctionCount": 2})
    );
}

#[test]
fn whether_loops_are_stopped_is_kept() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    let path = |name: &str| format!("/2024-08-31/functions/{name}/recursion-config");
    let get = |expect: &str| {
        let found = done(&server, "GET", &path("f"), &Value::Null, 200);
        assert_eq!(found, json!({ "RecursiveLoop": expect }));
    };
    get("Terminate");
    let allow = json!({"RecursiveLoop": "Allow"});
    assert_eq!(done(&server, "PUT", &path("f"), &allow, 200), allow);
    get("Allow");
    assert_recorded(&refused(
        &server,
        "PUT",
        &path("f"),
        &json!({"RecursiveLoop": "InvalidValue"}),
    ));
    for method in ["GET", "PUT"] {
        assert_recorded(&refused(&server, method, &path("doesnotexist"), &allow));
    }
    drop(server);
    let server = project.up();
    assert_eq!(done(&server, "GET", &path("f"), &Value::Null, 200), allow);
}

#[test]
fn when_a_runtime_is_renewed_is_kept_for_each_version() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    done(&server, "POST", "/2015-03-31/functions/f/versions", &json!({}), 201);
    let path = |rest: &str| format!("/2021-07-20/functions/{rest}");
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let get = |query: &str, expect: Value| {
        let found = done(
            &server,
            "GET",
            &path(&format!("f/runtime-management-config{query}")),
            &Value::Null,
            200,
        );
        assert_eq!(found, expect);
    };
    get("", json!({"UpdateRuntimeOn": "Auto", "FunctionArn": arn}));
    let runtime = "arn:aws:lambda:us-east-1::runtime:0123456789abcdef";
    let manual = json!({"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": runtime});
    let mut shown = manual.clone();
    shown["FunctionArn"] = format!("{arn}:1").into();
    let put = path("f/runtime-management-config?Qualifier=1");
    assert_eq!(done(&server, "PUT", &put, &manual, 200), shown);
    get("?Qualifier=1", shown);
    get("", json!({"UpdateRuntimeOn": "Auto", "FunctionArn": arn}));
    let put = path("f/runtime-management-config");
    done(&server, "PUT", &put, &json!({"UpdateRuntimeOn": "FunctionUpdate"}), 200);
    get("", json!({"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": arn}));
    for body in [
        json!({"UpdateRuntimeOn": "Manual"}),
        json!({"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": runtime}),
    ] {
        let refusal = refused(&server, "PUT", &put, &body);
        assert!(
            refusal.starts_with("400 InvalidParameterValueException: RuntimeVersionArn"),
            "{refusal}"
        );
    }
    let absent = path("doesnotexist/runtime-management-config");
    assert_recorded(&refused(&server, "GET", &absent, &Value::Null));
    assert_recorded(&refused(&server, "PUT", &absent, &json!({"UpdateRuntimeOn": "Auto"})));
}

#[test]
fn the_deprecated_invoke_async_queues_an_event() {
    let (_project, server) = empty_server();
    create(&server, "f", "exports.handler = async (event) => event.n;");
    for (path, n) in [("invoke-async", 1), ("invoke-async/", 2)] {
        let (path, output) = (format!("/2014-11-13/functions/f/{path}"), json!(n.to_string()));
        let answer = api(&server, "POST", &path, &json!({ "n": n }));
        assert_eq!((answer.status, answer.text().as_str()), (202, r#"{"Status":202}"#));
        wait_for("the run", || {
            let runs = server.runs("?function=f").into_iter();
            runs.filter(|run| run["mode"] == "async")
                .find(|run| server.run(&run["id"])["output"] == output)
        });
    }
    assert_recorded(&refused(
        &server,
        "POST",
        "/2014-11-13/functions/f:non-existent-alias/invoke-async",
        &json!({}),
    ));
    let url = format!("{}/2014-11-13/functions/f/invoke-async", server.endpoint());
    let event = |size: usize| format!("\"{}\"", "x".repeat(size - 2)).into_bytes();
    assert_eq!(post(&url, &[], &event(256 * 1024)).status, 202);
    let large = post(&url, &[], &event(256 * 1024 + 1));
    assert_eq!(
        (large.status, large.header("x-amzn-errortype")),
        (413, Some("RequestTooLargeException"))
    );
    assert_eq!(post(&url, &[], b"{").status, 400);
}

//! `POST /_hikigane/reset` and moto's `POST /moto-api/reset`: a server as it was when it began, for the next test of a suite.

use serde_json::{Value, json};

use crate::support::{
    FUNCTIONS, Project, Server, answering, api, body_of, create_function, get, invoke, invoke_event, post, request,
    wait_for, wait_until_ready,
};

const MANIFEST: &str = "functions:\n  declared: { code: ./declared.js, async: { retries: 0 } }\n";

fn project() -> Project {
    Project::new(
        MANIFEST,
        &[(
            "declared.js",
            "exports.handler = async (event) => { if (event.fail) throw new Error('no'); return 'declared'; };",
        )],
    )
}

fn names(server: &Server) -> Vec<Value> {
    let listed = body_of(&api(server, "GET", FUNCTIONS, &Value::Null), 200);
    let functions = listed["Functions"].as_array().unwrap().iter();
    functions.map(|function| function["FunctionName"].clone()).collect()
}

#[test]
fn all_but_the_manifest_is_forgotten() {
    let project = project();
    let server = project.up_with(&["--test-mode"]);
    let endpoint = server.endpoint();
    let count = |what: &str| {
        let found = get(&format!("{endpoint}/_hikigane/{what}")).json();
        let member = if what == "dlq" { "deadLetters" } else { what };
        found[member].as_array().unwrap().len()
    };
    for path in ["/_hikigane/reset", "/moto-api/reset"] {
        assert_eq!(create_function(&server, "made", &answering("1"), json!({})).status, 201);
        wait_until_ready(&server, "made");
        let role = "Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument=%7B%7D";
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_eq!(post(endpoint, &form, role.as_bytes()).status, 200);
        assert_eq!(invoke(endpoint, "made", "{}").text(), "1");
        assert_eq!(invoke_event(endpoint, "declared", r#"{"fail": true}"#).status, 202);
        wait_for("the dead letter", || (count("dlq") == 1).then_some(()));
        wait_for("the runs", || (count("runs") >= 2).then_some(()));

        let answer = post(&format!("{endpoint}{path}"), &[], b"");
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
        assert_eq!(names(&server), ["declared"]);
        assert_eq!((count("dlq"), count("runs"), server.queued()), (0, 0, 0));
        assert_eq!(invoke(endpoint, "made", "{}").status, 404);
        assert_eq!(invoke(endpoint, "declared", "{}").text(), "\"declared\"");
    }
    // What was forgotten does not come back.
    drop(server);
    assert_eq!(names(&project.up()), ["declared"]);
}

#[test]
fn nothing_is_forgotten_outside_of_tests() {
    let project = project();
    let server = project.up();
    assert_eq!(create_function(&server, "made", &answering("1"), json!({})).status, 201);
    for path in ["/_hikigane/reset", "/moto-api/reset"] {
        let answer = request("POST", &format!("{}{path}", server.endpoint()), &[], b"");
        assert!(
            answer.status == 400 && answer.text().contains("--test-mode"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(names(&server), ["declared", "made"]);
}

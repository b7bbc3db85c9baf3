//! Reserved concurrency, and the account's.

use serde_json::{Value, json};

use crate::support::{
    ANYBODY, Answer, Project, Server, api, boto3, create, get, invoke, invoke_event, publish, value_of, wait_for,
    wait_until_ready,
};

/// Waits as long as the event says.
const WAITS: &str =
    "export const handler = async ({ ms = 0 }) => { await new Promise((done) => setTimeout(done, ms)); return ms; };";
const BELOW: &str = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].";

fn server(manifest: &str) -> (Project, Server) {
    let project = Project::new(manifest, &[("waits.mjs", WAITS)]);
    let server = project.up();
    (project, server)
}

fn put(server: &Server, function: &str, reserved: u32) -> Answer {
    let path = format!("/2017-10-31/functions/{function}/concurrency");
    let body = json!({"ReservedConcurrentExecutions": reserved});
    api(server, "PUT", &path, &body)
}

fn got(server: &Server, function: &str) -> Answer {
    get(&format!(
        "{}/2019-09-30/functions/{function}/concurrency",
        server.endpoint()
    ))
}

fn delete(server: &Server, function: &str) -> Answer {
    let path = format!("/2017-10-31/functions/{function}/concurrency");
    api(server, "DELETE", &path, &Value::Null)
}

/// Status, error code and body of an error.
fn refused(answer: &Answer) -> (u16, &str, Value) {
    let code = answer.header("x-amzn-errortype").unwrap_or_default();
    (answer.status, code, answer.json())
}

#[test]
fn what_is_reserved_is_put_shown_and_deleted() {
    let (_project, server) = server("functions: {}\n");
    create(&server, "f", WAITS);
    assert_eq!((got(&server, "f").status, got(&server, "f").text()), (200, "{}".into()));
    let answer = put(&server, "f", 3);
    let expected = json!({"ReservedConcurrentExecutions": 3});
    assert_eq!((answer.status, answer.json()), (200, expected.clone()));
    assert_eq!(got(&server, "f").json(), expected);
    let whole = get(&format!("{}/2015-03-31/functions/f", server.endpoint())).json();
    assert_eq!(whole["Concurrency"], expected);
    let answer = delete(&server, "f");
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    assert_eq!(got(&server, "f").json(), json!({}));
    assert_eq!(delete(&server, "f").status, 204);
}

#[test]
fn what_aws_refuses_is_refused_in_its_words() {
    let (_project, server) = server(
        "functions:\n  declared: { code: ./waits.mjs, reservedConcurrency: 200 }\n  ahead: { code: ./waits.mjs, provisionedConcurrency: 100 }\n",
    );
    create(&server, "f", WAITS);
    create(&server, "g", WAITS);
    let arn = "arn:aws:lambda:us-east-1:000000000000:function";

    // 200 and 100 are set aside in the manifest, 100 stay for all.
    let too_much = (400, "InvalidParameterValueException", json!({"message": BELOW}));
    assert_eq!(refused(&put(&server, "f", 601)), too_much);
    assert_eq!(put(&server, "f", 600).status, 200);
    assert_eq!(
        put(&server, "f", 600).status,
        200,
        "its own reservation is not in its way"
    );
    assert_eq!(refused(&put(&server, "g", 1)), too_much);
    assert_eq!(put(&server, "g", 0).status, 200, "none is always there");
    assert_eq!(refused(&put(&server, "f", u32::MAX >> 1)), too_much);

    let missing = |qualifier: &str| {
        let message = format!("Function not found: {arn}:absent{qualifier}");
        (
            404,
            "ResourceNotFoundException",
            json!({"Type": "User", "Message": message}),
        )
    };
    assert_eq!(refused(&put(&server, "absent", 1)), missing(":$LATEST"));
    assert_eq!(refused(&got(&server, "absent")), missing(""));
    assert_eq!(refused(&delete(&server, "absent")), missing(""));
    let qualified = "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.";
    let qualified = (
        400,
        "InvalidParameterValueException",
        json!({"Type": "User", "message": qualified}),
    );
    for answer in [
        put(&server, &format!("{arn}:f:$LATEST"), 1),
        put(&server, "f:1", 1),
        got(&server, "f:live"),
        delete(&server, "f:1"),
    ] {
        assert_eq!(refused(&answer), qualified);
    }
    let path = "/2017-10-31/functions/f/concurrency";
    for (body, message) in [
        (
            json!({"ReservedConcurrentExecutions": -1}),
            "1 validation error detected: Value '-1' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 0",
        ),
        (
            json!({}),
            "1 validation error detected: Value null at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must not be null",
        ),
    ] {
        let answer = api(&server, "PUT", path, &body);
        assert_eq!(
            refused(&answer),
            (400, "ValidationException", json!({"message": message}))
        );
    }
    for answer in [put(&server, "declared", 1), delete(&server, "declared")] {
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (409, Some("ResourceConflictException"))
        );
    }
    assert_eq!(
        got(&server, "declared").json(),
        json!({"ReservedConcurrentExecutions": 200})
    );
}

/// Statuses of so many calls at once, each to the next of these functions, sorted; and the refusals.
fn at_once(server: &Server, functions: &[&str], calls: usize) -> (Vec<u16>, Vec<Answer>) {
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..calls)
            .map(|n| scope.spawn(move || invoke(server.endpoint(), functions[n % functions.len()], r#"{"ms":1500}"#)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    let refusals = answers.into_iter().filter(|answer| answer.status != 200);
    (statuses, refusals.collect())
}

#[test]
fn all_versions_together_run_no_more_than_is_reserved_and_others_are_not_in_their_way() {
    let (_project, server) = server("functions: {}\naccountConcurrency: 103\n");
    create(&server, "f", WAITS);
    assert_eq!(publish(&server, "f")["Version"], "1");
    assert_eq!(put(&server, "f", 3).status, 200);
    let (statuses, refusals) = at_once(&server, &["f", "f:1"], 6);
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
    for refusal in refusals {
        assert_eq!(refusal.header("retry-after"), Some("1"));
        assert_eq!(
            refused(&refusal),
            (
                429,
                "TooManyRequestsException",
                json!({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."})
            )
        );
    }
    assert_eq!(delete(&server, "f").status, 204);
    assert_eq!(at_once(&server, &["f", "f:1"], 6).0, [200; 6]);
}

#[test]
fn the_accounts_concurrency_is_the_manifests() {
    let (_project, server) =
        server("accountConcurrency: 2\nfunctions: { a: { code: ./waits.mjs }, b: { code: ./waits.mjs } }\n");
    let (statuses, refusals) = at_once(&server, &["a", "b"], 5);
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    for refusal in refusals {
        assert_eq!(refusal.json()["Reason"], "ConcurrentInvocationLimitExceeded");
    }
    assert_eq!(
        value_of(&invoke(server.endpoint(), "a", "{}")),
        json!(0),
        "what ran has ended"
    );
}

#[test]
fn a_function_that_is_off_refuses_callers_and_buries_events_and_comes_back() {
    let (_project, server) = server("functions: {}\n");
    create(&server, "f", WAITS);
    assert_eq!(put(&server, "f", 0).status, 200);
    let answer = invoke(server.endpoint(), "f", "{}");
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert_eq!(invoke_event(server.endpoint(), "f", "{}").status, 202);
    wait_for("a dead letter", || {
        let letters = get(&format!("{}/_hikigane/dlq", server.endpoint())).json();
        letters.to_string().contains("ZeroReservedConcurrency").then_some(())
    });
    assert_eq!(delete(&server, "f").status, 204);
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "{}")), json!(0));
}

#[test]
fn what_is_reserved_outlives_the_server_and_not_the_function() {
    let (project, server) = server("functions: {}\n");
    create(&server, "f", WAITS);
    assert_eq!(put(&server, "f", 7).status, 200);
    server.kill();
    let server = project.up();
    assert_eq!(got(&server, "f").json(), json!({"ReservedConcurrentExecutions": 7}));
    let gone = api(&server, "DELETE", "/2015-03-31/functions/f", &Value::Null);
    assert_eq!(gone.status, 204);
    create(&server, "f", WAITS);
    wait_until_ready(&server, "f");
    assert_eq!(got(&server, "f").json(), json!({}));
    create(&server, "g", WAITS);
    assert_eq!(put(&server, "g", 900).status, 200, "all of it is free again");
}

#[test]
fn boto3_sees_the_throttle_and_its_reason() {
    let script = r#"
import boto3, botocore, json, sys
client = boto3.client("lambda", config=botocore.config.Config(retries={"max_attempts": 0}))
put = client.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
assert put["ReservedConcurrentExecutions"] == 0, put
try:
    client.invoke(FunctionName="f")
    sys.exit("not throttled")
except client.exceptions.TooManyRequestsException as error:
    assert error.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded", error.response
    assert error.response["Error"]["Message"] == "Rate Exceeded.", error.response
client.delete_function_concurrency(FunctionName="f")
got = client.get_function_concurrency(FunctionName="f")
print(json.dumps("ReservedConcurrentExecutions" in got))
"#;
    let (project, server) = server("functions: {}\n");
    create(&server, "f", WAITS);
    if let Some(still_reserved) = boto3(&server, &project, ANYBODY, script) {
        assert_eq!(still_reserved, json!(false));
    }
}

//! How asynchronous events are handled: event-invoke configurations, and the functions that are told of the ends of invocations.

use serde_json::{Value, json};

use crate::support::{
    FUNCTIONS, Project, Server, answering, api, body_of, create_function, get, invoke_event, wait_for, wait_until_ready,
};

const PATH: &str = "/2019-09-25/functions";

fn arn(function: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{function}")
}

fn config(server: &Server, method: &str, function: &str, body: Value) -> crate::support::Answer {
    api(server, method, &format!("{PATH}/{function}/event-invoke-config"), &body)
}

/// `status code: message` of a refusal.
fn refused(server: &Server, method: &str, function: &str, body: Value) -> String {
    let answer = config(server, method, function, body);
    let said = answer.json();
    let message = said.get("message").or(said.get("Message")).and_then(Value::as_str);
    let code = answer.header("x-amzn-errortype").unwrap_or("no error");
    format!("{} {code}: {}", answer.status, message.unwrap_or_default())
}

/// The input of the last run of a function that ended.
fn record(server: &Server, function: &str) -> Value {
    let run = wait_for(&format!("a run of {function}"), || {
        let runs = server.runs(&format!("?function={function}"));
        runs.into_iter().next()
    });
    serde_json::from_str(server.run(&run["id"])["input"].as_str().unwrap()).unwrap()
}

fn project(manifest: &str) -> Project {
    Project::new(
        manifest,
        &[(
            "f.mjs",
            "export const handler = async (event) => { if (event.fail) throw new Error('no'); return { got: event }; };",
        )],
    )
}

const MANIFEST: &str = "
functions:
  work: { code: ./f.mjs, async: { retries: 0, onSuccess: 'function:good', onFailure: 'function:bad' } }
  good: { code: ./f.mjs }
  bad: { code: ./f.mjs }
";

#[test]
fn the_ends_of_invocations_are_told_as_aws_tells_them() {
    let server = project(MANIFEST);
    let server = server.up();
    let sent = invoke_event(server.endpoint(), "work", r#"{"n":1.0}"#);
    let mut told = record(&server, "good");
    let id = sent.header("x-amzn-requestid").unwrap();
    assert!(told["timestamp"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        told,
        json!({
            "version": "1.0",
            "timestamp": null,
            "requestContext": {"requestId": id, "functionArn": arn("work:$LATEST"), "condition": "Success", "approximateInvokeCount": 1},
            "requestPayload": {"n": 1.0},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"got": {"n": 1}},
        })
    );

    invoke_event(server.endpoint(), "work", r#"{"fail":true}"#);
    let told = record(&server, "bad");
    assert_eq!(told["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(told["requestPayload"], json!({"fail": true}));
    assert_eq!(
        told["responseContext"],
        json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"})
    );
    assert_eq!(told["responsePayload"]["errorMessage"], "no");
    let letters = get(&format!("{}/_hikigane/dlq", server.endpoint())).json();
    assert_eq!(
        letters["deadLetters"][0]["function"], "work",
        "the dead letter is kept, too"
    );
}

#[test]
fn functions_that_are_each_others_destination_stop() {
    let server = Project::new(
        "
functions:
  ping: { code: ./f.mjs, async: { onSuccess: 'function:pong' } }
  pong: { code: ./f.mjs, async: { onSuccess: 'function:ping' } }
",
        // A record has the event in it: one that answered with its event, too, would have records twice as large at each turn.
        &[("f.mjs", "export const handler = async () => 1;")],
    );
    let server = server.up();
    invoke_event(server.endpoint(), "ping", "1");
    let letters = wait_for("the circle to be broken", || {
        let letters = get(&format!("{}/_hikigane/dlq", server.endpoint())).json();
        let letters = letters["deadLetters"].as_array().unwrap().clone();
        (!letters.is_empty()).then_some(letters)
    });
    assert_eq!(letters[0]["condition"], "RecursiveLoop");
    assert_eq!(server.queued(), 0);
    let runs = |function: &str| server.runs(&format!("?function={function}&limit=100")).len();
    assert_eq!((runs("ping"), runs("pong")), (17, 16));
}

#[test]
fn a_destination_that_nobody_takes_is_named_in_the_log() {
    let server = project(
        "functions:\n  work: { code: ./f.mjs, async: { onSuccess: 'arn:aws:sqs:us-east-1:000000000000:q' } }\n",
    );
    let server = server.up();
    invoke_event(server.endpoint(), "work", "{}");
    let run = wait_for("the run", || server.runs("?function=work").into_iter().next());
    let log = server.run(&run["id"])["log"].as_str().unwrap().to_owned();
    assert!(
        log.contains("WARN\t[hikigane] the destination arn:aws:sqs:us-east-1:000000000000:q was not told"),
        "{log}"
    );
}

#[test]
fn configurations_are_kept_by_qualifier_and_shown_as_on_aws() {
    let project = project("functions:\n  declared: { code: ./f.mjs, async: { retries: 1 } }\n");
    let server = project.up();
    for name in ["f", "other"] {
        body_of(&create_function(&server, name, &answering("event"), json!({})), 201);
        wait_until_ready(&server, name);
    }
    body_of(
        &api(&server, "POST", &format!("{FUNCTIONS}/f/versions"), &json!({})),
        201,
    );
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    body_of(&api(&server, "POST", &format!("{FUNCTIONS}/f/aliases"), &alias), 201);

    let empty = json!({"OnSuccess": {}, "OnFailure": {}});
    let mut put = body_of(&config(&server, "PUT", "f", json!({"MaximumRetryAttempts": 0})), 200);
    assert!(put["LastModified"].take().is_f64());
    assert_eq!(
        put,
        json!({"LastModified": null, "FunctionArn": arn("f:$LATEST"), "MaximumRetryAttempts": 0, "DestinationConfig": empty})
    );
    let target = json!({"OnFailure": {"Destination": arn("other")}});
    let shown = body_of(
        &config(
            &server,
            "PUT",
            "f:live",
            json!({"DestinationConfig": target, "MaximumEventAgeInSeconds": 60}),
        ),
        200,
    );
    assert_eq!(shown["FunctionArn"], arn("f:live"));
    assert_eq!(
        shown["DestinationConfig"],
        json!({"OnSuccess": {}, "OnFailure": {"Destination": arn("other")}})
    );
    assert_eq!(shown.get("MaximumRetryAttempts"), None);
    let updated = body_of(
        &config(&server, "POST", "f:live", json!({"MaximumRetryAttempts": 1})),
        200,
    );
    assert_eq!(
        (&updated["MaximumRetryAttempts"], &updated["MaximumEventAgeInSeconds"]),
        (&json!(1), &json!(60))
    );
    assert_eq!(
        updated["DestinationConfig"], shown["DestinationConfig"],
        "an update leaves what it does not name"
    );
    let put = body_of(
        &config(&server, "PUT", "f:live", json!({"MaximumRetryAttempts": 1})),
        200,
    );
    assert_eq!(put["DestinationConfig"], empty, "a put replaces all");

    let list = api(
        &server,
        "GET",
        &format!("{PATH}/f/event-invoke-config/list"),
        &Value::Null,
    )
    .json();
    let arns: Vec<_> = list["FunctionEventInvokeConfigs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|config| &config["FunctionArn"])
        .collect();
    assert_eq!(arns, [&json!(arn("f:$LATEST")), &json!(arn("f:live"))]);
    let declared = body_of(&config(&server, "GET", "declared", Value::Null), 200);
    assert_eq!(declared["MaximumRetryAttempts"], 1);
    assert!(refused(&server, "PUT", "declared", json!({"MaximumRetryAttempts": 1})).starts_with("409 "));

    assert_eq!(config(&server, "DELETE", "f:live", Value::Null).status, 204);
    assert_eq!(
        refused(&server, "GET", "f:live", Value::Null),
        format!(
            "404 ResourceNotFoundException: The function {} doesn't have an EventInvokeConfig",
            arn("f:live")
        )
    );
    for (function, body, expect) in [
        ("f", json!({}), "You must specify at least one of error handling or destination setting.".to_owned()),
        ("f", json!({"DestinationConfig": {"OnSuccess": {"Destination": arn("f")}}}), "You can't specify the function as a destination for itself.".to_owned()),
        ("f", json!({"DestinationConfig": {"OnSuccess": {"Destination": arn("doesnotexist")}}}), format!("The destination ARN {} is invalid.", arn("doesnotexist"))),
        (
            "f",
            json!({"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:iam:us-east-1:000000000000:function:f"}}}),
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:iam:us-east-1:000000000000:function:f), onFailure=null) is invalid.".to_owned(),
        ),
    ] {
        assert_eq!(refused(&server, "PUT", function, body), format!("400 InvalidParameterValueException: {expect}"));
    }
    assert_eq!(
        refused(&server, "GET", "nobody", Value::Null),
        format!(
            "404 ResourceNotFoundException: The function {} doesn't have an EventInvokeConfig",
            arn("nobody:$LATEST")
        )
    );
    assert!(refused(&server, "PUT", "f", json!({"MaximumRetryAttempts": 3})).starts_with("400 ValidationException"));
}

#[test]
fn the_configuration_of_the_qualifier_that_was_invoked_counts() {
    let project = project("functions: {}\n");
    let server = project.up();
    body_of(
        &create_function(&server, "f", &answering("event.no.such"), json!({})),
        201,
    );
    body_of(&create_function(&server, "told", &answering("event"), json!({})), 201);
    wait_until_ready(&server, "f");
    wait_until_ready(&server, "told");
    body_of(
        &api(&server, "POST", &format!("{FUNCTIONS}/f/versions"), &json!({})),
        201,
    );
    let settings = json!({"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": arn("told")}}});
    body_of(&config(&server, "PUT", "f:1", settings), 200);
    invoke_event(server.endpoint(), "f", "{}");
    invoke_event(server.endpoint(), "f:1", "{}");
    let told = record(&server, "told");
    assert_eq!(told["requestContext"]["functionArn"], arn("f:1"));
    assert_eq!(told["responseContext"]["executedVersion"], "1");
    assert_eq!(server.queued(), 1, "the other waits for its retry");
}

//! Provisioned concurrency: environments that are initialised before anybody calls.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{
    Answer, Project, Server, api, aws_lambda, create, empty_server, get, invoke, packed, publish, value_of, wait_for,
    wait_until_ready,
};

/// Says how its environment came to be, and which one it is; waits or ends when told to.
const TELLS: &str = r#"
    const environment = crypto.randomUUID();
    console.log("initialised", environment);
    export const handler = async ({ ms = 0, exit }, context) => {
      if (exit) process.exit(1);
      await new Promise((done) => setTimeout(done, ms));
      return { environment, type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, version: context.functionVersion };
    };
"#;
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// A server with the function `f` and its version 1.
fn published() -> (Project, Server) {
    let (project, server) = empty_server();
    create(&server, "f", TELLS);
    assert_eq!(publish(&server, "f")["Version"], "1");
    (project, server)
}

/// New code, and a version of it.
fn publish_again(server: &Server, code: &str) -> u64 {
    let body = json!({"ZipFile": packed(code), "Publish": true});
    let answer = api(server, "PUT", "/2015-03-31/functions/f/code", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Version"].as_str().unwrap().parse().unwrap()
}

fn path(function: &str, qualifier: &str) -> String {
    format!("/2019-09-30/functions/{function}/provisioned-concurrency?Qualifier={qualifier}")
}

fn put(server: &Server, qualifier: &str, many: u32) -> Answer {
    let body = json!({"ProvisionedConcurrentExecutions": many});
    api(server, "PUT", &path("f", qualifier), &body)
}

fn got(server: &Server, qualifier: &str) -> Answer {
    get(&format!("{}{}", server.endpoint(), path("f", qualifier)))
}

fn delete(server: &Server, qualifier: &str) -> Answer {
    api(server, "DELETE", &path("f", qualifier), &Value::Null)
}

fn reserve(server: &Server, reserved: u32) -> Answer {
    let body = json!({"ReservedConcurrentExecutions": reserved});
    api(server, "PUT", "/2017-10-31/functions/f/concurrency", &body)
}

/// Waits for a status; returns the whole answer without its time, which is looked at here.
#[track_caller]
fn once(server: &Server, qualifier: &str, status: &str) -> Value {
    let mut answer = wait_for(status, || {
        let answer = got(server, qualifier).json();
        (answer["Status"] == status).then_some(answer)
    });
    let modified = answer.as_object_mut().unwrap().remove("LastModified").unwrap();
    let modified = modified.as_str().unwrap();
    assert!(modified.len() == 24 && modified.ends_with("+0000"), "{modified}");
    answer
}

fn status(requested: u32, ready: u32, status: &str) -> Value {
    json!({
        "RequestedProvisionedConcurrentExecutions": requested, "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready, "Status": status,
    })
}

/// How many of so many calls at once each kind of environment answered.
fn at_once(server: &Server, function: &str, calls: usize) -> BTreeMap<String, usize> {
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..calls)
            .map(|_| scope.spawn(move || invoke(server.endpoint(), function, r#"{"ms":1000}"#)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let mut kinds = BTreeMap::new();
    for answer in answers {
        let kind = match answer.status {
            200 => answer.json()["type"].as_str().unwrap().to_owned(),
            429 => answer.json()["Reason"].as_str().unwrap().to_owned(),
            _ => answer.text(),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn kinds(kinds: &[(&str, usize)]) -> BTreeMap<String, usize> {
    kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

/// Status, error code and body of an error.
fn refused(answer: &Answer) -> (u16, &str, Value) {
    let code = answer.header("x-amzn-errortype").unwrap_or_default();
    (answer.status, code, answer.json())
}

#[test]
fn environments_are_ready_before_the_first_call_and_serve_before_others() {
    let (_project, server) = published();
    let answer = put(&server, "1", 2);
    let mut told = answer.json();
    told.as_object_mut().unwrap().remove("LastModified").unwrap();
    assert_eq!((answer.status, told), (202, status(2, 0, "IN_PROGRESS")));
    assert_eq!(once(&server, "1", "READY"), status(2, 2, "READY"));

    let answer = value_of(&invoke(server.endpoint(), "f:1", "{}"));
    assert_eq!(
        (&answer["type"], &answer["version"]),
        (&json!("provisioned-concurrency"), &json!("1"))
    );
    let run = wait_for("the run", || server.runs("?function=f").into_iter().next());
    assert_eq!(run["initMs"], Value::Null, "nobody waited for an initialisation: {run}");
    let log = server.run(&run["id"])["log"].as_str().unwrap().to_owned();
    assert!(
        log.contains("initialised") && !log.contains("Init Duration"),
        "what was logged ahead comes with the first invocation: {log}"
    );
    assert_eq!(
        at_once(&server, "f:1", 3),
        kinds(&[("provisioned-concurrency", 2), ("on-demand", 1)])
    );
    assert_eq!(at_once(&server, "f", 1), kinds(&[("on-demand", 1)]), "another version");
    assert_eq!(once(&server, "1", "READY"), status(2, 2, "READY"));

    let answer = delete(&server, "1");
    assert_eq!((answer.status, answer.text()), (204, String::new()));
    assert_eq!(
        refused(&got(&server, "1")),
        (
            404,
            "ProvisionedConcurrencyConfigNotFoundException",
            json!({"Type": "User", "message": "No Provisioned Concurrency Config found for this function"})
        )
    );
    assert_eq!(at_once(&server, "f:1", 2), kinds(&[("on-demand", 2)]));
    assert_eq!(delete(&server, "1").status, 204, "it is gone already");
}

#[test]
fn nothing_is_left_to_latest_when_all_that_is_reserved_is_provisioned() {
    let (_project, server) = published();
    assert_eq!(reserve(&server, 1).status, 200);
    assert_eq!(invoke(server.endpoint(), "f", "{}").status, 200);
    assert_eq!(put(&server, "1", 1).status, 202);
    once(&server, "1", "READY");
    let throttled = (
        429,
        "TooManyRequestsException",
        json!({"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded."}),
    );
    assert_eq!(refused(&invoke(server.endpoint(), "f", "{}")), throttled);
    assert_eq!(value_of(&invoke(server.endpoint(), "f:1", "{}"))["version"], "1");
    assert_eq!(refused(&invoke(server.endpoint(), "f", "{}")), throttled);
    assert_eq!(
        at_once(&server, "f:1", 2),
        kinds(&[
            ("provisioned-concurrency", 1),
            ("ReservedFunctionConcurrentInvocationLimitExceeded", 1)
        ])
    );
    assert_eq!(reserve(&server, 2).status, 200);
    assert_eq!(
        at_once(&server, "f:1", 3),
        kinds(&[
            ("provisioned-concurrency", 1),
            ("on-demand", 1),
            ("ReservedFunctionConcurrentInvocationLimitExceeded", 1)
        ]),
        "beyond it, what is reserved is left"
    );
}

#[test]
fn what_aws_refuses_is_refused_in_its_words() {
    let (_project, server) = published();
    let invalid = |message: &str, typed: bool| {
        let mut body = json!({"message": message});
        if typed {
            body = json!({"Type": "User", "message": message});
        }
        (400, "InvalidParameterValueException", body)
    };
    let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
    assert_eq!(refused(&put(&server, "$LATEST", 1)), invalid(unpublished, true));
    let unpublished = "The function resource provided must be an alias or a published version.";
    assert_eq!(refused(&got(&server, "$LATEST")), invalid(unpublished, true));
    assert_eq!(refused(&delete(&server, "$LATEST")), invalid(unpublished, true));
    let missing = |message: String| {
        (
            404,
            "ResourceNotFoundException",
            json!({"Type": "User", "Message": message}),
        )
    };
    for ask in [put(&server, "9", 1), got(&server, "9"), delete(&server, "9")] {
        assert_eq!(refused(&ask), missing(format!("Function not found: {ARN}:9")));
    }
    for ask in [put(&server, "live", 1), got(&server, "live")] {
        assert_eq!(refused(&ask), missing(format!("Cannot find alias arn: {ARN}:live")));
    }
    assert_eq!(
        refused(&put(&server, "1", 0)),
        (
            400,
            "ValidationException",
            json!({"message": "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1"})
        )
    );
    assert_eq!(
        refused(&put(&server, "1", 1001)),
        invalid(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].",
            false
        )
    );
    assert_eq!(
        refused(&put(&server, "1", 901)),
        invalid(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
            false
        )
    );
    assert_eq!(put(&server, "1", 2).status, 202);
    assert_eq!(
        refused(&reserve(&server, 1)),
        invalid(
            " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
            false
        )
    );
    assert_eq!(reserve(&server, 2).status, 200);
    let greater = invalid(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        true,
    );
    assert_eq!(publish_again(&server, &format!("{TELLS}//")), 2);
    assert_eq!(refused(&put(&server, "2", 1)), greater);
    assert_eq!(refused(&put(&server, "1", 3)), greater);
    assert_eq!(put(&server, "1", 1).status, 202, "less is always there");
    let listed = get(&format!(
        "{}/2019-09-30/functions/absent/provisioned-concurrency?List=ALL",
        server.endpoint()
    ));
    assert_eq!(listed.status, 404);
}

#[test]
fn a_function_that_cannot_be_initialised_is_told_and_tried_again() {
    let project = Project::new("defaults: { allow: { read: [./signs] } }\nfunctions: {}\n", &[]);
    project.mkdir("signs");
    let server = project.up();
    let sign = project.join("signs/go");
    let code = format!(
        "import fs from 'node:fs'; if (!fs.existsSync({:?})) throw new Error('not yet');\n{TELLS}",
        sign.to_str().unwrap()
    );
    create(&server, "f", &code);
    assert_eq!(publish(&server, "f")["Version"], "1");
    assert_eq!(put(&server, "1", 1).status, 202);
    let mut failed = status(1, 0, "FAILED");
    failed["StatusReason"] = json!("FUNCTION_ERROR_INIT_FAILURE");
    assert_eq!(once(&server, "1", "FAILED"), failed);
    project.write("signs/go", "");
    assert_eq!(once(&server, "1", "READY"), status(1, 1, "READY"));
    assert_eq!(at_once(&server, "f:1", 1), kinds(&[("provisioned-concurrency", 1)]));
}

#[test]
fn an_environment_that_dies_is_replaced() {
    let (_project, server) = published();
    assert_eq!(put(&server, "1", 1).status, 202);
    once(&server, "1", "READY");
    let first = value_of(&invoke(server.endpoint(), "f:1", "{}"));
    let answer = invoke(server.endpoint(), "f:1", r#"{"exit":true}"#);
    assert_eq!(answer.json()["errorType"], "Runtime.ExitError");
    once(&server, "1", "READY");
    let second = value_of(&invoke(server.endpoint(), "f:1", "{}"));
    assert_eq!(second["type"], "provisioned-concurrency");
    assert_ne!(first["environment"], second["environment"]);
}

#[test]
fn what_is_provisioned_outlives_the_server_and_not_its_version() {
    let (project, server) = published();
    assert_eq!(publish_again(&server, &format!("{TELLS}//")), 2);
    assert_eq!(put(&server, "1", 2).status, 202);
    assert_eq!(put(&server, "2", 1).status, 202);
    server.kill();
    let server = project.up();
    assert_eq!(once(&server, "1", "READY"), status(2, 2, "READY"));
    once(&server, "2", "READY");
    assert_eq!(at_once(&server, "f:1", 2), kinds(&[("provisioned-concurrency", 2)]));

    let list = |query: &str| {
        let listed = get(&format!(
            "{}/2019-09-30/functions/f/provisioned-concurrency?List=ALL{query}",
            server.endpoint()
        ));
        listed.json()
    };
    let listed = list("");
    let configs = listed["ProvisionedConcurrencyConfigs"].as_array().unwrap();
    let shown: Vec<_> = configs
        .iter()
        .map(|config| {
            (
                config["FunctionArn"].as_str().unwrap().to_owned(),
                config["RequestedProvisionedConcurrentExecutions"].clone(),
                config["Status"].clone(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (format!("{ARN}:1"), json!(2), json!("READY")),
            (format!("{ARN}:2"), json!(1), json!("READY"))
        ]
    );
    let page = list("&MaxItems=1");
    assert_eq!(page["ProvisionedConcurrencyConfigs"], json!([configs[0]]));
    let rest = list(&format!("&MaxItems=1&Marker={}", page["NextMarker"].as_str().unwrap()));
    assert_eq!(rest, json!({"ProvisionedConcurrencyConfigs": [configs[1]]}));

    let path = "/2015-03-31/functions/f?Qualifier=1";
    assert_eq!(api(&server, "DELETE", path, &Value::Null).status, 204);
    assert_eq!(list("")["ProvisionedConcurrencyConfigs"], json!([configs[1]]));
    let path = "/2015-03-31/functions/f";
    assert_eq!(api(&server, "DELETE", path, &Value::Null).status, 204);
    create(&server, "f", TELLS);
    assert_eq!(publish(&server, "f")["Version"], "1");
    assert_eq!(list(""), json!({"ProvisionedConcurrencyConfigs": []}));
    assert_eq!(reserve(&server, 900).status, 200, "nothing is set aside any more");
}

#[test]
fn what_is_provisioned_for_an_alias_moves_with_it() {
    let (_project, server) = published();
    assert_eq!(publish_again(&server, &format!("{TELLS}//")), 2);
    let aliases = "/2015-03-31/functions/f/aliases";
    let live = json!({"Name": "live", "FunctionVersion": "1"});
    let answer = api(&server, "POST", aliases, &live);
    assert_eq!(answer.status, 201, "{}", answer.text());

    assert_eq!(put(&server, "live", 1).status, 202);
    assert_eq!(once(&server, "live", "READY"), status(1, 1, "READY"));
    assert_eq!(at_once(&server, "f:live", 1), kinds(&[("provisioned-concurrency", 1)]));
    assert_eq!(at_once(&server, "f:1", 1), kinds(&[("provisioned-concurrency", 1)]));
    let conflict = |message: &str| {
        let body = json!({"Type": "User", "message": message});
        (409, "ResourceConflictException", body)
    };
    let pointed = conflict("Version is pointed by a Provisioned Concurrency alias");
    assert_eq!(refused(&put(&server, "1", 1)), pointed);

    let path = format!("{aliases}/live");
    let moved = api(&server, "PUT", &path, &json!({"FunctionVersion": "2"}));
    assert_eq!(moved.status, 200, "{}", moved.text());
    assert_eq!(once(&server, "live", "READY"), status(1, 1, "READY"));
    assert_eq!(at_once(&server, "f:live", 1), kinds(&[("provisioned-concurrency", 1)]));
    assert_eq!(at_once(&server, "f:2", 1), kinds(&[("provisioned-concurrency", 1)]));
    assert_eq!(at_once(&server, "f:1", 1), kinds(&[("on-demand", 1)]));
    for version in ["1", "2"] {
        let code = "ProvisionedConcurrencyConfigNotFoundException";
        assert_eq!(refused(&got(&server, version)).1, code, "it is the alias's");
    }

    assert_eq!(delete(&server, "live").status, 204);
    assert_eq!(put(&server, "2", 1).status, 202);
    let twice =
        conflict("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version");
    assert_eq!(refused(&put(&server, "live", 1)), twice);
    assert_eq!(delete(&server, "2").status, 204);
    assert_eq!(put(&server, "live", 1).status, 202);
    assert_eq!(api(&server, "DELETE", &path, &Value::Null).status, 204);
    let list = format!(
        "{}/2019-09-30/functions/f/provisioned-concurrency?List=ALL",
        server.endpoint()
    );
    assert_eq!(get(&list).json(), json!({"ProvisionedConcurrencyConfigs": []}));
}

#[test]
fn a_function_of_the_manifest_has_it_for_its_unpublished_version() {
    let manifest = "functions:\n  f: { code: ./tells.mjs, provisionedConcurrency: 2, reservedConcurrency: 3 }\n";
    let project = Project::new(manifest, &[("tells.mjs", TELLS)]);
    let server = project.up();
    let url = format!(
        "{}/2019-09-30/functions/f/provisioned-concurrency?List=ALL",
        server.endpoint()
    );
    let config = wait_for("READY", || {
        let listed = get(&url).json();
        let config = listed["ProvisionedConcurrencyConfigs"][0].clone();
        (config["Status"] == "READY").then_some(config)
    });
    assert_eq!(
        (
            &config["FunctionArn"],
            &config["AvailableProvisionedConcurrentExecutions"]
        ),
        (&json!(format!("{ARN}:$LATEST")), &json!(2))
    );
    assert_eq!(
        at_once(&server, "f", 4),
        kinds(&[
            ("provisioned-concurrency", 2),
            ("on-demand", 1),
            ("ReservedFunctionConcurrentInvocationLimitExceeded", 1)
        ])
    );
}

#[test]
fn the_aws_command_line_can_be_used() {
    let (project, server) = published();
    let aws = |operation: &str, arguments: &[&str]| {
        let (good, said) = aws_lambda(
            &server,
            &project,
            &[&[operation, "--function-name", "f"], arguments].concat(),
        )?;
        assert!(good, "{said}");
        Some(said)
    };
    let many = ["--qualifier", "1", "--provisioned-concurrent-executions", "1"];
    let Some(answer) = aws("put-provisioned-concurrency-config", &many) else {
        return;
    };
    assert_eq!(answer["Status"], "IN_PROGRESS");
    once(&server, "1", "READY");
    let answer = aws("get-provisioned-concurrency-config", &many[..2]).unwrap();
    assert_eq!(answer["AvailableProvisionedConcurrentExecutions"], 1);
    let answer = aws("list-provisioned-concurrency-configs", &[]).unwrap();
    assert_eq!(answer["ProvisionedConcurrencyConfigs"].as_array().unwrap().len(), 1);
    aws("delete-provisioned-concurrency-config", &many[..2]).unwrap();
    wait_until_ready(&server, "f");
    assert_eq!(got(&server, "1").status, 404);
}

//! Lambda's API around a function: how it is invoked, named and described, and what its payloads may be.

use serde_json::{Value, json};

use crate::modules::ESM;
use crate::support::{
    Answer, aws, call, error_of, get, invocations, invoke, invoke_event, post, request, serve, value_of, wait_for,
};

#[test]
fn invoke_has_lambdas_three_types() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let typed = |kind| {
        post(
            &invocations(&server, "f"),
            &[("x-amz-invocation-type", kind)],
            b"{\"n\":1}",
        )
    };

    let answer = typed("RequestResponse");
    assert_eq!(
        (answer.status, answer.header("x-amz-executed-version")),
        (200, Some("$LATEST"))
    );
    assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));

    let answer = typed("Event");
    assert_eq!(
        (
            answer.status,
            answer.text().as_str(),
            answer.header("x-amz-executed-version")
        ),
        (202, "", None)
    );
    let id = json!(answer.header("x-amzn-requestid").unwrap());
    let run = wait_for("the run of the event", || {
        server
            .runs("?function=f")
            .into_iter()
            .find(|run| run["requestId"] == id)
    });
    assert_eq!((&run["status"], &run["attempt"]), (&json!("succeeded"), &json!(1)));

    let answer = typed("DryRun");
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    let answer = typed("Wrong");
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("ValidationException"))
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("1 validation error detected: Value 'Wrong' at 'invocationType' failed"),
        "{message}"
    );
    assert_eq!(server.runs("?function=f").len(), 2, "a dry run runs nothing");
}

#[test]
fn a_function_is_found_by_every_form_of_its_name() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let arn = get(&format!("{}/2015-03-31/functions/f", server.endpoint())).json()["Configuration"]["FunctionArn"]
        .as_str()
        .unwrap()
        .to_owned();
    let account = arn.split(':').nth(4).unwrap().to_owned();
    for name in [
        "f".to_owned(),
        "f:$LATEST".to_owned(),
        "f?Qualifier=$LATEST".to_owned(),
        arn.clone(),
        format!("{arn}:$LATEST"),
        arn.replace(':', "%3A"),
        format!("{account}:function:f"),
        format!("{account}:function:f:$LATEST"),
    ] {
        let (path, query) = name.split_once('?').unwrap_or((&name, ""));
        let answer = post(&format!("{}?{query}", invocations(&server, path)), &[], b"1");
        assert_eq!(value_of(&answer), json!({"kind": "undefined", "event": 1}), "{name}");
    }

    let other_region = arn.replace("us-east-1", "eu-central-1");
    assert_ne!(other_region, arn);
    for (name, status, code, message) in [
        (
            "absent".to_owned(),
            404,
            "ResourceNotFoundException",
            format!(
                "Function not found: {}:$LATEST",
                arn.replace(":f", ":absent").replace(":absentunction", ":function")
            ),
        ),
        (
            "f:7".to_owned(),
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}:7"),
        ),
        (
            "f:prod".to_owned(),
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}:prod"),
        ),
        (
            other_region,
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-central-1' are not reachable in this region ('us-east-1')".to_owned(),
        ),
        (
            "f:$LATEST?Qualifier=7".to_owned(),
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.".to_owned(),
        ),
    ] {
        let (path, query) = name.split_once('?').unwrap_or((&name, ""));
        let answer = post(&format!("{}?{query}", invocations(&server, path)), &[], b"1");
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(code)),
            "{name}: {}",
            answer.text()
        );
        let body = answer.json();
        let text = if code.starts_with("Resource") {
            &body["Message"]
        } else {
            &body["message"]
        };
        assert_eq!(
            (text.as_str(), &body["Type"]),
            (Some(message.as_str()), &json!("User")),
            "{name}"
        );
        assert!(answer.header("x-amzn-requestid").is_some(), "{name}");
    }
    let answer = post(&invocations(&server, "bad%20name"), &[], b"1");
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("ValidationException"))
    );
}

#[test]
fn functions_are_listed_and_described_in_lambdas_shapes() {
    let files: &[(&str, &str)] = &[("index.mjs", ESM)];
    let (_project, server) = serve(&[
        (
            "b",
            "handler: index.handler, description: Second, memory: 512MB, timeout: 1m, env: { AB: x }",
            files,
        ),
        (
            "a",
            "handler: index.handler, reservedConcurrency: 3, runtime: nodejs24.x, logFormat: json, logLevel: warn",
            files,
        ),
    ]);
    let base = format!("{}/2015-03-31/functions", server.endpoint());
    let list = get(&base).json();
    let names: Vec<&Value> = list["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["FunctionName"])
        .collect();
    assert_eq!((names, list.get("NextMarker")), (vec![&json!("a"), &json!("b")], None));
    let b = &get(&format!("{base}/b")).json();
    let configuration = &b["Configuration"];
    for (name, value) in [
        ("FunctionName", json!("b")),
        ("Runtime", json!("nodejs22.x")),
        ("Handler", json!("index.handler")),
        ("Description", json!("Second")),
        ("Timeout", json!(60)),
        ("MemorySize", json!(512)),
        ("Version", json!("$LATEST")),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("PackageType", json!("Zip")),
        ("CodeSize", json!(ESM.len())),
        ("Environment", json!({"Variables": {"AB": "x"}})),
        ("EphemeralStorage", json!({"Size": 512})),
        (
            "LoggingConfig",
            json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/b"}),
        ),
    ] {
        assert_eq!(configuration[name], value, "{name}");
    }
    assert_eq!(configuration["CodeSha256"].as_str().map(str::len), Some(44));
    assert!(b["Code"]["Location"].is_string(), "{b}");
    assert_eq!(b.get("Concurrency"), None);
    let a = get(&format!("{base}/a")).json();
    assert_eq!(a["Concurrency"]["ReservedConcurrentExecutions"], 3);
    assert_eq!(
        a["Configuration"]["LoggingConfig"],
        json!({"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO", "LogGroup": "/aws/lambda/a"})
    );
    assert_eq!(&get(&format!("{base}/b/configuration")).json(), configuration);
    let latest = get(&format!("{base}/b?Qualifier=$LATEST")).json();
    let arn = configuration["FunctionArn"].as_str().unwrap();
    assert_eq!(latest["Configuration"]["FunctionArn"], format!("{arn}:$LATEST"));

    let page = get(&format!("{base}?MaxItems=1")).json();
    assert_eq!(
        (
            page["Functions"].as_array().unwrap().len(),
            &page["Functions"][0]["FunctionName"]
        ),
        (1, &json!("a"))
    );
    let rest = get(&format!(
        "{base}?MaxItems=1&Marker={}",
        page["NextMarker"].as_str().unwrap()
    ))
    .json();
    assert_eq!(
        (&rest["Functions"][0]["FunctionName"], rest.get("NextMarker")),
        (&json!("b"), None)
    );
    assert_eq!(get(&format!("{base}?Marker=%25%25")).status, 400);
    let answer = get(&format!("{base}/absent"));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (404, Some("ResourceNotFoundException"))
    );
    assert!(
        answer.json()["Message"].as_str().unwrap().ends_with(":function:absent"),
        "{}",
        answer.text()
    );
    let answer = request("DELETE", &format!("{base}/b"), &[], &[]);
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (409, Some("ResourceConflictException")),
        "what the manifest declares is changed there: {}",
        answer.text()
    );
}

#[test]
fn the_aws_command_line_can_be_used() {
    let (project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let lambda = |arguments: &[&str]| aws(&server, &project, ("test", "test"), &[&["lambda"], arguments].concat());
    let Some((good, list)) = lambda(&["list-functions"]) else {
        return;
    };
    assert!(good, "{list}");
    assert_eq!(list["Functions"][0]["FunctionName"], "f");
    let (good, function) = lambda(&["get-function", "--function-name", "f"]).unwrap();
    assert_eq!(
        (good, &function["Configuration"]["Handler"]),
        (true, &json!("index.handler")),
        "{function}"
    );
    let payload = ["invoke", "--function-name", "f", "--payload", "{\"n\":1}", "out.json"];
    let (good, answer) = lambda(&payload).unwrap();
    assert_eq!(
        (good, &answer["StatusCode"], &answer["ExecutedVersion"]),
        (true, &json!(200), &json!("$LATEST")),
        "{answer}"
    );
    let out = std::fs::read_to_string(project.join("out.json")).unwrap();
    assert_eq!(out, r#"{"kind":"undefined","event":{"n":1}}"#);
    let (good, answer) = lambda(&["get-function", "--function-name", "absent"]).unwrap();
    assert!(
        !good && answer.as_str().unwrap().contains("(ResourceNotFoundException)"),
        "{answer}"
    );
}

#[test]
fn answers_are_never_mixed_up_between_callers() {
    let code = "export const handler = async (event) => { await new Promise((done) => setTimeout(done, event.n % 7)); return event.n; };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    let wrong: Vec<Answer> = std::thread::scope(|scope| {
        let server = &server;
        let callers: Vec<_> = (0..6)
            .map(|caller| {
                scope.spawn(move || {
                    let calls = (0..30).map(|n| caller * 1000 + n);
                    calls
                        .map(|n| (n, invoke(server.endpoint(), "f", &json!({ "n": n }).to_string())))
                        .filter(|(n, answer)| answer.text() != n.to_string())
                        .map(|(_, answer)| answer)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn payloads_have_lambdas_limits() {
    let code = "export const handler = async (event) => typeof event === 'number' ? 'x'.repeat(event) : event.length;";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, memory: 512MB, timeout: 30s",
        &[("index.mjs", code)],
    )]);
    let text_of = |bytes: usize| format!("\"{}\"", "y".repeat(bytes - 2));

    let most = 6 * 1024 * 1024;
    assert_eq!(call(&server, "f", &text_of(most)), json!(most - 2));
    let answer = invoke(server.endpoint(), "f", &text_of(most + 200));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (413, Some("RequestTooLargeException"))
    );

    let most = 1024 * 1024;
    assert_eq!(invoke_event(server.endpoint(), "f", &text_of(most)).status, 202);
    let answer = invoke_event(server.endpoint(), "f", &text_of(most + 1));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (413, Some("RequestTooLargeException"))
    );

    let most = 6_291_556;
    let answer = invoke(server.endpoint(), "f", &(most - 2).to_string());
    assert_eq!((answer.body.len(), answer.header("x-amz-function-error")), (most, None));
    let answer = invoke(server.endpoint(), "f", &(most - 1).to_string());
    let expected = json!({
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    });
    assert_eq!(
        (error_of(&answer).0.as_str(), answer.json()),
        ("Function.ResponseSizeTooLarge", expected)
    );
    assert_eq!(call(&server, "f", "10"), "xxxxxxxxxx");
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    for body in ["{", "nonsense", "{'a':1}", "1 2", "\u{feff}{}", "\"\u{1}\""] {
        let answer = invoke(server.endpoint(), "f", body);
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("InvalidRequestContentException")),
            "{body}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("Could not parse request body into json: Could not parse payload into json: "),
            "{message}"
        );
    }
    let answer = post(&invocations(&server, "f"), &[], b"\"\xff\"");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(
        call(&server, "f", ""),
        json!({"kind": "undefined", "event": {}}),
        "no body is an empty object"
    );
}

//! Function URLs: what they are configured with, and how they answer.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{
    Answer, FUNCTIONS, Project, Server, answering, api, body_of, create_function, get, request, wait_for,
    wait_until_ready,
};

const PATH: &str = "/2021-10-31/functions";
const ECHO: &str = "export const handler = async (event) => event;";

/// A request to a URL as the server shows it: to the machine itself, under the URL's name.
fn send(server: &Server, url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let headers: Vec<_> = [("host", host)].iter().chain(headers).copied().collect();
    request(method, &format!("{}{path}", server.endpoint()), &headers, body)
}

/// The URL of a manifest's function, as `up` shows it.
fn declared(server: &Server, function: &str) -> String {
    let sources = server.ready["sources"].as_array().unwrap();
    let mut urls = sources.iter().filter(|source| source["label"] == "url");
    let line = urls.find_map(|source| {
        source["text"]
            .as_str()
            .unwrap()
            .strip_suffix(&format!(" -> function {function}"))
    });
    line.unwrap().to_owned()
}

fn up(functions: &[(&str, &str, &str)]) -> (Project, Server) {
    let mut manifest = "functions:\n".to_owned();
    let files: Vec<_> = functions
        .iter()
        .map(|(name, _, code)| (format!("{name}.mjs"), *code))
        .collect();
    for (name, url, _) in functions {
        manifest.push_str(&format!("  {name}: {{ code: ./{name}.mjs, url: {url} }}\n"));
    }
    let files: Vec<_> = files.iter().map(|(name, code)| (name.as_str(), *code)).collect();
    let project = Project::new(&manifest, &files);
    let server = project.up();
    (project, server)
}

#[test]
fn a_request_becomes_the_event_that_aws_makes() {
    let (_project, server) = up(&[("echo", "{ auth: none }", ECHO)]);
    let url = declared(&server, "echo");
    let headers = [
        ("content-type", "application/json"),
        ("ExTrA-HeAdErs", "With WeiRd CapS"),
        ("cookie", "a=1; b=2"),
    ];
    let answer = send(
        &server,
        &url,
        "POST",
        "/pa2%25th/1?q=query&multiQuery=foo&multiQuery=%2Fbar",
        &headers,
        br#"{"foo":"bar"}"#,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = answer.json();
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let (name, port) = host.split_once(':').unwrap();
    let id = name.split('.').next().unwrap();
    assert_eq!(id.len(), 32);
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["routeKey"], "$default");
    assert_eq!(event["rawPath"], "/pa2%25th/1");
    assert_eq!(event["rawQueryString"], "q=query&multiQuery=foo&multiQuery=%2Fbar");
    assert_eq!(
        event["queryStringParameters"],
        json!({"multiQuery": "foo,/bar", "q": "query"})
    );
    assert_eq!(event["requestContext"]["http"]["path"], "/pa2%th/1");
    assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
    assert_eq!(event["headers"]["cookie"], "a=1; b=2");
    assert_eq!(
        (&event["body"], &event["isBase64Encoded"]),
        (&json!(r#"{"foo":"bar"}"#), &json!(false))
    );
    let sent = &event["headers"];
    assert_eq!(
        (&sent["host"], &sent["extra-headers"]),
        (&json!(host), &json!("With WeiRd CapS"))
    );
    assert_eq!(
        (
            &sent["x-forwarded-for"],
            &sent["x-forwarded-port"],
            &sent["x-forwarded-proto"]
        ),
        (&json!("127.0.0.1"), &json!(port), &json!("http"))
    );
    assert!(sent["x-amzn-trace-id"].as_str().unwrap().starts_with("Root=1-"));
    let context = &event["requestContext"];
    assert_eq!(
        (&context["accountId"], &context["apiId"], &context["stage"]),
        (&json!("anonymous"), &json!(id), &json!("$default"))
    );
    assert_eq!(
        (&context["domainName"], &context["domainPrefix"]),
        (&json!(name), &json!(id))
    );
    assert_eq!(context["http"]["method"], "POST");
    assert_eq!(context["requestId"].as_str(), answer.header("x-amzn-requestid"));

    let multipart = send(
        &server,
        &url,
        "POST",
        "/",
        &[("content-type", "multipart/form-data; boundary=x")],
        b"--x--",
    );
    assert_eq!(
        (&multipart.json()["body"], &multipart.json()["isBase64Encoded"]),
        (&json!("LS14LS0="), &json!(true))
    );
    let by_path = get(&format!("{}/_url/{id}/a%20b?c=d", server.endpoint())).json();
    assert_eq!(
        (&by_path["rawPath"], &by_path["rawQueryString"]),
        (&json!("/a%20b"), &json!("c=d"))
    );
    // Paths that are operations elsewhere are the function's here.
    let answer = send(&server, &url, "GET", "/2015-03-31/functions", &[], b"");
    assert_eq!(answer.json()["rawPath"], "/2015-03-31/functions");
}

#[test]
fn results_become_responses_as_on_aws() {
    let returns = "export const handler = async (event) => { const result = JSON.parse(event.body); if (result === 'throw') throw new Error('secret'); return result; };";
    let (_project, server) = up(&[("f", "{ auth: none }", returns)]);
    let url = declared(&server, "f");
    for (result, status, content_type, body) in [
        (r#"{"hello":"world"}"#, 200, "application/json", r#"{"hello":"world"}"#),
        (r#""hello""#, 200, "application/json", "hello"),
        ("3", 200, "application/json", "3"),
        ("true", 200, "application/json", "true"),
        (
            r#"{"statusCode":200,"body":"body123"}"#,
            200,
            "application/json",
            "body123",
        ),
        (
            r#"{"statusCode":"404","headers":{"content-type":"text/html"},"body":"no"}"#,
            404,
            "text/html",
            "no",
        ),
        (
            r#"{"statusCode":"x"}"#,
            502,
            "application/json",
            "Internal Server Error",
        ),
        (r#""throw""#, 502, "application/json", "Internal Server Error"),
    ] {
        let answer = send(
            &server,
            &url,
            "POST",
            "/",
            &[("content-type", "text/plain")],
            result.as_bytes(),
        );
        let got = (answer.status, answer.header("content-type").unwrap(), answer.text());
        assert_eq!(got, (status, content_type, body.to_owned()), "{result}");
    }
}

#[test]
fn cross_origin_rules_are_answered_for_the_function() {
    let cors = "{ auth: none, cors: { allowOrigins: ['https://good.example'], allowMethods: [GET, PUT], allowHeaders: [x-a], exposeHeaders: [x-b], maxAge: 60, allowCredentials: true } }";
    let (_project, server) = up(&[
        ("some", cors, ECHO),
        ("all", "{ auth: none, cors: true }", ECHO),
        ("none", "{ auth: none }", ECHO),
    ]);
    let ask = |function: &str, method: &str, origin: &str| {
        let url = declared(&server, function);
        send(
            &server,
            &url,
            method,
            "/",
            &[
                ("origin", origin),
                ("access-control-request-method", "PUT"),
                ("access-control-request-headers", "x-a"),
            ],
            b"",
        )
    };
    let allowed = |answer: &Answer| {
        ["origin", "methods", "headers", "credentials"].map(|part| {
            answer
                .header(&format!("access-control-allow-{part}"))
                .map(str::to_owned)
                .unwrap_or_default()
        })
    };
    let preflight = ask("some", "OPTIONS", "https://good.example");
    assert_eq!((preflight.status, preflight.text().as_str()), (200, ""));
    assert_eq!(allowed(&preflight), ["https://good.example", "GET,PUT", "x-a", "true"]);
    assert_eq!(preflight.header("access-control-max-age"), Some("60"));
    assert_eq!(
        allowed(&ask("some", "OPTIONS", "https://bad.example")),
        ["", "", "", ""]
    );
    let answer = ask("some", "GET", "https://good.example");
    assert_eq!(allowed(&answer), ["https://good.example", "", "", "true"]);
    assert_eq!(answer.header("access-control-expose-headers"), Some("x-b"));
    assert_eq!(allowed(&ask("some", "GET", "https://bad.example"))[0], "");
    assert_eq!(allowed(&ask("all", "OPTIONS", "null")), ["null", "PUT", "x-a", ""]);
    // A cache may not answer a page with what it keeps of a request that no page made.
    let plain = |function: &str| send(&server, &declared(&server, function), "GET", "/", &[], b"");
    assert_eq!(plain("all").header("vary"), Some("Origin"));
    assert_eq!(plain("none").header("vary"), None);
    let own = ask("none", "OPTIONS", "https://good.example");
    assert_eq!(
        own.json()["requestContext"]["http"]["method"],
        "OPTIONS",
        "without rules the function answers"
    );
}

#[test]
fn a_streaming_function_sends_as_it_writes() {
    let streams = "
        export const handler = awslambda.streamifyResponse(async (event, stream) => {
            if (event.rawPath === '/plain') { stream.setContentType('text/csv'); stream.end('a,b'); return; }
            if (event.rawPath === '/fail') throw new Error('no');
            const answer = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { 'x-a': 'b', 'content-type': 'text/plain' }, cookies: ['c=d'] });
            answer.write('one '); answer.write('two'); answer.end();
        });";
    let (_project, server) = up(&[
        ("s", "{ auth: none, invokeMode: response_stream }", streams),
        (
            "whole",
            "{ auth: none, invokeMode: response_stream }",
            "export const handler = async () => ({ a: 1 });",
        ),
    ]);
    let url = declared(&server, "s");
    let answer = send(&server, &url, "GET", "/", &[], b"");
    assert_eq!((answer.status, answer.text().as_str()), (201, "one two"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(
        (answer.header("x-a"), answer.header("set-cookie")),
        (Some("b"), Some("c=d"))
    );
    let plain = send(&server, &url, "GET", "/plain", &[], b"");
    assert_eq!(
        (plain.status, plain.header("content-type"), plain.text().as_str()),
        (200, Some("text/csv"), "a,b")
    );
    let failed = send(&server, &url, "GET", "/fail", &[], b"");
    assert_eq!((failed.status, failed.text().as_str()), (502, "Internal Server Error"));
    let whole = send(&server, &declared(&server, "whole"), "GET", "/", &[], b"");
    assert_eq!((whole.status, whole.text().as_str()), (200, r#"{"a":1}"#));
}

#[test]
fn configurations_are_kept_and_shown_as_on_aws() {
    let (_project, server) = up(&[("declared", "{ auth: none }", ECHO)]);
    body_of(
        &create_function(&server, "f", &answering("event.rawPath"), json!({})),
        201,
    );
    wait_until_ready(&server, "f");
    let call = |method: &str, path: &str, body: &Value| api(&server, method, &format!("{PATH}/{path}"), body);
    let created = body_of(&call("POST", "f/url", &json!({"AuthType": "NONE"})), 201);
    let url = created["FunctionUrl"].as_str().unwrap().to_owned();
    let members: Vec<_> = created.as_object().unwrap().keys().collect();
    assert_eq!(members, ["FunctionUrl", "FunctionArn", "AuthType", "CreationTime"]);
    assert_eq!(
        created["FunctionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f"
    );
    let again = call("POST", "f/url", &json!({"AuthType": "NONE"}));
    assert_eq!(
        (again.status, again.json()["message"].as_str().unwrap()),
        (
            409,
            "Failed to create function url config for [functionArn = arn:aws:lambda:us-east-1:000000000000:function:f]. Error message:  FunctionUrlConfig exists for this Lambda function"
        )
    );

    let forbidden = send(&server, &url, "GET", "/x", &[], b"");
    assert_eq!(
        (forbidden.status, forbidden.text().as_str()),
        (
            403,
            r#"{"Message":"Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"}"#
        )
    );
    let permission = json!({"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"});
    body_of(
        &api(&server, "POST", &format!("{FUNCTIONS}/f/policy"), &permission),
        201,
    );
    assert_eq!(send(&server, &url, "GET", "/x", &[], b"").text(), "/x");

    let shown = body_of(&call("GET", "f/url", &Value::Null), 200);
    assert_eq!(
        (&shown["InvokeMode"], shown["LastModifiedTime"].is_string()),
        (&json!("BUFFERED"), true)
    );
    let cors = json!({"AllowOrigins": ["*"], "MaxAge": 5});
    let updated = body_of(
        &call(
            "PUT",
            "f/url",
            &json!({"InvokeMode": "RESPONSE_STREAM", "Cors": cors, "AuthType": "AWS_IAM"}),
        ),
        200,
    );
    assert_eq!(
        (&updated["InvokeMode"], &updated["Cors"], &updated["AuthType"]),
        (&json!("RESPONSE_STREAM"), &cors, &json!("AWS_IAM"))
    );
    assert_eq!(updated["FunctionUrl"], url.as_str());
    assert_eq!(
        send(&server, &url, "GET", "/x", &[], b"").status,
        403,
        "nobody has signed"
    );
    assert_eq!(
        call("GET", "f/urls", &Value::Null).json()["FunctionUrlConfigs"],
        json!([updated])
    );
    assert_eq!(call("PUT", "declared/url", &json!({"AuthType": "NONE"})).status, 409);

    assert_eq!(call("DELETE", "f/url", &Value::Null).status, 204);
    let gone = call("GET", "f/url", &Value::Null);
    assert_eq!(
        (gone.status, gone.json()["Message"].as_str().unwrap()),
        (404, "The resource you requested does not exist.")
    );
    let nobody = send(&server, &url, "GET", "/", &[], b"");
    assert_eq!(
        (nobody.status, nobody.header("x-amzn-errortype"), nobody.text().as_str()),
        (403, Some("AccessDeniedException"), r#"{"Message":null}"#)
    );
    for (path, body, message) in [
        ("nobody/url", json!({"AuthType": "NONE"}), "Function does not exist"),
        (
            "f/url?Qualifier=1",
            json!({"AuthType": "NONE"}),
            r"1 validation error detected: Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
        ),
        (
            "f/url",
            json!({"AuthType": "NONE", "InvokeMode": "UNKNOWN"}),
            "1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
        ),
    ] {
        let said = call("POST", path, &body).json();
        assert_eq!(said.get("message").or(said.get("Message")).unwrap(), message);
    }
}

#[test]
fn a_body_that_is_too_large_or_breaks_off_costs_nobody_anything() {
    let (_project, server) = up(&[("echo", "{ auth: none }", ECHO)]);
    let url = declared(&server, "echo");
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let address = server.endpoint().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\nhalf"
    )
    .unwrap();
    drop(stream);
    // It is read whole, and too large for an event as base64.
    let large = vec![0; 5 * 1024 * 1024];
    let binary = [("content-type", "application/octet-stream")];
    assert_eq!(send(&server, &url, "POST", "/", &binary, &large).status, 413);
    assert_eq!(send(&server, &url, "GET", "/", &[], b"").status, 200);
    // The history may lag behind a little.
    wait_for("the run to be recorded", || {
        (!server.runs("?function=echo").is_empty()).then_some(())
    });
    assert_eq!(server.runs("?function=echo").len(), 1);
}

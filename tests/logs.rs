//! What a function logs, in Lambda's formats (npm aws-lambda-ric 3.3 and 4.0; AWS documentation, "Log format").

use serde_json::{Value, json};

use crate::support::{invoke_logged, serve};

const CODE: &str = r#"
exports.handler = async (event) => { await new Function('require', `return (async () => { ${event.js} })()`)(require); };
"#;

/// Runs a body in a function with these settings. Gives what it logged itself.
fn logged(settings: &str, js: &str) -> String {
    let settings = format!("handler: index.handler, {settings}");
    let (_project, server) = serve(&[("f", &settings, &[("index.js", CODE)])]);
    let (_, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
    let own: Vec<&str> = log
        .lines()
        .filter(|line| {
            !["START ", "END ", "REPORT ", r#"{"time":"#]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .collect();
    own.join("\n")
}

/// Level and message of each line of text.
fn parts(log: &str) -> Vec<(&str, &str)> {
    log.lines()
        .map(|line| {
            let mut parts = line.splitn(4, '\t').skip(2);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or(line))
        })
        .collect()
}

fn records(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

const ALL: &str = "console.trace('t'); console.debug('d'); console.log('l'); console.info('i'); console.warn('w'); console.error('e'); console.fatal('f');";

#[test]
fn levels_below_the_least_are_not_logged() {
    let levels = |settings: &str| -> Vec<String> {
        let log = logged(settings, ALL);
        match settings.contains("json") {
            true => records(&log)
                .iter()
                .map(|record| record["level"].as_str().unwrap().to_owned())
                .collect(),
            false => parts(&log).iter().map(|(level, _)| (*level).to_owned()).collect(),
        }
    };
    let all = ["TRACE", "DEBUG", "INFO", "INFO", "WARN", "ERROR", "FATAL"];
    for (settings, first) in [
        ("runtime: nodejs22.x", 0),
        ("runtime: nodejs24.x, env: { AWS_LAMBDA_LOG_LEVEL: warn }", 4),
        ("logFormat: json", 2),
        ("logFormat: json, env: { AWS_LAMBDA_LOG_LEVEL: TRACE }", 0),
        ("logFormat: json, env: { AWS_LAMBDA_LOG_LEVEL: FATAL }", 6),
        ("logFormat: json, env: { AWS_LAMBDA_LOG_LEVEL: nonsense }", 0),
        ("logFormat: json, logLevel: error", 5),
        // What is configured wins, as on AWS, where the service sets the variable.
        (
            "logFormat: json, logLevel: debug, env: { AWS_LAMBDA_LOG_LEVEL: FATAL }",
            1,
        ),
    ] {
        assert_eq!(levels(settings), all[first..], "{settings}");
    }
}

#[test]
fn text_lines_are_formatted_as_nodejs_formats_them() {
    for (js, expected) in [
        ("console.log()", "undefined"),
        ("console.log('%s and %i', 'a', 3.7, 'more')", "a and 3 more"),
        (
            "console.log(new Map([['k', { a: [1] }]]))",
            "Map(1) { 'k' => { a: [ 1 ] } }",
        ),
        ("console.log('100%')", "100%"),
        ("console.log('%o')", "%o"),
        ("console.log(null, undefined, 1n)", "null undefined 1n"),
    ] {
        assert_eq!(parts(&logged("runtime: nodejs22.x", js)), [("INFO", expected)], "{js}");
    }
    let log = logged("runtime: nodejs22.x", "console.warn('one\\ntwo')");
    assert!(log.ends_with("\tWARN\tone\ntwo"), "{log}");
}

#[test]
fn whoever_writes_to_the_standard_streams_writes_to_the_log() {
    let log = logged(
        "runtime: nodejs22.x",
        "const fs = require('fs'); fs.writeSync(1, 'one\\n'); fs.writeSync(2, Buffer.from('tw\u{f6}\\n')); \
         await new Promise((done) => fs.write(1, 'three\\n', done)); process.stdout.write(Buffer.from('four\\n')); process.stderr.write('five\\n'); \
         console.table([{ a: 1 }]); console.group('six'); console.dir({ seven: 7 });",
    );
    for line in [
        "one",
        "tw\u{f6}",
        "three",
        "four",
        "five",
        "\u{2502}     0 \u{2502} 1 \u{2502}",
    ] {
        assert!(log.lines().any(|found| found.contains(line)), "{line}: {log}");
    }
    assert!(log.contains("six") && log.contains("{ seven: 7 }"), "{log}");
}

#[test]
fn json_lines_hold_values_and_errors_as_they_are() {
    for node in [20, 24] {
        let settings = format!("logFormat: json, runtime: nodejs{node}.x");
        let one = |js: &str| {
            let log = logged(&settings, js);
            records(&log).remove(0)
        };
        for (js, message) in [
            ("console.log('text')", json!("text")),
            ("console.log({ a: [1, null] })", json!({"a": [1, null]})),
            ("console.log(7)", json!(7)),
            ("console.log('%d of %s', 1, 'two')", json!("1 of two")),
            ("console.log('a', { b: 1 })", json!("a { b: 1 }")),
            ("console.log(10n)", json!("10n")),
            (
                "const o = {}; o.o = o; console.log(o)",
                json!("<ref *1> { o: [Circular *1] }"),
            ),
            ("console.log('one\\ntwo')", json!("one\ntwo")),
        ] {
            let record = one(js);
            assert_eq!(record["message"], message, "{js}");
            let members: Vec<&String> = record.as_object().unwrap().keys().collect();
            assert_eq!(members, ["timestamp", "level", "requestId", "message"], "{js}");
        }
        // An error alone is the message; behind a text it gets members of its own.
        let error = one("class Own extends TypeError {} console.error(Object.assign(new Own('lone'), { code: 'E' }))");
        assert_eq!(
            (
                &error["message"]["errorType"],
                &error["message"]["errorMessage"],
                &error["message"]["code"]
            ),
            (&json!("Own"), &json!("lone"), &json!("E"))
        );
        assert!(
            error["message"]["stackTrace"][0].as_str().unwrap().ends_with("lone"),
            "{error}"
        );
        let nested = one("console.log({ inner: { error: new RangeError('deep') } })");
        assert_eq!(
            nested["message"]["inner"]["error"]["errorType"], "RangeError",
            "{nested}"
        );
        let beside = one("console.error('failed:', new RangeError('beside'))");
        assert_eq!(
            (&beside["errorType"], &beside["errorMessage"]),
            (&json!("RangeError"), &json!("beside"))
        );
        assert!(
            beside["message"]
                .as_str()
                .unwrap()
                .starts_with("failed: RangeError: beside"),
            "{beside}"
        );
        assert!(beside["stackTrace"].is_array());
        // Version 4 of the client does not look at the first value.
        let first = one("console.error(new RangeError('first'), 'and more')");
        assert_eq!(first.get("errorType").is_some(), node == 20, "{first}");
        let thrown = one("throw Object.assign(new SyntaxError('thrown'), { code: 'E' })");
        assert_eq!(
            (
                &thrown["level"],
                &thrown["message"]["errorType"],
                &thrown["message"]["code"]
            ),
            (&json!("ERROR"), &json!("SyntaxError"), &json!("E"))
        );
    }
}

#[test]
fn an_error_line_of_text_holds_the_errors_own_members() {
    for node in [20, 24] {
        let log = logged(
            &format!("runtime: nodejs{node}.x"),
            "class Own extends Error { constructor(m) { super(m); this.name = 'OwnError'; this.code = 'E'; this.cause2 = new TypeError('deep'); } } throw new Own('told')",
        );
        let line = log.lines().last().unwrap();
        let (title, details) = line
            .split_once("\tERROR\tInvoke Error \t")
            .unwrap_or_else(|| panic!("{log}"));
        assert!(!title.is_empty());
        let start = r#"{"errorType":"OwnError","errorMessage":"told","code":"E","name":"OwnError","cause2":{"errorType":"TypeError","errorMessage":"deep","stack":["#;
        assert!(details.starts_with(start), "{details}");
        let details: Value = serde_json::from_str(details).unwrap();
        assert!(
            details["stack"].as_array().is_some_and(|stack| stack.len() > 1),
            "{details}"
        );
    }
}

//! What a function logs, in Lambda's formats (npm aws-lambda-ric 3.3 and 4.0; AWS documentation, "Log format").

use serde_json::{Value, json};

use crate::support::{error_of, invoke, invoke_logged, serve};

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

/// `time`, id, level and message of a log line; the time is checked.
#[track_caller]
fn line_parts(line: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = line.splitn(4, '\t').collect();
    let [time, id, level, message] = parts.as_slice() else {
        panic!("no log line: {line}")
    };
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    (id, level, message)
}

#[test]
fn log_lines_have_lambdas_format() {
    let code = r#"
        exports.handler = async (event) => {
          console.log('plain'); console.info('i %s %d %i %j', 'a', 1.5, 2.5, { b: 1 }); console.warn({ a: 1, b: { c: [1, 2] } });
          console.error('bad', 7); console.debug('two', 'words'); console.trace('where');
          process.stdout.write('raw line\n'); process.stderr.write('raw error\n');
          console.log('line one\nline two');
          console.log();
        };
    "#;
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let id = answer.header("x-amzn-requestid").unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    let expected = [
        ("INFO", "plain"),
        ("INFO", "i a 1.5 2 {\"b\":1}"),
        ("WARN", "{ a: 1, b: { c: [ 1, 2 ] } }"),
        ("ERROR", "bad 7"),
        ("DEBUG", "two words"),
        ("TRACE", "where"),
    ];
    for (line, (level, message)) in lines[1..].iter().zip(expected) {
        let (found, found_level, text) = line_parts(line);
        assert_eq!((found, found_level), (id, level));
        assert!(text == message || level == "TRACE" && text.contains(message), "{line}");
    }
    assert!(lines.contains(&"raw line") && lines.contains(&"raw error"), "{log}");
    assert!(
        log.contains("\tINFO\tline one\nline two\n") || log.contains("\tINFO\tline one\rline two\n"),
        "{log}"
    );
    assert_eq!(lines[lines.len() - 2], format!("END RequestId: {id}"));
    let report = lines[lines.len() - 1];
    let parts: Vec<&str> = report.split('\t').collect();
    assert_eq!(parts[0], format!("REPORT RequestId: {id}"));
    let names: Vec<&str> = parts[1..].iter().map(|part| part.split(": ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "Duration",
            "Billed Duration",
            "Memory Size",
            "Max Memory Used",
            "Init Duration",
            ""
        ]
    );
    assert_eq!(parts[3], "Memory Size: 128 MB");
    assert!(
        parts[1].ends_with(" ms") && parts[2].ends_with(" ms") && parts[5].ends_with(" ms"),
        "{report}"
    );

    let (_, warm) = invoke_logged(server.endpoint(), "f", "{}");
    assert!(!warm.contains("Init Duration"), "{warm}");
}

#[test]
fn values_are_logged_as_nodejs_formats_them() {
    let code = "class Foo { constructor() { this.x = 1; } }\nexports.handler = async (event) => { console.log(...eval(`[${event.js}]`)); };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    for (js, expected) in [
        ("{ a: { b: { c: { d: 1 } } } }", "{ a: { b: { c: [Object] } } }"),
        ("new Map([['k', 1]]), new Set([1])", "Map(1) { 'k' => 1 } Set(1) { 1 }"),
        ("new Foo()", "Foo { x: 1 }"),
        ("Buffer.from('ab')", "<Buffer 61 62>"),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        (
            "1n, -0, null, undefined, Symbol('s'), true",
            "1n -0 null undefined Symbol(s) true",
        ),
        (
            "function f() {}, class A extends Foo {}",
            "[Function: f] [class A extends Foo]",
        ),
        ("['a', \"it's\"]", "[ 'a', \"it's\" ]"),
        ("'x', { s: 'y' }", "x { s: 'y' }"),
        ("Object.create(null)", "[Object: null prototype] {}"),
        ("[undefined, , 1]", "[ undefined, <1 empty item>, 1 ]"),
        ("Promise.resolve(1)", "Promise { 1 }"),
        (
            "'%s is %d and %j %o %O %%', 'Bob', 42, { a: 1 }, [1], { b: 2 }, 'more'",
            "Bob is 42 and {\"a\":1} [ 1, [length]: 1 ] { b: 2 } % more",
        ),
        (
            "(() => { const o = {}; o.self = o; return o; })()",
            "<ref *1> { self: [Circular *1] }",
        ),
        ("'tab\\tand é 𝄞'", "tab\tand é 𝄞"),
    ] {
        let (_, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
        let line = log
            .lines()
            .find(|line| line.contains("\tINFO\t"))
            .unwrap_or_else(|| panic!("{js}: {log}"));
        assert_eq!(line_parts(line).2, expected, "{js}");
    }
    let (_, log) = invoke_logged(server.endpoint(), "f", r#"{"js":"new TypeError('logged')"}"#);
    assert!(log.contains("\tINFO\tTypeError: logged\n    at "), "{log}");
}

#[test]
fn errors_are_logged_before_the_end() {
    let code = "export const handler = async () => { const e = new Error('gone wrong'); e.code = 'E1'; throw e; };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    assert_eq!(error_of(&answer).0, "Error");
    let line = log.lines().find(|line| line.contains("Invoke Error")).unwrap();
    let (_, level, message) = line_parts(line);
    let details: Value = serde_json::from_str(message.split_once('\t').unwrap().1).unwrap();
    assert_eq!(
        (level, &details["errorType"], &details["errorMessage"]),
        ("ERROR", &json!("Error"), &json!("gone wrong"))
    );
    assert_eq!(
        (&details["code"], &details["stack"][0]),
        (&json!("E1"), &json!("Error: gone wrong"))
    );
    let at = |text: &str| log.find(text).unwrap();
    assert!(
        at("START ") < at("Invoke Error") && at("Invoke Error") < at("END ") && at("END ") < at("REPORT "),
        "{log}"
    );
}

#[test]
fn logs_may_be_json() {
    let code = r#"
        exports.handler = async () => {
          console.log('text'); console.warn({ a: [1] }); console.error('two', { b: 1 }); console.info(new TypeError('logged'));
        };
    "#;
    let (_project, server) = serve(&[("f", "handler: index.handler, logFormat: json", &[("index.js", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let id = answer.header("x-amzn-requestid").unwrap();
    let own: Vec<&Value> = records.iter().filter(|record| record.get("level").is_some()).collect();
    let levels: Vec<&str> = own.iter().map(|record| record["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN", "ERROR", "INFO"]);
    assert!(
        own.iter()
            .all(|record| record["requestId"] == id && record["timestamp"].as_str().unwrap().ends_with('Z')),
        "{log}"
    );
    assert_eq!(
        (&own[0]["message"], &own[1]["message"], &own[2]["message"]),
        (&json!("text"), &json!({"a": [1]}), &json!("two { b: 1 }"))
    );
    assert_eq!(
        (&own[3]["message"]["errorType"], &own[3]["message"]["errorMessage"]),
        (&json!("TypeError"), &json!("logged"))
    );
    let kinds: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    assert!(
        kinds.contains(&"platform.start") && kinds.contains(&"platform.report"),
        "{log}"
    );
}

#[test]
fn the_log_header_holds_the_last_four_kilobytes() {
    let code = "exports.handler = async () => { for (let i = 0; i < 500; i += 1) { console.log(`line ${i} é`); } };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let (_, log) = invoke_logged(server.endpoint(), "f", "{}");
    assert!(log.len() <= 4096 && log.len() > 4000, "{}", log.len());
    assert!(
        log.contains("line 499 é") && !log.contains("line 0 é") && log.contains("REPORT "),
        "{log}"
    );
    assert_eq!(invoke(server.endpoint(), "f", "{}").header("x-amz-log-result"), None);
}

//! `hikigane check` and `schema`, and what is said of a wrong command line.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{ECHO, Project, command, ended, invoke, run_in};

#[test]
fn check_accepts_a_good_manifest() {
    let project = Project::new(
        "functions:\n  a:\n    code: ./a.mjs\n    events:\n      - schedule: { rate: rate(5 minutes) }\n      - http: GET /a\n",
        &[("a.mjs", ECHO)],
    );
    let done = run_in(&project, &["check"]);
    assert_eq!((done.code, done.error.as_str()), (Some(0), ""));
    assert_eq!(done.out, "hikigane.yaml: 1 function, 2 events: valid\n");
    let done = run_in(&project, &["check", "."]);
    assert_eq!(done.out, "./hikigane.yaml: 1 function, 2 events: valid\n");
    let done = run_in(&project, &["check", "--json"]);
    assert_eq!(
        (done.code, serde_json::from_str::<Value>(&done.out).unwrap()),
        (Some(0), json!([]))
    );
    let done = run_in(&project, &["check", "absent.yaml"]);
    assert_eq!(done.code, Some(2));
    assert!(done.error.contains("absent.yaml"), "{}", done.error);
    project.mkdir("empty");
    let done = run_in(&project, &["check", "empty"]);
    assert_eq!(done.code, Some(2));
    let said = "cannot read `empty/hikigane.yaml`: No such file";
    assert!(
        done.error.contains(said) && done.error.contains("name your manifest"),
        "{}",
        done.error
    );
}

const BAD: &str = "functions:\n  good: { code: ./good.mjs }\n  bad:\n    code: ./good.mjs\n    handlr: good.handler\n    timeout: 20 parsecs\n    memory: 64MB\n    events:\n      - schedule: { rate: \"0 0 2 * * 1\" }\n      - htp: GET /x\n";

#[test]
fn check_and_up_show_all_mistakes_at_once_with_their_places() {
    let project = Project::new(BAD, &[("good.mjs", ECHO)]);
    for arguments in [&["check"][..], &["up", "--endpoint", "127.0.0.1:0"][..]] {
        let done = run_in(&project, arguments);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{arguments:?}");
        for place in [
            "hikigane.yaml:5:5",
            "hikigane.yaml:6:14",
            "hikigane.yaml:7:13",
            "hikigane.yaml:9:27",
            "hikigane.yaml:10:9",
        ] {
            assert!(done.error.contains(place), "{arguments:?}: {place}: {}", done.error);
        }
        assert!(done.error.contains("did you mean `handler`?"), "{}", done.error);
        assert!(done.error.contains("did you mean `http`?"), "{}", done.error);
        let lines: Vec<&str> = done.error.lines().collect();
        let shown = lines
            .iter()
            .position(|line| line.ends_with("    handlr: good.handler"))
            .unwrap();
        let underline = lines[shown + 1].trim_start_matches([' ', '|']);
        assert!(
            underline.starts_with("^^^^^^") && !underline.starts_with("^^^^^^^"),
            "{}",
            done.error
        );
        let column = |line: &str, what: &str| line.find(what).unwrap();
        assert_eq!(
            column(lines[shown], "handlr"),
            column(lines[shown + 1], "^"),
            "{}",
            done.error
        );
    }
    assert!(!project.join(".hikigane").exists(), "a refused manifest starts nothing");
    let done = run_in(&project, &["check", "--json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, report.as_array().unwrap().len()), (Some(2), 5), "{report}");
    for diagnostic in report.as_array().unwrap() {
        assert_eq!(diagnostic["severity"], "error");
        assert!(
            diagnostic["message"].is_string() && diagnostic["file"].is_string(),
            "{diagnostic}"
        );
    }
}

#[test]
fn what_is_no_yaml_is_an_error_with_a_place() {
    for (text, place) in [
        ("functions: [", "hikigane.yaml:1:"),
        (
            "functions:\n  a: { code: ./a.mjs }\n  a: { code: ./b.mjs }\n",
            "hikigane.yaml:3:3",
        ),
        ("functions:\n\ta: 1\n", "hikigane.yaml:2:"),
        ("", "hikigane.yaml"),
        ("just text", "hikigane.yaml:1:1"),
        ("functions:\n  a: { code: ./a.mjs, url: x }\n", "hikigane.yaml:2:"),
    ] {
        let project = Project::new(text, &[("a.mjs", ECHO), ("b.mjs", ECHO)]);
        let done = run_in(&project, &["check"]);
        assert_eq!(done.code, Some(2), "{text}: {}", done.error);
        assert!(
            done.error.contains(place) && done.error.starts_with("error"),
            "{text}: {}",
            done.error
        );
    }
}

#[test]
fn check_warns_of_functions_that_would_not_start() {
    let project = Project::new(
        "functions:\n  good: { code: ./good.mjs }\n  export: { code: ./good.mjs, handler: good.absent }\n  syntax: { code: ./syntax.mjs }\n  module: { code: ./module.mjs }\n  missing: { code: ./absent.mjs }\n  spins: { code: ./good.mjs, timeout: 1s }\n",
        &[
            ("good.mjs", ECHO),
            ("syntax.mjs", "export const handler = async () => { const = 1 };"),
            (
                "module.mjs",
                "import x from 'absent-package'; export const handler = x;",
            ),
        ],
    );
    let done = run_in(&project, &["check"]);
    assert_eq!(done.code, Some(0), "{}", done.error);
    for warning in [
        "function \"export\" does not start: Runtime.HandlerNotFound: good.absent is undefined or not exported",
        "function \"syntax\" does not start: Runtime.UserCodeSyntaxError: SyntaxError: ",
        "function \"module\" does not start: Error: Cannot find package 'absent-package'",
        "./absent.mjs",
    ] {
        assert!(done.error.contains(warning), "{warning}: {}", done.error);
    }
    assert!(!done.error.contains("\"good\""), "{}", done.error);
    assert!(!project.join(".hikigane").exists(), "check leaves nothing behind");

    let done = run_in(&project, &["check", "--json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, report.as_array().unwrap().len()), (Some(0), 4), "{report}");
    assert!(
        report
            .as_array()
            .unwrap()
            .iter()
            .all(|diagnostic| diagnostic["severity"] == "warning"),
        "{report}"
    );

    let server = project.up();
    assert_eq!(
        invoke(server.endpoint(), "good", "{}").json(),
        json!({"echo": {}}),
        "the server starts all the same"
    );
    assert_eq!(
        invoke(server.endpoint(), "missing", "{}").json()["errorType"],
        "Runtime.ImportModuleError"
    );
}

#[test]
fn check_does_not_run_handlers_or_write_files() {
    let code = "const fs = require('node:fs');\ntry { fs.writeFileSync(process.env.LAMBDA_TASK_ROOT + '/out/by-check', 'x'); } catch {}\nexports.handler = async () => { fs.writeFileSync('out/by-handler', 'x'); };";
    let project = Project::new(
        "functions:\n  f: { code: ./f.js, allow: { write: [./out] } }\n",
        &[("f.js", code)],
    );
    project.mkdir("out");
    let done = run_in(&project, &["check"]);
    assert_eq!(
        (done.code, std::fs::read_dir(project.join("out")).unwrap().count()),
        (Some(0), 0),
        "{}",
        done.error
    );
}

#[test]
fn schema_prints_a_json_schema_with_every_trigger() {
    let done = ended(command(&["schema"]).output().unwrap());
    let schema: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(done.code, Some(0));
    assert!(
        schema["$schema"].as_str().unwrap().contains("json-schema.org"),
        "{}",
        schema["$schema"]
    );
    for word in [
        "\"s3\"",
        "\"schedule\"",
        "\"http\"",
        "\"reservedConcurrency\"",
        "\"catchUp\"",
        "\"settle\"",
        "\"logFormat\"",
    ] {
        assert!(done.out.contains(word), "{word}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_two_and_help_says_what_there_is() {
    for arguments in [
        &["frobnicate"][..],
        &["up", "--frobnicate"],
        &["invoke"],
        &["dlq", "redrive"],
        &[],
    ] {
        let done = ended(command(arguments).output().unwrap());
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.error);
    }
    let done = ended(command(&["--help"]).output().unwrap());
    for word in ["up", "check", "schema", "invoke", "logs", "runs", "dlq", "Exit codes"] {
        assert!(done.code == Some(0) && done.out.contains(word), "{word}: {}", done.out);
    }
    assert!(
        !done.out.contains("worker"),
        "the hidden command is hidden: {}",
        done.out
    );
    let done = ended(command(&["--version"]).output().unwrap());
    assert!(
        done.code == Some(0) && done.out.starts_with("hikigane "),
        "{}",
        done.out
    );
}

#[test]
fn the_zygote_command_is_not_for_people() {
    let done = ended(command(&["zygote"]).stdin(Stdio::null()).output().unwrap());
    assert_eq!(done.code, Some(1));
    assert!(
        done.error.contains("workers are started by `hikigane up` only"),
        "{}",
        done.error
    );
}

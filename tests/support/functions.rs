use serde_json::Value;

use super::{Answer, Project, Server, from_base64, invoke, post};

/// A function for a test: its name, what its section says beside `code`, and its files by path.
pub type Function<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A project with these functions, each in a directory of its own.
pub fn project_of(functions: &[Function]) -> Project {
    let mut manifest = "functions:\n".to_owned();
    for (name, settings, _) in functions {
        manifest.push_str(&format!("  {name}: {{ code: ./code/{name}, {settings} }}\n"));
    }
    let project = Project::new(&manifest, &[]);
    for (name, _, files) in functions {
        project.mkdir(&format!("code/{name}"));
        for (path, text) in *files {
            project.write(&format!("code/{name}/{path}"), text);
        }
    }
    project
}

/// A running server with these functions.
pub fn serve(functions: &[Function]) -> (Project, Server) {
    let project = project_of(functions);
    let server = project.up();
    (project, server)
}

/// Where a function is invoked.
pub fn invocations(server: &Server, function: &str) -> String {
    format!("{}/2015-03-31/functions/{function}/invocations", server.endpoint())
}

/// Invokes a function, which must succeed: what it returns.
#[track_caller]
pub fn call(server: &Server, function: &str, event: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, event))
}

/// Lambda's Invoke with the tail of the log.
pub fn invoke_logged(endpoint: &str, function: &str, event: &str) -> (Answer, String) {
    let url = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
    let answer = post(&url, &[("x-amz-log-type", "Tail")], event.as_bytes());
    let log = answer.header("x-amz-log-result").map(from_base64).unwrap_or_default();
    (answer, String::from_utf8(log).unwrap())
}

/// The error that an answer carries: its type and its message.
#[track_caller]
pub fn error_of(answer: &Answer) -> (String, String) {
    assert_eq!(
        (answer.status, answer.header("x-amz-function-error")),
        (200, Some("Unhandled")),
        "{}",
        answer.text()
    );
    let error = answer.json();
    let text = |name: &str| {
        error[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {error}"))
            .to_owned()
    };
    (text("errorType"), text("errorMessage"))
}

/// The value that an answer carries, which is no error.
#[track_caller]
pub fn value_of(answer: &Answer) -> Value {
    assert_eq!(
        (answer.status, answer.header("x-amz-function-error")),
        (200, None),
        "{}",
        answer.text()
    );
    answer.json()
}

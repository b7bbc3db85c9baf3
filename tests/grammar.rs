//! One grammar: what a manifest says means the same wherever it stands, and so does what is said of its mistakes.

use serde_json::Value;

use crate::support::{ECHO, Project, run_in};

/// A manifest with a duration in each place that takes one, and with what pages of other sites may do in both.
fn manifest(duration: &str, cors: &str) -> String {
    format!(
        "functions:
  f:
    code: ./f.mjs
    timeout: {duration}
    async: {{ maxAge: {duration} }}
    url: {{ auth: none, cors: {cors} }}
    events:
      - http: {{ method: GET, path: /a, timeout: {duration} }}
      - s3: {{ bucket: inbox, settle: {duration} }}
sources:
  s3: {{ buckets: {{ inbox: {{ path: ./inbox }} }} }}
  http: {{ listen: 127.0.0.1:0, cors: {cors} }}
"
    )
}

/// Line, message and help of each finding of `check`.
fn findings(manifest: &str) -> Vec<(u64, String, String)> {
    let project = Project::new(manifest, &[("f.mjs", ECHO)]);
    project.mkdir("inbox");
    let done = run_in(&project, &["check", "--json"]);
    let found: Vec<Value> = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{}{}", done.out, done.error));
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('`', "\"");
    found
        .iter()
        .map(|found| {
            (
                found["line"].as_u64().unwrap_or(0),
                text(&found["message"]),
                text(&found["help"]),
            )
        })
        .collect()
}

#[test]
fn a_duration_is_written_in_one_way_everywhere() {
    for good in ["20s", "20", "'20'"] {
        let cors = format!("{{ maxAge: {good} }}");
        let found = findings(&manifest(good, &cors));
        // AWS keeps no event for less than a minute.
        let [(5, message, _)] = found.as_slice() else {
            panic!("{good}: {found:?}");
        };
        assert!(message.ends_with("is out of range"), "{good}: {message}");
    }
    for (wrong, help) in [
        ("5 minutes", "did you mean \"5m\"?"),
        ("5M", "did you mean \"5m\"?"),
        ("20 s", "did you mean \"20s\"?"),
        (
            "soon",
            "write seconds (\"30\"), or numbers with units: \"500ms\", \"30s\", \"5m\", \"6h\"",
        ),
    ] {
        let cors = format!("{{ maxAge: {wrong} }}");
        let message = format!("\"{wrong}\" is not a duration");
        let expected = [4, 5, 6, 8, 9, 12].map(|line| (line, message.clone(), help.to_owned()));
        assert_eq!(findings(&manifest(wrong, &cors)), expected, "{wrong}");
    }
}

#[test]
fn an_editor_is_told_one_way_to_write_a_duration() {
    let project = Project::new("functions: {}\n", &[]);
    let schema = run_in(&project, &["schema"]).out;
    let patterns: Vec<&str> = schema
        .lines()
        .filter(|line| line.contains("\"pattern\"") && line.contains("ms"))
        .map(str::trim)
        .collect();
    // Timeouts of functions, defaults and routes; ages of events, there, too; of what browsers remember, twice; quiet times.
    assert!(patterns.len() >= 7, "{patterns:?}");
    assert!(patterns.iter().all(|pattern| pattern == &patterns[0]), "{patterns:?}");
}

#[test]
fn what_pages_of_other_sites_may_do_is_checked_alike_for_urls_and_the_gateway() {
    for (cors, messages) in [
        ("{ allowOrigins: ['*'], allowMethods: ['*', GET], maxAge: 1h }", &[][..]),
        (
            "{ allowOrigins: ['*'], allowCredentials: true }",
            &["credentials would be sent along from every site"],
        ),
        (
            "{ allowOrigins: ['https://*'], allowCredentials: true }",
            &["credentials would be sent along from every site"],
        ),
        (
            "{ allowOrigins: ['http*'], allowCredentials: true }",
            &["\"http*\" has a \"*\" in it"],
        ),
        (
            "{ allowOrigins: ['https://a.example*'] }",
            &["\"https://a.example*\" has a \"*\" in it"],
        ),
        (
            "{ allowMethods: [get, 5x] }",
            &["\"get\" is not a method", "\"5x\" is not a method"],
        ),
        ("{ maxAge: 25h }", &["\"25h\" is out of range"]),
    ] {
        let found: Vec<(u64, String)> = findings(&manifest("60", cors).replace("path: /a, timeout: 60", "path: /a"))
            .into_iter()
            .map(|(line, message, _)| (line, message))
            .collect();
        let expected: Vec<(u64, String)> = [6, 12]
            .iter()
            .flat_map(|line| messages.iter().map(|message| (*line, (*message).to_owned())))
            .collect();
        assert_eq!(found, expected, "{cors}");
    }
}

#[test]
fn every_part_of_a_manifest_knows_what_was_meant() {
    let manifest = "functions:
  f:
    code: ./f.mjs
    timout: 5
    events:
      - http: { methd: GET, method: GET, path: /a }
      - s3: { bucket: inbox, setle: 5 }
      - schedule: { rate: rate(1 day), timezon: UTC }
sources:
  s3: { buckets: { inbox: { path: ./inbox } } }
  http: { lissten: 127.0.0.1:0, cors: { alowOrigins: ['*'] } }
";
    let meant: Vec<String> = findings(manifest)
        .into_iter()
        .map(|(_, message, help)| format!("{message}: {}", help.split('?').next().unwrap_or_default()))
        .collect();
    assert_eq!(
        meant,
        [
            ("timout", "timeout"),
            ("methd", "method"),
            ("setle", "settle"),
            ("timezon", "timezone"),
            ("lissten", "listen"),
            ("alowOrigins", "allowOrigins"),
        ]
        .map(|(key, meant)| format!("unknown key \"{key}\": did you mean \"{meant}\""))
    );
}

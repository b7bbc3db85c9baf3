//! Answers that are no refusals, or that are seen by what clients make of them: member by member as they were recorded.

use serde_json::{Map, Value, json};

use super::{prepare, send, server};
use crate::support::{Answer, differences, recorded};

const REQUESTS: &str = include_str!("answers.txt");

#[test]
fn what_aws_answers_is_answered_member_by_member() {
    let Some(recordings) = recorded("aws_lambda_behaviour.json") else {
        return;
    };
    let (_project, server) = server();
    let mut wrong = Vec::new();
    let mut asked = 0;
    let mut about = "";
    for line in REQUESTS.lines() {
        match line.split_at_checked(2) {
            Some(("= ", title)) => about = title,
            Some(("+ ", step)) => prepare(&server, step),
            Some(("> ", step)) => {
                let answer = send(&server, step);
                let (wanted, status) = recording(&recordings, about);
                let found = as_clients_see_it(&wanted, &answer);
                let mut differences = differences(&wanted, &found);
                if u64::from(answer.status) != status {
                    differences.push(format!("status {} instead of {status}", answer.status));
                }
                if !differences.is_empty() {
                    wrong.push(format!("{about}\n  {step}\n  {}\n  {found}", differences.join("\n  ")));
                }
                asked += 1;
            }
            _ => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {asked} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The recorded answer that `Test::name member.member` is about, and its status.
#[track_caller]
fn recording(recorded: &Value, about: &str) -> (Value, u64) {
    let (test, path) = about.rsplit_once(' ').unwrap();
    let mut found = path
        .split('.')
        .fold(&recorded[test]["recorded-content"], |value, member| &value[member])
        .clone();
    assert!(found.is_object(), "{about} was not recorded");
    let status = found["ResponseMetadata"]["HTTPStatusCode"].as_u64();
    found.as_object_mut().unwrap().remove("ResponseMetadata");
    // What boto3 makes of a refusal, beside the members of its body.
    let error = found.as_object_mut().unwrap().remove("Error");
    if let (Some(error), true) = (error, found == json!({})) {
        found["message"] = error["Message"].clone();
    }
    (found, status.unwrap())
}

/// An answer with the members that clients find in headers, when the recorded one has them.
fn as_clients_see_it(wanted: &Value, answer: &Answer) -> Value {
    let text = answer.text();
    if wanted.get("StatusCode").is_none() {
        return serde_json::from_str(&text).unwrap_or(Value::String(text));
    }
    let mut found = Map::new();
    for (member, header) in [
        ("ExecutedVersion", "x-amz-executed-version"),
        ("FunctionError", "x-amz-function-error"),
    ] {
        if let Some(value) = answer.header(header) {
            found.insert(member.into(), value.into());
        }
    }
    let payload = serde_json::from_str(&text).ok().filter(Value::is_object);
    found.insert("Payload".into(), payload.unwrap_or(Value::String(text)));
    found.insert("StatusCode".into(), answer.status.into());
    found.into()
}

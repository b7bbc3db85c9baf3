use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

use super::skipped;

/// Members that say what a function is, or when: they are compared by their presence.
const FREE: [&str; 11] = [
    "CodeSha256",
    "CodeSize",
    "CreationTime",
    "FunctionUrl",
    "Handler",
    "LastModified",
    "LastModifiedTime",
    "Location",
    "Role",
    "Runtime",
    "trace",
];

/// Answers recorded from AWS; kept beside the repository, not in it.
pub fn recorded(file: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        if SAID.lock().unwrap().insert(file.to_owned()) {
            skipped(&format!(
                "nothing is compared with {file}, AWS's recorded answers, which are not here"
            ));
        }
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}

/// Whether AWS was seen to refuse something in these words: `status code: message`.
#[track_caller]
pub fn assert_recorded(refusal: &str) {
    let Some(errors) = recorded("aws_errors.json") else {
        return;
    };
    let text = |error: &Value, member: &str| error[member].as_str().unwrap_or_default().to_owned();
    let template = |error: &Value| {
        format!(
            "{} {}: {}",
            error["status"],
            text(error, "code"),
            text(error, "message")
        )
    };
    let known = errors
        .as_array()
        .unwrap()
        .iter()
        .any(|error| is_like(&template(error), refusal));
    assert!(known, "AWS was not seen to say: {refusal}");
}

/// Whether an answer has the members of a recorded one, with values that are like its.
#[track_caller]
pub fn assert_as_recorded(recorded: &Value, found: &Value) {
    let mut recorded = recorded.clone();
    // Of the client, not of the answer.
    recorded.as_object_mut().unwrap().remove("ResponseMetadata");
    let differences = differences(&recorded, found);
    assert!(differences.is_empty(), "{}\n{found}", differences.join("\n"));
}

/// What an answer has otherwise than the recording.
pub fn differences(recorded: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", recorded, found, &mut differences);
    differences
}

fn compare(place: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            for (member, value) in wanted {
                let place = format!("{place}.{member}");
                match found.get(member) {
                    None => differences.push(format!("{place} is missing: {value}")),
                    Some(_) if FREE.contains(&member.as_str()) => {}
                    Some(found) => compare(&place, value, found, differences),
                }
            }
            for (member, value) in found.iter().filter(|(member, _)| !wanted.contains_key(*member)) {
                differences.push(format!("{place}.{member} was not recorded: {value}"));
            }
        }
        // A policy's statement is JSON inside a text, which the recordings show as what it is.
        (Value::Object(_), Value::String(text)) if serde_json::from_str::<Value>(text).is_ok() => {
            compare(place, wanted, &serde_json::from_str(text).unwrap(), differences);
        }
        (Value::String(wanted), Value::String(found)) if is_like(wanted, found) => {}
        _ if wanted == found => {}
        _ => differences.push(format!("{place} is {found} instead of {wanted}")),
    }
}

/// Whether a text is like a recorded one, in which `<..>` stands for anything, and AWS's account for ours.
pub fn is_like(template: &str, text: &str) -> bool {
    let template = template.replace("111111111111", "000000000000");
    let mut pieces = Vec::new();
    let mut rest = template.as_str();
    while let Some((before, (_, after))) = rest
        .split_once('<')
        .and_then(|(before, after)| Some((before, after.split_once('>')?)))
    {
        pieces.push(before);
        rest = after;
    }
    pieces.push(rest);
    let Some((first, others)) = pieces.split_first() else {
        return false;
    };
    let Some((last, between)) = others.split_last() else {
        return *first == text;
    };
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    for piece in between {
        let Some(place) = rest.find(piece) else { return false };
        rest = &rest[place + piece.len()..];
    }
    rest.ends_with(last)
}

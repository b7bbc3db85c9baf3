use serde_json::Value;

/// Members that say what a function is, not what the API does: they are compared by their presence.
const FREE: [&str; 6] = ["CodeSha256", "CodeSize", "Handler", "LastModified", "Role", "Runtime"];

/// Answers recorded from AWS; kept beside the repository, not in it.
pub fn recorded(file: &str) -> Option<Value> {
    let path = format!("{}/../../../shared/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {file} is not here");
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
    let members = |value: &Value| -> Vec<String> {
        let keys = value.as_object().unwrap().keys();
        let mut keys: Vec<_> = keys.filter(|key| *key != "ResponseMetadata").cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(members(recorded), members(found), "{found}");
    for member in members(recorded)
        .iter()
        .filter(|member| !FREE.contains(&member.as_str()))
    {
        let (wanted, value) = (&recorded[member], &found[member]);
        let alike = match (wanted, value) {
            (Value::String(wanted), Value::String(value)) => is_like(wanted, value),
            (Value::Object(_), Value::Object(_)) => {
                assert_as_recorded(wanted, value);
                true
            }
            (wanted, value) => wanted == value,
        };
        assert!(alike, "{member}: {value} is not like {wanted}");
    }
}

/// Whether a text is like a recorded one, in which `<..>` stands for anything, and AWS's account for ours.
fn is_like(template: &str, text: &str) -> bool {
    let template = template.replace("111111111111", "000000000000");
    let mut pieces = template
        .split('<')
        .enumerate()
        .map(|(index, piece)| match piece.split_once('>') {
            Some((_, rest)) if index > 0 => rest,
            _ => piece,
        });
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    for (index, piece) in pieces.iter().enumerate() {
        if index + 1 == pieces.len() {
            return rest.ends_with(piece);
        }
        let Some(place) = rest.find(piece) else { return false };
        rest = &rest[place + piece.len()..];
    }
    rest.is_empty()
}

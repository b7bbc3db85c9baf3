//! The API held against what AWS was seen to answer. The recordings lie beside the repository; the requests are our own (tests/recorded/).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Answer, Project, Server, is_like, packed, recorded, request, wait_until_ready};

mod answers;

const REQUESTS: &str = include_str!("recorded/refusals.txt");
const LAMBDA: &str = "arn:aws:lambda:us-east-1:000000000000";
/// Words that only refusals of EventBridge and its scheduler have.
const OF_OTHER_SERVICES: [&str; 20] = [
    "Event pattern",
    "rchive ",
    "ArchiveName",
    "EventPattern",
    "Replay ",
    "Event bus ",
    "EventBus ",
    "event bus",
    "api-destination",
    "Rule ",
    "ScheduleExpression",
    "Schedule Expression",
    "target",
    "InputTemplate",
    "connectionArn",
    "authorizationType",
    "Invalid Name With Spaces!",
    "exceeds the maximum number allowed",
    "RetentionDays",
    "EventSourceArn is not valid",
];
/// What this server has no reason to refuse: it has no networks of its own that a function could be put in.
const OUT_OF_REACH: [&str; 1] = ["Error occurred while DescribeSecurityGroups."];

#[test]
#[allow(clippy::print_stdout, reason = "what is left to do, for who asks for it")]
fn what_aws_refuses_is_refused_in_its_words() {
    let Some(errors) = recorded("aws_errors.json") else {
        return;
    };
    let recorded: Vec<Refusal> = errors.as_array().unwrap().iter().map(Refusal::of_recording).collect();
    let of_lambda: Vec<&Refusal> = recorded.iter().filter(|refusal| refusal.is_of_lambda()).collect();
    let (_project, server) = server();
    let mut seen: Vec<&Refusal> = Vec::new();
    let mut wrong = Vec::new();
    let mut about = "";
    for line in REQUESTS.lines() {
        match line.split_at_checked(2) {
            Some(("= ", title)) => about = title,
            Some(("+ ", step)) => prepare(&server, step),
            Some(("> ", step)) => {
                let found = Refusal::of_answer(&send(&server, step));
                let meant = of_lambda.iter().filter(|refusal| refusal.is_about(about));
                let differences: Vec<String> = meant.filter_map(|refusal| refusal.difference(&found)).collect();
                seen.extend(of_lambda.iter().filter(|refusal| refusal.difference(&found).is_none()));
                let met = of_lambda
                    .iter()
                    .any(|refusal| refusal.is_about(about) && refusal.difference(&found).is_none());
                if !met {
                    wrong.push(format!(
                        "{about}\n  {step}\n  {found:?}\n  {}",
                        differences.join("\n  ")
                    ));
                }
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));

    let missed: Vec<&str> = of_lambda
        .iter()
        .filter(|refusal| !seen.iter().any(|other| std::ptr::eq(**refusal, *other)))
        .map(|refusal| refusal.message.as_str())
        .collect();
    println!(
        "{} of {} recorded refusals of Lambda are met; not: {missed:?}",
        of_lambda.len() - missed.len(),
        of_lambda.len()
    );
    let reason = |missed: &&str| OUT_OF_REACH.iter().any(|begins| missed.starts_with(begins));
    assert!(missed.iter().all(reason), "never asked for: {missed:?}");
}

/// A refusal: what AWS was seen to say, with `<..>` for what varies, or what this server said.
#[derive(Debug)]
struct Refusal {
    code: String,
    status: u64,
    /// Empty where the recording has none.
    message: String,
    /// The members of the body, without the message's text.
    members: Vec<(String, String)>,
}

impl Refusal {
    fn of_recording(recording: &Value) -> Self {
        let text = |member: &str| recording[member].as_str().unwrap_or_default().to_owned();
        let message = text("message");
        let mut members = members(&recording["extra"], &message);
        if members.is_empty() {
            // The recordings leave a body out that has nothing but the message.
            members.push(("message".into(), String::new()));
        }
        Self {
            code: text("code"),
            status: recording["status"].as_u64().unwrap(),
            message,
            members,
        }
    }

    fn of_answer(answer: &Answer) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = body.get("message").or(body.get("Message"));
        let message = message.and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            code: answer.header("x-amzn-errortype").unwrap_or("no error").to_owned(),
            status: answer.status.into(),
            members: members(&body, &message),
            message,
        }
    }

    fn is_of_lambda(&self) -> bool {
        !OF_OTHER_SERVICES.iter().any(|words| self.message.contains(words))
    }

    /// Whether `about`, `Code: first words` or a code alone, is about this.
    fn is_about(&self, about: &str) -> bool {
        let (code, begins) = about.split_once(": ").unwrap_or((about, ""));
        self.code == code && self.message.starts_with(begins)
    }

    /// What `found` has otherwise than this recording. A list of values may have more than the recorded one: those of a newer model.
    fn difference(&self, found: &Self) -> Option<String> {
        if (&self.code, self.status) != (&found.code, found.status) {
            return Some(format!("recorded {} {}", self.status, self.code));
        }
        let ((template, wanted), (text, printed)) = (without_values(&self.message), without_values(&found.message));
        if !self.message.is_empty() && !is_like(&template, &text) {
            return Some(format!("recorded {}", self.message));
        }
        if wanted
            .iter()
            .zip(&printed)
            .any(|(wanted, printed)| !wanted.is_subset(printed))
        {
            return Some(format!("recorded the values of {}", self.message));
        }
        (!self.message.is_empty() && self.members != found.members).then(|| format!("recorded {:?}", self.members))
    }
}

/// The members of a body; the one that is the message without its text.
fn members(body: &Value, message: &str) -> Vec<(String, String)> {
    let mut members: Vec<(String, String)> = body
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().replace(message, "")))
        .collect();
    members.sort();
    members
}

/// A message without the values of its enumerations, which AWS prints in no order that has a meaning, and those.
fn without_values(message: &str) -> (String, Vec<BTreeSet<&str>>) {
    const SET: &str = "enum value set: [";
    let mut text = String::new();
    let mut sets = Vec::new();
    let mut rest = message;
    while let Some((before, (values, after))) = rest
        .split_once(SET)
        .and_then(|(before, after)| Some((before, after.split_once(']')?)))
    {
        text.push_str(before);
        text.push_str(SET);
        sets.push(values.split(", ").collect());
        rest = after;
    }
    text.push_str(rest);
    (text, sets)
}

#[test]
fn a_recording_is_like_what_has_its_words() {
    for (template, text, alike) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a <x> c", "a b c", true),
        ("a <x> c", "a b d", false),
        (
            "arn:<p>:<r>:111111111111:f:<n>:1",
            "arn:aws:us-east-1:000000000000:f:g:1",
            true,
        ),
        (
            "arn:<p>:<r>:111111111111:f:<n>:1",
            "arn:aws:us-east-1:000000000000:f:g:2",
            false,
        ),
    ] {
        assert_eq!(is_like(template, text), alike, "{template}: {text}");
    }
    let values = |text| without_values(text).1;
    assert_eq!(
        values("enum value set: [b, a]; enum value set: [c]"),
        [BTreeSet::from(["a", "b"]), BTreeSet::from(["c"])]
    );
}

/// A server with a bucket that has nothing in it.
fn server() -> (Project, Server) {
    let project = Project::new(
        "functions:\n  declared: { code: ./declared.js }\nsources:\n  s3: { buckets: { inbox: { path: ./inbox } } }\n",
        &[("declared.js", "exports.handler = async () => 'declared';")],
    );
    project.mkdir("inbox");
    let server = project.up();
    (project, server)
}

/// Does a step that must go well.
#[track_caller]
fn prepare(server: &Server, step: &str) {
    let answer = send(server, step);
    assert!(answer.status < 300, "{step}: {} {}", answer.status, answer.text());
}

/// Waits until the function is ready that a step has created or changed.
fn settle(server: &Server, step: &str) {
    let created = step.strip_prefix("POST 2015-03-31/functions {$FUNCTION(");
    let created = created.and_then(|rest| rest.split_once(')'));
    let changed = step.strip_prefix("PUT 2015-03-31/functions/");
    let changed = changed.and_then(|rest| rest.split_once('/'));
    if let Some((name, _)) = created.or(changed.filter(|(_, rest)| !rest.starts_with("aliases"))) {
        wait_until_ready(server, name);
    }
}

/// Sends `METHOD path body`; before the path, the type of an invocation and a colon. What it changed is in force then.
fn send(server: &Server, step: &str) -> Answer {
    let mut words = step.splitn(3, ' ');
    let (method, path) = (words.next().unwrap(), expand(words.next().unwrap()));
    let (kind, path) = match path.split_once(":2015-03-31/") {
        Some((kind, rest)) => (Some(kind), format!("2015-03-31/{rest}")),
        None => (None, path),
    };
    if let Some((function, _)) = argument(&path, "$URL(") {
        let config = send(server, &format!("GET 2021-10-31/functions/{function}/url")).json();
        let host = config["FunctionUrl"]
            .as_str()
            .unwrap()
            .trim_start_matches("http://")
            .trim_end_matches('/');
        return request(method, server.endpoint(), &[("host", host)], b"");
    }
    let headers: Vec<(&str, &str)> = kind.map(|kind| ("x-amz-invocation-type", kind)).into_iter().collect();
    let body = words.next().unwrap_or_default();
    let body = match argument(body, "$BYTES(") {
        Some((hex, _)) => (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[index * 2..][..2], 16).unwrap())
            .collect(),
        None => expand(body).into_bytes(),
    };
    let answer = request(method, &format!("{}/{path}", server.endpoint()), &headers, &body);
    if answer.status < 300 {
        settle(server, step);
    }
    answer
}

/// A text with all that stands for something else replaced.
fn expand(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((count, whole)) = argument(&text, "$LONG(") {
        text = text.replace(&whole, &"a".repeat(count.parse().unwrap()));
    }
    text = text.replace("$LAMBDA", LAMBDA);
    while let Some((name, whole)) = argument(&text, "$FUNCTION(") {
        let members = format!(
            r#""FunctionName": "{name}", "Runtime": "nodejs22.x", "Handler": "index.handler", "Role": "arn:aws:iam::000000000000:role/r", "Code": {{"ZipFile": "$CODE"}}"#
        );
        text = text.replace(&whole, &members);
    }
    let code = |handler: &str| packed(&format!("exports.handler = {handler};"));
    if let Some((_, rest)) = text.split_once("$MODULE(") {
        let (handler, _) = rest.split_once(")\"").unwrap();
        let whole = format!("$MODULE({handler})");
        text = text.replace(&whole, &code(handler));
    }
    text.replace("$CODE", &code("async () => 1"))
        .replace("$OTHER", &code("async () => 2"))
}

/// The argument of the first `name(..)` in a text, and the whole of it.
fn argument(text: &str, name: &str) -> Option<(String, String)> {
    let (argument, _) = text[text.find(name)? + name.len()..].split_once(')')?;
    Some((argument.to_owned(), format!("{name}{argument})")))
}

//! Many clients that change and call the same functions at the same time, while the server is killed and started again.
//!
//! `HIKIGANE_STORM=60 cargo test --release storm` rages for a minute.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Project, Server, code_sha256, creation, get, invoke, package, packed, try_request, value_of,
};

const CLIENTS: u64 = 64;
const FUNCTIONS: usize = 8;
/// The first of these are never deleted: a version number of theirs has one code for ever.
const LASTING: usize = 6;

/// Code that says its number.
fn code(number: u64) -> String {
    format!("export const handler = async () => {number};")
}

/// What the clients know of one function.
#[derive(Default)]
struct Known {
    /// The code of each published version that was answered; more than one only where the function was made anew.
    versions: BTreeMap<u64, BTreeSet<u64>>,
    /// Answers of the unpublished version, with the newest version that was known before the call.
    latest: Vec<(u64, u64)>,
    /// The code of updates that were refused: it must never run.
    refused: BTreeSet<u64>,
}

struct Storm {
    endpoint: String,
    known: Vec<Mutex<Known>>,
    /// Which code a hash is of.
    hashes: Mutex<HashMap<String, u64>>,
    numbers: AtomicU64,
    over: AtomicBool,
    /// The server is being killed: requests may break off.
    killed: AtomicBool,
    answers: AtomicU64,
    wrong: Mutex<Vec<String>>,
}

fn name(function: usize) -> String {
    format!("storm{function}")
}

/// A generator of its own for each client, so that a storm can be told again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Storm {
    fn new() -> Self {
        Self {
            endpoint: String::new(),
            known: (0..FUNCTIONS).map(|_| Mutex::default()).collect(),
            hashes: Mutex::default(),
            numbers: AtomicU64::new(1),
            over: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            wrong: Mutex::default(),
        }
    }

    /// Lets all clients loose on the server for so long. When `kill` is set the server is killed while they rage.
    fn rage(&mut self, server: Server, time: Duration, kill: bool) -> Option<Server> {
        self.endpoint = server.endpoint().to_owned();
        self.over.store(false, Relaxed);
        self.killed.store(false, Relaxed);
        let storm = &*self;
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || {
                    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (client + 1));
                    while !storm.over.load(Relaxed) {
                        storm.act(&mut dice);
                    }
                });
            }
            std::thread::sleep(time);
            let server = if kill {
                storm.killed.store(true, Relaxed);
                server.kill();
                None
            } else {
                Some(server)
            };
            storm.over.store(true, Relaxed);
            server
        })
    }

    fn act(&self, dice: &mut Dice) {
        let function = dice.below(FUNCTIONS as u64) as usize;
        let of = |rest: &str| format!("/2015-03-31/functions/{}{rest}", name(function));
        match dice.below(100) {
            0..8 => {
                let number = self.number();
                self.change(
                    "POST",
                    "/2015-03-31/functions",
                    &creation(&name(function), &package(&code(number)), json!({})),
                );
            }
            8..24 => self.publish_code(function),
            24..30 => {
                if let Some(answer) = self.change("POST", &of("/versions"), &json!({})) {
                    self.published(function, &answer, None);
                }
            }
            30..36 => {
                let memory = 128 + dice.below(4) * 64;
                self.change("PUT", &of("/configuration"), &json!({"MemorySize": memory}));
            }
            36..40 if function >= LASTING => {
                self.change("DELETE", &of(""), &Value::Null);
            }
            40..44 => {
                let path = format!("/2017-10-31/functions/{}/concurrency", name(function));
                match dice.below(2) {
                    0 => self.change(
                        "PUT",
                        &path,
                        &json!({"ReservedConcurrentExecutions": 4 + dice.below(20)}),
                    ),
                    _ => self.change("DELETE", &path, &Value::Null),
                };
            }
            44..48 => {
                let path = format!(
                    "/2019-09-30/functions/{}/provisioned-concurrency?Qualifier={}",
                    name(function),
                    1 + dice.below(3)
                );
                match dice.below(2) {
                    0 => self.change(
                        "PUT",
                        &path,
                        &json!({"ProvisionedConcurrentExecutions": 1 + dice.below(2)}),
                    ),
                    _ => self.change("DELETE", &path, &Value::Null),
                };
            }
            48..52 => {
                self.change("GET", &of("/versions"), &Value::Null);
            }
            52..54 => {
                self.change("GET", "/2015-03-31/functions", &Value::Null);
            }
            54..76 => self.call_latest(function),
            _ => self.call_version(function, dice),
        }
    }

    fn number(&self) -> u64 {
        let number = self.numbers.fetch_add(1, Relaxed);
        let zip = package(&code(number));
        let hash = code_sha256(&zip);
        self.hashes.lock().unwrap().insert(hash, number);
        number
    }

    fn publish_code(&self, function: usize) {
        let number = self.number();
        let path = format!("/2015-03-31/functions/{}/code", name(function));
        let body = json!({"ZipFile": packed(&code(number)), "Publish": true});
        match self.send("PUT", &path, &body.to_string()) {
            Some(answer) if answer.status == 200 => self.published(function, &answer.json(), Some(number)),
            Some(_) => {
                let mut known = self.known[function].lock().unwrap();
                known.refused.insert(number);
            }
            // The server was killed: nobody knows.
            None => {}
        }
    }

    /// Takes note of a version that was published; with the number of the code that was sent along.
    fn published(&self, function: usize, answer: &Value, sent: Option<u64>) {
        let version = answer["Version"].as_str().unwrap().parse().unwrap();
        let hash = answer["CodeSha256"].as_str().unwrap();
        let number = self.hashes.lock().unwrap()[hash];
        if sent.is_some_and(|sent| sent != number) {
            self.complain(format!("published {sent:?}, answered {number}: {answer}"));
        }
        let mut known = self.known[function].lock().unwrap();
        known.versions.entry(version).or_default().insert(number);
    }

    fn call_latest(&self, function: usize) {
        let newest = {
            let known = self.known[function].lock().unwrap();
            known.versions.last_key_value().map(|(version, _)| *version)
        };
        // Until an update is in force the code before it runs, as on AWS.
        let path = format!("/2015-03-31/functions/{}/configuration", name(function));
        let configuration = self.change("GET", &path, &Value::Null);
        if configuration.is_none_or(|configuration| configuration["LastUpdateStatus"] != "Successful") {
            return;
        }
        if let Some(answer) = self.call(&name(function)) {
            let mut known = self.known[function].lock().unwrap();
            known.latest.push((newest.unwrap_or(0), answer));
        }
    }

    fn call_version(&self, function: usize, dice: &mut Dice) {
        let version = {
            let known = self.known[function].lock().unwrap();
            let count = known.versions.len() as u64;
            // Mostly new ones, as in life: their environments are warm.
            let back = dice.below(4).min(count.saturating_sub(1)) as usize;
            known.versions.keys().rev().nth(back).copied()
        };
        let Some(version) = version else { return };
        if let Some(answer) = self.call(&format!("{}:{version}", name(function))) {
            let known = self.known[function].lock().unwrap();
            // Another client's publication of a function made anew may not have been noted yet: such are not looked at.
            if function < LASTING && !known.versions[&version].contains(&answer) {
                self.complain(format!(
                    "{}:{version} answered {answer}, is {:?}",
                    name(function),
                    known.versions[&version]
                ));
            }
        }
    }

    fn call(&self, function: &str) -> Option<u64> {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let answer = self.send("POST", &path, "{}")?;
        if answer.header("x-amz-function-error").is_some() {
            self.complain(format!("{function}: {}", answer.text()));
        }
        (answer.status == 200).then(|| answer.json().as_u64().unwrap_or_default())
    }

    /// The answer when it is a success.
    fn change(&self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.send(method, path, &body)?;
        (answer.status < 300).then(|| serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let answer = try_request(method, &format!("{}{path}", self.endpoint), &[], body.as_bytes());
        let answer = match answer {
            Ok(answer) => answer,
            Err(_) if self.killed.load(Relaxed) => return None,
            Err(error) => {
                self.complain(format!("{method} {path}: {error}"));
                return None;
            }
        };
        self.answers.fetch_add(1, Relaxed);
        // Not there, being changed by another, or too many at once; and provisioned beyond what is reserved, or the reverse.
        let expected = matches!(answer.status, 200..=204 | 404 | 409 | 429)
            || (answer.status == 400 && answer.text().contains("rovisioned"));
        if !expected {
            self.complain(format!("{method} {path}: {} {}", answer.status, answer.text()));
        }
        Some(answer)
    }

    fn complain(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// What was seen in all, against what is true at the end.
    #[track_caller]
    fn judge(&self) {
        for (function, known) in self.known.iter().enumerate().take(LASTING) {
            let known = known.lock().unwrap();
            let mut newest: HashMap<u64, u64> = HashMap::new();
            for (version, numbers) in &known.versions {
                if numbers.len() != 1 {
                    self.complain(format!("{}:{version} was published as {numbers:?}", name(function)));
                }
                newest.extend(numbers.iter().map(|number| (*number, *version)));
            }
            let ran = known.latest.iter().map(|(_, number)| number);
            for number in ran.chain(known.versions.values().flatten()) {
                if known.refused.contains(number) {
                    self.complain(format!("{} ran {number}, which was refused", name(function)));
                }
            }
            for (before, number) in &known.latest {
                // Code whose publication broke off is not known by a version.
                if let Some(version) = newest.get(number).filter(|version| *version < before) {
                    self.complain(format!(
                        "{} answered with the code of version {version} after {before} was published",
                        name(function)
                    ));
                }
            }
        }
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} of {} answers are wrong:\n{}",
            wrong.len(),
            self.answers.load(Relaxed),
            wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
        );
    }

    /// Looks at all that a server has after it was killed: what was confirmed is there, and each version runs its code.
    #[track_caller]
    fn inspect(&self, server: &Server) {
        let base = format!("{}/2015-03-31/functions", server.endpoint());
        let listed = get(&base).json();
        let listed: BTreeSet<&str> = listed["Functions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|function| function["FunctionName"].as_str().unwrap())
            .collect();
        for function in 0..FUNCTIONS {
            let (name, known) = (name(function), self.known[function].lock().unwrap());
            if !listed.contains(name.as_str()) {
                assert!(function >= LASTING || known.versions.is_empty(), "{name} is gone");
                continue;
            }
            let versions = versions(&base, &name);
            for (version, numbers) in known.versions.iter().filter(|_| function < LASTING) {
                let hash = versions.get(version).map(|hash| self.hashes.lock().unwrap()[hash]);
                assert!(
                    hash.is_some_and(|number| numbers.contains(&number)),
                    "{name}:{version} was {numbers:?} and is {hash:?}"
                );
            }
            // All of a few, some of many.
            for (version, hash) in versions.iter().step_by(versions.len() / 30 + 1) {
                let answer = invoke(server.endpoint(), &format!("{name}:{version}"), "{}");
                // It may have been switched off, so to say: provisioned to others.
                if answer.status != 429 {
                    assert_eq!(value_of(&answer), self.hashes.lock().unwrap()[hash], "{name}:{version}");
                }
            }
        }
    }
}

/// The hashes of a function's published versions.
fn versions(base: &str, function: &str) -> BTreeMap<u64, String> {
    let mut versions = BTreeMap::new();
    let mut marker = String::new();
    loop {
        let page = get(&format!("{base}/{function}/versions?Marker={marker}")).json();
        for version in page["Versions"].as_array().unwrap() {
            if let Ok(number) = version["Version"].as_str().unwrap().parse() {
                versions.insert(number, version["CodeSha256"].as_str().unwrap().to_owned());
            }
        }
        match page["NextMarker"].as_str() {
            Some(next) => marker = next.to_owned(),
            None => return versions,
        }
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "for who runs it for hours")]
fn a_storm_of_changes_and_calls_ends_well() {
    let seconds = std::env::var("HIKIGANE_STORM").ok().and_then(|text| text.parse().ok());
    let half = Duration::from_secs(seconds.unwrap_or(8)) / 2;
    let project = Project::new("functions: {}\n", &[]);
    let mut storm = Storm::new();
    let began = Instant::now();
    assert!(storm.rage(project.up(), half, true).is_none());
    let server = project.up();
    storm.inspect(&server);
    let server = storm.rage(server, half, false).unwrap();
    storm.judge();
    storm.inspect(&server);
    assert!(storm.answers.load(Relaxed) > 200, "too few answers to mean anything");
    eprintln!(
        "{} answers, {} versions in {:.0} s",
        storm.answers.load(Relaxed),
        storm
            .known
            .iter()
            .map(|known| known.lock().unwrap().versions.len())
            .sum::<usize>(),
        began.elapsed().as_secs_f64()
    );
}

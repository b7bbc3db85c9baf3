//! Whatever the file says, there is an answer: soon, with a place, and without a panic.

use std::fs;
use std::time::{Duration, Instant};

use hikigane_manifest::{Loaded, Report, Severity, load};
use proptest::prelude::*;

use crate::demo::{Project, env, plugins};
use crate::loading::FULL;

/// Loads and draws, and holds every diagnostic to having a place; returns whether it loaded.
#[track_caller]
fn answer(project: &Project, yaml: impl AsRef<[u8]>) -> bool {
    let result = project.load(yaml.as_ref());
    let (good, report) = match result {
        Ok(Loaded { warnings, .. }) => (true, warnings),
        Err(report) => (false, report),
    };
    let shown = String::from_utf8_lossy(yaml.as_ref()).into_owned();
    assert_eq!(
        good,
        report
            .0
            .iter()
            .all(|diagnostic| diagnostic.severity == Severity::Warning),
        "{shown}\n{report}"
    );
    for diagnostic in &report.0 {
        let location = diagnostic
            .location
            .as_ref()
            .unwrap_or_else(|| panic!("no place: {diagnostic:?}"));
        assert!(
            location.line >= 1 && location.column >= 1 && location.end_column >= location.column,
            "{diagnostic:?}"
        );
        let line = shown.split('\n').nth(location.line - 1).unwrap_or_default();
        assert_eq!(location.line_text(), line.trim_end_matches('\r'), "{diagnostic:?}");
        let underlined: String = location
            .line_text()
            .chars()
            .skip(location.column - 1)
            .take(location.end_column - location.column)
            .collect();
        assert_eq!(location.text(), underlined, "{diagnostic:?}");
        assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
    }
    report.render(true);
    good
}

/// All that can be done to one line of [`FULL`] that keeps it in place.
fn mutations(line: &str) -> Vec<String> {
    let indent = line.len() - line.trim_start().len();
    let (space, content) = line.split_at(indent);
    let dash = if content.starts_with("- ") { 2 } else { 0 };
    let (dash, content) = content.split_at(dash);
    let mut mutations = vec![
        String::new(),
        format!("{space}{dash}"),
        format!("{line}x"),
        format!("{line}\n{line}"),
        format!(" {line}"),
    ];
    if let Some((key, value)) = content.split_once(':') {
        let mut letters: Vec<char> = key.chars().collect();
        letters.swap(0, 1);
        let swapped: String = letters.into_iter().collect();
        mutations.extend([
            format!("{space}{dash}{swapped}:{value}"),
            format!("{space}{dash}{}:{value}", &key[1..]),
            format!("{space}{dash}{key}"),
            format!("{space}{dash}{key}:"),
        ]);
        for other in [
            "5",
            "-1",
            "true",
            "yes",
            "[]",
            "[x]",
            "{}",
            "{x: y}",
            "''",
            "~",
            "\"${env:NOPE}\"",
            "*x",
            "!x y",
            "2026-11-22",
        ] {
            mutations.push(format!("{space}{dash}{key}: {other}"));
        }
    }
    mutations
}

#[test]
fn every_mutation_of_a_good_manifest_has_an_answer() {
    let project = Project::new();
    let lines: Vec<&str> = FULL.lines().collect();
    let (mut tried, mut refused) = (0, 0);
    for (n, line) in lines.iter().enumerate() {
        for mutation in mutations(line) {
            let mutated: Vec<&str> = lines
                .iter()
                .enumerate()
                .map(|(m, line)| if m == n { mutation.as_str() } else { line })
                .collect();
            tried += 1;
            refused += usize::from(!answer(&project, mutated.join("\n")));
        }
    }
    assert!(tried > 500, "{tried}");
    assert!(refused > tried / 2, "{refused} of {tried}");
}

#[test]
fn every_beginning_of_a_good_manifest_has_an_answer() {
    let project = Project::new();
    for end in 0..=FULL.len() {
        answer(&project, &FULL[..end]);
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark() {
    assert!(answer(&Project::new(), FULL.replace('\n', "\r\n")));
    assert!(answer(&Project::new(), format!("\u{feff}{FULL}")));
    let report = Project::new().load("functions: {}\r\nbanana: 1\r\n").unwrap_err();
    assert_eq!(
        report.0[0]
            .location
            .as_ref()
            .map(|location| (location.line, location.column)),
        Some((2, 1))
    );
}

/// What `yaml` is refused for, and that it does not take long.
#[track_caller]
fn refused(yaml: &str, part: &str) {
    let begin = Instant::now();
    let report: Report = Project::new().load(yaml).unwrap_err();
    let drawn = report.to_string();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(
        report.0.iter().any(|diagnostic| diagnostic.message.contains(part)),
        "{}",
        drawn.lines().take(40).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn alias_bombs() {
    let mut bomb = "service: &a0 x\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("x{level}: &a{level} [{aliases}]\n");
    }
    refused(&bomb, "stand for more than 10000 values");
    let many = format!("service: &a x\nx: [{}]\n", vec!["*a"; 101].join(", "));
    refused(&many, "more than 100 aliases");
    let mut deep = "service: &a0 x\n".to_owned();
    for level in 1..80 {
        deep += &format!("x{level}: &a{level} [*a{}]\n", level - 1);
    }
    refused(&deep, "nested deeper than 64 levels");
    let mut merged = "x0: &a0 {b: c}\n".to_owned();
    for level in 1..30 {
        merged += &format!("x{level}: &a{level} {{<<: [*a{0}, *a{0}], k{level}: v}}\n", level - 1);
    }
    refused(&merged, "unknown key `x29`");
}

#[test]
fn depth() {
    refused(&"[".repeat(100_000), "nested deeper than 64 levels");
    refused(&"- ".repeat(100_000), "nested deeper than 64 levels");
    refused(&"{a: ".repeat(1000), "nested deeper than 64 levels");
    refused(
        &format!("{}{}{}", "- ".repeat(40), "[".repeat(40), "]".repeat(40)),
        "nested deeper than 64 levels",
    );
}

/// A pattern's branches multiply, and each layer is looked for on the disk: both are bounded before the work is done.
#[test]
fn what_multiplies_is_refused_first() {
    let branches = vec!["{a: [1]}"; 900].join(", ");
    let leaves: String = (0..60_000).map(|n| format!(", k{n}: [1]")).collect();
    refused(
        &format!(
            "functions:\n  f:\n    code: f.js\n    events:\n      - demo: x\n        filter: {{$or: [{branches}]{leaves}}}\n"
        ),
        "more than 4096 characters",
    );
    let layers: Vec<String> = (0..140_000).map(|n| format!("l{n}")).collect();
    refused(
        &format!("functions: {{f: {{code: f.js, layers: [{}]}}}}", layers.join(",")),
        "more than 5 layers",
    );
    let deep: String = (0..10_000)
        .map(|n| format!("  f{n}: {{code: f.js, timeot: 1, env: {{1: x}}}}\n"))
        .collect();
    refused(&format!("functions:\n{deep}"), "unknown key `timeot`");
}

#[test]
fn a_megabyte_of_mistakes() {
    refused(
        &format!("functions: {{{}}}", "f: {code: f.js},".repeat(20_000)),
        "given twice",
    );
    refused(
        &format!("functions:\n{}", "  f: {code: f.js}\n".repeat(20_000)),
        "given twice",
    );
    let names: String = (0..8_000).map(|n| format!("  f{n}: {{cod: x}}\n")).collect();
    refused(&format!("functions:\n{names}"), "unknown key `cod`");
    let events: String = (0..3_000).map(|n| format!("      - demo: x{n}\n")).collect();
    refused(
        &format!("functions:\n  f:\n    code: f.js\n    events:\n{events}"),
        "3000 `demo` events",
    );
    refused(&format!("? {}\n: x\n", "k".repeat(900_000)), "unknown key");
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn any_bytes() {
    let project = Project::new();
    proptest!(cases(), |(bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
        answer(&project, bytes);
    });
}

#[test]
fn text_that_looks_like_yaml() {
    const PIECES: &str =
        "([ \\-:{}\\[\\],&*!|>'\"%@`#?\n\t$~<]|é|\r\n|[a-f0-9]|functions|demo|code|events|env:|---|\\$\\{){0,60}";
    let project = Project::new();
    proptest!(cases(), |(text in PIECES)| {
        answer(&project, text);
    });
}

#[test]
fn a_good_manifest_damaged_anywhere() {
    let project = Project::new();
    proptest!(cases(), |(at in 0..FULL.len(), with in "[ \\-:{}\\[\\],&*!|>'\"%#?\n\t$~]{0,3}", cut in 0..6_usize)| {
        let mut bytes = FULL.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        answer(&project, bytes);
    });
}

#[test]
fn the_environment_is_asked_for_nothing_else() {
    let project = Project::new();
    fs::write(project.file(), FULL).unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    let loaded = load(&project.file(), &plugins(), &|name| {
        asked.borrow_mut().push(name.to_owned());
        env(name)
    });
    assert!(loaded.is_ok());
    assert_eq!(*asked.borrow(), ["HOST", "SECONDS", "HOST", "NOPE", "HOST"]);
}

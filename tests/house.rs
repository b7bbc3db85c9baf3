//! The rules of the house, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{command, lacking};

/// The directory of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo sets for this test is not for another cargo.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    {
        cargo.env_remove(name);
    }
    cargo
}

#[test]
fn the_v8_archive_is_the_one_that_the_lock_file_needs() {
    let directory = root().join("third_party/v8");
    let sums = std::fs::read_to_string(directory.join("SHA256SUMS")).unwrap();
    let (version, sum) = sums.split_once('\n').unwrap();
    let (version, date) = version.strip_prefix("# v8 ").unwrap().split_once(" of ").unwrap();
    assert!(date.parse::<chrono::NaiveDate>().is_ok(), "{date}");
    let (expected, name) = sum.trim().split_once("  ").unwrap();
    let hash: String = Sha256::digest(std::fs::read(directory.join(name)).unwrap())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, expected, "{name} is not the file that SHA256SUMS names");

    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(
        lock.contains(&format!("name = \"v8\"\nversion = \"{version}\"\n")),
        "Cargo.lock has another version of v8 than {version}: build its archive (third_party/v8/README.md)"
    );
    let config = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(config.contains(name), "RUSTY_V8_ARCHIVE does not name {name}");
}

/// Which rooms each room may use (docs/ARCHITECTURE.md). `cli` may use all.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("pattern", &[]),
    ("trigger", &["model", "pattern"]),
    ("manifest", &["model", "pattern", "trigger"]),
    ("store", &["model"]),
    ("executor", &["model"]),
    ("isolate", &["model", "executor"]),
    ("router", &["model", "pattern", "trigger", "store", "executor"]),
    ("listener", &[]),
    (
        "api",
        &["model", "pattern", "router", "store", "trigger", "executor", "listener"],
    ),
    ("s3", &["model", "pattern", "trigger"]),
    ("schedule", &["model", "pattern", "trigger"]),
    ("http", &["model", "pattern", "trigger", "listener"]),
];

#[test]
fn dependencies_point_the_right_way() {
    let json = succeeds(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]));
    let metadata: Value = serde_json::from_str(&json).unwrap();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let dependencies = dependencies
            .filter(|d| d["kind"] != "dev")
            .map(|d| d["name"].as_str().unwrap().to_owned());
        used.insert(name.to_owned(), dependencies.collect());
    }
    let rooms: BTreeSet<&str> = used
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "hikigane")
        .collect();
    let known: BTreeSet<String> = DIRECTIONS.iter().map(|(room, _)| format!("hikigane-{room}")).collect();
    assert_eq!(
        rooms,
        known.iter().map(String::as_str).collect(),
        "a room is missing from the table"
    );

    let http_servers = ["axum", "hyper", "hyper-util", "tower"];
    for (room, allowed) in DIRECTIONS {
        for dependency in &used[&format!("hikigane-{room}")] {
            if let Some(other) = dependency.strip_prefix("hikigane-") {
                assert!(allowed.contains(&other), "{room} must not use {other}");
            }
            let knows_v8 = dependency.starts_with("deno_") || dependency == "v8" || dependency == "node_resolver";
            assert!(
                !knows_v8 || *room == "isolate",
                "only isolate may know V8, not {room} ({dependency})"
            );
            let serves = http_servers.contains(&dependency.as_str());
            assert!(
                !serves || ["api", "http", "listener"].contains(room),
                "{room} must not know an HTTP server ({dependency})"
            );
        }
    }
    for room in ["model", "pattern"] {
        assert!(
            !used[&format!("hikigane-{room}")].contains("tokio"),
            "{room} holds values only"
        );
    }
}

#[test]
fn every_example_is_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let manifest = entry.unwrap().path().join("hikigane.yaml");
        let output = command(&["check", "--json"]).arg(&manifest).output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {report}", manifest.display());
        assert_eq!(
            serde_json::from_str::<Value>(&report).unwrap(),
            serde_json::json!([]),
            "{}",
            manifest.display()
        );
        count += 1;
    }
    assert!(count >= 3, "only {count} examples");
}

#[test]
fn the_schema_in_docs_is_the_one_that_the_program_prints() {
    let printed = succeeds(&mut command(&["schema"]));
    let kept = std::fs::read_to_string(root().join("docs/hikigane.schema.json")).unwrap_or_default();
    assert!(printed == kept, "renew it: hikigane schema > docs/hikigane.schema.json");
}

/// Whether cargo has this subcommand. Toolchains of rustup's minimal profile have neither clippy nor rustfmt.
#[track_caller]
fn has(subcommand: &str) -> bool {
    let version = cargo().args([subcommand, "--version"]).output();
    let has = version.is_ok_and(|output| output.status.success());
    if !has {
        lacking(&format!("`cargo {subcommand}`"));
    }
    has
}

#[test]
fn the_code_is_formatted() {
    if has("fmt") {
        succeeds(cargo().args(["fmt", "--all", "--check"]));
    }
}

#[test]
fn clippy_and_rustdoc_have_nothing_to_say() {
    if has("clippy") {
        succeeds(cargo().args([
            "clippy",
            "--release",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]));
    }
    succeeds(
        cargo()
            .args(["doc", "--release", "--no-deps", "--quiet"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    );
}

#[test]
fn licences_and_sources_are_allowed() {
    if has("deny") {
        succeeds(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]));
    }
}

//! The pages for people say what is there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::house::root;
use crate::support::{Project, command, wait_for, zip_of};

/// The first block of code in this language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split("```").next().unwrap()
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The names of all files of source below a directory.
fn sources(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if name != "node_modules" {
                sources(&entry.path(), names);
            }
        } else {
            names.insert(name);
        }
    }
}

#[test]
fn the_map_of_the_code_names_every_room_and_no_file_that_is_not_there() {
    let map = page("docs/ARCHITECTURE.md");
    for place in ["crates", "plugins"] {
        for entry in std::fs::read_dir(root().join(place)).unwrap() {
            let room = format!("{place}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(map.contains(&format!("`{room}`")), "{room} is not on the map");
        }
    }
    let mut names = BTreeSet::new();
    for place in ["crates", "plugins", "tests"] {
        sources(&root().join(place), &mut names);
    }
    let named = map.split('`').skip(1).step_by(2);
    let gone: Vec<&str> = named
        .filter(|text| text.ends_with(".rs") || text.ends_with(".js"))
        .filter(|text| text.rsplit('/').next().is_none_or(|name| !names.contains(name)))
        .collect();
    assert_eq!(gone, [""; 0], "docs/ARCHITECTURE.md names files that are not there");
}

#[test]
fn ci_runs_the_readmes_command_for_all_tests() {
    let readme = page("README.md");
    let (_, second) = readme.split_once("**2. Run every test:**").unwrap();
    let command = second.split("```").nth(1).unwrap().trim_start_matches("sh").trim();
    assert!(command.starts_with("cargo test"), "{command}");
    let script = page(".ci/run");
    assert!(
        script.lines().any(|line| line == command),
        ".ci/run does not run `{command}`"
    );
    assert!(
        script.lines().any(|line| line == "export CI=true"),
        "in CI no test may be left out"
    );
}

#[test]
fn every_manifest_that_the_pages_show_is_valid() {
    let handler = "export const handler = async () => 1;";
    for name in ["README.md", "docs/schedules.md"] {
        let text = page(name);
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let manifest = if block.starts_with("events:") {
                format!(
                    "functions:\n  f:\n    code: ./f.mjs\n    {}",
                    block.replace('\n', "\n    ")
                )
            } else {
                block.to_owned()
            };
            let project = Project::new(
                &manifest,
                &[
                    ("f.mjs", handler),
                    ("functions/summarize.mjs", handler),
                    ("functions/report.mjs", handler),
                    ("functions/ingest/index.mjs", handler),
                    ("layers/csv/nodejs/readme", ""),
                ],
            );
            std::fs::write(project.join("layers/x.zip"), zip_of(&[("readme", "")])).unwrap();
            for directory in ["inbox", "outbox", "data", "out"] {
                project.mkdir(directory);
            }
            let checked = command(&["check"])
                .current_dir(project.path())
                .env("HIKIGANE_SECRET", "sixteen-characters")
                .output()
                .unwrap();
            assert!(
                checked.status.success() && checked.stderr.is_empty(),
                "{name}\n{manifest}\n{checked:?}"
            );
        }
    }
}

#[test]
fn the_readmes_first_function_does_what_it_shows() {
    let readme = page("README.md");
    let project = Project::new(
        block(&readme, "yaml"),
        &[("functions/summarize.mjs", block(&readme, "js"))],
    );
    project.mkdir("inbox");
    project.mkdir("outbox");
    let _server = project.up();
    project.write("inbox/tea & cups.csv", "item,amount\ntea,4.5\ncup,9.9\n");
    let summary = wait_for("the summary", || {
        std::fs::read_to_string(project.join("outbox/tea & cups.csv.txt"))
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert_eq!(summary, "2 rows\n");
}

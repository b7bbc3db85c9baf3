use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, get, post};

/// The program, with a clean environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hikigane"));
    command.args(arguments).env_remove("RUST_BACKTRACE");
    command
}

/// A directory with a manifest and its functions.
pub struct Project {
    directory: TempDir,
}

impl Project {
    /// A project with this manifest and these files, by relative path. Directories are made as needed.
    pub fn new(manifest: &str, files: &[(&str, &str)]) -> Self {
        let project = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        project.write("hikigane.yaml", manifest);
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// A copy of a directory of the repository, relative to its root: as it is in a fresh clone, though it may have been run since.
    pub fn copy_of(source: &str) -> Self {
        fn copy(from: &Path, to: &Path) {
            std::fs::create_dir_all(to).unwrap();
            // What is written to has nothing else in a clone.
            let is_written_to = from.join(".gitkeep").exists();
            for entry in std::fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name() == ".hikigane" || is_written_to && entry.file_name() != ".gitkeep" {
                    continue;
                }
                let target = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy(&entry.path(), &target);
                } else {
                    std::fs::copy(entry.path(), &target).unwrap();
                }
            }
        }
        let project = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(source),
            project.path(),
        );
        project
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn mkdir(&self, path: &str) {
        std::fs::create_dir_all(self.join(path)).unwrap();
    }

    /// Starts the server on a free port and waits until it is up.
    pub fn up(&self) -> Server {
        self.up_with(&[])
    }

    /// As [`Project::up`], with more arguments.
    pub fn up_with(&self, arguments: &[&str]) -> Server {
        self.up_as(command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]).args(arguments))
    }

    /// Starts the server by a command of the test's own, which must ask for `--json`.
    pub fn up_as(&self, command: &mut Command) -> Server {
        let mut child = command
            .current_dir(self.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        // Read all the time: a server whose warnings fill the pipe would stand still.
        let errors = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            panic!("the server did not come up: {line}{}", errors.join().unwrap());
        };
        Server { child, output, ready }
    }
}

/// A running server. Dropped: killed.
pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The line of `up --json`.
    pub ready: Value,
}

impl Server {
    /// `http://127.0.0.1:PORT` of the Lambda API and the admin API.
    pub fn endpoint(&self) -> &str {
        self.ready["endpoint"].as_str().unwrap()
    }

    /// `http://127.0.0.1:PORT` of the HTTP gateway.
    pub fn gateway(&self) -> &str {
        let sources = self.ready["sources"].as_array().unwrap();
        sources.iter().find(|source| source["label"] == "gateway").unwrap()["text"]
            .as_str()
            .unwrap()
    }

    /// Runs of the history that match the query (`?function=..&status=..&limit=..`), newest first.
    pub fn runs(&self, query: &str) -> Vec<Value> {
        let answer = get(&format!("{}/_hikigane/runs{query}", self.endpoint()));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["runs"].as_array().unwrap().clone()
    }

    /// One run with input, output and log.
    pub fn run(&self, id: &Value) -> Value {
        get(&format!("{}/_hikigane/runs/{id}", self.endpoint())).json()
    }

    /// Events in the queue, waiting and running.
    pub fn queued(&self) -> u64 {
        get(&format!("{}/_hikigane/status", self.endpoint())).json()["queued"]
            .as_u64()
            .unwrap()
    }

    /// Moves the virtual clock of a server in test mode, to an RFC 3339 time.
    pub fn move_clock(&self, to: &str) -> Answer {
        post(
            &format!("{}/_hikigane/clock", self.endpoint()),
            &[("content-type", "application/json")],
            format!(r#"{{"to":"{to}"}}"#).as_bytes(),
        )
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM (or another signal by number), and the exit status and the rest of standard output.
    pub fn stop(mut self, signal: i32) -> (ExitStatus, String) {
        let done = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.pid().to_string())
            .status()
            .unwrap();
        assert!(done.success());
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (status, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

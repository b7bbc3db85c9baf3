use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::{Project, Server, command, serve};

/// How a command ended: exit code, standard output, standard error.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

/// What has become of a program.
pub fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

/// Runs the program in the project.
pub fn run_in(project: &Project, arguments: &[&str]) -> Ended {
    ended(command(arguments).current_dir(project.path()).output().unwrap())
}

/// Asks a running server.
pub fn ask(project: &Project, server: &Server, arguments: &[&str]) -> Ended {
    run_in(
        project,
        &[
            arguments,
            &["--endpoint", server.endpoint().strip_prefix("http://").unwrap()],
        ]
        .concat(),
    )
}

/// A process that ends with its test.
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `up` without `--json`, and what it said until it was ready.
pub fn up_for_a_person(project: &Project) -> (Kept, BufReader<ChildStdout>, String) {
    up_for_a_person_by(command(&["up", "--endpoint", "127.0.0.1:0"]).current_dir(project.path()))
}

/// As [`up_for_a_person`], by a command of the test's own.
pub fn up_for_a_person_by(command: &mut Command) -> (Kept, BufReader<ChildStdout>, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut up = Kept(child);
    let mut output = BufReader::new(up.0.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C stops.") {
        assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
    }
    (up, output, text)
}

/// Says what the event tells it to say, and gives it back, or fails.
pub const ECHO: &str = "export const handler = async (event) => { console.log('said', event.say ?? 'nothing'); if (event.fail) { throw new TypeError(event.fail); } return { echo: event }; };";

/// A server with such a function.
pub fn echo() -> (Project, Server) {
    serve(&[("echo", "handler: index.handler", &[("index.mjs", ECHO)])])
}

/// A port that stays free while nobody listens on it: it is below those that the kernel gives to connections and to whoever asks for any
/// (32768 and up), and another for each caller.
pub fn free_port() -> u16 {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 10_000) as u16;
    std::iter::repeat_with(|| 20_000 + (start + CALLS.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

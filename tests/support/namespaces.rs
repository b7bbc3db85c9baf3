use std::process::Command;

use super::absent::lacking;

/// Runs a test of this program by its name, also an ignored one, under unshare(1) with these arguments: in namespaces of its own, where an ordinary user has
/// rights of root, or root has none. Returns what it printed; `None` where such namespaces cannot be made.
#[track_caller]
pub fn run_in_namespaces(arguments: &[&str], test: &str) -> Option<String> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(arguments);
        unshare
    };
    let works = unshare().arg("true").output();
    if !works.is_ok_and(|output| output.status.success()) {
        lacking(&format!("right to `unshare {}`", arguments.join(" ")));
        return None;
    }
    let run = unshare()
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
    Some(text.into_owned())
}

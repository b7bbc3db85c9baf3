use std::io::Write;

/// Says that a test, or a part of it, was not run, and why. Past the harness, which keeps to itself what is printed by tests that pass.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// As [`skipped`], for want of a program that can be installed, or of a right that can be given. Where `CI` is set, that is a failure: nothing is left out there.
#[track_caller]
pub fn lacking(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "there is no {what}, and CI leaves nothing out"
    );
    skipped(&format!("there is no {what} here"));
}

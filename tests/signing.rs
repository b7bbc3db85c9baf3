//! Code signing: `hikigane sign` with keys and certificates that the real `openssl` made.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{command, lacking};

/// A directory with a key, its certificate and a zip; `None` where there is no `openssl` to make them.
pub fn desk(curve: &str) -> Option<TempDir> {
    let desk = tempfile::tempdir().unwrap();
    // The command of docs/code-signing.md.
    let made = openssl(
        desk.path(),
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes -keyout key.pem -out cert.pem -days 365 -subj /CN=release"
        ),
    );
    if !made {
        lacking("`openssl` command");
        return None;
    }
    // An archive without entries: its end alone (PKWARE, APPNOTE.TXT 4.3.16).
    let empty = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
    std::fs::write(desk.path().join("app.zip"), empty).unwrap();
    Some(desk)
}

fn openssl(directory: &Path, arguments: &str) -> bool {
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split(' ')).current_dir(directory);
    openssl
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs `hikigane sign`: its standard output, or its standard error.
pub fn sign(desk: &TempDir, arguments: &str) -> Result<String, String> {
    let mut program = command(&["sign"]);
    let output = program
        .args(arguments.split(' '))
        .current_dir(desk.path())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[track_caller]
fn refused(desk: &TempDir, arguments: &str, why: &str) {
    let error = sign(desk, arguments).unwrap_err();
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_zip_is_signed_and_says_by_whom() {
    let Some(desk) = desk("P-384") else { return };
    let told = sign(&desk, "--key key.pem --cert cert.pem app.zip -o signed.zip --json").unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let output = Command::new("openssl")
        .args("x509 -in cert.pem -noout -fingerprint -sha256".split(' '))
        .current_dir(desk.path())
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(output.stdout).unwrap().to_lowercase();
    let fingerprint = fingerprint.trim().split_once('=').unwrap().1.replace(':', "");
    assert_eq!(
        told["profileVersionArn"],
        format!(
            "arn:aws:signer:us-east-1:000000000000:/signing-profiles/{fingerprint}/{}",
            &fingerprint[..10]
        )
    );
    assert_eq!(told["subject"], "CN=release");
    let mut again: Value = serde_json::from_str(&sign(&desk, "--verify --json signed.zip").unwrap()).unwrap();
    again["file"] = told["file"].clone();
    assert_eq!(again, told);

    // The original is as it was; without -o it is replaced.
    refused(&desk, "--verify app.zip", "app.zip is not signed");
    let told = sign(&desk, "--key key.pem --cert cert.pem --expires 90d app.zip").unwrap();
    assert!(told.starts_with("app.zip: signed by CN=release\n"), "{told}");
    assert!(sign(&desk, "--verify app.zip").is_ok());
}

#[test]
fn a_zip_that_was_changed_is_refused() {
    let Some(desk) = desk("P-384") else { return };
    let path = desk.path().join("app.zip");
    sign(&desk, "--key key.pem --cert cert.pem app.zip").unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(&desk, "--verify app.zip", "app.zip must not be used");
}

#[test]
fn keys_in_either_form_sign() {
    let Some(desk) = desk("P-384") else { return };
    assert!(openssl(desk.path(), "ec -in key.pem -out sec1.pem"));
    let key = std::fs::read_to_string(desk.path().join("sec1.pem")).unwrap();
    assert!(key.contains("BEGIN EC PRIVATE KEY"));
    sign(&desk, "--key sec1.pem --cert cert.pem app.zip").unwrap();
}

#[test]
fn what_cannot_sign_is_refused_by_name() {
    let Some(desk) = desk("P-384") else { return };
    assert!(openssl(
        desk.path(),
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out other.pem"
    ));
    assert!(openssl(
        desk.path(),
        "pkey -in key.pem -aes256 -passout pass:x -out locked.pem"
    ));
    refused(
        &desk,
        "--key other.pem --cert cert.pem app.zip",
        "the key does not belong to the certificate",
    );
    refused(
        &desk,
        "--key locked.pem --cert cert.pem app.zip",
        "the key is encrypted",
    );
    refused(&desk, "--key key.pem --cert key.pem app.zip", "no certificate in PEM");
    refused(&desk, "--key key.pem --cert cert.pem cert.pem", "no plain zip");
    refused(
        &desk,
        "--key key.pem --cert cert.pem --expires 900d app.zip",
        "not after its certificate",
    );
    refused(
        &desk,
        "--key key.pem --cert cert.pem absent.zip",
        "cannot read absent.zip",
    );
    refused(&desk, "app.zip", "--key <FILE>");

    let Some(short) = self::desk("P-256") else { return };
    refused(
        &short,
        "--key key.pem --cert cert.pem app.zip",
        "not on the curve P-384",
    );
}

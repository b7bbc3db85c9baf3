use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Answer, Server, get, request, wait_for};

/// A zip of these files, stored (PKWARE, APPNOTE.TXT): what `zip -0` makes.
pub fn zip_of(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let mut header = Vec::new();
        for short in [20_u16, 0x800, 0, 0, 0x21] {
            header.extend(short.to_le_bytes());
        }
        for long in [crc(text.as_bytes()), text.len() as u32, text.len() as u32] {
            header.extend(long.to_le_bytes());
        }
        header.extend((name.len() as u32).to_le_bytes());
        directory.extend([b"PK\x01\x02".as_slice(), &[20, 3], &header, &[0; 6]].concat());
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        out.extend([b"PK\x03\x04", header.as_slice(), name.as_bytes(), text.as_bytes()].concat());
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        out.extend((files.len() as u16).to_le_bytes());
    }
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (0_u32.wrapping_sub(crc & 1)))
        })
    })
}

/// A package whose `index.mjs` is this, as CreateFunction and UpdateFunctionCode take it.
pub fn packed(code: &str) -> String {
    BASE64_STANDARD.encode(zip_of(&[("index.mjs", code)]))
}

/// An operation of Lambda's API by its method and its path, with a body unless that is null.
pub fn lambda(endpoint: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(method, &format!("{endpoint}{path}"), &[], body.as_bytes())
}

/// The request of CreateFunction for this code.
pub fn creation(name: &str, code: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "nodejs22.x", "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/test", "Code": {"ZipFile": packed(code)},
    })
}

/// Creates a function and waits until it is active.
#[track_caller]
pub fn create(server: &Server, name: &str, code: &str) {
    let answer = lambda(
        server.endpoint(),
        "POST",
        "/2015-03-31/functions",
        &creation(name, code),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    settled(server, name);
}

/// Waits until no change of a function is under way.
#[track_caller]
pub fn settled(server: &Server, name: &str) {
    let path = format!("{}/2015-03-31/functions/{name}/configuration", server.endpoint());
    wait_for("the function to be active", || {
        let configuration = get(&path).json();
        (configuration["State"] == "Active" && configuration["LastUpdateStatus"] == "Successful").then_some(())
    });
}

/// Publishes a version; returns its number.
#[track_caller]
pub fn publish(server: &Server, name: &str) -> u64 {
    let path = format!("/2015-03-31/functions/{name}/versions");
    let answer = lambda(server.endpoint(), "POST", &path, &json!({}));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Version"].as_str().unwrap().parse().unwrap()
}

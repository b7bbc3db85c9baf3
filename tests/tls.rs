//! Secure connections, to servers that run in the function itself.

use serde_json::{Value, json};

use crate::support::{invoke, serve, value_of};

const AUTHORITY: &str = include_str!("tls/authority.pem");
const CLIENT: &str = include_str!("tls/client.mjs");
/// Made for these tests, for 127.0.0.1.
const IDENTITY: [(&str, &str); 2] = [
    ("certificate.pem", include_str!("tls/certificate.pem")),
    ("key.pem", include_str!("tls/key.pem")),
];

/// What the function gets by each way of connecting, with these settings.
fn answers(settings: &str) -> Value {
    let [certificate, key] = IDENTITY;
    let files = [("index.mjs", CLIENT), ("authority.pem", AUTHORITY), certificate, key];
    let settings = format!(
        "handler: index.handler, runtime: nodejs22.x, timeout: 20s, allow: {{ net: [\"127.0.0.1\"] }}{settings}"
    );
    let (_project, server) = serve(&[("f", &settings, &files)]);
    value_of(&invoke(server.endpoint(), "f", "{}"))
}

#[test]
fn an_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let answers = answers("");
    assert_eq!(answers["named"], "https");
    assert_eq!(answers["http2"], "http2 /a");
    assert_eq!(answers["upgraded"], "secure word");
    assert_eq!(answers["unnamed"], "UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    let fetched = answers["fetched"].as_str().unwrap();
    assert!(fetched.contains("UnknownIssuer"), "{fetched}");
}

/// Node.js documentation, "NODE_EXTRA_CA_CERTS": for fetch and for `node:https`.
#[test]
fn further_authorities_come_from_a_file() {
    let expected = json!({"named": "https", "unnamed": "https", "fetched": "https", "http2": "http2 /a", "upgraded": "secure word"});
    assert_eq!(answers(", env: { NODE_EXTRA_CA_CERTS: ./authority.pem }"), expected);
}

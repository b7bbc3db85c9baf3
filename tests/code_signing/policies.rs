//! What is deployed and what is refused, by the policy of a configuration.

use std::path::Path;

use chrono::{Days, Utc};
use serde_json::{Value, json};

use super::{NOT_TRUSTED, configuration, create, good, packages, refused, returns, tampered, up, update};
use crate::support::{Answer, Server, api, base64, create_function, get, wait_until_ready};

#[test]
fn enforce_refuses_code_that_is_not_signed_by_an_allowed_publisher() {
    let Some((desk, publisher)) = packages(2) else { return };
    let (_project, server) = up();
    let config = configuration(&server, &publisher, "Enforce");
    let path = |name: &str| desk.path().join(name);

    let answer = create(&server, "f", Some(&config), &path("plain-1.zip"));
    refused(&answer, 400, "CodeVerificationFailedException", NOT_TRUSTED);
    assert_eq!(
        get(&format!("{}/2015-03-31/functions/f", server.endpoint())).status,
        404
    );

    let created = good(&create(&server, "f", Some(&config), &path("signed-1.zip")));
    assert_eq!(created["SigningProfileVersionArn"], publisher.as_str());
    let job = created["SigningJobArn"].as_str().unwrap();
    assert!(
        job.starts_with("arn:aws:signer:us-east-1:000000000000:/signing-jobs/"),
        "{job}"
    );
    returns(&server, "f", 1);

    refused(
        &update(&server, "f", &path("plain-2.zip")),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
    refused(
        &update(&server, "f", &tampered(&desk)),
        400,
        "InvalidCodeSignatureException",
        "The code signature failed the integrity check.",
    );
    // Signed well, by somebody else.
    let Some((other, _)) = packages(1) else { return };
    refused(
        &update(&server, "f", &other.path().join("signed-1.zip")),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
    returns(&server, "f", 1);
    good(&update(&server, "f", &path("signed-2.zip")));
    returns(&server, "f", 2);

    let status = get(&format!("{}/_hikigane/status", server.endpoint())).json();
    assert_eq!(status["signatureValidationErrors"], json!({"f": 4}));
}

#[test]
fn signatures_that_expired_or_were_revoked_are_refused() {
    let Some((desk, publisher)) = packages(3) else { return };
    let (_project, server) = up();
    let config = configuration(&server, &publisher, "Enforce");
    let path = |name: &str| desk.path().join(name);
    let created = good(&create(&server, "f", Some(&config), &path("signed-1.zip")));

    // One signature, then all that the publisher made from now on, then time.
    let job = created["SigningJobArn"].as_str().unwrap().rsplit('/').next().unwrap();
    let revoke = format!("/signing-jobs/{job}/revoke");
    good(&api(&server, "PUT", &revoke, &json!({"reason": "leaked"})));
    refused(
        &update(&server, "f", &path("signed-1.zip")),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
    good(&update(&server, "f", &path("signed-2.zip")));

    let (name, version) = publisher.rsplit_once('/').unwrap();
    let name = name.rsplit('/').next().unwrap();
    let revoke = |from: i64| {
        let body = json!({"profileVersion": version, "reason": "stolen", "effectiveTime": from});
        api(&server, "PUT", &format!("/signing-profiles/{name}/revoke"), &body)
    };
    let now = Utc::now().timestamp();
    good(&revoke(now + 3600));
    good(&update(&server, "f", &path("signed-3.zip")));
    good(&revoke(now - 3600));
    refused(
        &update(&server, "f", &path("signed-3.zip")),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
    returns(&server, "f", 3);

    let config = configuration(&server, &publisher, "Warn");
    good(&revoke(now + 3600));
    let later = Utc::now() + Days::new(91);
    good(&api(&server, "POST", "/_hikigane/clock", &json!({"to": later})));
    // Who signed it is known even so.
    let warned = good(&create(&server, "g", Some(&config), &path("signed-2.zip")));
    assert_eq!(warned["SigningProfileVersionArn"], publisher.as_str());
    refused(
        &update(&server, "f", &path("signed-2.zip")),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
}

#[test]
fn warn_deploys_and_counts_but_never_what_was_changed() {
    let Some((desk, publisher)) = packages(1) else { return };
    let (_project, server) = up();
    let config = configuration(&server, &publisher, "Warn");
    let created = good(&create(&server, "f", Some(&config), &desk.path().join("plain-1.zip")));
    assert_eq!(created.get("SigningProfileVersionArn"), None);
    returns(&server, "f", 1);
    refused(
        &update(&server, "f", &tampered(&desk)),
        400,
        "InvalidCodeSignatureException",
        "even if the code signing policy is set to WARN",
    );
    returns(&server, "f", 1);
    let status = get(&format!("{}/_hikigane/status", server.endpoint())).json();
    assert_eq!(status["signatureValidationErrors"], json!({"f": 2}));

    // Without a configuration nobody asks.
    good(&create(&server, "g", None, &tampered(&desk)));
    returns(&server, "g", 7);
}

/// Publishes a layer: the answer.
fn layer(server: &Server, package: &Path) -> Answer {
    api(
        server,
        "POST",
        "/2018-10-31/layers/l/versions",
        &json!({"Content": {"ZipFile": base64(&std::fs::read(package).unwrap())}}),
    )
}

#[test]
fn layers_of_a_function_must_be_signed_as_its_code() {
    let Some((desk, publisher)) = packages(2) else { return };
    let (_project, server) = up();
    let config = configuration(&server, &publisher, "Enforce");
    let path = |name: &str| desk.path().join(name);
    let plain = good(&layer(&server, &path("plain-2.zip")));
    assert_eq!(plain["Content"].get("SigningJobArn"), None);
    let signed = good(&layer(&server, &path("signed-2.zip")));
    assert_eq!(signed["Content"]["SigningProfileVersionArn"], publisher.as_str());
    refused(
        &layer(&server, &tampered(&desk)),
        400,
        "InvalidCodeSignatureException",
        "The code signature failed the integrity check.",
    );

    let create = |name: &str, layer: &Value| {
        let zip = std::fs::read(desk.path().join("signed-1.zip")).unwrap();
        let members = json!({"Layers": [layer["LayerVersionArn"]], "CodeSigningConfigArn": config});
        create_function(&server, name, &zip, members)
    };
    refused(
        &create("f", &plain),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
    good(&create("f", &signed));
    returns(&server, "f", 1);
    let update = |layer: &Value| {
        let body = json!({"Layers": [layer["LayerVersionArn"]]});
        api(&server, "PUT", "/2015-03-31/functions/f/configuration", &body)
    };
    refused(&update(&plain), 400, "CodeVerificationFailedException", NOT_TRUSTED);
    good(&update(&signed));
    wait_until_ready(&server, "f");
    good(&api(
        &server,
        "DELETE",
        "/2020-06-30/functions/f/code-signing-config",
        &Value::Null,
    ));
    good(&update(&plain));
}

//! Code signing of functions: configurations, what is deployed and what is refused, and the signer API.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{Days, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::signing::{desk, sign};
use crate::support::{Answer, Project, Server, get, invoke, request, value_of, wait_for, zip_of};

const ACCOUNT: &str = "000000000000";

/// Writes a zip of these files.
fn zip(path: &Path, files: &[(&str, &str)]) {
    std::fs::write(path, zip_of(files)).unwrap();
}

fn code(answer: u32) -> String {
    format!("export const handler = async () => {answer};")
}

/// A server without functions, whose clock stands.
fn up() -> (Project, Server) {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up_with(&["--test-mode"]);
    (project, server)
}

fn call(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(
        method,
        &format!("{}{path}", server.endpoint()),
        &[("content-type", "application/json")],
        body.as_bytes(),
    )
}

#[track_caller]
fn good(answer: &Answer) -> Value {
    assert!(
        (200..300).contains(&answer.status),
        "{}: {}",
        answer.status,
        answer.text()
    );
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, message: &str) {
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (status, Some(code)),
        "{}",
        answer.text()
    );
    let body = answer.json();
    let text = body["Message"]
        .as_str()
        .or(body["message"].as_str())
        .unwrap_or_default();
    assert!(text.contains(message), "{text}");
}

/// A code signing configuration's ARN.
fn configuration(server: &Server, publisher: &str, policy: &str) -> String {
    let body = json!({
        "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy},
    });
    let answer = call(server, "POST", "/2020-04-22/code-signing-configs", &body);
    let config = &good(&answer)["CodeSigningConfig"];
    config["CodeSigningConfigArn"].as_str().unwrap().to_owned()
}

fn create(server: &Server, name: &str, config: Option<&str>, package: &Path) -> Answer {
    let mut body = json!({
        "FunctionName": name,
        "Runtime": "nodejs22.x",
        "Role": "arn:aws:iam::000000000000:role/r",
        "Handler": "index.handler",
        "Code": {"ZipFile": base64(package)},
    });
    if let Some(config) = config {
        body["CodeSigningConfigArn"] = config.into();
    }
    call(server, "POST", "/2015-03-31/functions", &body)
}

fn update(server: &Server, name: &str, package: &Path) -> Answer {
    wait_until_settled(server, name);
    call(
        server,
        "PUT",
        &format!("/2015-03-31/functions/{name}/code"),
        &json!({"ZipFile": base64(package)}),
    )
}

fn base64(package: &Path) -> String {
    BASE64_STANDARD.encode(std::fs::read(package).unwrap())
}

/// Waits until a function's last change is in force.
#[track_caller]
fn wait_until_settled(server: &Server, name: &str) {
    let url = format!("{}/2015-03-31/functions/{name}/configuration", server.endpoint());
    wait_for("the function to be settled", || {
        let shown = get(&url).json();
        (shown["State"] == "Active" && shown["LastUpdateStatus"] == "Successful").then_some(())
    });
}

#[track_caller]
fn returns(server: &Server, name: &str, expect: u32) {
    wait_until_settled(server, name);
    assert_eq!(value_of(&invoke(server.endpoint(), name, "{}")), json!(expect));
}

/// A desk with `signed-1.zip`, whose code returns 1, and so on: signed for 90 days. And the publisher's ARN.
fn packages(count: u32) -> Option<(TempDir, String)> {
    let desk = desk("P-384")?;
    let mut publisher = String::new();
    for number in 1..=count {
        zip(
            &desk.path().join(format!("plain-{number}.zip")),
            &[("index.mjs", &code(number))],
        );
        let told =
            format!("--key key.pem --cert cert.pem --expires 90d --json plain-{number}.zip -o signed-{number}.zip");
        let told: Value = serde_json::from_str(&sign(&desk, &told).unwrap()).unwrap();
        publisher = told["profileVersionArn"].as_str().unwrap().to_owned();
    }
    Some((desk, publisher))
}

/// Other code with the signature of a signed package: what a tool makes that unpacks, changes and packs again.
fn tampered(desk: &TempDir) -> PathBuf {
    const SIGNATURE: &str = "META-INF/hikigane-signature.jws";
    let bytes = std::fs::read(desk.path().join("signed-1.zip")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (_, rest) = text.split_once(SIGNATURE).unwrap();
    let (signature, _) = rest.split_once("PK").unwrap();
    let path = desk.path().join("tampered.zip");
    zip(&path, &[("index.mjs", &code(7)), (SIGNATURE, signature)]);
    path
}

const NOT_TRUSTED: &str = "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not configured to accept. Check the provided signature for f.";

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
    good(&call(&server, "PUT", &revoke, &json!({"reason": "leaked"})));
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
        call(&server, "PUT", &format!("/signing-profiles/{name}/revoke"), &body)
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
    good(&call(&server, "POST", "/_hikigane/clock", &json!({"to": later})));
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

#[test]
fn configurations_are_made_changed_listed_and_deleted() {
    let (project, server) = up();
    let publisher = format!("arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/test/AbCdEfGh12");
    let base = "/2020-04-22/code-signing-configs";
    let body = json!({
        "Description": "Testing CodeSigning Config",
        "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
    });
    let answer = call(&server, "POST", base, &body);
    assert_eq!(answer.status, 201);
    let config = answer.json()["CodeSigningConfig"].clone();
    let arn = config["CodeSigningConfigArn"].as_str().unwrap();
    let id = config["CodeSigningConfigId"].as_str().unwrap();
    assert_eq!(
        config,
        json!({
            "CodeSigningConfigId": id,
            "CodeSigningConfigArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:code-signing-config:{id}"),
            "Description": "Testing CodeSigning Config",
            "AllowedPublishers": {"SigningProfileVersionArns": [publisher]},
            "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
            "LastModified": config["LastModified"],
        })
    );
    assert_eq!(id.len(), 21);

    let body = json!({"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"}});
    let changed = good(&call(&server, "PUT", &format!("{base}/{arn}"), &body));
    assert_eq!(
        changed["CodeSigningConfig"]["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"],
        "Enforce"
    );
    assert_eq!(
        changed["CodeSigningConfig"]["Description"],
        "Testing CodeSigning Config"
    );
    assert_eq!(
        good(&call(&server, "GET", &format!("{base}/{arn}"), &Value::Null)),
        changed
    );
    let listed = good(&call(&server, "GET", &format!("{base}/"), &Value::Null));
    assert_eq!(listed, json!({"CodeSigningConfigs": [changed["CodeSigningConfig"]]}));

    let tags = format!("/2017-03-31/tags/{arn}");
    good(&call(&server, "POST", &tags, &json!({"Tags": {"team": "a"}})));
    let shown = good(&call(&server, "GET", &tags, &Value::Null));
    assert_eq!(shown, json!({"Tags": {"team": "a"}}));

    zip(&project.join("plain.zip"), &[("index.mjs", &code(1))]);
    good(&create(&server, "f", None, &project.join("plain.zip")));
    let own = "/2020-06-30/functions/f/code-signing-config";
    assert_eq!(
        good(&call(&server, "GET", own, &Value::Null)),
        json!({"FunctionName": "f"})
    );
    let pair = json!({"CodeSigningConfigArn": arn, "FunctionName": "f"});
    let body = json!({"CodeSigningConfigArn": arn});
    assert_eq!(good(&call(&server, "PUT", own, &body)), pair);
    assert_eq!(good(&call(&server, "GET", own, &Value::Null)), pair);
    let functions = format!("{base}/{arn}/functions");
    assert_eq!(
        good(&call(&server, "GET", &functions, &Value::Null)),
        json!({"FunctionArns": [format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f")]})
    );
    let answer = call(&server, "DELETE", &format!("{base}/{arn}"), &Value::Null);
    refused(&answer, 409, "ResourceConflictException", "the function f uses it");

    // All of it is there after a start.
    drop(server);
    let server = project.up_with(&["--test-mode"]);
    assert_eq!(good(&call(&server, "GET", own, &Value::Null)), pair);
    assert_eq!(call(&server, "DELETE", own, &Value::Null).status, 204);
    assert_eq!(
        call(&server, "DELETE", &format!("{base}/{arn}"), &Value::Null).status,
        204
    );

    let message = format!("The Lambda code signing configuration {arn} can not be found.");
    let answer = call(&server, "GET", &format!("{base}/{arn}"), &Value::Null);
    refused(&answer, 404, "ResourceNotFoundException", &message);
    assert_eq!(answer.json(), json!({"Message": message}));
    for (method, path) in [
        ("PUT", format!("{base}/{arn}")),
        ("DELETE", format!("{base}/{arn}")),
        ("GET", functions),
    ] {
        refused(
            &call(&server, method, &path, &json!({})),
            404,
            "ResourceNotFoundException",
            &message,
        );
    }
    let message = format!(
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    );
    let answer = call(&server, "PUT", own, &body);
    refused(&answer, 404, "CodeSigningConfigNotFoundException", &message);
    assert_eq!(answer.json(), json!({"Type": "User", "Message": message}));
    refused(
        &create(&server, "g", Some(arn), &project.join("plain.zip")),
        404,
        "CodeSigningConfigNotFoundException",
        &message,
    );
    refused(
        &call(
            &server,
            "POST",
            base,
            &json!({"AllowedPublishers": {"SigningProfileVersionArns": []}}),
        ),
        400,
        "ValidationException",
        "allowedPublishers.signingProfileVersionArns",
    );
}

#[test]
fn signing_profiles_are_made_shown_canceled_and_revoked() {
    let (project, server) = up();
    let path = "/signing-profiles/release";
    let body = json!({
        "platformId": "AWSLambda-SHA384-ECDSA",
        "signatureValidityPeriod": {"value": 6, "type": "MONTHS"},
        "tags": {"team": "a"},
    });
    let made = good(&call(&server, "PUT", path, &body));
    let version = made["profileVersion"].as_str().unwrap().to_owned();
    let arn = format!("arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/release");
    assert_eq!(
        made,
        json!({"arn": arn, "profileVersion": version, "profileVersionArn": format!("{arn}/{version}")})
    );
    let shown = good(&call(&server, "GET", path, &Value::Null));
    assert_eq!(
        shown,
        json!({
            "profileName": "release",
            "profileVersion": version,
            "profileVersionArn": format!("{arn}/{version}"),
            "signatureValidityPeriod": {"value": 6, "type": "MONTHS"},
            "platformId": "AWSLambda-SHA384-ECDSA",
            "platformDisplayName": "AWS Lambda",
            "status": "Active",
            "arn": arn,
            "tags": {"team": "a"},
        })
    );
    // A profile that is put again has a new key under a new version.
    let again = good(&call(&server, "PUT", path, &body));
    assert_ne!(again["profileVersion"], version.as_str());

    // The keys are for the server's owner alone.
    use std::os::unix::fs::PermissionsExt;
    let data = project.join(".hikigane");
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o077, 0);

    drop(server);
    let server = project.up_with(&["--test-mode"]);
    let listed = |query: &str| {
        let all = good(&call(
            &server,
            "GET",
            &format!("/signing-profiles{query}"),
            &Value::Null,
        ));
        let names = all["profiles"].as_array().unwrap().iter();
        names
            .map(|profile| {
                format!(
                    "{} {}",
                    profile["profileName"].as_str().unwrap(),
                    profile["status"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(""), ["release Active"]);
    let latest = again["profileVersion"].as_str().unwrap();
    let revoke = json!({"profileVersion": latest, "reason": "stolen", "effectiveTime": 1_700_000_000});
    good(&call(&server, "PUT", "/signing-profiles/release/revoke", &revoke));
    assert_eq!(listed(""), ["release Revoked"]);
    let record = good(&call(&server, "GET", path, &Value::Null))["revocationRecord"].clone();
    assert_eq!(record["revocationEffectiveFrom"], 1_700_000_000);
    good(&call(&server, "DELETE", path, &Value::Null));
    assert!(listed("").is_empty());
    assert_eq!(listed("?includeCanceled=true"), ["release Canceled"]);
    assert_eq!(listed("?statuses=Active"), Vec::<String>::new());

    let put = |name: &str, body: Value| call(&server, "PUT", &format!("/signing-profiles/{name}"), &body);
    refused(
        &put("x1", json!({"platformId": "AmazonFreeRTOS-Default"})),
        400,
        "ValidationException",
        "use AWSLambda-SHA384-ECDSA",
    );
    refused(
        &put(&"a1".repeat(32), body.clone()),
        400,
        "ValidationException",
        "must not be 64 hexadecimal digits",
    );
    let long =
        json!({"platformId": "AWSLambda-SHA384-ECDSA", "signatureValidityPeriod": {"value": 12, "type": "YEARS"}});
    refused(&put("x1", long), 400, "ValidationException", "from 1 day to 135 months");
    for (method, path) in [
        ("GET", "/signing-profiles/absent"),
        ("DELETE", "/signing-profiles/absent"),
    ] {
        refused(
            &call(&server, method, path, &Value::Null),
            404,
            "ResourceNotFoundException",
            "absent not found",
        );
    }
    let revoke = json!({"profileVersion": "AbCdEfGh12", "reason": "x", "effectiveTime": 1});
    refused(
        &call(&server, "PUT", "/signing-profiles/release/revoke", &revoke),
        404,
        "ResourceNotFoundException",
        "release with version AbCdEfGh12 not found",
    );
    refused(
        &call(&server, "PUT", "/signing-jobs/nothing/revoke", &json!({"reason": "x"})),
        400,
        "ValidationException",
        "nothing is not the id of a signing job",
    );
}

#[test]
fn profiles_have_tags_and_one_platform() {
    let (_project, server) = up();
    let body = json!({"platformId": "AWSLambda-SHA384-ECDSA", "tags": {"a": "1"}});
    let made = good(&call(&server, "PUT", "/signing-profiles/release", &body));
    let tags = format!("/tags/{}", made["arn"].as_str().unwrap().replace('/', "%2F"));
    good(&call(&server, "POST", &tags, &json!({"tags": {"b": "2", "c": "3"}})));
    good(&call(
        &server,
        "DELETE",
        &format!("{tags}?tagKeys=a&tagKeys=c"),
        &Value::Null,
    ));
    assert_eq!(
        good(&call(&server, "GET", &tags, &Value::Null)),
        json!({"tags": {"b": "2"}})
    );
    let platforms = good(&call(&server, "GET", "/signing-platforms", &Value::Null));
    assert_eq!(platforms["platforms"].as_array().unwrap().len(), 1);
    let one = good(&call(
        &server,
        "GET",
        "/signing-platforms/AWSLambda-SHA384-ECDSA",
        &Value::Null,
    ));
    assert_eq!(one, platforms["platforms"][0]);
    refused(
        &call(&server, "GET", "/signing-platforms/other", &Value::Null),
        400,
        "ValidationException",
        "other is not there",
    );
}

/// Publishes a layer: the answer.
fn layer(server: &Server, package: &Path) -> Answer {
    call(
        server,
        "POST",
        "/2018-10-31/layers/l/versions",
        &json!({"Content": {"ZipFile": base64(package)}}),
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
        let body = json!({
            "FunctionName": name,
            "Runtime": "nodejs22.x",
            "Role": "arn:aws:iam::000000000000:role/r",
            "Handler": "index.handler",
            "Code": {"ZipFile": base64(&path("signed-1.zip"))},
            "Layers": [layer["LayerVersionArn"]],
            "CodeSigningConfigArn": config,
        });
        call(&server, "POST", "/2015-03-31/functions", &body)
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
        call(&server, "PUT", "/2015-03-31/functions/f/configuration", &body)
    };
    refused(&update(&plain), 400, "CodeVerificationFailedException", NOT_TRUSTED);
    good(&update(&signed));
    wait_until_settled(&server, "f");
    good(&call(
        &server,
        "DELETE",
        "/2020-06-30/functions/f/code-signing-config",
        &Value::Null,
    ));
    good(&update(&plain));
}

/// Runs the real `aws` command line; `None` when there is none on this machine.
fn aws(server: &Server, project: &Project, arguments: &str) -> Option<Value> {
    let output = Command::new("aws")
        .args(["--endpoint-url", server.endpoint(), "--output", "json"])
        .args(arguments.split(' '))
        .current_dir(project.path())
        .env("AWS_CONFIG_FILE", project.join("aws.ini"))
        .env("AWS_PAGER", "")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => {
            let output = output.unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments}: {error}");
            let text = String::from_utf8(output.stdout).unwrap();
            Some(serde_json::from_str(&text).unwrap_or_default())
        }
    }
}

const BUCKETS: &str = "functions: {}\nsources:\n  s3: { buckets: { code: { path: ./code } } }\n";

#[test]
fn a_profile_signs_objects_for_the_aws_command_line() {
    let project = Project::new(BUCKETS, &[]);
    project.mkdir("code");
    zip(&project.join("code/app.zip"), &[("index.mjs", &code(1))]);
    let server = project.up();
    let profile = "signer put-signing-profile --profile-name release --platform-id AWSLambda-SHA384-ECDSA";
    let Some(profile) = aws(&server, &project, profile) else {
        return eprintln!("skipped: there is no `aws` command here");
    };
    let aws = |arguments: &str| aws(&server, &project, arguments).unwrap();
    let start = "signer start-signing-job --profile-name release --client-request-token t1 \
        --source s3={bucketName=code,key=app.zip,version=null} --destination s3={bucketName=code,prefix=signed/app-}";
    let job = aws(start);
    let id = job["jobId"].as_str().unwrap();
    aws(&format!("signer wait successful-signing-job --job-id {id}"));
    let shown = aws(&format!("signer describe-signing-job --job-id {id}"));
    assert_eq!(shown["status"], "Succeeded");
    assert_eq!(shown["profileVersion"], profile["profileVersion"]);
    let key = shown["signedObject"]["s3"]["key"].as_str().unwrap();
    assert_eq!(key, format!("signed/app-{id}.zip"));
    // The same request is served once.
    assert_eq!(aws(start), job);
    let listed = aws("signer list-signing-jobs --status Succeeded --no-is-revoked");
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);

    let publisher = profile["profileVersionArn"].as_str().unwrap();
    let config = aws(&format!(
        "lambda create-code-signing-config --allowed-publishers SigningProfileVersionArns={publisher} \
         --code-signing-policies UntrustedArtifactOnDeployment=Enforce"
    ));
    let config = config["CodeSigningConfig"]["CodeSigningConfigArn"]
        .as_str()
        .unwrap()
        .to_owned();
    let function = aws(&format!(
        "lambda create-function --function-name f --runtime nodejs22.x --handler index.handler \
         --role arn:aws:iam::000000000000:role/r --code S3Bucket=code,S3Key={key} --code-signing-config-arn {config}"
    ));
    assert_eq!(function["SigningProfileVersionArn"], publisher);
    assert!(function["SigningJobArn"].as_str().unwrap().ends_with(id));
    returns(&server, "f", 1);

    aws(&format!("signer revoke-signature --job-id {id} --reason wrong"));
    let shown = aws(&format!("signer describe-signing-job --job-id {id}"));
    assert_eq!(shown["revocationRecord"]["reason"], "wrong");
    let update = json!({"S3Bucket": "code", "S3Key": key});
    refused(
        &call(&server, "PUT", "/2015-03-31/functions/f/code", &update),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
}

#[test]
fn signing_jobs_say_what_is_in_their_way() {
    let project = Project::new(BUCKETS, &[("code/app.zip", "no zip")]);
    let server = project.up();
    good(&call(
        &server,
        "PUT",
        "/signing-profiles/release",
        &json!({"platformId": "AWSLambda-SHA384-ECDSA"}),
    ));
    let mut token = 0;
    let mut start = |profile: &str, source: (&str, &str), prefix: &str| {
        token += 1;
        let body = json!({
            "profileName": profile,
            "clientRequestToken": token.to_string(),
            "source": {"s3": {"bucketName": source.0, "key": source.1, "version": "null"}},
            "destination": {"s3": {"bucketName": "code", "prefix": prefix}},
        });
        call(&server, "POST", "/signing-jobs", &body)
    };
    let failed = good(&start("release", ("code", "app.zip"), ""));
    let job = call(
        &server,
        "GET",
        &format!("/signing-jobs/{}", failed["jobId"].as_str().unwrap()),
        &Value::Null,
    );
    let job = good(&job);
    assert_eq!(job["status"], "Failed");
    let reason = job["statusReason"].as_str().unwrap();
    assert!(reason.contains("it is no plain zip"), "{reason}");

    zip(&project.join("code/app.zip"), &[("index.mjs", &code(1))]);
    for (source, why) in [
        (("other", "app.zip"), "NoSuchBucket"),
        (("code", "absent.zip"), "NoSuchKey"),
        (("code", "../hikigane.yaml"), "NoSuchKey"),
    ] {
        let answer = start("release", source, "");
        refused(&answer, 400, "InvalidParameterValueException", why);
    }
    let answer = start("release", ("code", "app.zip"), "../");
    refused(&answer, 400, "InvalidParameterValueException", "InvalidArgument");
    refused(
        &start("absent", ("code", "app.zip"), ""),
        404,
        "ResourceNotFoundException",
        "absent not found",
    );
    good(&call(&server, "DELETE", "/signing-profiles/release", &Value::Null));
    refused(
        &start("release", ("code", "app.zip"), ""),
        400,
        "ValidationException",
        "it is Canceled",
    );
    refused(
        &call(&server, "GET", "/signing-jobs/absent", &Value::Null),
        404,
        "ResourceNotFoundException",
        "absent not found",
    );
}

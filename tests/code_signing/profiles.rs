//! Signing profiles, and the jobs that sign with them.

use serde_json::{Value, json};

use super::{ACCOUNT, NOT_TRUSTED, code, good, refused, returns, up, zip};
use crate::support::{ANYBODY, Project, api, aws};

#[test]
fn signing_profiles_are_made_shown_canceled_and_revoked() {
    let (project, server) = up();
    let path = "/signing-profiles/release";
    let body = json!({
        "platformId": "AWSLambda-SHA384-ECDSA",
        "signatureValidityPeriod": {"value": 6, "type": "MONTHS"},
        "tags": {"team": "a"},
    });
    let made = good(&api(&server, "PUT", path, &body));
    let version = made["profileVersion"].as_str().unwrap().to_owned();
    let arn = format!("arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/release");
    assert_eq!(
        made,
        json!({"arn": arn, "profileVersion": version, "profileVersionArn": format!("{arn}/{version}")})
    );
    let shown = good(&api(&server, "GET", path, &Value::Null));
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
    let again = good(&api(&server, "PUT", path, &body));
    assert_ne!(again["profileVersion"], version.as_str());

    // The keys are for the server's owner alone.
    use std::os::unix::fs::PermissionsExt;
    let data = project.join(".hikigane");
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o077, 0);

    drop(server);
    let server = project.up_with(&["--test-mode"]);
    let listed = |query: &str| {
        let all = good(&api(&server, "GET", &format!("/signing-profiles{query}"), &Value::Null));
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
    good(&api(&server, "PUT", "/signing-profiles/release/revoke", &revoke));
    assert_eq!(listed(""), ["release Revoked"]);
    let record = good(&api(&server, "GET", path, &Value::Null))["revocationRecord"].clone();
    assert_eq!(record["revocationEffectiveFrom"], 1_700_000_000);
    good(&api(&server, "DELETE", path, &Value::Null));
    assert!(listed("").is_empty());
    assert_eq!(listed("?includeCanceled=true"), ["release Canceled"]);
    assert_eq!(listed("?statuses=Active"), Vec::<String>::new());

    let put = |name: &str, body: Value| api(&server, "PUT", &format!("/signing-profiles/{name}"), &body);
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
            &api(&server, method, path, &Value::Null),
            404,
            "ResourceNotFoundException",
            "absent not found",
        );
    }
    let revoke = json!({"profileVersion": "AbCdEfGh12", "reason": "x", "effectiveTime": 1});
    refused(
        &api(&server, "PUT", "/signing-profiles/release/revoke", &revoke),
        404,
        "ResourceNotFoundException",
        "release with version AbCdEfGh12 not found",
    );
    refused(
        &api(&server, "PUT", "/signing-jobs/nothing/revoke", &json!({"reason": "x"})),
        400,
        "ValidationException",
        "nothing is not the id of a signing job",
    );
}

#[test]
fn profiles_have_tags_and_one_platform() {
    let (_project, server) = up();
    let body = json!({"platformId": "AWSLambda-SHA384-ECDSA", "tags": {"a": "1"}});
    let made = good(&api(&server, "PUT", "/signing-profiles/release", &body));
    let tags = format!("/tags/{}", made["arn"].as_str().unwrap().replace('/', "%2F"));
    good(&api(&server, "POST", &tags, &json!({"tags": {"b": "2", "c": "3"}})));
    good(&api(
        &server,
        "DELETE",
        &format!("{tags}?tagKeys=a&tagKeys=c"),
        &Value::Null,
    ));
    assert_eq!(
        good(&api(&server, "GET", &tags, &Value::Null)),
        json!({"tags": {"b": "2"}})
    );
    let platforms = good(&api(&server, "GET", "/signing-platforms", &Value::Null));
    assert_eq!(platforms["platforms"].as_array().unwrap().len(), 1);
    let one = good(&api(
        &server,
        "GET",
        "/signing-platforms/AWSLambda-SHA384-ECDSA",
        &Value::Null,
    ));
    assert_eq!(one, platforms["platforms"][0]);
    refused(
        &api(&server, "GET", "/signing-platforms/other", &Value::Null),
        400,
        "ValidationException",
        "other is not there",
    );
}

const BUCKETS: &str = "functions: {}\nsources:\n  s3: { buckets: { code: { path: ./code } } }\n";

#[test]
fn a_profile_signs_objects_for_the_aws_command_line() {
    let project = Project::new(BUCKETS, &[]);
    project.mkdir("code");
    zip(&project.join("code/app.zip"), &[("index.mjs", &code(1))]);
    let server = project.up();
    let aws = |line: &str| {
        let (good, said) = aws(&server, &project, ANYBODY, &line.split(' ').collect::<Vec<_>>())?;
        assert!(good, "{line}: {said}");
        Some(said)
    };
    let profile = "signer put-signing-profile --profile-name release --platform-id AWSLambda-SHA384-ECDSA";
    let Some(profile) = aws(profile) else { return };
    let aws = |line: &str| aws(line).unwrap();
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
        &api(&server, "PUT", "/2015-03-31/functions/f/code", &update),
        400,
        "CodeVerificationFailedException",
        NOT_TRUSTED,
    );
}

#[test]
fn signing_jobs_say_what_is_in_their_way() {
    let project = Project::new(BUCKETS, &[("code/app.zip", "no zip")]);
    let server = project.up();
    good(&api(
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
        api(&server, "POST", "/signing-jobs", &body)
    };
    let failed = good(&start("release", ("code", "app.zip"), ""));
    let job = api(
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
    good(&api(&server, "DELETE", "/signing-profiles/release", &Value::Null));
    refused(
        &start("release", ("code", "app.zip"), ""),
        400,
        "ValidationException",
        "it is Canceled",
    );
    refused(
        &api(&server, "GET", "/signing-jobs/absent", &Value::Null),
        404,
        "ResourceNotFoundException",
        "absent not found",
    );
}

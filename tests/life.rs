//! The whole life of a function, as real clients lead it.

use serde_json::json;

use crate::support::{ANYBODY, Project, Server, aws, base64, boto3, invoke, lacking, value_of, zip_of};

const ROLE: &str = "arn:aws:iam::000000000000:role/r";

fn server() -> (Project, Server) {
    let project = Project::new(
        "functions:\n  declared: { code: ./declared.js }\n",
        &[("declared.js", "exports.handler = async () => 'declared';")],
    );
    let server = project.up();
    (project, server)
}

#[test]
fn boto3_leads_a_function_from_its_creation_to_its_end() {
    let (project, server) = server();
    let Some(seen) = boto3(&server, &project, ANYBODY, include_str!("clients/life.py")) else {
        return;
    };
    let throttled = json!([
        429,
        "TooManyRequestsException",
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    ]);
    assert_eq!(
        seen,
        json!({
            "created": ["Pending", "$LATEST"],
            "called": [200, "$LATEST", "one"],
            "version": "1",
            "second": "2",
            "versions": [[200, "1", "one"], [200, "2", "two"]],
            "shared": [300, true],
            "layered": [200, "$LATEST", "from the layer"],
            "throttled": [throttled, throttled, null],
            "provisioned": ["READY", 1],
            "policy": "all",
            "url": [200, "two"],
            "retries": 0,
            "tags": {"k": "v"},
            "deleted": [404, "ResourceNotFoundException", null],
            "left": ["declared", "slow"],
            "unsupported": [501, "NotImplementedException", null],
        })
    );
}

#[test]
fn the_aws_command_line_leads_a_function_from_its_creation_to_its_end() {
    let (project, server) = server();
    for (name, answer) in [("one", "'one'"), ("two", "process.env.SAY ?? 'two'")] {
        let zip = zip_of(&[("index.js", &format!("exports.handler = async () => {answer};"))]);
        std::fs::write(project.join(&format!("{name}.zip")), zip).unwrap();
    }
    let layer = zip_of(&[("nodejs/node_modules/tool/index.js", "module.exports = 1;")]);
    std::fs::write(project.join("layer.zip"), layer).unwrap();
    let run = |command: &str| {
        let arguments: Vec<&str> = ["lambda"].into_iter().chain(command.split_whitespace()).collect();
        aws(&server, &project, ANYBODY, &arguments)
    };
    let done = |command: &str| {
        let (good, said) = run(command).unwrap();
        assert!(good, "{command}: {said}");
        said
    };
    let answer = |qualifier: &str| {
        let said = done(&format!(
            "invoke --function-name life --qualifier {qualifier} answer.json"
        ));
        let answer = std::fs::read_to_string(project.join("answer.json")).unwrap();
        (said["ExecutedVersion"].as_str().unwrap().to_owned(), answer)
    };

    let create = format!(
        "create-function --function-name life --runtime nodejs22.x --role {ROLE} --handler index.handler --zip-file fileb://one.zip"
    );
    let Some((good, created)) = run(&create) else { return };
    assert!(good, "{created}");
    done("wait function-active-v2 --function-name life");
    assert_eq!(answer("$LATEST"), ("$LATEST".into(), "\"one\"".into()));
    assert_eq!(done("publish-version --function-name life")["Version"], "1");
    done("update-function-code --function-name life --zip-file fileb://two.zip");
    done("wait function-updated-v2 --function-name life");
    let layer = done("publish-layer-version --layer-name tools --zip-file fileb://layer.zip");
    done(&format!(
        "update-function-configuration --function-name life --environment Variables={{SAY=said}} --layers {}",
        layer["LayerVersionArn"].as_str().unwrap()
    ));
    done("wait function-updated-v2 --function-name life");
    assert_eq!(done("publish-version --function-name life")["Version"], "2");

    let alias = done(
        "create-alias --function-name life --name live --function-version 1 --routing-config AdditionalVersionWeights={2=0.1}",
    );
    assert_eq!(alias["RoutingConfig"]["AdditionalVersionWeights"]["2"], 0.1);
    done(
        "update-alias --function-name life --name live --function-version 2 --routing-config AdditionalVersionWeights={}",
    );
    assert_eq!(answer("live"), ("2".into(), "\"said\"".into()));

    done("put-function-concurrency --function-name life --reserved-concurrent-executions 5");
    let reserved = done("get-function-concurrency --function-name life");
    assert_eq!(reserved["ReservedConcurrentExecutions"], 5);
    done(
        "put-provisioned-concurrency-config --function-name life --qualifier live --provisioned-concurrent-executions 1",
    );
    done("create-function-url-config --function-name life --auth-type NONE");
    done(
        "add-permission --function-name life --statement-id s --action lambda:InvokeFunction --principal s3.amazonaws.com",
    );
    done("delete-function --function-name life");
    let (good, said) = run("get-function --function-name life").unwrap();
    let text = said.as_str().unwrap();
    assert!(
        !good && text.contains("(ResourceNotFoundException) when calling the GetFunction operation: Function not found: arn:aws:lambda:us-east-1:000000000000:function:life"),
        "{text}"
    );
    let (good, said) = run("list-durable-executions-by-function --function-name declared").unwrap();
    let text = said.as_str().unwrap();
    assert!(!good && text.contains("(NotImplementedException)"), "{text}");
}

#[test]
fn awss_sdk_for_javascript_leads_a_function_from_its_creation_to_its_end() {
    let Some(directory) = crate::npm::install() else {
        return lacking("`npm` command");
    };
    std::fs::write(directory.join("life.mjs"), include_str!("clients/life.mjs")).unwrap();
    // JSON is YAML.
    let manifest = json!({"functions": {"life": {
        "code": directory, "handler": "life.handler", "timeout": "60s", "memory": "512MB", "allow": {"net": ["*"]},
    }}});
    let project = Project::new(&manifest.to_string(), &[]);
    let server = project.up();
    let answers = |value: &str| zip_of(&[("index.mjs", &format!("export const handler = async () => '{value}';"))]);
    let event = json!({
        "one": base64(&answers("one")),
        "two": base64(&answers("two")),
        "layer": base64(&zip_of(&[("nodejs/shared.js", "exports.value = 1;")])),
    });
    assert_eq!(
        value_of(&invoke(server.endpoint(), "life", &event.to_string())),
        json!({
            "made": ["Pending", "$LATEST", 128],
            "first": "one",
            "published": "1",
            "second": "two",
            "publishedAgain": "2",
            "split": ["one", "two"],
            "stream": "\"two\"",
            "layers": 1,
            "throttled": ["TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded"],
            "provisioned": "READY",
            "url": true,
            "policy": 1,
            "gone": ["ResourceNotFoundException", null],
        })
    );
}

//! IAM and STS, as clients of Lambda call them.

use serde_json::json;

use crate::support::{ANYBODY, Project, Server, aws, boto3, get, post, request};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

fn server() -> (Project, Server) {
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs }\n",
        &[("a.mjs", "export const handler = async () => 1;")],
    );
    let server = project.up();
    (project, server)
}

#[test]
fn the_aws_command_line_makes_a_role() {
    let (project, server) = server();
    let run = |arguments: &[&str]| aws(&server, &project, ANYBODY, arguments);
    let create = [
        "iam",
        "create-role",
        "--role-name",
        "r",
        "--assume-role-policy-document",
        TRUST,
    ];
    let Some((good, role)) = run(&create) else { return };
    assert!(good, "{role}");
    assert_eq!(role["Role"]["Arn"], "arn:aws:iam::000000000000:role/r");
    assert_eq!(
        role["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Effect"],
        "Allow"
    );
    let (good, error) = run(&create).unwrap();
    assert!(
        !good && error.as_str().unwrap().contains("(EntityAlreadyExists)"),
        "{error}"
    );
    let (good, error) = run(&["iam", "get-role", "--role-name", "absent"]).unwrap();
    let text = "(NoSuchEntity) when calling the GetRole operation: The role with name absent cannot be found.";
    assert!(!good && error.as_str().unwrap().contains(text), "{error}");
    let (good, identity) = run(&["sts", "get-caller-identity"]).unwrap();
    assert!(good, "{identity}");
    assert_eq!(
        identity,
        json!({"UserId": "000000000000", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"})
    );
}

/// What Terraform does around a function: a role with an inline policy, one of its own and one of AWS's, tags, and all of it undone.
const LIFE: &str = r#"
import boto3, datetime, json
iam, sts = boto3.client("iam"), boto3.client("sts")
doc = json.dumps({"Version": "2012-10-17", "Statement": [{"Resource": "a<b>&\"c\" é%20+"}]})
out = {}
def fails(call, **arguments):
    try:
        call(**arguments)
        return None
    except Exception as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Message"]]
iam.create_role(RoleName="r", Path="/app/", AssumeRolePolicyDocument=doc, Description="<d> & é", Tags=[{"Key": "k", "Value": "v w"}, {"Key": "l", "Value": ""}])
role = iam.get_role(RoleName="r")["Role"]
out["role"] = [role["Arn"], role["Description"], role["Tags"], role["MaxSessionDuration"], role["AssumeRolePolicyDocument"] == json.loads(doc), role["RoleId"][:4], len(role["RoleId"])]
out["described"] = iam.update_role_description(RoleName="r", Description="2")["Role"]["Description"]
iam.update_role(RoleName="r", Description="3", MaxSessionDuration=7200); iam.update_assume_role_policy(RoleName="r", PolicyDocument="{}")
role = iam.get_role(RoleName="r")["Role"]
out["updated"] = [role["Description"], role["MaxSessionDuration"], role["AssumeRolePolicyDocument"]]
iam.tag_role(RoleName="r", Tags=[{"Key": "k", "Value": "2"}]); iam.untag_role(RoleName="r", TagKeys=["l"])
out["tags"] = iam.list_role_tags(RoleName="r")["Tags"]
iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=doc)
out["inline"] = [iam.list_role_policies(RoleName="r")["PolicyNames"], iam.get_role_policy(RoleName="r", PolicyName="p")["PolicyDocument"] == json.loads(doc)]
policy = iam.create_policy(PolicyName="own", PolicyDocument=doc)["Policy"]
arn = policy["Arn"]
managed = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
for attached in (arn, managed): iam.attach_role_policy(RoleName="r", PolicyArn=attached)
out["attached"] = [p["PolicyName"] for p in iam.list_attached_role_policies(RoleName="r")["AttachedPolicies"]]
out["count"] = iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"]
iam.create_policy_version(PolicyArn=arn, PolicyDocument=doc, SetAsDefault=True)
out["versions"] = [[v["VersionId"], v["IsDefaultVersion"]] for v in iam.list_policy_versions(PolicyArn=arn)["Versions"]]
out["document"] = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"] == json.loads(doc)
out["profiles"] = iam.list_instance_profiles_for_role(RoleName="r")["InstanceProfiles"]
out["listed"] = [[r["RoleName"] for r in iam.list_roles(PathPrefix=p)["Roles"]] for p in ("/app/", "/other/")]
out["paged"] = [r["RoleName"] for page in iam.get_paginator("list_roles").paginate() for r in page["Roles"]]
out["refused"] = [
    fails(iam.delete_role, RoleName="r"), fails(iam.delete_policy, PolicyArn=arn), fails(iam.attach_role_policy, RoleName="r", PolicyArn=arn + "x"),
    fails(iam.create_role, RoleName="bad name", AssumeRolePolicyDocument=doc), fails(iam.create_role, RoleName="s", AssumeRolePolicyDocument="no json"),
    fails(iam.get_policy_version, PolicyArn=arn, VersionId="v9"), fails(iam.create_user, UserName="u"),
]
for attached in (arn, managed): iam.detach_role_policy(RoleName="r", PolicyArn=attached)
out["refused"].append(fails(iam.delete_role, RoleName="r"))
iam.delete_role_policy(RoleName="r", PolicyName="p"); iam.delete_policy_version(PolicyArn=arn, VersionId="v1"); iam.delete_policy(PolicyArn=arn)
session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me", DurationSeconds=900)
out["session"] = [session["AssumedRoleUser"]["Arn"], session["Credentials"]["AccessKeyId"][:4], round((session["Credentials"]["Expiration"] - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 60)]
iam.delete_role(RoleName="r")
out["gone"] = fails(iam.get_role, RoleName="r")[0]
print(json.dumps(out))
"#;

#[test]
fn boto3_lives_the_life_of_a_role() {
    let (project, server) = server();
    let Some(out) = boto3(&server, &project, ANYBODY, LIFE) else {
        return;
    };
    assert_eq!(
        out["role"],
        json!([
            "arn:aws:iam::000000000000:role/app/r",
            "<d> & é",
            [{"Key": "k", "Value": "v w"}, {"Key": "l", "Value": ""}],
            3600,
            true,
            "AROA",
            21
        ])
    );
    assert_eq!(out["described"], "2");
    assert_eq!(out["updated"], json!(["3", 7200, {}]));
    assert_eq!(out["tags"], json!([{"Key": "k", "Value": "2"}]));
    assert_eq!(out["inline"], json!([["p"], true]));
    assert_eq!(out["attached"], json!(["own", "AWSLambdaBasicExecutionRole"]));
    assert_eq!(out["count"], 1);
    assert_eq!(out["versions"], json!([["v2", true], ["v1", false]]));
    assert_eq!((&out["document"], &out["profiles"]), (&json!(true), &json!([])));
    assert_eq!(out["listed"], json!([["r"], []]));
    assert_eq!(out["paged"], json!(["r"]));
    let codes: Vec<_> = out["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refusal| (&refusal[0], &refusal[1]))
        .collect();
    let expected = [
        ("DeleteConflict", 409),
        ("DeleteConflict", 409),
        ("NoSuchEntity", 404),
        ("ValidationError", 400),
        ("MalformedPolicyDocument", 400),
        ("NoSuchEntity", 404),
        ("InvalidAction", 400),
        ("DeleteConflict", 409),
    ];
    for (found, (code, status)) in codes.iter().zip(expected) {
        assert_eq!(*found, (&json!(code), &json!(status)), "{out}");
    }
    assert_eq!(
        out["refused"][7][2],
        "Cannot delete entity, must delete policies first."
    );
    assert_eq!(
        out["session"],
        json!(["arn:aws:sts::000000000000:assumed-role/r/me", "ASIA", 15])
    );
    assert_eq!(out["gone"], "NoSuchEntity");
}

#[test]
fn the_session_of_a_role_signs_until_it_ends() {
    let key = ("AKIDEXAMPLE", "a secret of some length");
    let project = Project::new(
        &format!(
            "accessKeys: [{{ id: {}, secret: {} }}]\nfunctions:\n  a: {{ code: ./a.mjs }}\n",
            key.0, key.1
        ),
        &[("a.mjs", "export const handler = async () => 1;")],
    );
    let server = project.up();
    let program = r#"
import boto3, json
from botocore.exceptions import ClientError
c = boto3.client("sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/x/deploy", RoleSessionName="me")["Credentials"]
def session(**changed):
    keys = dict(aws_access_key_id=c["AccessKeyId"], aws_secret_access_key=c["SecretAccessKey"], aws_session_token=c["SessionToken"])
    return boto3.Session(**{**keys, **changed})
def refused(session):
    try:
        return session.client("lambda").list_functions()["Functions"][0]["FunctionName"]
    except ClientError as error:
        return error.response["Error"]["Code"]
print(json.dumps([
    session().client("sts").get_caller_identity()["Arn"], refused(session()), refused(session(aws_session_token=None)),
    refused(session(aws_session_token=c["SessionToken"][:-4])), refused(session(aws_secret_access_key="x" * 40)),
]))
"#;
    let Some(answer) = boto3(&server, &project, key, program) else {
        return;
    };
    assert_eq!(
        answer,
        json!([
            "arn:aws:sts::000000000000:assumed-role/deploy/me",
            "a",
            "UnrecognizedClientException",
            "UnrecognizedClientException",
            "InvalidSignatureException"
        ])
    );
}

#[test]
fn what_is_no_action_is_refused_in_xml() {
    let (_project, server) = server();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = post(server.endpoint(), &form, b"Action=Nothing&Version=2010-05-08");
    assert_eq!(answer.status, 400);
    let text = answer.text();
    for part in [
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type><Code>InvalidAction</Code>",
        "Could not find operation Nothing for version 2010-05-08",
        "</Error><RequestId>",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let answer = post(server.endpoint(), &form, b"Action=CreateRole");
    assert!(answer.text().contains("Value null at 'roleName'"), "{}", answer.text());
    let long = format!("Action=CreateRole&RoleName={}", "x".repeat(300_000));
    assert_eq!(post(server.endpoint(), &form, long.as_bytes()).status, 413);
    assert_eq!(
        get(&format!("{}/?x=1", server.endpoint())).status,
        404,
        "no action at all"
    );
}

#[test]
fn roles_outlive_a_server_that_is_killed_and_a_refusal_changes_nothing() {
    let (project, server) = server();
    let call = |server: &Server, form: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        request("POST", &format!("{}/", server.endpoint()), &headers, form.as_bytes())
    };
    let create = "Action=CreateRole&Version=2010-05-08&RoleName=kept&AssumeRolePolicyDocument=%7B%7D";
    assert_eq!(call(&server, create).status, 200);
    assert_eq!(call(&server, create).status, 409);
    server.kill();

    let server = project.up();
    let get = |name: &str| call(&server, &format!("Action=GetRole&Version=2010-05-08&RoleName={name}"));
    assert!(
        get("kept").text().contains("arn:aws:iam::000000000000:role/kept"),
        "{}",
        get("kept").text()
    );
    let delete = "Action=DeleteRole&Version=2010-05-08&RoleName=kept";
    assert_eq!(call(&server, delete).status, 200);
    assert_eq!(get("kept").status, 404);
}

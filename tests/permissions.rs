//! Resource-based policies.

use serde_json::{Value, json};

use crate::support::{Server, api, assert_recorded, aws_lambda, create, declaring_server, done, empty_server, refused};

const MODULE: &str = "exports.handler = async () => 1;";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn policy(qualifier: &str) -> String {
    format!("/2015-03-31/functions/f/policy{qualifier}")
}

fn permission(sid: &str) -> Value {
    json!({
        "StatementId": sid,
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::inbox",
    })
}

/// The statements and the revision of a policy.
fn statements(server: &Server, qualifier: &str) -> (Vec<Value>, Value) {
    let found = done(server, "GET", &policy(qualifier), &Value::Null, 200);
    let document: Value = serde_json::from_str(found["Policy"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&document["Version"], &document["Id"]),
        (&json!("2012-10-17"), &json!("default"))
    );
    (
        document["Statement"].as_array().unwrap().clone(),
        found["RevisionId"].clone(),
    )
}

fn revision(server: &Server, qualifier: &str) -> Value {
    let path = format!("/2015-03-31/functions/f/configuration{qualifier}");
    done(server, "GET", &path, &Value::Null, 200)["RevisionId"].clone()
}

#[test]
fn a_statement_is_written_as_aws_writes_it() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    let statement = |more: Value| {
        let mut body = json!({"StatementId": "s", "Action": "lambda:InvokeFunction"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let added = done(&server, "POST", &policy(""), &body, 201);
        done(&server, "DELETE", &policy("/s"), &Value::Null, 204);
        let text = added["Statement"].as_str().unwrap().to_owned();
        let start = r#"{"Sid":"s","Effect":"Allow","Principal":"#;
        text.strip_prefix(start).unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let action = format!(r#""Action":"lambda:InvokeFunction","Resource":"{ARN}""#);
    assert_eq!(
        statement(
            json!({"Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "123456789012"})
        ),
        format!(
            r#"{{"Service":"s3.amazonaws.com"}},{action},"Condition":{{"StringEquals":{{"AWS:SourceAccount":"123456789012"}},"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::b"}}}}}}"#
        )
    );
    assert_eq!(
        statement(json!({"Principal": "123456789012"})),
        format!(r#"{{"AWS":"arn:aws:iam::123456789012:root"}},{action}}}"#)
    );
    let role = "arn:aws:iam::123456789012:role/r";
    assert_eq!(
        statement(json!({"Principal": role})),
        format!(r#"{{"AWS":"{role}"}},{action}}}"#)
    );
    assert_eq!(
        statement(json!({"Principal": "*", "EventSourceToken": "amzn1.ask", "PrincipalOrgID": "o-1234567890"})),
        format!(
            r#""*",{action},"Condition":{{"StringEquals":{{"lambda:EventSourceToken":"amzn1.ask","aws:PrincipalOrgID":"o-1234567890"}}}}}}"#
        )
    );
    assert_eq!(
        statement(json!({"Principal": "*", "FunctionUrlAuthType": "NONE"})),
        format!(r#""*",{action},"Condition":{{"StringEquals":{{"lambda:FunctionUrlAuthType":"NONE"}}}}}}"#)
    );
    assert_eq!(
        statement(json!({"Principal": "*", "InvokedViaFunctionUrl": true})),
        format!(r#""*",{action},"Condition":{{"Bool":{{"lambda:InvokedViaFunctionUrl":"true"}}}}}}"#)
    );
}

#[test]
fn function_versions_and_aliases_have_policies_of_their_own() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    done(&server, "POST", "/2015-03-31/functions/f/versions", &json!({}), 201);
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    done(&server, "POST", "/2015-03-31/functions/f/aliases", &alias, 201);
    for (qualifier, ends) in [("", ""), ("?Qualifier=1", ":1"), ("?Qualifier=live", ":live")] {
        assert_eq!(
            refused(&server, "GET", &policy(qualifier), &Value::Null),
            "404 ResourceNotFoundException: The resource you requested does not exist."
        );
        done(&server, "POST", &policy(qualifier), &permission("s3"), 201);
        assert_recorded(&refused(&server, "POST", &policy(qualifier), &permission("s3")));
        let (found, _) = statements(&server, qualifier);
        assert_eq!(found[0]["Resource"], format!("{ARN}{ends}"));
    }
    // A policy's revision is that of what it belongs to, and moves with it.
    for qualifier in ["", "?Qualifier=1"] {
        assert_eq!(statements(&server, qualifier).1, revision(&server, qualifier));
    }
    let alias = done(
        &server,
        "GET",
        "/2015-03-31/functions/f/aliases/live",
        &Value::Null,
        200,
    );
    assert_eq!(statements(&server, "?Qualifier=live").1, alias["RevisionId"]);
    let before = revision(&server, "");
    let mut second = permission("second");
    second["RevisionId"] = "11111111-2222-3333-4444-555555555555".into();
    let stale = refused(&server, "POST", &policy(""), &second);
    assert!(
        stale.ends_with("Call the GetPolicy API to retrieve the latest Revision Id"),
        "{stale}"
    );
    assert_recorded(&stale);
    second["RevisionId"] = before.clone();
    done(&server, "POST", &policy(""), &second, 201);
    assert_ne!(revision(&server, ""), before);
    let stale = format!("/second?RevisionId={}", before.as_str().unwrap());
    assert_recorded(&refused(&server, "DELETE", &policy(&stale), &Value::Null));

    drop(server);
    let server = project.up();
    assert_eq!(statements(&server, "").0.len(), 2);
    done(&server, "DELETE", &policy("/s3"), &Value::Null, 204);
    assert_eq!(statements(&server, "").0[0]["Sid"], "second");
    done(&server, "DELETE", &policy("/second"), &Value::Null, 204);
    assert!(refused(&server, "GET", &policy(""), &Value::Null).starts_with("404 "));
    done(
        &server,
        "DELETE",
        "/2015-03-31/functions/f/aliases/live",
        &Value::Null,
        204,
    );
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    done(&server, "POST", "/2015-03-31/functions/f/aliases", &alias, 201);
    assert!(
        refused(&server, "GET", &policy("?Qualifier=live"), &Value::Null).starts_with("404 "),
        "an alias's policy goes with it"
    );
}

#[test]
fn what_cannot_be_allowed_is_refused_in_awss_words() {
    let (_project, server) = declaring_server();
    create(&server, "f", MODULE);
    let with = |member: &str, value: &str| {
        let mut body = permission("s");
        body[member] = value.into();
        body
    };
    for (path, body) in [
        (policy(""), with("StatementId", "example.com")),
        (policy(""), with("Principal", "invalid.nonaws.com")),
        (policy("?Qualifier=$LATEST"), permission("s")),
        (policy("?Qualifier=aliasdoesnotexist"), permission("s")),
        ("/2015-03-31/functions/f:1/policy?Qualifier=2".into(), permission("s")),
        ("/2015-03-31/functions/doesnotexist/policy".into(), permission("s")),
    ] {
        let refusal = refused(&server, "POST", &path, &body);
        let like_others = refusal.replace(":aliasdoesnotexist", ":doesnotexist");
        assert_recorded(&like_others);
    }
    assert_eq!(
        refused(
            &server,
            "POST",
            &policy("?Qualifier=valid-with-$-but"),
            &permission("s")
        ),
        format!("404 ResourceNotFoundException: Function not found: {ARN}:valid-with-$-but")
    );
    assert_recorded(&refused(&server, "DELETE", &policy("/s"), &Value::Null));
    done(&server, "POST", &policy(""), &permission("s"), 201);
    assert_recorded(&refused(&server, "DELETE", &policy("/non-existent"), &Value::Null));
    assert_eq!(
        refused(
            &server,
            "DELETE",
            "/2015-03-31/functions/doesnotexist/policy/s",
            &Value::Null
        ),
        "404 ResourceNotFoundException: No policy found for: arn:aws:lambda:us-east-1:000000000000:function:doesnotexist"
    );
    let declared = refused(
        &server,
        "POST",
        "/2015-03-31/functions/declared/policy",
        &permission("s"),
    );
    assert!(
        declared.starts_with("409 ") && declared.contains("declared in the manifest"),
        "{declared}"
    );

    // 20 KB of statements, and not one more.
    let too_long = (0..200).find_map(|n| {
        let answer = api(&server, "POST", &policy(""), &permission(&format!("{:0>90}", n)));
        (answer.status != 201).then_some(answer)
    });
    let too_long = too_long.expect("a policy that is too long");
    let code = too_long.header("x-amzn-errortype");
    assert_eq!((too_long.status, code), (400, Some("PolicyLengthExceededException")));
    let said = too_long.json()["message"].as_str().unwrap().to_owned();
    assert!(
        said.starts_with("The final policy size (20") && said.ends_with(") is bigger than the limit (20480)."),
        "{said}"
    );
    let found = done(&server, "GET", &policy(""), &Value::Null, 200);
    assert!(found["Policy"].as_str().unwrap().len() <= 20_480);
}

#[test]
fn the_aws_command_line_manages_permissions() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    let run = |arguments: &[&str]| aws_lambda(&server, &project, arguments);
    let add = "add-permission --function-name f --statement-id s --action lambda:InvokeFunctionUrl --principal * --function-url-auth-type NONE";
    let Some((good, added)) = run(&add.split(' ').collect::<Vec<_>>()) else {
        return;
    };
    assert!(good, "{added}");
    let (good, found) = run(&["get-policy", "--function-name", "f"]).unwrap();
    assert!(
        good && found["Policy"]
            .as_str()
            .unwrap()
            .contains(added["Statement"].as_str().unwrap()),
        "{found}"
    );
    let (good, said) = run(&["remove-permission", "--function-name", "f", "--statement-id", "s"]).unwrap();
    assert!(good, "{said}");
    let (good, said) = run(&["get-policy", "--function-name", "f"]).unwrap();
    assert!(
        !good && said.as_str().unwrap().contains("(ResourceNotFoundException)"),
        "{said}"
    );
}

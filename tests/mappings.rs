//! Event source mappings.

use serde_json::{Value, json};

use crate::support::{Server, api, assert_recorded, aws_lambda, create, done, empty_server, refused, wait_for};

const MODULE: &str = "exports.handler = async () => 1;";
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn sqs(queue: &str) -> String {
    format!("arn:aws:sqs:us-east-1:000000000000:{queue}")
}

fn path(mapping: &Value) -> String {
    format!("{MAPPINGS}/{}", mapping["UUID"].as_str().unwrap())
}

fn get(server: &Server, mapping: &Value) -> Value {
    done(server, "GET", &path(mapping), &Value::Null, 200)
}

fn wait_until(server: &Server, mapping: &Value, state: &str) -> Value {
    wait_for(state, || {
        Some(get(server, mapping)).filter(|found| found["State"] == state)
    })
}

/// A mapping without what differs each time.
fn essence(mapping: &Value) -> Value {
    let mut mapping = mapping.clone();
    let members = mapping.as_object_mut().unwrap();
    let uuid = members.remove("UUID").unwrap();
    assert_eq!(
        members.remove("EventSourceMappingArn").unwrap(),
        format!(
            "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{}",
            uuid.as_str().unwrap()
        )
    );
    assert!(members.remove("LastModified").unwrap().is_f64(), "a number of seconds");
    mapping
}

#[test]
fn a_queue_is_mapped_and_goes_through_awss_states() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    let mapping = json!({"FunctionName": "f", "EventSourceArn": sqs("q")});
    let created = done(&server, "POST", MAPPINGS, &mapping, 202);
    let shown = |state: &str| {
        json!({
            "EventSourceArn": sqs("q"),
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "FunctionResponseTypes": [],
            "FunctionArn": FUNCTION,
            "State": state,
            "StateTransitionReason": "USER_INITIATED",
        })
    };
    assert_eq!(essence(&created), shown("Creating"));
    assert_eq!(essence(&wait_until(&server, &created, "Enabled")), shown("Enabled"));
    let off = json!({"Enabled": false});
    assert_eq!(
        essence(&done(&server, "PUT", &path(&created), &off, 202)),
        shown("Disabling")
    );
    wait_until(&server, &created, "Disabled");
    let filters = json!({"Filters": [{"Pattern": r#"{"body":{"kind":["a"]}}"#}]});
    let change = json!({"BatchSize": 20, "MaximumBatchingWindowInSeconds": 5, "FilterCriteria": filters});
    assert_eq!(done(&server, "PUT", &path(&created), &change, 202)["State"], "Updating");
    let changed = wait_until(&server, &created, "Disabled");
    assert_eq!(
        (
            &changed["BatchSize"],
            &changed["MaximumBatchingWindowInSeconds"],
            &changed["FilterCriteria"]
        ),
        (&json!(20), &json!(5), &filters)
    );

    drop(server);
    let server = project.up();
    assert_eq!(get(&server, &created), changed);
    assert_eq!(
        done(&server, "PUT", &path(&created), &json!({"Enabled": true}), 202)["State"],
        "Enabling"
    );
    wait_until(&server, &created, "Enabled");
    let back = json!({"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FilterCriteria": {}});
    done(&server, "PUT", &path(&created), &back, 202);
    assert_eq!(essence(&wait_until(&server, &created, "Enabled")), shown("Enabled"));
    assert_eq!(
        essence(&done(&server, "DELETE", &path(&created), &Value::Null, 202)),
        shown("Deleting")
    );
    let gone = wait_for("the end of the mapping", || {
        let answer = api(&server, "GET", &path(&created), &Value::Null);
        (answer.status == 404).then_some(answer)
    });
    assert_eq!(
        gone.json(),
        json!({"Type": "User", "Message": "The resource you requested does not exist."})
    );
    for (method, body) in [("PUT", json!({})), ("DELETE", Value::Null)] {
        assert!(refused(&server, method, &path(&created), &body).starts_with("404 ResourceNotFoundException"));
    }
}

#[test]
fn each_kind_of_source_has_awss_defaults() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    let create = |members: Value| {
        let mut body = json!({"FunctionName": "f", "Enabled": false});
        body.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let created = done(&server, "POST", MAPPINGS, &body, 202);
        wait_until(&server, &created, "Disabled")
    };
    let stream = |arn: &str| {
        json!({
            "EventSourceArn": arn,
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 100,
            "BisectBatchOnFunctionError": false,
            "DestinationConfig": {"OnFailure": {}},
            "FunctionArn": FUNCTION,
            "FunctionResponseTypes": [],
            "LastProcessingResult": "No records processed",
            "MaximumBatchingWindowInSeconds": 0,
            "MaximumRecordAgeInSeconds": -1,
            "MaximumRetryAttempts": -1,
            "ParallelizationFactor": 1,
            "State": "Disabled",
            "StateTransitionReason": "User action",
            "TumblingWindowInSeconds": 0,
        })
    };
    for arn in [
        "arn:aws:kinesis:us-east-1:000000000000:stream/s",
        "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2025-02-17T16:33:01.784",
    ] {
        let created = create(json!({"EventSourceArn": arn, "StartingPosition": "TRIM_HORIZON"}));
        assert_eq!(essence(&created), stream(arn));
    }
    let mq = json!({
        "EventSourceArn": "arn:aws:mq:us-east-1:000000000000:broker:b:b-1",
        "Queues": ["q"],
        "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"}],
    });
    let mut shown = mq.clone();
    shown.as_object_mut().unwrap().extend(
        json!({
            "BatchSize": 100,
            "FunctionArn": FUNCTION,
            "LastProcessingResult": "No records processed",
            "State": "Disabled",
            "StateTransitionReason": "USER_INITIATED",
        })
        .as_object()
        .unwrap()
        .clone(),
    );
    assert_eq!(essence(&create(mq)), shown);
    let kafka = create(json!({
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000", "kafka:2000"]}},
        "SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"}],
        "Topics": ["topic"],
        "StartingPosition": "LATEST",
    }));
    assert_eq!(
        kafka["SelfManagedKafkaEventSourceConfig"]["ConsumerGroupId"],
        kafka["UUID"]
    );
    let at = create(json!({
        "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/at",
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": "2025-02-17T16:33:01.500Z",
    }));
    assert_eq!(at["StartingPositionTimestamp"], 1_739_809_981.5);
}

#[test]
fn what_cannot_be_mapped_is_refused_in_awss_words() {
    let (_project, server) = empty_server();
    create(&server, "f", MODULE);
    let kafka = json!({
        "FunctionName": "f",
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000", "kafka:2000"]}},
        "SourceAccessConfigurations": [],
        "Topics": ["topic"],
    });
    let queue = json!({"FunctionName": "f", "EventSourceArn": sqs("q")});
    done(&server, "POST", MAPPINGS, &queue, 202);
    done(&server, "POST", MAPPINGS, &kafka, 202);
    let dynamodb = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2025-02-17T16:33:01.784";
    for body in [
        json!({"FunctionName": "f"}),
        json!({"FunctionName": "f", "EventSourceArn": dynamodb}),
        json!({"FunctionName": "f", "EventSourceArn": dynamodb, "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}),
        json!({"FunctionName": "f", "EventSourceArn": dynamodb, "StartingPosition": "LATEST", "DestinationConfig": {"OnSuccess": {"Destination": sqs("d")}}}),
        json!({"FunctionName": "f", "EventSourceArn": sqs("r"), "BatchSize": 15}),
        json!({"FunctionName": "f", "EventSourceArn": sqs("r"), "FilterCriteria": {"Filters": [{"Pattern": "{\"a\":1}"}]}}),
        queue,
        kafka,
    ] {
        assert_recorded(&refused(&server, "POST", MAPPINGS, &body));
    }
    assert_eq!(
        refused(
            &server,
            "POST",
            MAPPINGS,
            &json!({"FunctionName": "f", "EventSourceArn": dynamodb, "StartingPosition": "0"})
        ),
        "400 ValidationException: 1 validation error detected: Value '0' at 'startingPosition' failed to satisfy constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
    );
    for name in ["absent", "f:7", "f:noalias"] {
        assert_eq!(
            refused(
                &server,
                "POST",
                MAPPINGS,
                &json!({"FunctionName": name, "EventSourceArn": sqs("q")})
            ),
            "400 InvalidParameterValueException: Function does not exist"
        );
    }
}

#[test]
fn mappings_are_found_by_function_and_source() {
    let (_project, server) = empty_server();
    for name in ["f", "g"] {
        create(&server, name, MODULE);
    }
    done(&server, "POST", "/2015-03-31/functions/f/versions", &json!({}), 201);
    for (function, queue) in [("f", "a"), ("f", "b"), ("f:1", "a"), ("g", "a")] {
        done(
            &server,
            "POST",
            MAPPINGS,
            &json!({"FunctionName": function, "EventSourceArn": sqs(queue)}),
            202,
        );
    }
    let count = |query: &str| {
        let list = done(&server, "GET", &format!("{MAPPINGS}{query}"), &Value::Null, 200);
        (
            list["EventSourceMappings"].as_array().unwrap().len(),
            list["NextMarker"].as_str().map(str::to_owned),
        )
    };
    assert_eq!(count("").0, 4);
    assert_eq!(count("?FunctionName=f").0, 3);
    assert_eq!(count(&format!("?FunctionName={FUNCTION}:1")).0, 1);
    assert_eq!(count(&format!("?EventSourceArn={}", sqs("a"))).0, 3);
    assert_eq!(count(&format!("?FunctionName=f&EventSourceArn={}", sqs("b"))).0, 1);
    assert_eq!(count("?FunctionName=absent").0, 0);
    let (first, marker) = count("?MaxItems=3");
    assert_eq!(first, 3);
    assert_eq!(count(&format!("?Marker={}", marker.unwrap())), (1, None));

    // A mapping outlives its function, as on AWS.
    done(&server, "DELETE", "/2015-03-31/functions/g", &Value::Null, 204);
    assert_eq!(count("?FunctionName=g").0, 1);
}

#[test]
fn the_aws_command_line_manages_mappings() {
    let (project, server) = empty_server();
    create(&server, "f", MODULE);
    let run = |line: &str| aws_lambda(&server, &project, &line.split(' ').collect::<Vec<_>>());
    let source = sqs("q");
    let create = format!("create-event-source-mapping --function-name f --event-source-arn {source} --batch-size 5");
    let Some((good, created)) = run(&create) else {
        return;
    };
    assert!(good && created["State"] == "Creating", "{created}");
    wait_until(&server, &created, "Enabled");
    let uuid = created["UUID"].as_str().unwrap();
    let (good, updated) = run(&format!("update-event-source-mapping --uuid {uuid} --no-enabled")).unwrap();
    assert!(good && updated["State"] == "Disabling", "{updated}");
    wait_until(&server, &created, "Disabled");
    let (good, list) = run("list-event-source-mappings --function-name f").unwrap();
    assert!(good && list["EventSourceMappings"][0]["BatchSize"] == 5, "{list}");
    let (good, deleted) = run(&format!("delete-event-source-mapping --uuid {uuid}")).unwrap();
    assert!(good && deleted["State"] == "Deleting", "{deleted}");
}

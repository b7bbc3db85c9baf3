//! Functions that have layers.

use serde_json::{Value, json};

use crate::support::{
    ANYBODY, FUNCTIONS, LAYERS, answering, api, archives, aws, base64, body_of, boto3, create_function, empty_server,
    get, invoke, layer_arn, publish_layer, refusal_of, value_of, wait_for, wait_until_ready, zip_of,
};

#[test]
fn functions_have_layers_and_keep_them_when_those_are_deleted() {
    let (project, server) = empty_server();
    let one = zip_of(&[
        ("nodejs/node_modules/both/index.js", "module.exports = 'both of one';"),
        ("nodejs/node_modules/alpha/index.js", "module.exports = 'alpha of one';"),
    ]);
    let two = zip_of(&[("nodejs/node_modules/both/index.js", "module.exports = 'both of two';")]);
    publish_layer(&server, "one", &one, json!({}));
    publish_layer(&server, "two", &two, json!({}));
    let code = zip_of(&[(
        "index.js",
        "const get = (name) => { try { return require(name); } catch (error) { return error.code; } };
         exports.handler = async () => [get('alpha'), get('both')];",
    )]);
    let layers = json!({"Layers": [layer_arn("one:1"), layer_arn("two:1")]});
    let created = body_of(&create_function(&server, "f", &code, layers), 201);
    let shown =
        json!([{"Arn": layer_arn("one:1"), "CodeSize": one.len()}, {"Arn": layer_arn("two:1"), "CodeSize": two.len()}]);
    assert_eq!(created["Layers"], shown);
    assert_eq!(wait_until_ready(&server, "f")["Layers"], shown);
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        json!(["alpha of one", "both of two"])
    );
    body_of(
        &api(&server, "POST", &format!("{FUNCTIONS}/f/versions"), &json!({})),
        201,
    );

    let configure = |members: Value| api(&server, "PUT", &format!("{FUNCTIONS}/f/configuration"), &members);
    body_of(
        &configure(json!({"Layers": [layer_arn("two:1"), layer_arn("one:1")]})),
        200,
    );
    wait_until_ready(&server, "f");
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        json!(["alpha of one", "both of one"])
    );
    for name in ["one", "two"] {
        assert_eq!(
            api(&server, "DELETE", &format!("{LAYERS}/{name}/versions/1"), &Value::Null).status,
            204
        );
    }
    // The collection has been there.
    let probe = publish_layer(&server, "probe", &zip_of(&[("x", "1")]), json!({}));
    assert_eq!(
        api(&server, "DELETE", &format!("{LAYERS}/probe/versions/1"), &Value::Null).status,
        204
    );
    let location = probe["Content"]["Location"].as_str().unwrap();
    wait_for("what nothing uses to go", || {
        (get(location).status == 404).then_some(())
    });
    drop(server);

    let server = project.up();
    let configuration = wait_until_ready(&server, "f");
    assert_eq!(
        configuration["Layers"][0],
        json!({"Arn": layer_arn("two:1"), "CodeSize": two.len()})
    );
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        json!(["alpha of one", "both of one"])
    );
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f:1", "1")),
        json!(["alpha of one", "both of two"])
    );
    let configure = |members: Value| api(&server, "PUT", &format!("{FUNCTIONS}/f/configuration"), &members);
    body_of(&configure(json!({"Description": "still"})), 200);
    wait_until_ready(&server, "f");
    assert_eq!(
        refusal_of(&configure(json!({"Layers": [layer_arn("one:1")]})), 400).1,
        format!("Layer version {} does not exist.", layer_arn("one:1"))
    );
    body_of(&configure(json!({"Layers": []})), 200);
    assert_eq!(wait_until_ready(&server, "f").get("Layers"), None);
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        json!(["MODULE_NOT_FOUND", "MODULE_NOT_FOUND"])
    );
}

#[test]
fn layers_that_a_function_cannot_have_are_refused_in_awss_words() {
    let (_project, server) = empty_server();
    let zip = zip_of(&[("a", "1")]);
    for name in ["l0", "l1", "l2", "l3", "l4", "l5", "l0", "l0"] {
        publish_layer(&server, name, &zip, json!({}));
    }
    body_of(&create_function(&server, "f", &answering("1"), json!({})), 201);
    wait_until_ready(&server, "f");
    let six: Vec<String> = (0..6).map(|number| layer_arn(&format!("l{number}:1"))).collect();
    let same = |a: &str, b: &str| {
        format!(
            "Two different versions of the same layer are not allowed to be referenced in the same function. {a} and {b} are versions of the same layer."
        )
    };
    let (l1, l2, l3) = (layer_arn("l0:1"), layer_arn("l0:2"), layer_arn("l0:3"));
    let missing = |arn: &str| format!("Layer version {arn} does not exist.");
    let elsewhere = l1.replace("us-east-1", "eu-west-1");
    let region =
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.".to_owned();
    for (layers, message) in [
        (six, "Cannot reference more than 5 layers.".to_owned()),
        (vec![l1.clone(), l2.clone()], same(&l1, &l2)),
        (vec![l1.clone(), l2.clone(), l3], same(&l1, &l2)),
        (vec![l1.clone(), l1.clone()], same(&l1, &l1)),
        (vec![layer_arn("l0:9")], missing(&layer_arn("l0:9"))),
        (vec![layer_arn("absent:1")], missing(&layer_arn("absent:1"))),
        (vec![elsewhere], region),
    ] {
        let created = create_function(&server, "g", &answering("1"), json!({"Layers": layers}));
        let updated = api(
            &server,
            "PUT",
            &format!("{FUNCTIONS}/f/configuration"),
            &json!({"Layers": layers}),
        );
        for answer in [created, updated] {
            assert_eq!(
                refusal_of(&answer, 400),
                ("InvalidParameterValueException".to_owned(), message.clone())
            );
        }
    }
    let answer = api(
        &server,
        "PUT",
        &format!("{FUNCTIONS}/f/configuration"),
        &json!({"Layers": [layer_arn("l0")]}),
    );
    let (code, message) = refusal_of(&answer, 400);
    assert!(
        code == "ValidationException" && message.contains("at 'layers' failed to satisfy constraint"),
        "{message}"
    );
}

#[test]
fn a_functions_code_and_layers_share_one_limit() {
    let (_project, server) = empty_server();
    let zeros = |megabytes: usize| archives::zip(&[archives::file("zeros", vec![0; megabytes * 1_000_000]).deflated()]);
    publish_layer(&server, "large", &zeros(200), json!({}));
    let code = |megabytes: usize| {
        let zeros = archives::file("zeros", vec![0; megabytes * 1_000_000]).deflated();
        archives::zip(&[
            archives::file("index.mjs", "export const handler = async () => 1;"),
            zeros,
        ])
    };
    let layers = json!({"Layers": [layer_arn("large:1")]});
    let too_large = "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 270000037 bytes.";
    let answer = create_function(&server, "f", &code(70), layers.clone());
    assert_eq!(
        refusal_of(&answer, 400),
        ("InvalidParameterValueException".to_owned(), too_large.to_owned())
    );
    body_of(&create_function(&server, "f", &code(60), layers.clone()), 201);
    wait_until_ready(&server, "f");
    let larger = json!({"ZipFile": base64(&code(70))});
    assert_eq!(
        refusal_of(&api(&server, "PUT", &format!("{FUNCTIONS}/f/code"), &larger), 400).1,
        too_large
    );
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), 1);
    body_of(&create_function(&server, "g", &code(70), json!({})), 201);
    wait_until_ready(&server, "g");
    assert_eq!(
        refusal_of(
            &api(&server, "PUT", &format!("{FUNCTIONS}/g/configuration"), &layers),
            400
        )
        .1,
        too_large
    );
}

#[test]
fn real_clients_use_layers() {
    const SCRIPT: &str = r#"
import boto3, io, zipfile
client = boto3.client("lambda")
def pack(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()
layer = client.publish_layer_version(LayerName="tool", Content={"ZipFile": pack({"nodejs/node_modules/tool/index.js": "module.exports = 42;"})},
                                     CompatibleRuntimes=["nodejs22.x"])
assert client.get_layer_version_by_arn(Arn=layer["LayerVersionArn"])["Content"]["CodeSha256"] == layer["Content"]["CodeSha256"]
client.create_function(FunctionName="f", Runtime="nodejs22.x", Handler="index.handler", Role="arn:aws:iam::000000000000:role/x",
                       Code={"ZipFile": pack({"index.js": "exports.handler = async () => require('tool');"})}, Layers=[layer["LayerVersionArn"]])
client.get_waiter("function_active_v2").wait(FunctionName="f")
assert client.invoke(FunctionName="f")["Payload"].read() == b"42"
client.add_layer_version_permission(LayerName="tool", VersionNumber=1, StatementId="s", Action="lambda:GetLayerVersion", Principal="*")
assert "Statement" in client.get_layer_version_policy(LayerName="tool", VersionNumber=1)["Policy"]
client.remove_layer_version_permission(LayerName="tool", VersionNumber=1, StatementId="s")
client.delete_layer_version(LayerName="tool", VersionNumber=1)
assert client.list_layers()["Layers"] == [] and client.list_layer_versions(LayerName="tool")["LayerVersions"] == []
try:
    client.get_layer_version(LayerName="tool", VersionNumber=1)
    raise SystemExit("it is still there")
except client.exceptions.ResourceNotFoundException:
    pass
print("true")
"#;
    let (project, server) = empty_server();
    if let Some(done) = boto3(&server, &project, ANYBODY, SCRIPT) {
        assert_eq!(done, true);
    }
    std::fs::write(project.join("layer.zip"), zip_of(&[("a", "1")])).unwrap();
    let publish =
        "lambda publish-layer-version --layer-name cli --zip-file fileb://layer.zip --compatible-architectures arm64";
    let arguments: Vec<&str> = publish.split(' ').collect();
    if let Some((good, published)) = aws(&server, &project, ANYBODY, &arguments) {
        assert!(good, "{published}");
        assert_eq!(
            (&published["Version"], &published["CompatibleArchitectures"]),
            (&json!(1), &json!(["arm64"]))
        );
    }
}

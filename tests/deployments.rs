//! Packages that are deployed through Lambda's API: what is refused, what is kept, and for how long.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{
    FUNCTIONS, Project, Server, answering, api, archives, base64, body_of, code_sha256, create_function, empty_server,
    error_of, get, invoke, post, refusal_of, update_code, value_of, wait_for, wait_until_ready, zip_of,
};

const INVALID: &str = "InvalidParameterValueException";

fn objects(project: &Project) -> BTreeSet<String> {
    let entries = std::fs::read_dir(project.join(".hikigane/objects")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Waits until nothing but these packages is kept.
#[track_caller]
fn wait_for_objects(project: &Project, packages: &[&[u8]]) {
    let name = |zip: &&[u8]| {
        use sha2::Digest;
        let hash = sha2::Sha256::digest(zip);
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let wanted: BTreeSet<String> = packages
        .iter()
        .map(name)
        .flat_map(|name| [format!("{name}.zip"), name])
        .collect();
    wait_for(&format!("{wanted:?}"), || (objects(project) == wanted).then_some(()));
}

#[test]
fn hostile_archives_are_refused_and_the_old_code_goes_on() {
    let (project, server) = empty_server();
    let good = answering("'good'");
    body_of(&create_function(&server, "f", &good, json!({})), 201);
    wait_until_ready(&server, "f");
    let all: Vec<archives::Hostile> = [
        archives::names_that_lead_out(),
        archives::links_that_lead_out(),
        archives::contradictions(),
        archives::lies_and_bombs(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(all.len() >= 60, "{}", all.len());
    for (number, (archive, words)) in all.iter().enumerate() {
        for answer in [
            create_function(&server, "evil", archive, json!({})),
            update_code(&server, "f", archive),
        ] {
            let (code, message) = refusal_of(&answer, 400);
            let broken = message == "Could not unzip uploaded file. Please check your file, then try to upload again.";
            assert!(
                code == INVALID && (broken || words.iter().all(|word| message.contains(word))),
                "{number} {words:?}: {code}: {message}"
            );
        }
        assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "good", "{number}");
    }
    assert_eq!(
        api(&server, "GET", &format!("{FUNCTIONS}/evil"), &Value::Null).status,
        404
    );
    wait_for_objects(&project, &[&good]);
    let around: BTreeSet<_> = std::fs::read_dir(project.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(around, BTreeSet::from([".hikigane".into(), "hikigane.yaml".into()]));
}

#[test]
fn packages_go_when_nothing_needs_them_and_not_before() {
    let project = Project::new(
        "defaults: { allow: { read: [./signs], write: [./signs] } }\nfunctions: {}\n",
        &[],
    );
    project.mkdir("signs");
    let server = project.up();
    let signs = project.join("signs").display().to_string();
    let waits = zip_of(&[
        (
            "index.js",
            "const fs = require('fs'); const signs = process.env.SIGNS;
             exports.handler = async (event) => {
               if (event !== 'wait') return 'old';
               fs.writeFileSync(`${signs}/started`, '');
               while (!fs.existsSync(`${signs}/go`)) await new Promise((done) => setTimeout(done, 10));
               return require('./late');
             };",
        ),
        ("late.js", "module.exports = 'late';"),
    ]);
    let environment = json!({"Environment": {"Variables": {"SIGNS": signs}}, "Timeout": 60});
    body_of(&create_function(&server, "f", &waits, environment), 201);
    wait_until_ready(&server, "f");
    let (new, third) = (answering("'new'"), answering("'third'"));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| invoke(server.endpoint(), "f", "\"wait\""));
        wait_for("the start", || project.join("signs/started").exists().then_some(()));
        body_of(&update_code(&server, "f", &new), 200);
        wait_until_ready(&server, "f");
        assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "new");
        // A package that comes and goes shows that the collection has been there.
        let probe = answering("'probe'");
        let dry = json!({"ZipFile": base64(&probe), "DryRun": true});
        body_of(&api(&server, "PUT", &format!("{FUNCTIONS}/f/code"), &dry), 200);
        let hash = code_sha256(&probe).replace('+', "-").replace('/', "_");
        let address = format!("{}/_hikigane/packages/{hash}", server.endpoint());
        wait_for("the probe to go", || (get(&address).status == 404).then_some(()));
        std::fs::write(project.join("signs/go"), "").unwrap();
        assert_eq!(
            value_of(&running.join().unwrap()),
            "late",
            "its code is there for as long as it runs"
        );
    });
    wait_for_objects(&project, &[&new]);

    // A version keeps its own, and two functions may have the same.
    body_of(
        &api(&server, "POST", &format!("{FUNCTIONS}/f/versions"), &json!({})),
        201,
    );
    body_of(&update_code(&server, "f", &third), 200);
    wait_until_ready(&server, "f");
    body_of(&create_function(&server, "g", &third, json!({})), 201);
    wait_until_ready(&server, "g");
    wait_for_objects(&project, &[&new, &third]);
    assert_eq!(value_of(&invoke(server.endpoint(), "f:1", "1")), "new");
    let delete = |path: &str| {
        assert_eq!(
            api(&server, "DELETE", &format!("{FUNCTIONS}/{path}"), &Value::Null).status,
            204
        )
    };
    delete("f:1");
    wait_for_objects(&project, &[&third]);
    delete("f");
    assert_eq!(value_of(&invoke(server.endpoint(), "g", "1")), "third");
    delete("g");
    wait_for_objects(&project, &[]);
}

#[test]
fn compiled_code_goes_with_its_function_and_is_never_another_ones() {
    let (project, server) = empty_server();
    // Small modules are not kept.
    let large = |text: &str| {
        let code = format!(
            "// {}\nexport const handler = async () => '{text}';",
            "long ".repeat(1000)
        );
        zip_of(&[("index.mjs", &code)])
    };
    let caches = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(project.join(".hikigane/code-cache"))
            .into_iter()
            .flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    for text in ["first", "second"] {
        body_of(
            &create_function(&server, "f", &large(text), json!({"Publish": true})),
            201,
        );
        body_of(&create_function(&server, "f-1", &large(text), json!({})), 201);
        for name in ["f", "f-1"] {
            wait_until_ready(&server, name);
        }
        for name in ["f", "f:1", "f-1"] {
            assert_eq!(value_of(&invoke(server.endpoint(), name, "1")), text, "{name}");
        }
        assert_eq!(caches(), ["f-$LATEST", "f-1", "f-1-$LATEST"].map(String::from).into());
        assert_eq!(
            api(&server, "DELETE", &format!("{FUNCTIONS}/f:1"), &Value::Null).status,
            204
        );
        assert_eq!(caches(), ["f-$LATEST", "f-1-$LATEST"].map(String::from).into());
        for name in ["f", "f-1"] {
            assert_eq!(
                api(&server, "DELETE", &format!("{FUNCTIONS}/{name}"), &Value::Null).status,
                204
            );
        }
        assert_eq!(caches(), BTreeSet::new());
    }
}

#[test]
fn a_dry_run_changes_nothing_and_an_update_may_publish() {
    let (project, server) = empty_server();
    let (old, new) = (answering("'old'"), answering("'new'"));
    body_of(&create_function(&server, "f", &old, json!({})), 201);
    let before = wait_until_ready(&server, "f");
    let update = |members: Value| {
        let mut body = json!({"ZipFile": base64(&new)});
        for (member, value) in members.as_object().unwrap() {
            body[member] = value.clone();
        }
        api(&server, "PUT", &format!("{FUNCTIONS}/f/code"), &body)
    };
    let dry = body_of(&update(json!({"DryRun": true, "Architectures": ["arm64"]})), 200);
    assert_eq!(
        (
            &dry["CodeSha256"],
            &dry["CodeSize"],
            &dry["Architectures"],
            &dry["LastUpdateStatus"]
        ),
        (
            &json!(code_sha256(&new)),
            &json!(new.len()),
            &json!(["arm64"]),
            &json!("Successful")
        )
    );
    assert_eq!(wait_until_ready(&server, "f"), before);
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "old");
    wait_for_objects(&project, &[&old]);
    let (_, message) = refusal_of(&update(json!({"DryRun": true, "ZipFile": base64(b"no zip")})), 400);
    assert!(message.starts_with("Could not unzip"), "{message}");
    let stale = update(json!({"DryRun": true, "RevisionId": "wrong"}));
    assert_eq!(refusal_of(&stale, 412).0, "PreconditionFailedException");

    let published = body_of(&update(json!({"Publish": true, "Architectures": ["arm64"]})), 200);
    assert_eq!(
        (
            &published["Version"],
            &published["CodeSha256"],
            &published["Architectures"]
        ),
        (&json!("1"), &json!(code_sha256(&new)), &json!(["arm64"]))
    );
    assert!(
        published["FunctionArn"].as_str().unwrap().ends_with(":f:1"),
        "{published}"
    );
    assert_eq!(wait_until_ready(&server, "f")["Architectures"], json!(["arm64"]));
    for name in ["f", "f:1"] {
        assert_eq!(value_of(&invoke(server.endpoint(), name, "1")), "new");
    }
}

#[test]
fn an_image_is_accepted_and_says_that_it_does_not_run() {
    let (_project, server) = empty_server();
    let image = "registry.example.com:5000/team/app:v1";
    let body = json!({
        "FunctionName": "i", "Role": "arn:aws:iam::000000000000:role/test", "PackageType": "Image", "Code": {"ImageUri": image},
        "ImageConfig": {"Command": ["run"]},
    });
    let created = body_of(&api(&server, "POST", FUNCTIONS, &body), 201);
    assert_eq!(
        (&created["PackageType"], created.get("Runtime"), created.get("Handler")),
        (&json!("Image"), None, None)
    );
    assert_eq!(
        created["ImageConfigResponse"],
        json!({"ImageConfig": {"Command": ["run"]}})
    );
    wait_until_ready(&server, "i");
    let function = body_of(&api(&server, "GET", &format!("{FUNCTIONS}/i"), &Value::Null), 200);
    let hash = function["Configuration"]["CodeSha256"].as_str().unwrap();
    assert_eq!(
        function["Code"],
        json!({
            "RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": format!("registry.example.com:5000/team/app@sha256:{hash}"),
        })
    );
    let (code, message) = refusal_of(&invoke(server.endpoint(), "i", "1"), 502);
    assert!(
        code == "InvalidRuntimeException" && message.contains("container image"),
        "{code}: {message}"
    );
    let zip = update_code(&server, "i", &answering("1"));
    assert_eq!(
        refusal_of(&zip, 400).1,
        "Please provide ImageUri when updating a function with packageType Image."
    );
    body_of(&create_function(&server, "z", &answering("1"), json!({})), 201);
    wait_until_ready(&server, "z");
    let update = |name: &str| {
        let body = json!({"ImageUri": "registry.example.com/app@sha256:00"});
        api(&server, "PUT", &format!("{FUNCTIONS}/{name}/code"), &body)
    };
    assert_eq!(
        refusal_of(&update("z"), 400).1,
        "Please don't provide ImageUri when updating a function with packageType Zip."
    );
    body_of(&update("i"), 200);
    wait_until_ready(&server, "i");
    let function = body_of(&api(&server, "GET", &format!("{FUNCTIONS}/i"), &Value::Null), 200);
    assert!(
        function["Code"]["ResolvedImageUri"]
            .as_str()
            .unwrap()
            .starts_with("registry.example.com/app@sha256:")
    );
}

/// Bytes that no compression makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| byte()).collect()
}

/// The most memory that a process ever held, MiB.
fn peak(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn packages_and_requests_are_bounded_and_a_large_one_is_not_held_many_times() {
    let (_project, server) = empty_server();
    let index = archives::file("index.mjs", "export const handler = async () => 'large';");
    let of_size = |size: usize| {
        let frame = archives::zip(&[index.clone(), archives::file("noise", "")]).len();
        let archive = archives::zip(&[index.clone(), archives::file("noise", noise(size - frame))]);
        assert_eq!(archive.len(), size);
        archive
    };
    let before = peak(&server);
    body_of(&create_function(&server, "f", &of_size(52_428_800), json!({})), 201);
    wait_until_ready(&server, "f");
    let held = peak(&server) - before;
    // The request is 67 MiB: its text and what JSON makes of it, and nothing else of this size.
    assert!(held < 160, "{held} MiB");
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "large");
    let answer = create_function(&server, "g", &of_size(52_428_801), json!({}));
    let too_large = (
        "RequestEntityTooLargeException".to_owned(),
        "Zipped size must be smaller than 52428800 bytes".to_owned(),
    );
    assert_eq!(refusal_of(&answer, 413), too_large);
    assert_eq!(answer.json().get("Type"), None);

    for (path, method, operation) in [
        (FUNCTIONS.to_owned(), "POST", "CreateFunction"),
        (format!("{FUNCTIONS}/f/code"), "PUT", "UpdateFunctionCode"),
        (
            "/2018-10-31/layers/l/versions".to_owned(),
            "POST",
            "PublishLayerVersion",
        ),
    ] {
        let body = json!({"ZipFile": "A".repeat(70_167_211)});
        let (code, message) = refusal_of(&api(&server, method, &path, &body), 413);
        assert_eq!(code, "RequestEntityTooLargeException");
        assert_eq!(
            message,
            format!("Request must be smaller than 70167211 bytes for the {operation} operation")
        );
    }
    let answer = create_function(&server, "g", b"", json!({"Code": {"ZipFile": "not base64!"}}));
    let (code, message) = refusal_of(&answer, 400);
    assert!(
        code == "SerializationException" && message.contains("base64"),
        "{code}: {message}"
    );
    assert_eq!(
        refusal_of(&create_function(&server, "g", b"", json!({"Code": {}})), 400).1,
        "Please provide a source for function code."
    );
}

#[test]
fn what_the_manifest_hides_keeps_its_code() {
    let project = Project::new(
        "functions: {}\n",
        &[("f.mjs", "export const handler = async () => 'of the manifest';")],
    );
    let server = project.up();
    body_of(
        &create_function(&server, "f", &answering("'of the api'"), json!({})),
        201,
    );
    wait_until_ready(&server, "f");
    drop(server);
    project.write("hikigane.yaml", "functions: { f: { code: ./f.mjs } }\n");
    let server = project.up();
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "of the manifest");
    drop(server);
    project.write("hikigane.yaml", "functions: {}\n");
    let server = project.up();
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "1")), "of the api");
}

#[test]
fn a_package_that_was_damaged_on_disk_is_refused_by_name_and_others_run() {
    let (project, server) = empty_server();
    for name in ["f", "g"] {
        body_of(
            &create_function(&server, name, &answering(&format!("'{name}'")), json!({})),
            201,
        );
        wait_until_ready(&server, name);
    }
    drop(server);
    let hash: String = {
        use sha2::Digest;
        let hash = sha2::Sha256::digest(answering("'f'"));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let object = project.join(".hikigane/objects").join(&hash);
    // Nobody can change an object, and moving a directory is a change of it.
    std::fs::set_permissions(&object, Permissions::from_mode(0o700)).unwrap();
    std::fs::rename(object, project.join("away")).unwrap();
    let server = project.up();
    let (code, message) = refusal_of(&invoke(server.endpoint(), "f", "1"), 409);
    assert!(
        code == "ResourceConflictException" && message.ends_with("state: Failed"),
        "{code}: {message}"
    );
    assert_eq!(value_of(&invoke(server.endpoint(), "g", "1")), "g");
    body_of(&update_code(&server, "f", &answering("'f'")), 200);
    wait_until_ready(&server, "f");
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", "1")),
        "f",
        "deployed again it is whole again"
    );
}

#[test]
fn a_function_whose_code_has_no_handler_is_deployed_and_says_so_when_it_is_called() {
    let (_project, server) = empty_server();
    body_of(
        &create_function(&server, "f", &zip_of(&[("other.js", "1")]), json!({})),
        201,
    );
    wait_until_ready(&server, "f");
    let answer = post(&format!("{}{FUNCTIONS}/f/invocations", server.endpoint()), &[], b"1");
    assert_eq!(error_of(&answer).0, "Runtime.ImportModuleError");
}

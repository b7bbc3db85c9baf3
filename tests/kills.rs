//! A server that is killed in the middle of deployments.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    FUNCTIONS, Project, Server, answering, api, base64, body_of, code_sha256, create_function, invoke, try_request,
    value_of, wait_for, wait_until_ready,
};

const KILLS: u32 = 32;

fn code(number: u32) -> Vec<u8> {
    answering(&format!("{{ number: {number}, event }}"))
}

#[test]
fn whatever_is_killed_in_the_middle_of_a_deployment_answers_with_one_that_was_whole() {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up();
    body_of(&create_function(&server, "f", &code(0), json!({})), 201);
    wait_until_ready(&server, "f");
    drop(server);

    // The last that was sent, and the last that the server said it has.
    let (sent, accepted) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut moment = 7_u64;
    let mut served = BTreeSet::new();
    for kill in 0..KILLS {
        let server = project.up();
        let url = format!("{}{FUNCTIONS}/f/code", server.endpoint());
        let deploy = || {
            loop {
                let number = sent.fetch_add(1, Ordering::SeqCst) + 1;
                let body = json!({"ZipFile": base64(&code(number)), "Publish": number % 5 == 0}).to_string();
                loop {
                    match try_request("PUT", &url, &[], body.as_bytes()) {
                        Err(_gone) => return,
                        Ok(answer) if answer.status == 409 => {}
                        Ok(answer) => {
                            assert!((200..300).contains(&answer.status), "{}", answer.text());
                            accepted.store(number, Ordering::SeqCst);
                            break;
                        }
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(deploy);
            // Anywhere in the first updates: each takes some milliseconds.
            moment = moment
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            std::thread::sleep(Duration::from_micros((moment >> 33) % 90_000));
            server.kill();
        });

        let server = project.up();
        let configuration = wait_until_ready(&server, "f");
        let answer = value_of(&invoke(server.endpoint(), "f", "1"));
        let number = u32::try_from(answer["number"].as_u64().unwrap()).unwrap();
        let (least, most) = (accepted.load(Ordering::SeqCst), sent.load(Ordering::SeqCst));
        assert!(
            (least..=most).contains(&number),
            "kill {kill}: {number} is served, {least} was accepted and {most} sent"
        );
        accepted.store(number, Ordering::SeqCst);
        served.insert(number);
        assert_eq!(
            configuration["CodeSha256"],
            code_sha256(&code(number)).as_str(),
            "kill {kill}"
        );
        let versions = versions(&server);
        for version in &versions {
            let qualifier = version["Version"].as_str().unwrap();
            let answer = value_of(&invoke(server.endpoint(), &format!("f:{qualifier}"), "1"));
            let number = u32::try_from(answer["number"].as_u64().unwrap()).unwrap();
            assert_eq!(
                version["CodeSha256"],
                code_sha256(&code(number)).as_str(),
                "kill {kill}: {qualifier}"
            );
        }
        // Each package is its files and its zip; all else goes.
        let mut packages: BTreeSet<&str> = BTreeSet::new();
        packages.extend(versions.iter().filter_map(|version| version["CodeSha256"].as_str()));
        wait_for("the rest to be collected", || {
            let kept = std::fs::read_dir(project.join(".hikigane/objects")).unwrap().count();
            (kept == 2 * packages.len()).then_some(())
        });
        server.kill();
    }
    assert!(
        served.len() > 3,
        "the deployments went on between the kills: {served:?}"
    );
}

/// All versions, page by page.
fn versions(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!("{FUNCTIONS}/f/versions?Marker={marker}");
        let page = body_of(&api(server, "GET", &path, &Value::Null), 200);
        all.extend(page["Versions"].as_array().unwrap().iter().cloned());
        match page["NextMarker"].as_str() {
            Some(next) => marker = next.to_owned(),
            None => return all,
        }
    }
}

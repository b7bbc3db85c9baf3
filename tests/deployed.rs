//! Many functions on one server. `cargo bench --bench deployed` has the figures.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Project, create_function, get, invoke, package, value_of, wait_for};

const MANY: usize = 200;

#[test]
fn two_hundred_functions_are_there_again_after_a_restart() {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for n in (client..MANY).step_by(8) {
                    let code = format!("export const handler = async () => {n};");
                    let answer = create_function(server, &format!("f{n:03}"), &package(&code), json!({}));
                    assert_eq!(answer.status, 201, "{}", answer.text());
                }
            });
        }
    });
    server.kill();

    let server = project.up();
    let mut states: BTreeMap<String, Value> = BTreeMap::new();
    let (mut pages, mut marker) = (0, String::new());
    loop {
        let page = get(&format!("{}/2015-03-31/functions?Marker={marker}", server.endpoint())).json();
        for function in page["Functions"].as_array().unwrap() {
            states.insert(
                function["FunctionName"].as_str().unwrap().to_owned(),
                function["State"].clone(),
            );
        }
        pages += 1;
        match page["NextMarker"].as_str() {
            Some(next) => marker = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((states.len(), pages), (MANY, 4));
    for n in (0..MANY).step_by(23) {
        // Those whose creation was under way when the server was killed are finished first.
        let path = format!("{}/2015-03-31/functions/f{n:03}/configuration", server.endpoint());
        wait_for("Active", || (get(&path).json()["State"] == "Active").then_some(()));
        assert_eq!(
            value_of(&invoke(server.endpoint(), &format!("f{n:03}"), "{}")),
            json!(n)
        );
    }
}

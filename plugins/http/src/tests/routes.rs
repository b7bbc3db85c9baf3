//! Which route takes which request.

use std::time::Duration;

use hikigane_model::{BindingId, InvokeMode};

use crate::route::{Pattern, Verb};
use crate::table::{Route, RouteTable};

fn table(routes: &[&str]) -> RouteTable {
    let route = |text: &&str| Route {
        binding: BindingId::from_text(&format!("f/{text}")),
        pattern: Pattern::parse(text).unwrap(),
        mode: InvokeMode::Sync,
        timeout: Duration::from_secs(1),
    };
    RouteTable::new(routes.iter().map(route).collect()).unwrap()
}

/// The route key and the parameters' values, as `GET /p/{id} [1]`; `-`: no route.
fn choice(table: &RouteTable, verb: Verb, path: &str) -> String {
    match table.find(verb, path) {
        None => "-".into(),
        Some(found) => {
            assert!(found.values.len() == found.target.parameters.len(), "{path}: {found:?}");
            format!("{} [{}]", found.target.key, found.values.join(" "))
        }
    }
}

fn check(routes: &[&str], cases: &[(&str, &str)]) {
    let table = table(routes);
    for (request, expected) in cases {
        let (method, path) = request.split_once(' ').unwrap();
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == method).unwrap();
        assert_eq!(choice(&table, verb, path), *expected, "{request} among {routes:?}");
    }
}

/// The example of the API Gateway developer guide, "Create routes for HTTP APIs".
#[test]
fn chooses_as_the_example_of_the_developer_guide() {
    check(
        &[
            "GET /pets/dog/1",
            "GET /pets/dog/{id}",
            "GET /pets/{proxy+}",
            "ANY /{proxy+}",
            "$default",
        ],
        &[
            ("GET /pets/dog/1", "GET /pets/dog/1 []"),
            ("GET /pets/dog/2", "GET /pets/dog/{id} [2]"),
            ("GET /pets/cat/1", "GET /pets/{proxy+} [cat/1]"),
            ("POST /test/5", "ANY /{proxy+} [test/5]"),
            ("GET /", "$default []"),
        ],
    );
}

#[test]
fn a_more_specific_path_wins() {
    check(
        &["GET /a/{x+}", "GET /{p}/b", "GET /a/{p}/c", "GET /{p}/b/c", "GET /{q+}"],
        &[
            // A full match beats a greedy one, even where the greedy one's text is longer.
            ("GET /a/b", "GET /{p}/b [a]"),
            ("GET /a/z", "GET /a/{x+} [z]"),
            // The earliest static segment decides.
            ("GET /a/b/c", "GET /a/{p}/c [b]"),
            ("GET /z/b/c", "GET /{p}/b/c [z]"),
            ("GET /z/y/x", "GET /{q+} [z/y/x]"),
            ("GET /a/b/c/d", "GET /a/{x+} [b/c/d]"),
        ],
    );
}

#[test]
fn a_named_method_wins_over_any_on_the_same_path_only() {
    check(
        &["ANY /p", "GET /p", "GET /{x}", "POST /{x+}"],
        &[
            ("GET /p", "GET /p []"),
            ("POST /p", "ANY /p []"),
            ("DELETE /p", "ANY /p []"),
            ("GET /q", "GET /{x} [q]"),
            ("POST /q", "POST /{x+} [q]"),
            ("DELETE /q", "-"),
        ],
    );
}

#[test]
fn a_route_of_another_method_does_not_hide_one_that_fits() {
    check(
        &["POST /a/b", "GET /a/{x}", "PUT /{x}/b", "DELETE /a/{x+}", "PATCH /{x+}"],
        &[
            ("POST /a/b", "POST /a/b []"),
            ("GET /a/b", "GET /a/{x} [b]"),
            ("PUT /a/b", "PUT /{x}/b [a]"),
            ("DELETE /a/b", "DELETE /a/{x+} [b]"),
            ("PATCH /a/b", "PATCH /{x+} [a/b]"),
            ("HEAD /a/b", "-"),
            ("OPTIONS /a/b", "-"),
        ],
    );
}

#[test]
fn slashes_and_empty_segments() {
    check(
        &["GET /", "GET /a", "GET /b/", "GET /p/{id}", "GET /f/{x+}"],
        &[
            ("GET /", "GET / []"),
            ("GET //", "-"),
            ("GET /a", "GET /a []"),
            ("GET /a/", "-"),
            ("GET /b", "-"),
            ("GET /b/", "GET /b/ []"),
            ("GET /p/", "-"),
            ("GET /p//", "-"),
            ("GET /p/1", "GET /p/{id} [1]"),
            ("GET /p/1/", "-"),
            ("GET /f", "-"),
            ("GET /f/", "-"),
            ("GET /f/a/", "GET /f/{x+} [a/]"),
            ("GET /f//a", "GET /f/{x+} [/a]"),
            ("GET *", "-"),
        ],
    );
}

#[test]
fn encoded_segments_match_their_text() {
    check(
        &["GET /caf%C3%A9", "GET /a%20b/{x}", "GET /x/{y}"],
        &[
            ("GET /caf%C3%A9", "GET /caf%C3%A9 []"),
            ("GET /caf%c3%a9", "GET /caf%C3%A9 []"),
            ("GET /%63afé", "GET /caf%C3%A9 []"),
            ("GET /a%20b/1%2F2", "GET /a%20b/{x} [1%2F2]"),
            // An encoded slash does not separate segments.
            ("GET /x%2Fy", "-"),
            ("GET /x/%2e%2e", "GET /x/{y} [%2e%2e]"),
        ],
    );
}

#[test]
fn a_hostile_path_does_not_slow_the_search() {
    let deep = "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/end";
    let routes = [
        format!("GET {deep}"),
        "GET /x/x/x/x/x/x/x/x/end".into(),
        "GET /x/{y+}".into(),
    ];
    let table = table(&routes.iter().map(String::as_str).collect::<Vec<_>>());
    let path = "/x".repeat(20_000);
    assert!(choice(&table, Verb::Get, &path).starts_with("GET /x/{y+}"));
}

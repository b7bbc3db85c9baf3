//! What pages of other sites may do, by `sources: http: cors:`.

use hikigane_trigger::SourceSpec;
use serde_json::{Value, json};

use super::{Answer, Bounds, Gateway, Script, binding, spec_of};

/// A gateway with this setting, a function for `GET /items`, and one for everything at `/any`, which says things about CORS itself.
async fn gateway(cors: Value) -> Gateway {
    let spec = SourceSpec {
        settings: Some(json!({"listen": "127.0.0.1:0", "cors": cors})),
        ..spec_of(vec![
            binding("f/items", json!("GET /items"), None),
            binding("f/any", json!("ANY /any"), None),
        ])
    };
    let result = json!({
        "statusCode": 201,
        "headers": {"access-control-allow-origin": "https://own.example", "access-control-max-age": "7", "vary": "x-a"},
    });
    let outcome = hikigane_model::Outcome::Returned(result.to_string().into());
    Gateway::of(spec, Script::Outcome(outcome), Bounds::default()).await
}

/// An answer in one line: its status, and what it says to a browser.
fn told(answer: &Answer) -> String {
    let mut lines = vec![answer.status.to_string()];
    let mut names: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    names.retain(|line| line.starts_with("access-control-") || line.starts_with("vary"));
    names.sort();
    lines.extend(names.iter().map(|line| line.replace("access-control-", "")));
    lines.join(" | ")
}

async fn ask(gateway: &Gateway, request: &str, headers: &str) -> String {
    told(
        &gateway
            .ask(format!("{request} HTTP/1.1\r\nhost: h\r\n{headers}\r\n"))
            .await,
    )
}

const PREFLIGHT: &str = "origin: https://good.example\r\naccess-control-request-method: PUT\r\naccess-control-request-headers: x-a, content-type\r\n";

#[tokio::test]
async fn without_the_setting_functions_answer_for_themselves() {
    for cors in [json!(false), json!(null)] {
        let gateway = gateway(cors).await;
        assert_eq!(ask(&gateway, "OPTIONS /items", PREFLIGHT).await, "404");
        assert_eq!(
            ask(&gateway, "GET /items", "origin: https://good.example\r\n").await,
            "201 | allow-origin: https://own.example | max-age: 7 | vary: x-a"
        );
    }
}

#[tokio::test]
async fn everything_is_allowed_to_everybody() {
    let gateway = gateway(json!(true)).await;
    // The gateway answers what no route takes.
    assert_eq!(
        ask(&gateway, "OPTIONS /items", PREFLIGHT).await,
        "204 | allow-headers: x-a, content-type | allow-methods: PUT | allow-origin: https://good.example | vary: Origin"
    );
    assert_eq!(gateway.seen(), 0);
    // A route that takes OPTIONS gets it, as on AWS; what the function says of CORS is replaced.
    assert_eq!(
        ask(&gateway, "OPTIONS /any", PREFLIGHT).await,
        "201 | allow-headers: x-a, content-type | allow-methods: PUT | allow-origin: https://good.example | vary: Origin | vary: x-a"
    );
    assert_eq!(gateway.seen(), 1);
    assert_eq!(
        ask(&gateway, "GET /items", "origin: null\r\n").await,
        "201 | allow-origin: null | vary: Origin | vary: x-a"
    );
    // A page may read why it failed, too.
    assert_eq!(
        ask(&gateway, "GET /nowhere", "origin: https://good.example\r\n").await,
        "404 | allow-origin: https://good.example | vary: Origin"
    );
    // No page asks: nothing is said but that a page would be told something else, so that no cache answers one with this.
    assert_eq!(
        ask(&gateway, "GET /items", "").await,
        "201 | allow-origin: https://own.example | max-age: 7 | vary: Origin | vary: x-a"
    );
    // An OPTIONS request that is no preflight.
    assert_eq!(ask(&gateway, "OPTIONS /items", "").await, "404 | vary: Origin");
    assert_eq!(
        ask(&gateway, "OPTIONS /items", "origin: https://good.example\r\n").await,
        "404 | allow-origin: https://good.example | vary: Origin"
    );
}

#[tokio::test]
async fn what_is_listed_is_allowed_and_nothing_else() {
    let gateway = gateway(json!({
        "allowOrigins": ["https://good.example", "http://localhost:5173"],
        "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["x-a"],
        "exposeHeaders": ["x-b", "x-c"],
        "allowCredentials": true,
        "maxAge": "1m",
    }))
    .await;
    let allowed = "204 | allow-credentials: true | allow-headers: x-a | allow-methods: GET,PUT | allow-origin: ORIGIN | max-age: 60 | vary: Origin";
    for (origin, expected) in [
        ("https://good.example", allowed),
        ("HTTPS://Good.Example", allowed),
        ("http://localhost:5173", allowed),
        ("https://good.example.evil.example", "204 | vary: Origin"),
        ("https://evil.example", "204 | vary: Origin"),
        ("null", "204 | vary: Origin"),
    ] {
        let headers = format!("origin: {origin}\r\naccess-control-request-method: PUT\r\n");
        assert_eq!(
            ask(&gateway, "OPTIONS /items", &headers).await,
            expected.replace("ORIGIN", origin),
            "{origin}"
        );
    }
    assert_eq!(
        ask(&gateway, "GET /items", "origin: https://good.example\r\n").await,
        "201 | allow-credentials: true | allow-origin: https://good.example | expose-headers: x-b,x-c | vary: Origin | vary: x-a"
    );
    assert_eq!(
        ask(&gateway, "GET /items", "origin: https://evil.example\r\n").await,
        "201 | vary: Origin | vary: x-a"
    );
}

//! The quickstart, as a newcomer runs it.

use serde_json::json;

use crate::support::{Project, get, invoke, wait_for};

#[test]
fn the_quickstart_does_its_three_jobs() {
    let project = Project::copy_of("configs/quickstart");
    project.write(
        "hikigane.yaml",
        &std::fs::read_to_string(project.join("hikigane.yaml"))
            .unwrap()
            .replace("127.0.0.1:8080", "127.0.0.1:0"),
    );
    let server = project.up_with(&["--test-mode", "--clock", "2026-11-22T12:00:30Z"]);

    let answer = get(&format!("{}/hello/World", server.gateway()));
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (200, Some("Hello, World!"))
    );

    project.write("inbox/sales.csv", "item,amount\ntea,1.5\n\"cup, blue\",2\n");
    let summary = wait_for("the summary", || {
        std::fs::read_to_string(project.join("outbox/sales.summary.json"))
            .ok()
            .filter(|text| text.ends_with("}\n"))
    });
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(
        (summary["rows"].as_u64(), &summary["columns"]["amount"]["sum"]),
        (Some(2), &json!(3.5))
    );

    // Each minute from its first start on it writes its report anew.
    for slot in ["2026-11-22T12:01:30Z", "2026-11-22T12:02:30Z", "2026-11-22T12:03:30Z"] {
        assert_eq!(server.move_clock(slot).status, 200);
        let report = wait_for("the report of the minute", || {
            let text = std::fs::read_to_string(project.join("outbox/report.json")).ok()?;
            let report: serde_json::Value = serde_json::from_str(&text).ok()?;
            (report["slot"] == slot).then_some(report)
        });
        assert_eq!(report["names"], json!(["sales.summary.json"]), "{slot}");
        // A run that is not yet recorded would have the next minute's skipped.
        wait_for("the end of the run", || (server.queued() == 0).then_some(()));
    }

    let answer = invoke(server.endpoint(), "hello", r#"{"pathParameters":{"name":"API"}}"#);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("Hello, API!"));
}

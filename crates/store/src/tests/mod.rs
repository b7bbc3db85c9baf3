//! Tests against the traits, for any store: what one contract says must hold for every implementation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use hikigane_model::{BindingId, FunctionName, InvokeMode, Qualifier, RequestId, StateWrite};

use crate::{Burial, EventQueue, History, NamespacedWrite, NewEvent, Run, RunStatus, SqliteStore, State, StoreError};

/// Runs each contract on an empty store of each implementation.
macro_rules! contracts {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let store = super::open_in(dir.path()).unwrap();
                super::$name(&store).await;
            })*
        }
    };
}

mod model;
mod queue_contract;
mod records_contract;

/// Everything that a store is.
trait Store: EventQueue + State + History {}
impl<T: EventQueue + State + History> Store for T {}

/// Opens a store with whose files nothing is wrong.
pub(crate) fn open_in(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, |_| ())
}

/// A time in the test's own world.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub(crate) fn function(name: &str) -> FunctionName {
    FunctionName::new(name).unwrap()
}

/// An event with the request id `id`, accepted at 0.
pub(crate) fn event(name: &str, id: &str) -> NewEvent {
    NewEvent {
        request_id: RequestId::from_text(id),
        binding: Some(BindingId::new(&function(name), "drop")),
        trigger: "s3".into(),
        function: function(name),
        version: Qualifier::Latest,
        invoked_arn: hikigane_model::function_arn(&function(name), None),
        payload: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
        client_context: None,
        trace: None,
        group: None,
        accepted_at: at(0),
    }
}

pub(crate) fn grouped(name: &str, id: &str, group: &str) -> NewEvent {
    NewEvent {
        group: Some(group.into()),
        ..event(name, id)
    }
}

pub(crate) fn burial() -> Burial {
    Burial {
        condition: "RetriesExhausted".into(),
        attempts: 3,
        response: Some(Bytes::from_static(b"{\"errorType\":\"Error\"}")),
        at: at(500),
    }
}

pub(crate) fn run(name: &str, id: &str) -> Run {
    Run {
        request_id: RequestId::from_text(id),
        attempt: 1,
        binding: Some(BindingId::new(&function(name), "drop")),
        trigger: "http".into(),
        function: function(name),
        version: "$LATEST".into(),
        mode: InvokeMode::Sync,
        status: RunStatus::Succeeded,
        reason: None,
        started_at: at(7),
        duration_ms: 1.25,
        init_ms: Some(30.5),
        max_memory_mb: 64,
        input: Bytes::from_static(b"{}"),
        output: Bytes::from_static(b"null"),
        log: "START\nEND\n".into(),
    }
}

pub(crate) fn set(namespace: &str, key: &str, value: &str) -> NamespacedWrite {
    NamespacedWrite {
        namespace: namespace.into(),
        write: StateWrite {
            key: key.into(),
            value: Some(value.into()),
        },
    }
}

pub(crate) fn delete(namespace: &str, key: &str) -> NamespacedWrite {
    NamespacedWrite {
        namespace: namespace.into(),
        write: StateWrite {
            key: key.into(),
            value: None,
        },
    }
}

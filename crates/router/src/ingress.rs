//! What the sources call.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, Event, InvokeMode, Outcome, RequestId, StateWrite};
use hikigane_store::{NamespacedWrite, Run, RunStatus};
use hikigane_trigger::{Accepted, CallError, EmitError, Ingress, Reply, StateError, StateStore, async_trait};

use crate::router::state_error;
use crate::{Binding, InvokeError, InvokeRequest, Router};

/// The router as sources see it.
pub struct Gate(pub std::sync::Arc<Router>);

impl Router {
    fn binding(&self, id: &BindingId) -> Result<&Binding, String> {
        self.routes
            .binding(id)
            .ok_or_else(|| format!("there is no binding \"{id}\""))
    }
}

impl Binding {
    /// Whether the filter, if any, wants the event. Only then is the payload parsed.
    fn wants(&self, payload: &[u8]) -> bool {
        let Some(filter) = &self.filter else { return true };
        serde_json::from_slice(payload).is_ok_and(|event| filter.matches(&event))
    }

    fn request(&self, event: Event) -> InvokeRequest {
        InvokeRequest {
            function: self.function.to_string(),
            qualifier: None,
            payload: event.payload,
            client_context: None,
            trace: event.trace,
            tenant_id: None,
        }
    }

    fn writes(&self, state: Vec<StateWrite>) -> Vec<NamespacedWrite> {
        state
            .into_iter()
            .map(|write| NamespacedWrite {
                namespace: self.kind.clone(),
                write,
            })
            .collect()
    }
}

#[async_trait]
impl Ingress for Gate {
    async fn emit(&self, id: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError> {
        let router = &self.0;
        let binding = router.binding(id).map_err(EmitError::Refused)?;
        if !binding.wants(&event.payload) {
            if !state.is_empty() {
                let written = router.state.write(binding.writes(state), None).await;
                written.map_err(|error| EmitError::Unavailable(error.to_string()))?;
            }
            return Ok(Accepted::Filtered);
        }
        let request_id = RequestId::random();
        let group = event.group.clone();
        let request = binding.request(event);
        router
            .enqueue(
                &binding.kind,
                Some(id.clone()),
                request,
                request_id.clone(),
                group,
                binding.writes(state),
            )
            .await?;
        Ok(Accepted::Queued(request_id))
    }

    async fn skip(
        &self,
        id: &BindingId,
        time: DateTime<Utc>,
        reason: &str,
        state: Vec<StateWrite>,
    ) -> Result<(), EmitError> {
        let router = &self.0;
        let binding = router.binding(id).map_err(EmitError::Refused)?;
        let skip = Run {
            request_id: RequestId::random(),
            attempt: 0,
            binding: Some(id.clone()),
            trigger: binding.kind.clone(),
            function: binding.function.clone(),
            version: "$LATEST".into(),
            mode: InvokeMode::Async,
            status: RunStatus::Skipped,
            reason: Some(reason.to_owned()),
            started_at: time,
            duration_ms: 0.0,
            init_ms: None,
            max_memory_mb: 0,
            input: Bytes::new(),
            output: Bytes::new(),
            log: String::new(),
        };
        let written = router.state.write(binding.writes(state), Some(skip)).await;
        written.map_err(|error| EmitError::Unavailable(error.to_string()))
    }

    async fn call(&self, id: &BindingId, event: Event) -> Result<Reply, CallError> {
        let router = &self.0;
        let binding = router.binding(id).map_err(CallError::Refused)?;
        if !binding.wants(&event.payload) {
            return Err(CallError::Filtered);
        }
        let request_id = RequestId::random();
        match router
            .call(
                &binding.kind,
                Some(id.clone()),
                binding.request(event),
                request_id.clone(),
            )
            .await
        {
            Ok(invoked) => Ok(Reply {
                request_id,
                outcome: invoked.report.outcome,
            }),
            Err(InvokeError::Throttled(reason)) => Ok(Reply {
                request_id,
                outcome: Outcome::Throttled(reason),
            }),
            Err(InvokeError::TooLarge { size, limit, .. }) => Err(CallError::TooLarge { size, limit }),
            Err(other) => Err(CallError::Refused(other.to_string())),
        }
    }

    async fn pending(&self, id: &BindingId) -> Result<u64, EmitError> {
        self.0
            .queue
            .pending(id)
            .await
            .map_err(|error| EmitError::Unavailable(error.to_string()))
    }
}

#[async_trait]
impl StateStore for Gate {
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.0.state.get(namespace, key).await.map_err(state_error)
    }

    async fn scan(&self, namespace: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.0.state.scan(namespace, prefix).await.map_err(state_error)
    }

    async fn write(&self, namespace: &str, state: Vec<StateWrite>) -> Result<(), StateError> {
        let namespaced = state
            .into_iter()
            .map(|write| NamespacedWrite {
                namespace: namespace.to_owned(),
                write,
            })
            .collect();
        self.0.state.write(namespaced, None).await.map_err(state_error)
    }
}

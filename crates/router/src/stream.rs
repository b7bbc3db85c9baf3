//! Running a function for a caller who takes its answer as it is written.

use std::sync::Arc;

use bytes::Bytes;
use hikigane_executor::{ResponseStream, response};
use hikigane_model::{Outcome, Qualifier, RequestId};
use tokio::sync::oneshot;

use crate::{InvokeError, InvokeRequest, Invoked, Router};

/// The media type of what a handler that does not stream returns.
const JSON: &str = "application/json";

/// An answer that has begun. Dropped before its end: the rest is discarded, and the invocation goes on without its caller.
pub struct Streaming {
    /// The id.
    pub request_id: RequestId,
    /// The version that runs.
    pub version: Qualifier,
    /// The media type that the handler set: `application/vnd.awslambda.http-integration-response` says that a prelude comes first. Of a
    /// handler that does not stream, and of one that failed before it began: JSON.
    pub content_type: String,
    response: ResponseStream,
    end: End,
    /// What a handler that does not stream has returned.
    whole: Option<Bytes>,
}

enum End {
    Awaited(oneshot::Receiver<Result<Invoked, InvokeError>>),
    Come(Result<Invoked, InvokeError>),
}

impl Router {
    /// Lambda's InvokeWithResponseStream, for any trigger that can hand on an answer as it is written. Resolves when the handler has begun
    /// to answer, or has ended. A handler that does not stream has one piece.
    pub async fn stream(
        self: &Arc<Self>,
        trigger: &str,
        request: InvokeRequest,
        request_id: RequestId,
    ) -> Result<Streaming, InvokeError> {
        let (mut order, permit) = self.admit(trigger, None, request, request_id.clone())?;
        let version = order.spec.version.clone();
        let (sink, mut response) = response();
        order.response = Some(sink);
        let (tell, mut told) = oneshot::channel();
        let run = self.clone().complete(order, permit);
        // In a task of its own: it must not stand still because its caller is slow.
        self.running.spawn(async move {
            // The caller may have gone.
            let _ = tell.send(run.await);
        });
        let (content_type, end) = tokio::select! {
            biased;
            content_type = response.begun() => (content_type, End::Awaited(told)),
            end = &mut told => (JSON.to_owned(), End::Come(Ok(came(end)?))),
        };
        let whole = match &end {
            End::Come(Ok(invoked)) => match &invoked.report.outcome {
                Outcome::Returned(payload) => Some(payload.clone()),
                _ => None,
            },
            _ => None,
        };
        Ok(Streaming {
            request_id,
            version,
            content_type,
            response,
            end,
            whole,
        })
    }
}

impl Streaming {
    /// The next bytes; `None` when there are no more. Cancelling it loses none.
    pub async fn next(&mut self) -> Option<Bytes> {
        if let End::Awaited(told) = &mut self.end {
            tokio::select! {
                biased;
                bytes = self.response.next() => return Some(bytes),
                end = told => self.end = End::Come(came(end)),
            }
        }
        self.response.rest().or_else(|| self.whole.take())
    }

    /// How the invocation ended; what was not taken until now is discarded.
    pub async fn end(self) -> Result<Invoked, InvokeError> {
        drop(self.response);
        match self.end {
            End::Awaited(told) => came(told.await),
            End::Come(end) => end,
        }
    }
}

fn came(end: Result<Result<Invoked, InvokeError>, oneshot::error::RecvError>) -> Result<Invoked, InvokeError> {
    end.unwrap_or_else(|_| Err(InvokeError::Unavailable("the invocation was given up".into())))
}

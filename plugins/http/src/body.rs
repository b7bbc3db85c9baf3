//! Reads a request's body within bounds of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// How far a body over its limit is still read. A client that is sending reads no answer, and closing on unread bytes
/// would reset the connection and destroy the answer; so a body that is not much too large is read to its end.
const OVERRUN: usize = 10 * 1024 * 1024;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is over the limit.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke, or the chunks are malformed.
    Broken,
}

/// Reads a body of at most `limit` bytes that arrives within `time`.
///
/// `on_request`: the client waits for `100 Continue`, so a body that says it is too large is not asked for.
pub(crate) async fn read(body: Incoming, on_request: bool, limit: usize, time: Duration) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if on_request && declared > limit {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(time, collect(body, declared.min(limit), limit))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(mut body: Incoming, expected: usize, limit: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > limit.saturating_add(OVERRUN) {
            break;
        }
        if length > limit {
            continue;
        }
        // Most bodies come in one piece, which is then passed on without a copy.
        if length == data.len() {
            first = data;
        } else {
            if joined.is_empty() {
                joined.reserve(expected.max(length));
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
    }
    if length > limit {
        return Err(BodyError::TooLarge);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

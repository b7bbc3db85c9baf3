//! Reads the bodies of requests within bounds of size, time and memory, and holds those of answers within bounds of memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// How far a body over its limit is still read. A client that is sending reads no answer, and closing on unread bytes
/// would reset the connection and destroy the answer; so a body that is not much too large is read to its end.
const OVERRUN: usize = 10 * 1024 * 1024;

/// The memory for bodies that are arriving, of all connections together, and as much for answers that wait to be taken: clients who begin many large
/// ones and stop must not fill the machine's.
pub(crate) const BUDGET: usize = 256 * 1024 * 1024;
/// Bodies up to this size need no part of it, so that small requests get through whatever large ones do.
const SMALL: usize = 64 * 1024;

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is over the limit.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// Too many large ones are arriving.
    TooMany,
    /// The connection broke, or the chunks are malformed.
    Broken,
}

/// Reads a body of at most `limit` bytes that arrives within `time`, in memory of `budget`.
///
/// `on_request`: the client waits for `100 Continue`, so a body that says it is too large is not asked for.
pub(crate) async fn read(
    body: Incoming,
    on_request: bool,
    limit: usize,
    time: Duration,
    budget: &Semaphore,
) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if on_request && declared > limit {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(time, collect(body, declared.min(limit), limit, budget))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(mut body: Incoming, expected: usize, limit: usize, budget: &Semaphore) -> Result<Bytes, BodyError> {
    let mut share = Share::of(budget);
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
        share.grow_to(length)?;
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

/// The body of an answer, with its share of a budget until all of it has been sent. `None`: others that nobody takes have used it up.
pub(crate) fn hold(answer: Bytes, budget: &Arc<Semaphore>) -> Option<Bytes> {
    struct Held {
        answer: Bytes,
        _share: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.answer
        }
    }
    if answer.len() <= SMALL {
        return Some(answer);
    }
    let share = u32::try_from(answer.len()).ok()?;
    let _share = Arc::clone(budget).try_acquire_many_owned(share).ok()?;
    Some(Bytes::from_owner(Held { answer, _share }))
}

/// What one body has of the budget; given back when it is read, or not.
struct Share<'a> {
    budget: &'a Semaphore,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Share<'a> {
    fn of(budget: &'a Semaphore) -> Self {
        Self { budget, held: None }
    }

    fn grow_to(&mut self, length: usize) -> Result<(), BodyError> {
        let held = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        if length <= SMALL || length <= held {
            return Ok(());
        }
        let more = u32::try_from(length - held).map_err(|_| BodyError::TooLarge)?;
        let more = self.budget.try_acquire_many(more).map_err(|_| BodyError::TooMany)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_what_there_is_and_small_ones_need_none() {
        let budget = Semaphore::new(3 * SMALL);
        let mut first = Share::of(&budget);
        for length in [1, SMALL, SMALL + 1, SMALL + 1, 2 * SMALL] {
            assert_eq!(first.grow_to(length), Ok(()), "{length}");
        }
        let mut second = Share::of(&budget);
        assert_eq!(second.grow_to(SMALL), Ok(()));
        assert_eq!(second.grow_to(SMALL + 1), Err(BodyError::TooMany));
        drop(first);
        assert_eq!(second.grow_to(3 * SMALL), Ok(()));
        drop(second);
        assert_eq!(budget.available_permits(), 3 * SMALL);
    }
}

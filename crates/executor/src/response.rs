//! A streaming answer on its way from an environment to whoever takes it: bytes in order, bounded, at the reader's pace.
//!
//! The worker may send [`WINDOW`] bytes ahead. What the reader has taken may be sent anew, so a slow reader slows the handler down
//! and memory holds a window, however long the answer is. A reader who leaves takes everything from then on: the handler goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use hikigane_model::limits;
use tokio::sync::Notify;

/// How many bytes of an answer may be on their way to the reader.
pub const WINDOW: u32 = 256 * 1024;

/// Credit is given back in portions of this many bytes, so that a short answer costs no frame for it.
const PORTION: u32 = WINDOW / 2;

/// How many of the first bytes are kept for the history, which keeps no more of any answer.
const HEAD: usize = 256 * 1024;

/// Makes the two ends.
pub fn response() -> (ResponseSink, ResponseStream) {
    let shared = Arc::new(Shared::default());
    (ResponseSink(shared.clone()), ResponseStream(shared))
}

/// The end that an environment writes to. Its end is told by the end of the invocation.
#[derive(Clone)]
pub struct ResponseSink(Arc<Shared>);

/// What one worker may still send of an answer. It runs user code and may have lost its mind, so it is held to that.
pub(crate) struct Inflow {
    sink: ResponseSink,
    /// Bytes that it may send now.
    credit: usize,
    /// Bytes that it may send in all.
    room: usize,
}

/// A worker has sent what it may not.
#[derive(Debug, PartialEq)]
pub(crate) struct NotAllowed;

/// The end that is read. Dropped: what comes is discarded.
pub struct ResponseStream(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when there is something to read.
    written: Notify,
    /// Told when credit may be given back.
    taken: Notify,
}

#[derive(Default)]
struct State {
    /// The media type, once the answer has begun.
    content_type: Option<String>,
    /// What the reader has not taken.
    pending: BytesMut,
    /// How many bytes were taken since credit was given back for the last time.
    taken: u32,
    head: Vec<u8>,
    /// Nobody reads.
    abandoned: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, state: &mut State) -> Option<Bytes> {
        if state.pending.is_empty() {
            return None;
        }
        let bytes = state.pending.split().freeze();
        self.give_back(state, bytes.len());
        Some(bytes)
    }

    fn give_back(&self, state: &mut State, bytes: usize) {
        state.taken = state.taken.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if state.taken >= PORTION {
            self.taken.notify_one();
        }
    }
}

impl ResponseSink {
    fn begin(&self, content_type: String) {
        self.0.lock().content_type = Some(content_type);
        self.0.written.notify_one();
    }

    fn write(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        let room = HEAD.saturating_sub(state.head.len()).min(bytes.len());
        state.head.extend_from_slice(&bytes[..room]);
        if state.abandoned {
            self.0.give_back(&mut state, bytes.len());
        } else {
            state.pending.extend_from_slice(bytes);
            drop(state);
            self.0.written.notify_one();
        }
    }

    /// Waits until credit can be given back; returns how much. Bytes are counted once, whether or not this is polled to its end.
    pub(crate) async fn credit(&self) -> u32 {
        loop {
            let taken = self.0.taken.notified();
            {
                let mut state = self.0.lock();
                if state.taken >= PORTION {
                    return std::mem::take(&mut state.taken);
                }
            }
            taken.await;
        }
    }

    /// Whether the handler has begun to stream.
    pub fn has_begun(&self) -> bool {
        self.0.lock().content_type.is_some()
    }

    /// The first bytes that were written, up to 256 KiB.
    pub fn head(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.lock().head)
    }
}

impl Inflow {
    /// The whole answer is to come, a window of it at once.
    pub(crate) fn new(sink: &ResponseSink) -> Self {
        Self {
            sink: sink.clone(),
            credit: WINDOW as usize,
            room: limits::STREAMED_RESPONSE,
        }
    }

    /// The answer begins.
    pub(crate) fn begin(&mut self, content_type: String) -> Result<(), NotAllowed> {
        if self.sink.has_begun() {
            return Err(NotAllowed);
        }
        self.sink.begin(content_type);
        Ok(())
    }

    /// Its next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), NotAllowed> {
        if !self.sink.has_begun() {
            return Err(NotAllowed);
        }
        self.credit = self.credit.checked_sub(bytes.len()).ok_or(NotAllowed)?;
        self.room = self.room.checked_sub(bytes.len()).ok_or(NotAllowed)?;
        self.sink.write(bytes);
        Ok(())
    }

    /// More may be sent.
    pub(crate) fn grant(&mut self, bytes: u32) {
        self.credit += bytes as usize;
    }
}

impl ResponseStream {
    /// Waits until the answer begins; gives its media type.
    pub async fn begun(&mut self) -> String {
        loop {
            let written = self.0.written.notified();
            if let Some(content_type) = &self.0.lock().content_type {
                return content_type.clone();
            }
            written.await;
        }
    }

    /// Waits for the next bytes. Cancelling it loses none.
    pub async fn next(&mut self) -> Bytes {
        loop {
            let written = self.0.written.notified();
            if let Some(bytes) = self.0.take(&mut self.0.lock()) {
                return bytes;
            }
            written.await;
        }
    }

    /// What was written and not taken, if anything.
    pub fn rest(&mut self) -> Option<Bytes> {
        self.0.take(&mut self.0.lock())
    }
}

impl Drop for ResponseStream {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        self.0.take(&mut state);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn bytes_arrive_in_order_and_what_was_not_taken_yet_arrives_together() {
        let (sink, mut stream) = response();
        assert!(!sink.has_begun() && stream.begun().now_or_never().is_none());
        sink.begin("text/plain".into());
        assert_eq!(stream.begun().await, "text/plain");
        assert!(stream.next().now_or_never().is_none());
        sink.write(b"a");
        sink.write(b"b");
        assert_eq!(stream.next().await, "ab");
        let waiting = tokio::spawn(async move { (stream.next().await, stream) });
        tokio::task::yield_now().await;
        sink.write(b"c");
        let (bytes, mut stream) = waiting.await.unwrap();
        assert_eq!((bytes.as_ref(), stream.rest()), (&b"c"[..], None));
        assert_eq!(sink.head(), "abc");
    }

    #[tokio::test]
    async fn credit_comes_back_in_portions_for_what_was_taken() {
        let (sink, mut stream) = response();
        let half = vec![0; PORTION as usize];
        sink.write(&half[1..]);
        stream.next().await;
        assert!(sink.credit().now_or_never().is_none());
        sink.write(&half[..1]);
        assert!(sink.credit().now_or_never().is_none(), "it was written, not taken");
        stream.next().await;
        assert_eq!(sink.credit().await, PORTION);
        assert!(sink.credit().now_or_never().is_none(), "once");
    }

    #[tokio::test]
    async fn a_worker_is_held_to_its_credit_and_to_the_limit() {
        let (sink, mut stream) = response();
        let mut inflow = Inflow::new(&sink);
        assert_eq!(inflow.write(b"x"), Err(NotAllowed), "it has not begun");
        inflow.begin(String::new()).unwrap();
        assert_eq!(inflow.begin(String::new()), Err(NotAllowed), "twice");
        let window = vec![0; WINDOW as usize];
        let mut sent = 0;
        while sent < limits::STREAMED_RESPONSE {
            inflow.write(&window).unwrap();
            assert_eq!(inflow.write(b"x"), Err(NotAllowed), "it was not told that it may");
            sent += stream.next().await.len();
            inflow.grant(sink.credit().await);
        }
        assert_eq!(inflow.write(b"x"), Err(NotAllowed), "more than 200 MB");
    }

    #[tokio::test]
    async fn a_reader_who_leaves_holds_up_nobody() {
        let (sink, stream) = response();
        let window = vec![1; WINDOW as usize];
        sink.write(&window);
        drop(stream);
        assert_eq!(sink.credit().await, WINDOW);
        sink.write(&window);
        assert_eq!(sink.credit().await, WINDOW);
        assert!(sink.0.lock().pending.is_empty());
        assert_eq!(sink.head().len(), HEAD);
    }
}

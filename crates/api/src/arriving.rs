//! A request's body on its way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// A body that fails when nothing of it comes for `patience`: what is slow may take its time, what has stopped must not be waited for.
pub struct Arriving<B> {
    body: B,
    patience: Duration,
    /// Runs while a piece is awaited. Made once, and moved on for each: most bodies are there with their heads, and need none.
    end: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl<B> Arriving<B> {
    pub fn new(body: B, patience: Duration) -> Self {
        Self {
            body,
            patience,
            end: None,
            waits: false,
        }
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waits = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let end = Instant::now() + self.patience;
        let waits = std::mem::replace(&mut self.waits, true);
        let sleep = self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if !waits {
            sleep.as_mut().reset(end);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err("nothing of it came for a while".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use std::task::Waker;
    use tokio::sync::mpsc;

    fn body_of(
        pieces: mpsc::UnboundedReceiver<&'static [u8]>,
        patience: Duration,
    ) -> Arriving<impl Body<Data = Bytes, Error = BoxError> + Unpin> {
        let frames = stream::unfold(pieces, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece))), pieces))
        });
        Arriving::new(StreamBody::new(Box::pin(frames)), patience)
    }

    #[tokio::test]
    async fn a_body_that_has_stopped_is_given_up() {
        let (piece, pieces) = mpsc::unbounded_channel();
        piece.send(b"x".as_slice()).unwrap();
        let error = body_of(pieces, Duration::from_millis(50))
            .collect()
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("nothing of it came"));
    }

    #[tokio::test]
    async fn a_body_that_gets_on_has_the_whole_time_again() {
        let (piece, pieces) = mpsc::unbounded_channel();
        let mut body = body_of(pieces, Duration::from_secs(3600));
        let mut end = || {
            let cx = &mut Context::from_waker(Waker::noop());
            while Pin::new(&mut body).poll_frame(cx).is_ready() {}
            body.end.as_ref().unwrap().deadline()
        };
        let first = end();
        assert_eq!(end(), first, "asking again is no progress");
        piece.send(b"x".as_slice()).unwrap();
        assert!(end() > first);
    }
}

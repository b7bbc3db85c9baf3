//! The language between the server and a worker: frames over a stream socket.
//!
//! A frame is a little-endian `u32` length of what follows, one kind byte, and a body. Payloads are raw bytes, never
//! re-encoded. A length over [`LIMIT`] ends the connection: the peer is not to be trusted.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The largest frame: a request or response of 6 MB, and room for its head and for a long log line.
pub const LIMIT: usize = 16 * 1024 * 1024;

/// The longest content type of a streaming answer, bytes.
pub const CONTENT_TYPE_LIMIT: usize = 1024;
/// The largest message of a debugger, or to one: a frame without its head.
pub const MESSAGE_LIMIT: usize = LIMIT - 64;

const HEAD: usize = 4;
/// Frames up to this size are copied out of the buffer that was read into.
const SMALL: usize = 8 * 1024;

/// From the server to a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum ToWorker {
    /// Load this function: [`crate::WorkerInit`] as JSON.
    Init(Bytes),
    /// Run the handler.
    Invoke(InvokeFrame),
    /// So many more bytes of its answer may be sent by the invocation with this nonce.
    Credit {
        /// The invocation's.
        nonce: u64,
        /// How many, beside what it had.
        bytes: u32,
    },
    /// A debugger has come.
    Attach {
        /// Its number, which no other of this worker has or had.
        session: u32,
    },
    /// A debugger says something.
    Inspect {
        /// Its number.
        session: u32,
        /// A message of the Chrome DevTools Protocol, JSON text.
        message: Bytes,
    },
    /// A debugger has gone.
    Detach {
        /// Its number.
        session: u32,
    },
}

/// One invocation, as the worker needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct InvokeFrame {
    /// Milliseconds since 1970 at which it will be killed.
    pub deadline_ms: u64,
    /// Must come back with the answer. User code that gets hold of the socket does not know it, and so cannot answer.
    pub nonce: u64,
    /// The id.
    pub request_id: String,
    /// The ARN as invoked.
    pub invoked_arn: String,
    /// The client context, JSON text; empty: none.
    pub client_context: String,
    /// The trace header; empty: none.
    pub trace: String,
    /// The tenant; empty: none.
    pub tenant_id: String,
    /// Whether a streaming handler's answer is to leave as it is written, [`WINDOW`](crate::WINDOW) bytes ahead of whoever reads it.
    pub streams: bool,
    /// The event, JSON text.
    pub payload: Bytes,
}

/// From a worker to the server.
#[derive(Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// The worker exists: the first frame.
    Born {
        /// Its process.
        pid: u32,
    },
    /// The worker waits for [`ToWorker::Init`].
    Ready,
    /// The function is loaded.
    Loaded {
        /// Most memory held so far, KiB.
        max_rss_kib: u32,
    },
    /// The function could not be loaded: Lambda's error JSON. The worker ends.
    LoadFailed {
        /// Most memory held so far, KiB.
        max_rss_kib: u32,
        /// The error.
        error: Bytes,
    },
    /// A piece of log.
    Log(Bytes),
    /// A streaming handler begins to answer: before its first [`FromWorker::Chunk`], once.
    Begun {
        /// The invocation's.
        nonce: u64,
        /// The media type that the handler has set, or the runtime client's own.
        content_type: String,
    },
    /// The next bytes of a streaming handler's answer.
    Chunk {
        /// The invocation's.
        nonce: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// The handler returned this JSON text; nothing, when it has streamed.
    Returned {
        /// What it took.
        run: Ran,
        /// The result.
        payload: Bytes,
    },
    /// The handler threw: Lambda's error JSON.
    Failed {
        /// What it took.
        run: Ran,
        /// Whether the worker can go on.
        reusable: bool,
        /// The error.
        error: Bytes,
    },
    /// There was no ticket for the invocation with this nonce: the server has taken it back, and it was not run.
    Dropped {
        /// The invocation's.
        nonce: u64,
    },
    /// The function ends the worker, without an answer.
    Leaving {
        /// Most memory held so far, KiB.
        max_rss_kib: u32,
    },
    /// The function needed more memory than it has. The worker ends.
    OutOfMemory,
    /// What a debugger is told.
    Inspect {
        /// Its number.
        session: u32,
        /// A message of the Chrome DevTools Protocol, JSON text.
        message: Bytes,
    },
}

/// An invocation that has ended, as the worker measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// The invocation's.
    pub nonce: u64,
    /// From its start to its end, microseconds.
    pub micros: u64,
    /// Whether it waited for anything but the processor.
    pub waited: bool,
    /// Most memory held so far, KiB.
    pub max_rss_kib: u32,
}

impl Ran {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.nonce);
        out.put_u64_le(self.micros);
        out.put_u8(self.waited.into());
        out.put_u32_le(self.max_rss_kib);
    }

    fn take(body: &mut Bytes) -> Result<Self, FrameError> {
        let short = |_| FrameError("a result without its measures");
        Ok(Self {
            nonce: body.try_get_u64_le().map_err(short)?,
            micros: body.try_get_u64_le().map_err(short)?,
            waited: body.try_get_u8().map_err(short)? != 0,
            max_rss_kib: body.try_get_u32_le().map_err(short)?,
        })
    }
}

/// What cannot be a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a frame is broken: {0}")]
pub struct FrameError(&'static str);

const INIT: u8 = 1;
const INVOKE: u8 = 2;
const CREDIT: u8 = 3;
const ATTACH: u8 = 4;
const INSPECT: u8 = 5;
const DETACH: u8 = 6;
const READY: u8 = 16;
const LOADED: u8 = 17;
const LOAD_FAILED: u8 = 18;
const LOG: u8 = 19;
const RETURNED: u8 = 20;
const FAILED: u8 = 21;
const OUT_OF_MEMORY: u8 = 22;
const DROPPED: u8 = 23;
const BORN: u8 = 24;
const BEGUN: u8 = 25;
const CHUNK: u8 = 26;
const INSPECTED: u8 = 27;
const LEAVING: u8 = 28;

/// The bytes of [`FromWorker::OutOfMemory`], for a place where nothing may be allocated.
pub const OUT_OF_MEMORY_FRAME: [u8; 5] = [1, 0, 0, 0, OUT_OF_MEMORY];

/// Takes one whole frame off the front of `buffer`: its kind and its body. `None`: not all of it is there yet.
fn take(buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>, FrameError> {
    let Some(head) = buffer.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*head) as usize;
    if length == 0 || length > LIMIT {
        return Err(FrameError("its length is out of range"));
    }
    if buffer.len() < HEAD + length {
        buffer.reserve(HEAD + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEAD);
    // A piece of the buffer keeps all of it alive for as long as somebody keeps the piece.
    let mut frame = if length <= SMALL {
        let frame = Bytes::copy_from_slice(&buffer[..length]);
        buffer.advance(length);
        frame
    } else {
        buffer.split_to(length).freeze()
    };
    let kind = frame.get_u8();
    Ok(Some((kind, frame)))
}

/// Appends a frame whose body is written by `body`.
fn put(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    body(out);
    let length = (out.len() - start - HEAD) as u32;
    out[start..start + HEAD].copy_from_slice(&length.to_le_bytes());
}

/// Appends a [`FromWorker::Chunk`] of bytes that are only borrowed.
pub fn put_chunk(out: &mut Vec<u8>, nonce: u64, bytes: &[u8]) {
    put(out, CHUNK, |out| {
        out.put_u64_le(nonce);
        out.put_slice(bytes);
    });
}

impl ToWorker {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Init(json) => put(out, INIT, |out| out.put_slice(json)),
            Self::Invoke(frame) => put(out, INVOKE, |out| {
                out.put_u64_le(frame.deadline_ms);
                out.put_u64_le(frame.nonce);
                for text in [
                    &frame.request_id,
                    &frame.invoked_arn,
                    &frame.client_context,
                    &frame.trace,
                    &frame.tenant_id,
                ] {
                    out.put_u32_le(text.len() as u32);
                    out.put_slice(text.as_bytes());
                }
                out.put_u8(frame.streams.into());
                out.put_slice(&frame.payload);
            }),
            Self::Credit { nonce, bytes } => put(out, CREDIT, |out| {
                out.put_u64_le(*nonce);
                out.put_u32_le(*bytes);
            }),
            Self::Attach { session } => put(out, ATTACH, |out| out.put_u32_le(*session)),
            Self::Inspect { session, message } => put(out, INSPECT, |out| {
                out.put_u32_le(*session);
                out.put_slice(message);
            }),
            Self::Detach { session } => put(out, DETACH, |out| out.put_u32_le(*session)),
        }
    }

    /// Takes a frame off the front of `buffer`; `None`: it is not complete.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some((kind, mut body)) = take(buffer)? else {
            return Ok(None);
        };
        match kind {
            INIT => Ok(Some(Self::Init(body))),
            INVOKE => {
                let deadline_ms = body
                    .try_get_u64_le()
                    .map_err(|_| FrameError("an invoke without deadline"))?;
                let nonce = nonce(&mut body)?;
                let request_id = text(&mut body)?;
                let invoked_arn = text(&mut body)?;
                let client_context = text(&mut body)?;
                let trace = text(&mut body)?;
                let tenant_id = text(&mut body)?;
                let streams = body.try_get_u8().map_err(|_| FrameError("an invoke without mode"))? != 0;
                Ok(Some(Self::Invoke(InvokeFrame {
                    deadline_ms,
                    nonce,
                    request_id,
                    invoked_arn,
                    client_context,
                    trace,
                    tenant_id,
                    streams,
                    payload: body,
                })))
            }
            CREDIT => Ok(Some(Self::Credit {
                nonce: nonce(&mut body)?,
                bytes: body
                    .try_get_u32_le()
                    .map_err(|_| FrameError("a credit without amount"))?,
            })),
            ATTACH => Ok(Some(Self::Attach {
                session: session(&mut body)?,
            })),
            INSPECT => Ok(Some(Self::Inspect {
                session: session(&mut body)?,
                message: body,
            })),
            DETACH => Ok(Some(Self::Detach {
                session: session(&mut body)?,
            })),
            _ => Err(FrameError("a kind that no worker knows")),
        }
    }
}

impl FromWorker {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Born { pid } => put(out, BORN, |out| out.put_u32_le(*pid)),
            Self::Ready => put(out, READY, |_| ()),
            Self::Loaded { max_rss_kib } => put(out, LOADED, |out| out.put_u32_le(*max_rss_kib)),
            Self::Leaving { max_rss_kib } => put(out, LEAVING, |out| out.put_u32_le(*max_rss_kib)),
            Self::LoadFailed { max_rss_kib, error } => put(out, LOAD_FAILED, |out| {
                out.put_u32_le(*max_rss_kib);
                out.put_slice(error);
            }),
            Self::Log(text) => put(out, LOG, |out| out.put_slice(text)),
            Self::Begun { nonce, content_type } => put(out, BEGUN, |out| {
                out.put_u64_le(*nonce);
                out.put_slice(content_type.as_bytes());
            }),
            Self::Chunk { nonce, bytes } => put_chunk(out, *nonce, bytes),
            Self::Returned { run, payload } => put(out, RETURNED, |out| {
                run.put(out);
                out.put_slice(payload);
            }),
            Self::Dropped { nonce } => put(out, DROPPED, |out| out.put_u64_le(*nonce)),
            Self::Failed { run, reusable, error } => put(out, FAILED, |out| {
                run.put(out);
                out.put_u8((*reusable).into());
                out.put_slice(error);
            }),
            Self::OutOfMemory => out.put_slice(&OUT_OF_MEMORY_FRAME),
            Self::Inspect { session, message } => put(out, INSPECTED, |out| {
                out.put_u32_le(*session);
                out.put_slice(message);
            }),
        }
    }

    /// Takes a frame off the front of `buffer`; `None`: it is not complete.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some((kind, mut body)) = take(buffer)? else {
            return Ok(None);
        };
        let rss = |body: &mut Bytes| {
            body.try_get_u32_le()
                .map_err(|_| FrameError("a result without memory use"))
        };
        Ok(Some(match kind {
            READY => Self::Ready,
            BORN => Self::Born {
                pid: body
                    .try_get_u32_le()
                    .map_err(|_| FrameError("a worker without a process"))?,
            },
            LOADED => Self::Loaded {
                max_rss_kib: rss(&mut body)?,
            },
            LOAD_FAILED => Self::LoadFailed {
                max_rss_kib: rss(&mut body)?,
                error: body,
            },
            LEAVING => Self::Leaving {
                max_rss_kib: rss(&mut body)?,
            },
            LOG => Self::Log(body),
            BEGUN => {
                let nonce = nonce(&mut body)?;
                if body.len() > CONTENT_TYPE_LIMIT {
                    return Err(FrameError("a content type over its limit"));
                }
                Self::Begun {
                    nonce,
                    content_type: String::from_utf8(body.to_vec())
                        .map_err(|_| FrameError("a content type that is not UTF-8"))?,
                }
            }
            CHUNK => Self::Chunk {
                nonce: nonce(&mut body)?,
                bytes: body,
            },
            RETURNED => Self::Returned {
                run: Ran::take(&mut body)?,
                payload: body,
            },
            DROPPED => Self::Dropped {
                nonce: nonce(&mut body)?,
            },
            FAILED => {
                let run = Ran::take(&mut body)?;
                let reusable = body.try_get_u8().map_err(|_| FrameError("a failure without state"))? != 0;
                Self::Failed {
                    run,
                    reusable,
                    error: body,
                }
            }
            OUT_OF_MEMORY => Self::OutOfMemory,
            INSPECTED => Self::Inspect {
                session: session(&mut body)?,
                message: body,
            },
            _ => return Err(FrameError("a kind that no server knows")),
        }))
    }
}

fn nonce(body: &mut Bytes) -> Result<u64, FrameError> {
    body.try_get_u64_le()
        .map_err(|_| FrameError("no nonce where one belongs"))
}

fn session(body: &mut Bytes) -> Result<u32, FrameError> {
    body.try_get_u32_le()
        .map_err(|_| FrameError("a debugger without a number"))
}

fn text(body: &mut Bytes) -> Result<String, FrameError> {
    let length = body.try_get_u32_le().map_err(|_| FrameError("a text without length"))? as usize;
    if length > body.len() {
        return Err(FrameError("a text longer than its frame"));
    }
    String::from_utf8(body.split_to(length).to_vec()).map_err(|_| FrameError("a text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn ran() -> impl Strategy<Value = Ran> {
        (any::<u64>(), any::<u64>(), any::<bool>(), any::<u32>()).prop_map(|(nonce, micros, waited, max_rss_kib)| Ran {
            nonce,
            micros,
            waited,
            max_rss_kib,
        })
    }

    fn from_worker() -> impl Strategy<Value = FromWorker> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
        prop_oneof![
            Just(FromWorker::Ready),
            any::<u32>().prop_map(|pid| FromWorker::Born { pid }),
            Just(FromWorker::OutOfMemory),
            any::<u32>().prop_map(|max_rss_kib| FromWorker::Loaded { max_rss_kib }),
            (any::<u32>(), bytes()).prop_map(|(max_rss_kib, error)| FromWorker::LoadFailed { max_rss_kib, error }),
            any::<u32>().prop_map(|max_rss_kib| FromWorker::Leaving { max_rss_kib }),
            bytes().prop_map(FromWorker::Log),
            any::<u64>().prop_map(|nonce| FromWorker::Dropped { nonce }),
            (any::<u64>(), ".*").prop_map(|(nonce, content_type)| FromWorker::Begun { nonce, content_type }),
            (any::<u64>(), bytes()).prop_map(|(nonce, bytes)| FromWorker::Chunk { nonce, bytes }),
            (any::<u32>(), bytes()).prop_map(|(session, message)| FromWorker::Inspect { session, message }),
            (ran(), bytes()).prop_map(|(run, payload)| FromWorker::Returned { run, payload }),
            (ran(), any::<bool>(), bytes()).prop_map(|(run, reusable, error)| FromWorker::Failed {
                run,
                reusable,
                error
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(frames in proptest::collection::vec(from_worker(), 0..8), cut in 1usize..17) {
            let mut wire = Vec::new();
            frames.iter().for_each(|frame| frame.encode(&mut wire));
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = FromWorker::decode(&mut buffer).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn frames_to_a_worker_come_back(texts: [String; 5], deadline_ms: u64, nonce: u64, streams: bool, payload: Vec<u8>, bytes: u32) {
            let [request_id, invoked_arn, client_context, trace, tenant_id] = texts;
            let payload = payload.into();
            let invoke = ToWorker::Invoke(InvokeFrame {
                deadline_ms, nonce, request_id, invoked_arn, client_context, trace, tenant_id, streams, payload,
            });
            let credit = ToWorker::Credit { nonce, bytes };
            let mut wire = Vec::new();
            invoke.encode(&mut wire);
            credit.encode(&mut wire);
            let mut buffer = BytesMut::from(&wire[..]);
            prop_assert_eq!(ToWorker::decode(&mut buffer).unwrap(), Some(invoke));
            prop_assert_eq!(ToWorker::decode(&mut buffer).unwrap(), Some(credit));
        }

        #[test]
        fn what_debuggers_do_comes_through(session: u32, message: Vec<u8>) {
            let frames = [
                ToWorker::Attach { session },
                ToWorker::Inspect { session, message: message.into() },
                ToWorker::Detach { session },
            ];
            let mut wire = Vec::new();
            frames.iter().for_each(|frame| frame.encode(&mut wire));
            let mut buffer = BytesMut::from(&wire[..]);
            for frame in frames {
                prop_assert_eq!(ToWorker::decode(&mut buffer).unwrap(), Some(frame));
            }
        }

        #[test]
        fn any_bytes_are_a_frame_an_error_or_incomplete(bytes: Vec<u8>) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = FromWorker::decode(&mut buffer) {}
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = ToWorker::decode(&mut buffer) {}
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0x7f, LOG][..]);
        assert!(FromWorker::decode(&mut buffer).is_err());
    }
}

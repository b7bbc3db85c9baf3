//! The worker's end of the socket to the server.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use deno_core::futures::FutureExt;
use deno_core::futures::future::LocalBoxFuture;
use hikigane_executor::WINDOW;
use hikigane_executor::frames::{FromWorker, ToWorker, put_chunk};
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::extensions::{Outlet, Printer};

/// The largest piece of log in one frame, bytes.
const LOG_PIECE: usize = 256 * 1024;
/// The largest piece of an answer in one frame, bytes.
const ANSWER_PIECE: usize = 64 * 1024;

/// The socket, and what goes over it while a function runs: its log, and the answer that it streams.
pub struct Link {
    socket: UnixStream,
    inbox: RefCell<Inbox>,
    /// Where frames are written before they are sent.
    out: RefCell<Vec<u8>>,
    /// The streaming answer of the invocation that runs.
    answer: Cell<Option<Answer>>,
    /// Told when an answer is over.
    over: Notify,
}

#[derive(Default)]
struct Inbox {
    /// What was read and is not a whole frame yet.
    buffer: BytesMut,
    /// Frames that came before their time: between two invocations nothing is read that could wait.
    ahead: VecDeque<ToWorker>,
}

#[derive(Clone, Copy)]
struct Answer {
    nonce: u64,
    /// Bytes that the server is ready for.
    credit: usize,
}

impl Link {
    /// A link over the worker's socket.
    pub fn new(socket: UnixStream) -> Rc<Self> {
        Rc::new(Self {
            socket,
            inbox: RefCell::default(),
            out: RefCell::default(),
            answer: Cell::default(),
            over: Notify::new(),
        })
    }

    /// Sends each piece of log at once, so that it is not lost when the process is killed.
    pub fn printer(self: &Rc<Self>) -> Printer {
        let link = self.clone();
        Printer(Rc::new(move |text| {
            // One line may be long; a frame has a limit.
            for piece in text.as_bytes().chunks(LOG_PIECE) {
                link.tell(|out| FromWorker::Log(Bytes::copy_from_slice(piece)).encode(out));
            }
        }))
    }

    /// Sends a frame.
    pub fn send(&self, frame: &FromWorker) -> Result<(), String> {
        self.put(|out| frame.encode(out)).map_err(|error| error.to_string())
    }

    /// The next frame; `None` when the server is gone. Sleeps until it is there.
    pub fn receive(&self) -> Result<Option<ToWorker>, String> {
        let mut inbox = self.inbox.borrow_mut();
        if let Some(frame) = inbox.ahead.pop_front() {
            return Ok(Some(frame));
        }
        loop {
            match ToWorker::decode(&mut inbox.buffer).map_err(|error| error.to_string())? {
                Some(frame) => return Ok(Some(frame)),
                None => match inbox.read(&self.socket, RecvFlags::empty()) {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
            }
        }
    }

    /// The invocation with this nonce may stream its answer.
    pub fn open(&self, nonce: u64) {
        self.answer.set(Some(Answer {
            nonce,
            credit: WINDOW as usize,
        }));
    }

    /// The invocation has ended, and its answer with it.
    pub fn close(&self) {
        if self.answer.take().is_some() {
            self.over.notify_waiters();
        }
    }

    fn put(&self, encode: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
        let mut out = self.out.borrow_mut();
        out.clear();
        encode(&mut out);
        (&self.socket).write_all(&out)
    }

    /// Sends a frame in the middle of an invocation. When the server is gone, the worker has nobody to live for.
    fn tell(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.put(encode).is_err() {
            std::process::exit(0);
        }
    }

    /// Waits until the server is ready for more of this answer; false when the answer is over.
    async fn room(&self) -> std::io::Result<bool> {
        let Some(Answer { nonce, .. }) = self.answer.get() else {
            return Ok(false);
        };
        loop {
            match self.answer.get() {
                Some(answer) if answer.nonce == nonce => {
                    if answer.credit > 0 {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
            // Watched only while it is waited for: a frame that comes early must not wake a function.
            // SAFETY: the descriptor is the socket's, which stays open and the same for as long as it is borrowed.
            let watched = unsafe { AsyncFd::register_with_interest(self.socket.as_fd(), Interest::READABLE) }?;
            tokio::select! {
                () = self.over.notified() => {}
                readable = watched.readable() => {
                    drop(readable?);
                    self.take_in()?;
                }
            }
        }
    }

    /// Reads what is there: credit is taken, anything else waits for its time.
    fn take_in(&self) -> std::io::Result<()> {
        let mut inbox = self.inbox.borrow_mut();
        match inbox.read(&self.socket, RecvFlags::DONTWAIT) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while let Some(frame) = ToWorker::decode(&mut inbox.buffer).map_err(std::io::Error::other)? {
            match frame {
                ToWorker::Credit { nonce, bytes } => self.credited(nonce, bytes),
                other => inbox.ahead.push_back(other),
            }
        }
        Ok(())
    }

    fn credited(&self, nonce: u64, bytes: u32) {
        if let Some(answer) = self.answer.get()
            && answer.nonce == nonce
        {
            let credit = answer.credit + bytes as usize;
            self.answer.set(Some(Answer { credit, ..answer }));
        }
    }
}

impl Outlet for Link {
    fn is_open(&self) -> bool {
        self.answer.get().is_some()
    }

    fn begin(&self, content_type: String) {
        if let Some(Answer { nonce, .. }) = self.answer.get() {
            self.tell(|out| FromWorker::Begun { nonce, content_type }.encode(out));
        }
    }

    fn send(&self, bytes: &[u8]) -> usize {
        let Some(answer) = self.answer.get() else {
            return bytes.len();
        };
        let bytes = &bytes[..answer.credit.min(bytes.len())];
        for piece in bytes.chunks(ANSWER_PIECE) {
            self.tell(|out| put_chunk(out, answer.nonce, piece));
        }
        self.answer.set(Some(Answer {
            credit: answer.credit - bytes.len(),
            ..answer
        }));
        bytes.len()
    }

    fn room(self: Rc<Self>) -> LocalBoxFuture<'static, bool> {
        async move {
            match Link::room(&self).await {
                Ok(open) => open,
                // The server is gone, or has lost its mind.
                Err(_) => std::process::exit(0),
            }
        }
        .boxed_local()
    }
}

impl Inbox {
    /// Reads what is there, or waits for it unless told not to; 0 at the end.
    fn read(&mut self, socket: &UnixStream, flags: RecvFlags) -> std::io::Result<usize> {
        let start = self.buffer.len();
        let room = (self.buffer.capacity() - start).max(16 * 1024);
        self.buffer.resize(start + room, 0);
        let read = loop {
            match rustix::net::recv(socket, &mut self.buffer[start..], flags) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        let read = read.map(|(read, _)| read);
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        Ok(read?)
    }
}

//! The worker's end of the socket to the server.

#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use deno_core::futures::FutureExt;
use deno_core::futures::future::LocalBoxFuture;
use hikigane_executor::frames::{FromWorker, InvokeFrame, Ran, ToWorker, put_chunk};
use hikigane_executor::{WINDOW, too_large};
use hikigane_model::limits;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};

use crate::environment::Failure;
use crate::extensions::{Outlet, Printer};
use crate::memory;

/// The largest piece of log in one frame, bytes.
const LOG_PIECE: usize = 256 * 1024;
/// The largest piece of an answer in one frame, bytes.
const ANSWER_PIECE: usize = 64 * 1024;

/// Both directions of the socket.
pub fn open(socket: UnixStream) -> std::io::Result<(Input, Output)> {
    let outgoing = Outgoing {
        socket: socket.try_clone()?,
        room: Vec::new(),
    };
    let input = Input {
        socket,
        buffer: BytesMut::new(),
    };
    Ok((input, Output(Arc::new(Mutex::new(outgoing)))))
}

/// What the server sends.
pub struct Input {
    socket: UnixStream,
    /// What was read and is not a whole frame yet.
    buffer: BytesMut,
}

impl Input {
    /// The next frame; `None` when the server is gone. Sleeps until it is there.
    pub fn next(&mut self) -> Result<Option<ToWorker>, String> {
        loop {
            match ToWorker::decode(&mut self.buffer).map_err(|error| error.to_string())? {
                Some(frame) => return Ok(Some(frame)),
                None => match self.read(RecvFlags::empty()) {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
            }
        }
    }

    /// The socket's number.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Reads what is there, or waits for it unless told not to; 0 at the end.
    fn read(&mut self, flags: RecvFlags) -> std::io::Result<usize> {
        let start = self.buffer.len();
        let room = (self.buffer.capacity() - start).max(16 * 1024);
        self.buffer.resize(start + room, 0);
        let read = loop {
            match rustix::net::recv(&self.socket, &mut self.buffer[start..], flags) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other,
            }
        };
        let read = read.map(|(read, _)| read);
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        Ok(read?)
    }
}

/// Takes what the server is told, a whole frame at a time. Debuggers are answered by threads of their own, hence the lock.
#[derive(Clone)]
pub struct Output(Arc<Mutex<Outgoing>>);

struct Outgoing {
    socket: UnixStream,
    /// Where frames are written before they are sent.
    room: Vec<u8>,
}

impl Output {
    /// Sends a frame.
    pub fn send(&self, frame: &FromWorker) -> Result<(), String> {
        self.put(|room| frame.encode(room)).map_err(|error| error.to_string())
    }

    fn put(&self, encode: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
        let mut outgoing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Outgoing { socket, room } = &mut *outgoing;
        room.clear();
        encode(room);
        socket.write_all(room)
    }
}

/// Where frames come from while a function is there.
pub enum Source {
    /// From the socket.
    Socket(Input),
    /// From the thread that reads the socket, for debuggers' sake.
    Thread(mpsc::UnboundedReceiver<ToWorker>),
}

/// The socket, and what goes over it while a function runs: its log, and the answer that it streams.
pub struct Link {
    source: RefCell<Source>,
    /// Frames that came before their time: between two invocations nothing is read that could wait.
    ahead: RefCell<VecDeque<ToWorker>>,
    output: Output,
    state: RefCell<State>,
    /// The streaming answer of the invocation that runs.
    answer: Cell<Option<Answer>>,
    /// Told when an answer is over.
    over: Notify,
}

/// What the function is at.
enum State {
    Loads,
    Waits,
    Runs(Invocation),
}

struct Invocation {
    nonce: u64,
    begun: Instant,
    /// Whether the handler waited for anything but the processor.
    waited: bool,
}

impl Invocation {
    /// What the server is told of it.
    fn told(&self, result: Result<Bytes, Failure>) -> FromWorker {
        let run = Ran {
            nonce: self.nonce,
            micros: self.begun.elapsed().as_micros() as u64,
            waited: self.waited,
            max_rss_kib: memory::max_rss_kib(),
        };
        match result {
            // What is too large is refused anyhow, but a frame has a limit of its own.
            Ok(payload) => FromWorker::Returned {
                run,
                payload: payload.slice(..payload.len().min(limits::RESPONSE_PAYLOAD + 1)),
            },
            Err(Failure { json, reusable }) => FromWorker::Failed {
                run,
                reusable,
                error: bounded(json),
            },
        }
    }
}

/// Error JSON that fits into a frame and into an answer.
pub fn bounded(json: Bytes) -> Bytes {
    if json.len() > limits::RESPONSE_PAYLOAD {
        too_large()
    } else {
        json
    }
}

#[derive(Clone, Copy)]
struct Answer {
    nonce: u64,
    /// Bytes that the server is ready for.
    credit: usize,
}

impl Link {
    /// A link that is fed from `source`.
    pub fn new(source: Source, output: Output) -> Rc<Self> {
        Rc::new(Self {
            source: RefCell::new(source),
            ahead: RefCell::default(),
            output,
            state: RefCell::new(State::Loads),
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
        self.output.send(frame)
    }

    /// The next frame; `None` when the server is gone. Sleeps until it is there.
    pub fn receive(&self) -> Result<Option<ToWorker>, String> {
        if let Some(frame) = self.ahead.borrow_mut().pop_front() {
            return Ok(Some(frame));
        }
        match &mut *self.source.borrow_mut() {
            Source::Socket(input) => input.next(),
            Source::Thread(frames) => Ok(frames.blocking_recv()),
        }
    }

    /// As [`Link::receive`], for who waits for something else, too; that works where a thread reads the socket.
    pub fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<Option<ToWorker>, String>> {
        if let (true, Source::Thread(frames)) = (self.ahead.borrow().is_empty(), &mut *self.source.borrow_mut()) {
            return frames.poll_recv(cx).map(Ok);
        }
        Poll::Ready(self.receive())
    }

    /// The function is loaded.
    pub fn loaded(&self) -> Result<(), String> {
        self.state.replace(State::Waits);
        self.send(&FromWorker::Loaded {
            max_rss_kib: memory::max_rss_kib(),
        })
    }

    /// An invocation begins, which may stream its answer.
    pub fn begin(&self, frame: &InvokeFrame) {
        self.state.replace(State::Runs(Invocation {
            nonce: frame.nonce,
            begun: Instant::now(),
            waited: false,
        }));
        if frame.streams {
            self.answer.set(Some(Answer {
                nonce: frame.nonce,
                credit: WINDOW as usize,
            }));
        }
    }

    /// Its handler waits.
    pub fn waits(&self) {
        if let State::Runs(invocation) = &mut *self.state.borrow_mut() {
            invocation.waited = true;
        }
    }

    /// The invocation has ended: its answer is sent, or the end of what was streamed.
    pub fn answer(&self, result: Result<Bytes, Failure>) -> Result<(), String> {
        if self.answer.take().is_some() {
            self.over.notify_waiters();
        }
        match self.state.replace(State::Waits) {
            State::Runs(invocation) => self.send(&invocation.told(result)),
            State::Loads | State::Waits => Ok(()),
        }
    }

    /// Sends a frame in the middle of an invocation. When the server is gone, the worker has nobody to live for.
    fn tell(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.output.put(encode).is_err() {
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
            tokio::select! {
                () = self.over.notified() => {}
                taken = self.take_in() => taken?,
            }
        }
    }

    /// Waits for frames: credit is taken, anything else waits for its time.
    async fn take_in(&self) -> std::io::Result<()> {
        let socket = match &*self.source.borrow() {
            Source::Socket(input) => Some(input.descriptor()),
            Source::Thread(_) => None,
        };
        if let Some(socket) = socket {
            // Watched only while it is waited for: a frame that comes early must not wake a function.
            // SAFETY: the descriptor is the socket's, which stays open and the same for as long as the process lives.
            let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
            drop(watched.readable().await?);
            return self.take_from_socket();
        }
        let frame = poll_fn(|cx| match &mut *self.source.borrow_mut() {
            Source::Thread(frames) => frames.poll_recv(cx),
            Source::Socket(_) => Poll::Ready(None),
        });
        self.take(frame.await.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn take_from_socket(&self) -> std::io::Result<()> {
        let mut source = self.source.borrow_mut();
        let Source::Socket(input) = &mut *source else {
            return Ok(());
        };
        match input.read(RecvFlags::DONTWAIT) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while let Some(frame) = ToWorker::decode(&mut input.buffer).map_err(std::io::Error::other)? {
            self.take(frame);
        }
        Ok(())
    }

    fn take(&self, frame: ToWorker) {
        match frame {
            ToWorker::Credit { nonce, bytes } => self.credited(nonce, bytes),
            other => self.ahead.borrow_mut().push_back(other),
        }
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

    fn tell_end(&self, returned: bool, told: &[u8]) {
        let told = Bytes::copy_from_slice(told);
        let frame = match self.state.replace(State::Waits) {
            State::Loads => FromWorker::LoadFailed {
                max_rss_kib: memory::max_rss_kib(),
                error: bounded(told),
            },
            State::Runs(invocation) if returned => invocation.told(Ok(told)),
            State::Runs(invocation) => invocation.told(Err(Failure {
                json: told,
                reusable: false,
            })),
            State::Waits => return,
        };
        self.tell(|out| frame.encode(out));
    }

    fn tell_leave(&self) {
        let max_rss_kib = memory::max_rss_kib();
        self.tell(|out| FromWorker::Leaving { max_rss_kib }.encode(out));
    }
}

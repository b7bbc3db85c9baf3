//! The life of a worker process.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use deno_core::JsRuntime;
use hikigane_executor::WorkerInit;
use hikigane_executor::frames::{FromWorker, ToWorker};

use crate::cage::Cage;
use crate::environment::JsEnvironment;
use crate::extensions::Printer;
use crate::memory;

/// Memory that a worker needs beside the function's own: V8, the snapshot's copy, stacks.
const OVERHEAD: usize = 384 * 1024 * 1024;

/// Runs a worker over the socket on standard input until the server closes it. Must be the first thing that happens in the process.
///
/// Between two invocations the thread sleeps in a read: nothing polls the event loop, as on AWS, where the environment is frozen.
///
/// `sandbox_required`: a worker that cannot have a file tree of its own does not run.
pub fn worker_main(sandbox_required: bool) -> Result<(), String> {
    // First of all: only a process of one thread can enter.
    let mut cage = match Cage::enter() {
        Err(refusal) if sandbox_required => return Err(refusal),
        entered => entered.ok(),
    };
    die_with_parent()?;
    // What process listings show; /proc/self/exe would show as `exe`. A name that is refused is no reason not to run.
    let _ = rustix::thread::set_name(c"hikigane-worker");
    JsRuntime::init_platform(None);
    let socket = take_socket()?;
    memory::tell_end_to(socket.as_raw_fd());
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let mut link = Link {
        socket: Rc::new(RefCell::new(socket.try_clone().map_err(|error| error.to_string())?)),
        input: socket,
        buffer: BytesMut::with_capacity(16 * 1024),
        out: Vec::new(),
    };

    let _context = tokio.enter();
    let mut environment = JsEnvironment::new(link.printer())?;
    link.send(&FromWorker::Ready)?;
    loop {
        match link.receive()? {
            None => return Ok(()),
            Some(ToWorker::Init(json)) => {
                let mut init: WorkerInit = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
                memory::bound_process(init.memory_mb as usize * 1024 * 1024 + OVERHEAD);
                match tokio.block_on(environment.load(&mut init, cage.take())) {
                    Ok(()) => link.send(&FromWorker::Loaded {
                        max_rss_kib: max_rss_kib(),
                    })?,
                    Err(failure) => {
                        link.send(&FromWorker::LoadFailed {
                            max_rss_kib: max_rss_kib(),
                            error: failure.json,
                        })?;
                        return Ok(());
                    }
                }
            }
            Some(ToWorker::Invoke(frame)) => match tokio.block_on(environment.invoke(&frame)) {
                Ok(payload) => link.send(&FromWorker::Returned {
                    nonce: frame.nonce,
                    max_rss_kib: max_rss_kib(),
                    payload,
                })?,
                Err(failure) => {
                    let reusable = failure.reusable;
                    let (nonce, max_rss_kib) = (frame.nonce, max_rss_kib());
                    link.send(&FromWorker::Failed {
                        nonce,
                        max_rss_kib,
                        reusable,
                        error: failure.json,
                    })?;
                    if !reusable {
                        return Ok(());
                    }
                }
            },
        }
    }
}

/// The worker's side of the socket.
struct Link {
    socket: Rc<RefCell<UnixStream>>,
    input: UnixStream,
    buffer: BytesMut,
    out: Vec<u8>,
}

impl Link {
    /// Sends each piece of log at once, so that it is not lost when the process is killed.
    fn printer(&self) -> Printer {
        let socket = self.socket.clone();
        Printer(Rc::new(move |text| {
            // One line may be long; a frame has a limit.
            for piece in text.as_bytes().chunks(256 * 1024) {
                let mut out = Vec::with_capacity(piece.len() + 5);
                FromWorker::Log(Bytes::copy_from_slice(piece)).encode(&mut out);
                if socket.borrow_mut().write_all(&out).is_err() {
                    std::process::exit(0);
                }
            }
        }))
    }

    fn send(&mut self, frame: &FromWorker) -> Result<(), String> {
        self.out.clear();
        frame.encode(&mut self.out);
        self.socket
            .borrow_mut()
            .write_all(&self.out)
            .map_err(|error| error.to_string())
    }

    /// The next frame; `None` when the server is gone.
    fn receive(&mut self) -> Result<Option<ToWorker>, String> {
        loop {
            if let Some(frame) = ToWorker::decode(&mut self.buffer).map_err(|error| error.to_string())? {
                return Ok(Some(frame));
            }
            let start = self.buffer.len();
            let room = (self.buffer.capacity() - start).max(16 * 1024);
            self.buffer.resize(start + room, 0);
            let read = loop {
                match self.input.read(&mut self.buffer[start..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            let read = read.map_err(|error| error.to_string())?;
            self.buffer.truncate(start + read);
            if read == 0 {
                return Ok(None);
            }
        }
    }
}

/// Moves the socket from standard input to a number of its own, and gives user code three empty standard streams.
fn take_socket() -> Result<UnixStream, String> {
    let error = |error: &dyn std::fmt::Display| format!("a worker is started by `hikigane up` only: {error}");
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|e| error(&e))?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| error(&e))?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| error(&e))?;
    let socket = UnixStream::from(socket);
    socket.local_addr().map_err(|e| error(&e))?;
    Ok(socket)
}

/// Ends this process when the server ends, even in the middle of an endless loop. A server that ended before this call has closed
/// the socket, which ends the worker, too.
fn die_with_parent() -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| error.to_string())
}

/// The most memory this process ever held, KiB.
fn max_rss_kib() -> u32 {
    u32::try_from(memory::max_rss_kib()).unwrap_or(u32::MAX)
}

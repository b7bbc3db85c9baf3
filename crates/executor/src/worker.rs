//! The server's side of a worker process.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Child;

use bytes::BytesMut;
use hikigane_model::CrashReason;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::frames::FromWorker;
use crate::nursery::{Burial, Nursery};
use crate::tickets::Tickets;

/// A worker process as the server holds it.
pub(crate) struct Worker {
    pub(crate) stream: UnixStream,
    /// What was read and is not a whole frame yet.
    pub(crate) buffer: BytesMut,
    pub(crate) tickets: Tickets,
    pub(crate) process: Process,
}

impl Worker {
    /// Starts a process; it is not ready yet.
    pub(crate) async fn start(nursery: &Nursery) -> io::Result<Self> {
        let (child, stream, tickets) = nursery.spawn().await?;
        Ok(Self {
            stream,
            buffer: BytesMut::with_capacity(16 * 1024),
            tickets,
            process: Process {
                child: Some(child),
                tmp: None,
                nursery: nursery.clone(),
            },
        })
    }

    /// The next frame; `None` when the worker closed its end or does not keep to the language.
    pub(crate) async fn next(&mut self) -> Option<FromWorker> {
        loop {
            match FromWorker::decode(&mut self.buffer) {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(_) => return None,
            }
            make_room(&mut self.buffer);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the other end is still open. A worker in stock sends nothing, so anything readable is its end.
    pub(crate) fn is_alive(&self) -> bool {
        let mut byte = [0u8; 1];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Room for the next read.
pub(crate) fn make_room(buffer: &mut BytesMut) {
    if buffer.capacity() - buffer.len() < 4096 {
        buffer.reserve(16 * 1024);
    }
}

/// The process itself. Dropped: killed, reaped, its `/tmp` removed.
pub(crate) struct Process {
    child: Option<Child>,
    /// The environment's own `/tmp`.
    pub(crate) tmp: Option<PathBuf>,
    nursery: Nursery,
}

impl Process {
    /// Kills it; it is reaped when this is dropped.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// How it ended. It is killed first: an end of the stream without an end of the process is no way to leave.
    pub(crate) async fn end(&mut self) -> CrashReason {
        let Some(child) = self.child.take() else {
            return CrashReason::Signal(9);
        };
        let (sender, status) = oneshot::channel();
        self.nursery.bury(Burial {
            child,
            tmp: self.tmp.take(),
            status: Some(sender),
        });
        match status.await {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => CrashReason::Exit(code),
                (None, signal) => CrashReason::Signal(signal.unwrap_or(9)),
            },
            Err(_) => CrashReason::Signal(9),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            self.nursery.bury(Burial {
                child,
                tmp: self.tmp.take(),
                status: None,
            });
        }
    }
}

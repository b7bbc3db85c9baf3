//! The server's side of a worker process.

use std::io;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use hikigane_model::CrashReason;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::frames::FromWorker;
use crate::inspector::Inspected;
use crate::nursery::{Burial, Nursery};
use crate::scratch::Scratch;
use crate::tickets::Tickets;

/// A worker process as the server holds it.
pub(crate) struct Worker {
    pub(crate) stream: UnixStream,
    /// What was read and is not a whole frame yet.
    pub(crate) buffer: BytesMut,
    pub(crate) tickets: Tickets,
    pub(crate) process: Process,
    /// Its debuggers, where it can have some.
    pub(crate) inspected: Option<Inspected>,
}

/// The time is up.
pub(crate) struct TooLate;

impl Worker {
    /// Has a process forked, and waits until it is ready. One that is given up on before ends by itself: its socket is closed.
    pub(crate) async fn start(nursery: &Nursery, leisure: bool) -> io::Result<Self> {
        let (mut stream, tickets) = nursery.fork(leisure).await?;
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let ended = || io::Error::other("it ended before it was ready");
        let Some(FromWorker::Born { pid }) = next(&mut stream, &mut buffer).await else {
            return Err(ended());
        };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it does not know its own process"))?;
        let mut worker = Self {
            stream,
            buffer,
            tickets,
            process: Process {
                process: Some(rustix::process::pidfd_open(pid, PidfdFlags::empty())?),
                pid,
                tmp: None,
                nursery: nursery.clone(),
            },
            inspected: None,
        };
        match next(&mut worker.stream, &mut worker.buffer).await {
            Some(FromWorker::Ready) => Ok(worker),
            _ => Err(ended()),
        }
    }

    /// The next frame, if it comes before `deadline`; `None` when the worker closed its end or does not keep to the language. Debuggers are
    /// served meanwhile, and move the deadline by the time that they are attached.
    pub(crate) async fn next(&mut self, deadline: &mut Instant) -> Result<Option<FromWorker>, TooLate> {
        let Some(inspected) = &mut self.inspected else {
            let frame = timeout_at(*deadline, next(&mut self.stream, &mut self.buffer)).await;
            return frame.map_err(|_| TooLate);
        };
        loop {
            match FromWorker::decode(&mut self.buffer) {
                Ok(Some(FromWorker::Inspect { session, message })) => {
                    inspected.tell(session, message).await;
                    continue;
                }
                Ok(Some(frame)) => return Ok(Some(frame)),
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
            make_room(&mut self.buffer);
            tokio::select! {
                read = self.stream.read_buf(&mut self.buffer) => if let Ok(0) | Err(_) = read {
                    return Ok(None);
                },
                frame = inspected.next() => {
                    let mut out = Vec::new();
                    frame.encode(&mut out);
                    if self.stream.write_all(&out).await.is_err() {
                        return Ok(None);
                    }
                    if let Some(since) = inspected.released() {
                        *deadline += since.elapsed();
                    }
                }
                () = sleep_until(*deadline), if !inspected.is_held() => return Err(TooLate),
            }
        }
    }

    /// Whether the other end is still open. A worker in stock sends nothing, so anything readable is its end.
    pub(crate) fn is_alive(&self) -> bool {
        let mut byte = [0u8; 1];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

async fn next(stream: &mut UnixStream, buffer: &mut BytesMut) -> Option<FromWorker> {
    loop {
        match FromWorker::decode(buffer) {
            Ok(Some(frame)) => return Some(frame),
            Ok(None) => {}
            Err(_) => return None,
        }
        make_room(buffer);
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
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
    process: Option<OwnedFd>,
    pid: Pid,
    /// The environment's own `/tmp`.
    pub(crate) tmp: Option<Scratch>,
    nursery: Nursery,
}

impl Process {
    /// Kills it, and leaves its `/tmp` to the environment that replaces it.
    pub(crate) fn leave_tmp(&mut self) {
        self.kill();
        if let Some(tmp) = self.tmp.take() {
            tmp.keep();
        }
    }

    /// The most memory that it ever held, KiB, while it lives.
    pub(crate) fn max_rss_kib(&self) -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Kills it; it is reaped when this is dropped.
    fn kill(&self) {
        if let Some(process) = &self.process {
            let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
        }
    }

    /// How it ended. It is killed first: an end of the stream without an end of the process is no way to leave.
    pub(crate) async fn end(&mut self) -> CrashReason {
        let Some(process) = self.process.take() else {
            return CrashReason::Signal(9);
        };
        let (sender, status) = oneshot::channel();
        self.nursery.bury(Burial {
            process: Some(process),
            tmp: None,
            status: Some(sender),
        });
        match status.await {
            Ok(status) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => CrashReason::Exit(code),
                (None, signal) => CrashReason::Signal(signal.unwrap_or(9)),
            },
            Err(_) => CrashReason::Signal(9),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let (process, tmp) = (self.process.take(), self.tmp.take());
        if process.is_some() || tmp.is_some() {
            self.nursery.bury(Burial {
                process,
                tmp,
                status: None,
            });
        }
    }
}

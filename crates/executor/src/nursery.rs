//! The threads that have worker processes made and reap them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::scratch::Scratch;
use crate::tickets::Tickets;

/// Two threads: one that keeps a zygote and has it fork workers, one that reaps them.
///
/// The zygote and its workers, which it makes as children of this process, ask the kernel to be killed when the thread that started it ends, so
/// that thread must live as long as the server.
#[derive(Clone)]
pub(crate) struct Nursery {
    births: mpsc::Sender<Birth>,
    burials: mpsc::Sender<Burial>,
}

/// A worker that is asked for.
struct Birth {
    leisure: bool,
    reply: oneshot::Sender<io::Result<Newborn>>,
}

/// A worker that is being forked: the server's end of its socket, and the tickets it draws.
struct Newborn {
    socket: std::os::unix::net::UnixStream,
    tickets: Tickets,
}

/// A process to be killed and reaped.
pub(crate) struct Burial {
    /// `None`: it has been already.
    pub(crate) process: Option<OwnedFd>,
    /// Its own `/tmp`, removed afterwards.
    pub(crate) tmp: Option<Scratch>,
    /// Told how it ended.
    pub(crate) status: Option<oneshot::Sender<WaitIdStatus>>,
}

impl Nursery {
    /// Starts the threads and the zygote; `command` is its program and arguments.
    pub(crate) fn start(command: (PathBuf, Vec<String>)) -> io::Result<Self> {
        let (births, requests) = mpsc::channel::<Birth>();
        std::thread::Builder::new()
            .name("workers-start".into())
            .spawn(move || {
                let mut zygote = Zygote::start(&command);
                while let Ok(Birth { leisure, reply }) = requests.recv() {
                    let fork = |zygote: &Zygote| zygote.fork(leisure);
                    let mut born = zygote.as_ref().map_err(again).and_then(fork);
                    if born.is_err() {
                        // It has died: another takes its place.
                        zygote = Zygote::start(&command);
                        born = zygote.as_ref().map_err(again).and_then(fork);
                    }
                    let _ = reply.send(born);
                }
            })?;
        let (burials, dead) = mpsc::channel::<Burial>();
        std::thread::Builder::new().name("workers-reap".into()).spawn(move || {
            while let Ok(burial) = dead.recv() {
                let status = burial.process.and_then(|process| {
                    let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
                    rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED).ok()?
                });
                drop(burial.tmp);
                if let (Some(sender), Some(status)) = (burial.status, status) {
                    let _ = sender.send(status);
                }
            }
        })?;
        Ok(Self { births, burials })
    }

    /// Has a worker forked. It says [`crate::frames::FromWorker::Born`] when it lives.
    /// `leisure`: nobody waits for it, and it may take its time to prepare.
    pub(crate) async fn fork(&self, leisure: bool) -> io::Result<(UnixStream, Tickets)> {
        let gone = || io::Error::other("the server is stopping");
        let (reply, born) = oneshot::channel();
        self.births.send(Birth { leisure, reply }).map_err(|_| gone())?;
        let Newborn { socket, tickets } = born.await.map_err(|_| gone())??;
        socket.set_nonblocking(true)?;
        Ok((UnixStream::from_std(socket)?, tickets))
    }

    /// Kills and reaps a process.
    pub(crate) fn bury(&self, burial: Burial) {
        if let Err(mpsc::SendError(Burial {
            process: Some(process), ..
        })) = self.burials.send(burial)
        {
            let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
        }
    }
}

fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// The process that workers are forked from.
struct Zygote {
    child: Child,
    orders: OwnedFd,
}

impl Zygote {
    fn start((program, arguments): &(PathBuf, Vec<String>)) -> io::Result<Self> {
        let (orders, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(program)
            .args(arguments)
            .arg0("hikigane-worker")
            .env_clear()
            // Lambda's time zone. To set it in each worker would cost more.
            .env("TZ", ":UTC")
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0)
            .spawn()?;
        Ok(Self { child, orders })
    }

    fn fork(&self, leisure: bool) -> io::Result<Newborn> {
        let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
        let tickets = eventfd(
            0,
            EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [theirs.as_fd(), tickets.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("two descriptors do not fit into a message"));
        }
        rustix::net::sendmsg(
            &self.orders,
            &[IoSlice::new(&[leisure.into()])],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        drop(theirs);
        Ok(Newborn {
            socket,
            tickets: Tickets::new(tickets),
        })
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

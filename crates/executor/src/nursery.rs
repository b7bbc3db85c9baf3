//! The threads that start worker processes and reap them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{EventfdFlags, eventfd};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::tickets::Tickets;

/// Two threads: one that starts children, one that reaps them.
///
/// Children ask the kernel to be killed when the thread that started them ends, so that thread must live as long as the server.
#[derive(Clone)]
pub(crate) struct Nursery {
    births: std::sync::mpsc::Sender<oneshot::Sender<io::Result<Newborn>>>,
    burials: std::sync::mpsc::Sender<Burial>,
}

/// A child that was started: the process, the server's end of its socket, and the tickets it draws.
pub(crate) struct Newborn {
    pub(crate) child: Child,
    pub(crate) socket: OwnedFd,
    pub(crate) tickets: Tickets,
}

/// A child to be killed and reaped.
pub(crate) struct Burial {
    pub(crate) child: Child,
    /// Its own `/tmp`, removed afterwards.
    pub(crate) tmp: Option<PathBuf>,
    /// Told how it ended.
    pub(crate) status: Option<oneshot::Sender<ExitStatus>>,
}

impl Nursery {
    /// Starts the threads; `command` is the program of a worker and its arguments.
    pub(crate) fn start(command: (PathBuf, Vec<String>)) -> io::Result<Self> {
        let (births, requests) = std::sync::mpsc::channel::<oneshot::Sender<io::Result<Newborn>>>();
        std::thread::Builder::new()
            .name("workers-start".into())
            .spawn(move || {
                while let Ok(request) = requests.recv() {
                    if let Err(Ok(mut unwanted)) = request.send(spawn(&command)) {
                        let _ = unwanted.child.kill();
                        let _ = unwanted.child.wait();
                    }
                }
            })?;
        let (burials, dead) = std::sync::mpsc::channel::<Burial>();
        std::thread::Builder::new().name("workers-reap".into()).spawn(move || {
            while let Ok(mut burial) = dead.recv() {
                let _ = burial.child.kill();
                let status = burial.child.wait();
                if let Some(tmp) = burial.tmp {
                    let _ = std::fs::remove_dir_all(tmp);
                }
                if let (Some(sender), Ok(status)) = (burial.status, status) {
                    let _ = sender.send(status);
                }
            }
        })?;
        Ok(Self { births, burials })
    }

    /// Starts a child.
    pub(crate) async fn spawn(&self) -> io::Result<(Child, UnixStream, Tickets)> {
        let gone = || io::Error::other("the server is stopping");
        let (sender, born) = oneshot::channel();
        self.births.send(sender).map_err(|_| gone())?;
        let Newborn { child, socket, tickets } = born.await.map_err(|_| gone())??;
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok((child, UnixStream::from_std(stream)?, tickets))
    }

    /// Kills and reaps a child.
    pub(crate) fn bury(&self, burial: Burial) {
        if let Err(std::sync::mpsc::SendError(mut burial)) = self.burials.send(burial) {
            let _ = burial.child.kill();
        }
    }
}

/// The child's standard input is the socket and its standard output the tickets, until it has moved both away.
fn spawn((program, arguments): &(PathBuf, Vec<String>)) -> io::Result<Newborn> {
    use std::os::unix::process::CommandExt;
    let (socket, theirs) = std::os::unix::net::UnixStream::pair()?;
    let tickets = eventfd(
        0,
        EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
    )?;
    let child = Command::new(program)
        .args(arguments)
        .arg0("hikigane-worker")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(tickets.try_clone()?))
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok(Newborn {
        child,
        socket: OwnedFd::from(socket),
        tickets: Tickets::new(tickets),
    })
}

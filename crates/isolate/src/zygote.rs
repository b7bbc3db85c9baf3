//! The process that workers are forked from.
//!
//! To start V8, make a realm and compile what every invocation runs takes 20 ms and 10 MiB. The zygote does it once; a worker is a copy of it that
//! shares its pages until it writes to them (Android's word for the idea; SOCK, USENIX ATC 2018, for serverless functions).
//!
//! A process with threads cannot be forked, so V8 runs without helpers: compilation and garbage collection take turns with the function, as
//! they would on Lambda's fraction of a processor. What must differ from copy to copy is made after the fork: the sources of
//! randomness above all ([`reseed`]).

#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use deno_core::{JsRuntime, v8};
use hikigane_executor::Tickets;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Pid;

use crate::cage::Cage;
use crate::environment::JsEnvironment;
use crate::worker;

/// Makes workers over the socket on standard input until the server closes it. Must be the first thing that happens in the process.
///
/// Each message carries the worker's end of its own socket and its tickets; its one byte says whether nobody waits for the worker.
/// `sandbox_required`: a worker that cannot have a file tree of its own does not run.
pub fn zygote_main(sandbox_required: bool) -> Result<(), String> {
    let text = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    crate::cage::close_strangers();
    let server = rustix::process::getppid();
    die_with(server)?;
    // What process listings show; /proc/self/exe would show as `exe`. A name that is refused is no reason not to run.
    let _ = rustix::thread::set_name(c"hikigane-zygote");
    let (orders, null) = take_socket()?;
    // Frozen flags could not be reseeded in a copy.
    v8::V8::set_flags_from_string("--single-threaded --no-freeze-flags-after-init");
    let platform = v8::new_single_threaded_default_platform(false).make_shared();
    JsRuntime::init_platform(Some(platform.clone()));
    let mut environment = JsEnvironment::new(platform)?;
    rehearse(&mut environment)?;
    environment.settle();
    keep_memory_on_fork().map_err(|error| text("memory cannot be kept for copies", &error))?;
    crate::seccomp::enclose().map_err(|error| text("system calls cannot be restricted", &error))?;
    loop {
        let Some(Order {
            socket,
            tickets,
            leisure,
        }) = next_order(&orders).map_err(|error| text("no order can be read", &error))?
        else {
            return Ok(());
        };
        if fork()? == Fork::Worker {
            drop(orders);
            let _ = rustix::thread::set_name(c"hikigane-worker");
            let _ = rustix::process::setpgid(None, None);
            let socket = std::os::unix::net::UnixStream::from(socket);
            if rustix::process::getppid() != server || worker::announce(&socket).is_err() {
                // The server ended while this was made. It says why itself.
                return Ok(());
            }
            // While the process has one thread: no other can enter. New credentials would undo `die_with`.
            let cage = match Cage::enter() {
                Err(refusal) if sandbox_required => return Err(refusal),
                entered => entered.ok(),
            };
            die_with(server)?;
            reseed()?;
            // The server's own stays with the zygote, for what goes wrong before there is a function.
            rustix::stdio::dup2_stderr(&null).map_err(|error| text("no empty stream", &error))?;
            drop(null);
            return worker::live(environment, cage, socket, Tickets::new(tickets), leisure);
        }
    }
}

/// Goes through a function's life once. Leaves no thread: a process with threads cannot be forked.
fn rehearse(environment: &mut JsEnvironment) -> Result<(), String> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let rehearsed = tokio.block_on(environment.rehearse());
    drop(tokio);
    rehearsed.map_err(|error| format!("the rehearsal failed: {error}"))?;
    crate::cage::only_thread("/proc")
}

/// Undoes what V8 does to all of its memory: it asks the kernel to leave it out of copies of the process (`MADV_DONTFORK`), since its
/// usual embedders fork only to run another program.
fn keep_memory_on_fork() -> std::io::Result<()> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let range = line
            .split_ascii_whitespace()
            .next()
            .and_then(|range| range.split_once('-'));
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        if let Some((Some(start), Some(end))) = range.map(|(start, end)| (address(start), address(end))) {
            // SAFETY: the advice changes what a copy gets, nothing in this process. What the kernel maps for itself refuses it.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DOFORK);
            }
        }
    }
    Ok(())
}

/// What a worker is made with.
struct Order {
    socket: OwnedFd,
    tickets: OwnedFd,
    /// It is for the stock: nobody waits for it.
    leisure: bool,
}

/// The next worker to be made; `None` when the server is gone.
fn next_order(orders: &OwnedFd) -> rustix::io::Result<Option<Order>> {
    loop {
        let mut byte = [0u8; 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            orders.as_fd(),
            &mut [IoSliceMut::new(&mut byte)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        match received {
            Ok(message) if message.bytes == 0 => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        let mut descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.collect(),
            _ => Vec::new(),
        });
        if let (Some(socket), Some(tickets)) = (descriptors.next(), descriptors.next()) {
            return Ok(Some(Order {
                socket,
                tickets,
                leisure: byte[0] != 0,
            }));
        }
    }
}

/// On which side of a fork this is.
#[derive(PartialEq, Eq)]
enum Fork {
    Zygote,
    Worker,
}

/// Forks a child of the server's, as this process is one: so the server can wait for it.
fn fork() -> Result<Fork, String> {
    // The C library's `fork` has no word for this parent. What else it does is for processes with threads, and a note of the thread's number,
    // which the C library compares with itself only.
    //
    // SAFETY: this process has one thread, so the copy has all of it, and no lock is held.
    match unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0) } {
        -1 => Err(format!("no process can be made: {}", std::io::Error::last_os_error())),
        0 => Ok(Fork::Worker),
        _ => Ok(Fork::Zygote),
    }
}

/// Ends this process when its parent ends, even in the middle of an endless loop.
fn die_with(parent: Option<Pid>) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| error.to_string())?;
    if rustix::process::getppid() == parent {
        Ok(())
    } else {
        Err("the server is gone".into())
    }
}

/// Gives `Math.random` of this copy a sequence of its own. All other randomness comes from the kernel, or from generators that are
/// seeded from it on their first use, which is after the fork.
fn reseed() -> Result<(), String> {
    let mut seed = [0u8; 4];
    // SAFETY: the kernel writes into four bytes that are ours.
    let written = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
    if written != seed.len() as isize {
        return Err(format!("no randomness: {}", std::io::Error::last_os_error()));
    }
    // V8 takes a seed of 0 for none.
    let seed = (u32::from_ne_bytes(seed) >> 1).max(1);
    v8::V8::set_flags_from_string(&format!("--random-seed={seed}"));
    Ok(())
}

/// Moves the socket from standard input to a number of its own, and puts an empty stream in its place, which comes with it.
fn take_socket() -> Result<(OwnedFd, OwnedFd), String> {
    let error = |error: &dyn std::fmt::Display| format!("workers are started by `hikigane up` only: {error}");
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|e| error(&e))?;
    rustix::net::getsockname(&socket).map_err(|e| error(&e))?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| error(&e))?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| error(&e))?;
    Ok((socket, null))
}

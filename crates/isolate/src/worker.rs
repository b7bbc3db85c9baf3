//! The life of a worker process.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use hikigane_executor::frames::{FromWorker, Ran, ToWorker};
use hikigane_executor::{Tickets, WorkerInit};

use crate::cage::Cage;
use crate::environment::{Answer, Failure, JsEnvironment};
use crate::link::Link;
use crate::memory;
use crate::walls::Walls;

/// Memory that a worker needs beside the function's own: V8, the snapshot's copy, stacks.
const OVERHEAD: usize = 384 * 1024 * 1024;

/// Tells the server which process this is: from now on it can end and reap it, whatever happens. An error: the server has gone.
pub fn announce(mut socket: &UnixStream) -> std::io::Result<()> {
    let mut frame = Vec::new();
    FromWorker::Born {
        pid: std::process::id(),
    }
    .encode(&mut frame);
    socket.write_all(&frame)
}

/// Runs a worker over its socket until the server closes it. `leisure`: nobody waits for it yet, so that it may prepare for what will come.
///
/// Between two invocations the thread sleeps in a read: nothing polls the event loop, as on AWS, where the environment is frozen.
pub fn live(
    mut environment: JsEnvironment,
    mut cage: Option<Cage>,
    socket: UnixStream,
    tickets: Tickets,
    leisure: bool,
) -> Result<(), String> {
    memory::tell_end_to(socket.as_raw_fd());
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let link = Link::new(socket);

    let _context = tokio.enter();
    let mut walls = None;
    if leisure {
        walls = Some(Walls::prepare()?);
        tokio.block_on(environment.practise())?;
    }
    environment.speak_through(&link);
    link.send(&FromWorker::Ready)?;
    loop {
        match link.receive()? {
            None => return Ok(()),
            Some(ToWorker::Init(json)) => {
                let mut init: WorkerInit = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
                memory::bound_process(init.memory_mb as usize * 1024 * 1024 + OVERHEAD);
                match tokio.block_on(environment.load(&mut init, cage.take(), walls.take())) {
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
            // For an answer that has ended meanwhile.
            Some(ToWorker::Credit { .. }) => {}
            Some(ToWorker::Invoke(frame)) => {
                if !tickets.draw().map_err(|error| error.to_string())? {
                    link.send(&FromWorker::Dropped { nonce: frame.nonce })?;
                    continue;
                }
                if frame.streams {
                    link.open(frame.nonce);
                }
                let begun = Instant::now();
                let step = environment.invoke(&frame);
                let waited = step.is_pending();
                let result = if waited {
                    tokio.block_on(environment.finish(step))
                } else {
                    environment.end(step)
                };
                link.close();
                let run = Ran {
                    nonce: frame.nonce,
                    micros: begun.elapsed().as_micros() as u64,
                    waited,
                    max_rss_kib: max_rss_kib(),
                };
                match result {
                    Ok(Answer { payload, rejection }) => {
                        link.send(&FromWorker::Returned { run, payload })?;
                        if rejection.is_some() {
                            return Ok(());
                        }
                        environment.save_code();
                    }
                    Err(Failure { json: error, reusable }) => {
                        link.send(&FromWorker::Failed { run, reusable, error })?;
                        if !reusable {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}

/// The most memory this process ever held, KiB.
fn max_rss_kib() -> u32 {
    u32::try_from(memory::max_rss_kib()).unwrap_or(u32::MAX)
}

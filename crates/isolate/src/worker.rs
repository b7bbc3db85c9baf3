//! The life of a worker process.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use bytes::Bytes;
use hikigane_executor::frames::{FromWorker, InvokeFrame, Ran, ToWorker};
use hikigane_executor::{Tickets, WorkerInit};
use tokio::runtime::Runtime;

use crate::cage::Cage;
use crate::debuggers::Debuggers;
use crate::environment::{Failure, JsEnvironment};
use crate::link::{self, Input};
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
    cage: Option<Cage>,
    socket: UnixStream,
    tickets: Tickets,
    leisure: bool,
) -> Result<(), String> {
    let (mut input, output) = link::open(socket).map_err(|error| error.to_string())?;
    memory::tell_end_to(input.descriptor());
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let _context = tokio.enter();
    let mut walls = None;
    if leisure {
        walls = Some(Walls::prepare()?);
        tokio.block_on(environment.practise())?;
    }
    environment.print_to(output.printer());
    let mut room = Vec::new();
    output.send(&FromWorker::Ready, &mut room)?;

    let mut init: WorkerInit = match input.next()? {
        None => return Ok(()),
        Some(ToWorker::Init(json)) => serde_json::from_slice(&json).map_err(|error| error.to_string())?,
        Some(_) => return Err("the server wants a function to be run that it has not named".into()),
    };
    memory::bound_process(init.memory_mb as usize * 1024 * 1024 + OVERHEAD);
    let enclosed = environment.enclose(&mut init, cage, walls);
    let mut source = match init.inspection {
        Some(inspection) if enclosed.is_ok() => {
            Source::Debuggers(Debuggers::admit(environment.runtime(), input, &output, inspection)?)
        }
        _ => Source::Socket(input),
    };
    let loaded = match enclosed {
        Ok(()) => tokio.block_on(environment.load(&init)),
        Err(failure) => Err(failure),
    };
    let max_rss_kib = max_rss_kib();
    if let Err(Failure { json: error, .. }) = loaded {
        return output.send(&FromWorker::LoadFailed { max_rss_kib, error }, &mut room);
    }
    output.send(&FromWorker::Loaded { max_rss_kib }, &mut room)?;

    while let Some(frame) = source.next(&mut environment, &tokio)? {
        let ToWorker::Invoke(frame) = frame else {
            return Err("the server sent what only debuggers or another function need".into());
        };
        if !tickets.draw().map_err(|error| error.to_string())? {
            output.send(&FromWorker::Dropped { nonce: frame.nonce }, &mut room)?;
            continue;
        }
        let (run, result) = run(&mut environment, &frame, &tokio);
        match result {
            Ok(payload) => {
                output.send(&FromWorker::Returned { run, payload }, &mut room)?;
                environment.save_code();
            }
            Err(Failure { json: error, reusable }) => {
                output.send(&FromWorker::Failed { run, reusable, error }, &mut room)?;
                if !reusable {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Runs the handler once.
fn run(environment: &mut JsEnvironment, frame: &InvokeFrame, tokio: &Runtime) -> (Ran, Result<Bytes, Failure>) {
    let begun = Instant::now();
    let step = environment.invoke(frame);
    let waited = step.is_pending();
    let result = if waited {
        tokio.block_on(environment.finish(step))
    } else {
        environment.end(step)
    };
    let run = Ran {
        nonce: frame.nonce,
        micros: begun.elapsed().as_micros() as u64,
        waited,
        max_rss_kib: max_rss_kib(),
    };
    (run, result)
}

/// Where the server's frames come from.
enum Source {
    Socket(Input),
    /// A thread reads the socket; what debuggers say goes elsewhere.
    Debuggers(Debuggers),
}

impl Source {
    /// The next frame; `None` when the server is gone.
    fn next(&mut self, environment: &mut JsEnvironment, tokio: &Runtime) -> Result<Option<ToWorker>, String> {
        match self {
            Self::Socket(input) => input.next(),
            Self::Debuggers(debuggers) => Ok(tokio.block_on(debuggers.next(environment))),
        }
    }
}

/// The most memory this process ever held, KiB.
fn max_rss_kib() -> u32 {
    u32::try_from(memory::max_rss_kib()).unwrap_or(u32::MAX)
}

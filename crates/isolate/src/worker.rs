//! The life of a worker process.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use hikigane_executor::frames::{FromWorker, InvokeFrame, Ran, ToWorker};
use hikigane_executor::{Tickets, WorkerInit};
use tokio::runtime::Runtime;

use crate::cage::Cage;
use crate::debuggers;
use crate::environment::{Answer, Failure, JsEnvironment};
use crate::link::{self, Link, Source};
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
    output.send(&FromWorker::Ready)?;

    let mut init: WorkerInit = match input.next()? {
        None => return Ok(()),
        Some(ToWorker::Init(json)) => serde_json::from_slice(&json).map_err(|error| error.to_string())?,
        Some(_) => return Err("the server wants a function to be run that it has not named".into()),
    };
    memory::bound_process(init.memory_mb as usize * 1024 * 1024 + OVERHEAD);
    let enclosed = environment.enclose(&mut init, cage, walls);
    let source = match init.inspection {
        Some(inspection) if enclosed.is_ok() => {
            Source::Thread(debuggers::admit(environment.runtime(), input, &output, inspection)?)
        }
        _ => Source::Socket(input),
    };
    let link = Link::new(source, output);
    environment.speak_through(&link);
    let loaded = match enclosed {
        Ok(()) => tokio.block_on(environment.load(&init)),
        Err(failure) => Err(failure),
    };
    let max_rss_kib = max_rss_kib();
    if let Err(Failure { json: error, .. }) = loaded {
        return link.send(&FromWorker::LoadFailed { max_rss_kib, error });
    }
    link.send(&FromWorker::Loaded { max_rss_kib })?;

    loop {
        let frame = match init.inspection {
            None => link.receive()?,
            Some(_) => tokio.block_on(debuggers::serve_until_frame(&mut environment, &link))?,
        };
        let frame = match frame {
            None => return Ok(()),
            // For an answer that has ended meanwhile.
            Some(ToWorker::Credit { .. }) => continue,
            Some(ToWorker::Invoke(frame)) => frame,
            Some(_) => return Err("the server sent what only debuggers or another function need".into()),
        };
        if !tickets.draw().map_err(|error| error.to_string())? {
            link.send(&FromWorker::Dropped { nonce: frame.nonce })?;
            continue;
        }
        if frame.streams {
            link.open(frame.nonce);
        }
        let (run, result) = run(&mut environment, &frame, &tokio);
        link.close();
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

/// Runs the handler once.
fn run(environment: &mut JsEnvironment, frame: &InvokeFrame, tokio: &Runtime) -> (Ran, Result<Answer, Failure>) {
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

/// The most memory this process ever held, KiB.
fn max_rss_kib() -> u32 {
    u32::try_from(memory::max_rss_kib()).unwrap_or(u32::MAX)
}

//! The life of a worker process.

use std::io::Write;
use std::os::unix::net::UnixStream;

use hikigane_executor::frames::{FromWorker, ToWorker};
use hikigane_executor::{Tickets, WorkerInit};

use crate::cage::Cage;
use crate::debuggers;
use crate::environment::{Failure, JsEnvironment, Step};
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
    let max_rss_kib = memory::max_rss_kib();
    if let Err(Failure { json: error, .. }) = loaded {
        let error = link::bounded(error);
        return link.send(&FromWorker::LoadFailed { max_rss_kib, error });
    }
    link.loaded()?;

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
        link.begin(&frame);
        let result = match environment.invoke(&frame) {
            Step::Ended(end) => end,
            step => {
                link.waits();
                tokio.block_on(environment.finish(step))
            }
        };
        let (returned, reusable) = match &result {
            Ok(_) => (true, true),
            Err(failure) => (false, failure.reusable),
        };
        if reusable {
            environment.rest();
        }
        link.answer(result)?;
        if !reusable {
            return Ok(());
        }
        if returned {
            environment.save_code();
        }
    }
}

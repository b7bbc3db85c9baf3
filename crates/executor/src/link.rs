//! The environment that is a worker process: invocations are sent ahead to it, and run one after another.
//!
//! One task per environment writes frames and reads answers. Whatever callers hand over while it does something else goes out in one
//! write: under load a wake-up of the worker serves many invocations, and a wake-up costs more than a short invocation.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hikigane_model::{CrashReason, Invocation, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::answer::{failed, mebibytes, returned};
use crate::frames::{FromWorker, InvokeFrame, Ran, ToWorker};
use crate::inspector::Inspected;
use crate::response::Inflow;
use crate::tickets::Tickets;
use crate::worker::{Worker, make_room};
use crate::{Environment, EnvironmentSpec, Finished, LogSink, ResponseSink, Reuse};

/// An invocation that runs for longer than this lets go those that were sent behind it: they go to other environments, or fresh ones,
/// which take about as long to make.
const LINGER: Duration = Duration::from_millis(10);

/// Room for frames that is kept from one invocation to the next, bytes.
const KEPT: usize = 256 * 1024;

/// A worker process that holds one function.
pub(crate) struct ProcessEnvironment {
    link: Arc<Link>,
    driver: JoinHandle<()>,
    /// Its files must stay.
    _spec: Arc<EnvironmentSpec>,
}

/// What callers and the task that drives the worker share.
struct Link {
    state: Mutex<State>,
    /// Told when `State::unsent` has grown.
    work: Notify,
}

#[derive(Default)]
struct State {
    /// Frames to be written.
    out: Vec<u8>,
    /// How many of the last in `waiting` are in `out` only: the worker knows nothing of them, and has no ticket for them.
    unsent: usize,
    /// Invocations without an answer, in the order they were sent; the first is the one that runs.
    waiting: VecDeque<Pending>,
    /// Bytes of its answer that the invocation that runs may send beside what it was told before.
    credit: u32,
    /// Nonces of invocations that were taken back and that the worker has not dropped yet.
    recalled: VecDeque<u64>,
    /// The most memory that the worker said that it has held, KiB.
    max_rss_kib: u32,
    /// The worker is gone.
    ended: bool,
    /// Debuggers can attach to it: nothing is sent behind an invocation that may stop for as long as they like.
    inspected: bool,
    /// One is attached.
    held: bool,
}

/// An invocation without an answer.
struct Pending {
    nonce: u64,
    timeout: Duration,
    /// When it became the first.
    begun: Option<Instant>,
    logs: LogSink,
    /// Where its answer goes, when it streams.
    inflow: Option<Inflow>,
    reply: oneshot::Sender<(Finished, LogSink)>,
}

impl Pending {
    /// `ran`: what the worker says of it. `max_rss_kib`: the most memory that it is known to have held.
    fn finish(self, outcome: Outcome, ran: Option<Ran>, max_rss_kib: u32, reuse: Reuse) {
        let duration = match ran {
            Some(ran) => Duration::from_micros(ran.micros),
            None => self.begun.map(|begun| begun.elapsed()).unwrap_or_default(),
        };
        let finished = Finished {
            outcome,
            duration,
            waited: ran.is_none_or(|ran| ran.waited),
            max_memory_mb: mebibytes(max_rss_kib),
            reuse,
        };
        // The caller may have gone.
        let _ = self.reply.send((finished, self.logs));
    }

    fn give_back(self) {
        self.finish(Outcome::Crashed(CrashReason::Signal(9)), None, 0, Reuse::NotStarted);
    }
}

impl ProcessEnvironment {
    /// Takes over a worker that has loaded the function of `spec`. Must be called inside a tokio runtime.
    /// `max_rss_kib`: the most memory that it has held by now.
    pub(crate) fn new(worker: Worker, spec: Arc<EnvironmentSpec>, max_rss_kib: u32) -> Self {
        let state = State {
            max_rss_kib,
            inspected: worker.inspected.is_some(),
            held: worker.inspected.as_ref().is_some_and(Inspected::is_held),
            ..State::default()
        };
        let link = Arc::new(Link {
            state: Mutex::new(state),
            work: Notify::new(),
        });
        let driver = tokio::spawn(drive(worker, link.clone(), spec.config.memory_mb));
        Self {
            link,
            driver,
            _spec: spec,
        }
    }
}

impl Drop for ProcessEnvironment {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[async_trait]
impl Environment for ProcessEnvironment {
    async fn invoke(
        &self,
        invocation: &Invocation,
        timeout: Duration,
        logs: LogSink,
        response: Option<&ResponseSink>,
    ) -> (Finished, LogSink) {
        let (reply, mut answer) = oneshot::channel();
        let nonce = RandomState::new().build_hasher().finish();
        let pending = Pending {
            nonce,
            timeout,
            begun: None,
            logs,
            inflow: response.map(Inflow::new),
            reply,
        };
        self.link.send(pending, invocation);
        let answered = match response {
            None => answer.await,
            Some(sink) => loop {
                tokio::select! {
                    biased;
                    answered = &mut answer => break answered,
                    bytes = sink.credit() => self.link.grant(nonce, bytes),
                }
            },
        };
        answered.unwrap_or_else(|_| {
            let finished = Finished {
                outcome: Outcome::Crashed(CrashReason::Signal(9)),
                duration: Duration::ZERO,
                waited: true,
                max_memory_mb: 0,
                reuse: Reuse::Dirty,
            };
            (finished, LogSink::new(None))
        })
    }

    fn is_open(&self) -> bool {
        self.link.lock().is_open()
    }

    fn is_alive(&self) -> bool {
        !self.link.lock().ended
    }

    fn is_held(&self) -> bool {
        self.link.lock().held
    }
}

impl State {
    /// Where the answer of the invocation that runs goes, if it is the one with this nonce and streams.
    fn inflow(&mut self, nonce: u64) -> Option<&mut Inflow> {
        let first = self.waiting.front_mut().filter(|first| first.nonce == nonce)?;
        first.inflow.as_mut()
    }

    /// Whether an invocation sent now would be run, and soon.
    fn is_open(&self) -> bool {
        let lingers = self.waiting.front().and_then(|first| first.begun);
        let room = !self.inspected || self.waiting.is_empty();
        !self.ended && room && self.recalled.is_empty() && lingers.is_none_or(|begun| begun.elapsed() < LINGER)
    }

    /// Takes back what the worker has not started, but for the first `kept` invocations.
    fn recall(&mut self, tickets: &Tickets, kept: usize) {
        let unsent = self.waiting.split_off(self.waiting.len() - self.unsent);
        self.out.clear();
        self.unsent = 0;
        let drawn = tickets.draw_all(self.waiting.len().saturating_sub(kept));
        let sent = self.waiting.split_off(self.waiting.len() - drawn);
        self.recalled.extend(sent.iter().map(|pending| pending.nonce));
        sent.into_iter().chain(unsent).for_each(Pending::give_back);
    }
}

impl Link {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, pending: Pending, invocation: &Invocation) {
        let now_ms = chrono::Utc::now().timestamp_millis().max(0) as u64;
        let frame = ToWorker::Invoke(InvokeFrame {
            deadline_ms: now_ms.saturating_add(pending.timeout.as_millis() as u64),
            nonce: pending.nonce,
            request_id: invocation.request_id.to_string(),
            invoked_arn: invocation.invoked_arn.clone(),
            client_context: invocation.client_context.clone().unwrap_or_default(),
            trace: invocation.trace.clone().unwrap_or_default(),
            tenant_id: invocation.tenant_id.clone().unwrap_or_default(),
            streams: pending.inflow.is_some(),
            payload: invocation.payload.clone(),
        });
        let mut state = self.lock();
        if !state.is_open() {
            drop(state);
            return pending.give_back();
        }
        frame.encode(&mut state.out);
        state.unsent += 1;
        state.waiting.push_back(pending);
        drop(state);
        self.work.notify_one();
    }

    /// Lets a streaming invocation send more. One that has ended needs none.
    fn grant(&self, nonce: u64, bytes: u32) {
        let mut state = self.lock();
        if let Some(inflow) = state.inflow(nonce) {
            inflow.grant(bytes);
            state.credit += bytes;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Moves what is to be written into `out`, and gives out the tickets for it.
    fn collect(&self, out: &mut Vec<u8>, tickets: &Tickets) -> std::io::Result<()> {
        if out.capacity() > KEPT {
            *out = Vec::new();
        }
        out.clear();
        let mut state = self.lock();
        if state.unsent == 0 && state.credit == 0 {
            return Ok(());
        }
        std::mem::swap(&mut state.out, out);
        let bytes = std::mem::take(&mut state.credit);
        if let (Some(first), true) = (state.waiting.front(), bytes > 0) {
            let nonce = first.nonce;
            ToWorker::Credit { nonce, bytes }.encode(out);
        }
        let count = std::mem::take(&mut state.unsent);
        if count == state.waiting.len()
            && let Some(first) = state.waiting.front_mut()
        {
            first.begun = Some(Instant::now());
        }
        tickets.give(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// When something has to be done about the invocation that runs: those behind it be taken back, or itself be killed. Never while a
    /// debugger is attached.
    fn alarm(&self) -> Option<Instant> {
        let state = self.lock();
        let first = state.waiting.front().filter(|_| !state.held)?;
        let begun = first.begun?;
        let patience = if state.waiting.len() > 1 {
            LINGER.min(first.timeout)
        } else {
            first.timeout
        };
        Some(begun + patience)
    }

    /// Takes the answer for the invocation that runs. `Err`: that is not how a worker answers.
    fn answered(&self, ran: Ran, outcome: Outcome, reuse: Reuse) -> Result<(), Broken> {
        let mut state = self.lock();
        match state.waiting.front() {
            Some(first) if first.nonce == ran.nonce => {}
            _ => return Err(Broken),
        }
        state.credit = 0;
        state.max_rss_kib = ran.max_rss_kib;
        let first = state.waiting.pop_front();
        let sent = state.waiting.len() - state.unsent;
        if let (Some(next), true) = (state.waiting.front_mut(), sent > 0) {
            next.begun = Some(Instant::now());
        }
        drop(state);
        if let Some(first) = first {
            first.finish(outcome, Some(ran), ran.max_rss_kib, reuse);
        }
        Ok(())
    }

    /// Takes note of whether a debugger is attached; the time that passed since `released` does not count.
    fn hold(&self, held: bool, released: Option<Instant>) {
        let mut state = self.lock();
        state.held = held;
        if let Some(since) = released
            && let Some(begun) = state.waiting.front_mut().and_then(|first| first.begun.as_mut())
        {
            *begun += since.max(*begun).elapsed();
        }
    }

    fn logged(&self, text: &[u8]) -> Result<(), Broken> {
        let mut state = self.lock();
        let first = state.waiting.front_mut().ok_or(Broken)?;
        first.logs.line(&String::from_utf8_lossy(text));
        Ok(())
    }

    fn began_answer(&self, nonce: u64, content_type: String) -> Result<(), Broken> {
        let mut state = self.lock();
        let inflow = state.inflow(nonce).ok_or(Broken)?;
        inflow.begin(content_type).map_err(|_| Broken)
    }

    fn wrote(&self, nonce: u64, bytes: &[u8]) -> Result<(), Broken> {
        let mut state = self.lock();
        let inflow = state.inflow(nonce).ok_or(Broken)?;
        inflow.write(bytes).map_err(|_| Broken)
    }

    fn dropped(&self, nonce: u64) -> Result<(), Broken> {
        match self.lock().recalled.pop_front() {
            Some(recalled) if recalled == nonce => Ok(()),
            _ => Err(Broken),
        }
    }
}

/// The worker does not keep to the language.
struct Broken;

/// Why the driver stops.
enum End {
    /// The worker closed its end: it has ended, or is about to.
    Closed,
    /// It said that it ends, and why.
    OutOfMemory,
    /// It has answered for the last time.
    Retired,
    /// It is to be killed: it does not keep to the language.
    Broken,
    /// It is to be killed: the invocation that runs has used up its time.
    TimedOut,
}

/// Writes frames and reads answers until the worker ends or must end.
async fn drive(worker: Worker, link: Arc<Link>, memory_mb: u32) {
    let Worker {
        stream,
        mut buffer,
        tickets,
        mut process,
        mut inspected,
    } = worker;
    let (mut reader, mut writer) = stream.into_split();
    let mut out = Vec::new();
    let mut written = 0;
    // Woken too early rather than moved for every invocation.
    let mut alarm = pin!(sleep_until(Instant::now() + Duration::from_secs(3600)));
    let end = loop {
        if written == out.len() {
            written = 0;
            if link.collect(&mut out, &tickets).is_err() {
                break End::Broken;
            }
        }
        if let Some(due) = link.alarm()
            && due < alarm.deadline()
        {
            alarm.as_mut().reset(due);
        }
        make_room(&mut buffer);
        tokio::select! {
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => break End::Closed,
                Ok(_) => if let Err(end) = heard(&link, &mut buffer, inspected.as_ref()).await {
                    break end;
                },
            },
            wrote = writer.write(&out[written..]), if written < out.len() => match wrote {
                Ok(count) => written += count,
                Err(_) => break End::Closed,
            },
            // Others are about to hand over theirs: let them, so that all go out in one write.
            () = link.work.notified(), if written == out.len() => tokio::task::yield_now().await,
            frame = asked(&mut inspected), if written == out.len() => {
                written = 0;
                out.clear();
                frame.encode(&mut out);
                if let Some(inspected) = &mut inspected {
                    link.hold(inspected.is_held(), inspected.released());
                }
            }
            () = &mut alarm => {
                alarm.as_mut().reset(Instant::now() + Duration::from_secs(3600));
                if rang(&link, &tickets) {
                    break End::TimedOut;
                }
            }
        }
    };
    // From here on nothing is started: whatever has no ticket left runs elsewhere.
    let (running, known) = {
        let mut state = link.lock();
        state.ended = true;
        state.recall(&tickets, 0);
        state.recalled.clear();
        (std::mem::take(&mut state.waiting), state.max_rss_kib)
    };
    let max_rss_kib = match end {
        End::OutOfMemory => memory_mb * 1024,
        _ => process.max_rss_kib().unwrap_or(known),
    };
    let reason = match end {
        End::OutOfMemory => CrashReason::OutOfMemory,
        End::Closed if !running.is_empty() => process.end().await,
        End::Closed | End::Retired | End::Broken | End::TimedOut => CrashReason::Signal(9),
    };
    process.leave_tmp();
    for (place, pending) in running.into_iter().enumerate() {
        let outcome = match end {
            End::TimedOut if place == 0 => Outcome::TimedOut(pending.timeout),
            _ => Outcome::Crashed(reason.clone()),
        };
        pending.finish(outcome, None, max_rss_kib, Reuse::Dirty);
    }
}

/// What a debugger wants of the worker.
async fn asked(inspected: &mut Option<Inspected>) -> ToWorker {
    match inspected {
        Some(inspected) => inspected.next().await,
        None => std::future::pending().await,
    }
}

/// Works off what was read.
async fn heard(link: &Link, buffer: &mut bytes::BytesMut, inspected: Option<&Inspected>) -> Result<(), End> {
    while let Some(frame) = FromWorker::decode(buffer).map_err(|_| End::Broken)? {
        match frame {
            FromWorker::Log(text) => link.logged(&text),
            FromWorker::Begun { nonce, content_type } => link.began_answer(nonce, content_type),
            FromWorker::Chunk { nonce, bytes } => link.wrote(nonce, &bytes),
            FromWorker::Returned { run, payload } => link.answered(run, returned(payload), Reuse::Clean),
            FromWorker::Failed {
                run,
                reusable: true,
                error,
            } => link.answered(run, failed(error), Reuse::Clean),
            FromWorker::Failed { run, error, .. } => {
                link.answered(run, failed(error), Reuse::Dirty)
                    .map_err(|_| End::Broken)?;
                return Err(End::Retired);
            }
            FromWorker::Dropped { nonce } => link.dropped(nonce),
            FromWorker::Leaving { max_rss_kib } => {
                link.lock().max_rss_kib = max_rss_kib;
                Ok(())
            }
            FromWorker::OutOfMemory => return Err(End::OutOfMemory),
            FromWorker::Inspect { session, message } => match inspected {
                Some(inspected) => {
                    inspected.tell(session, message).await;
                    Ok(())
                }
                None => Err(Broken),
            },
            FromWorker::Born { .. } | FromWorker::Ready | FromWorker::Loaded { .. } | FromWorker::LoadFailed { .. } => {
                Err(Broken)
            }
        }
        .map_err(|_| End::Broken)?;
    }
    Ok(())
}

/// Looks at the invocation that runs; true when its time is used up.
fn rang(link: &Link, tickets: &Tickets) -> bool {
    let mut state = link.lock();
    let Some((begun, timeout)) = state
        .waiting
        .front()
        .filter(|_| !state.held)
        .and_then(|first| Some((first.begun?, first.timeout)))
    else {
        return false;
    };
    if begun.elapsed() >= timeout {
        return true;
    }
    if begun.elapsed() >= LINGER && state.waiting.len() > 1 {
        state.recall(tickets, 1);
    }
    false
}

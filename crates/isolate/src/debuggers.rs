//! The debuggers of a worker.
//!
//! While JavaScript stands at a breakpoint, its thread waits inside V8, so somebody else must read the socket. An environment that can be
//! debugged has a thread for that, and one more for each debugger, which writes what V8 tells it. Other environments have neither.
//!
//! Functions have no way to V8's inspector: it is not where `node:inspector` looks for one.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use deno_core::futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use deno_core::futures::executor::block_on_stream;
use deno_core::{
    InspectorMsg, InspectorMsgKind, InspectorSessionChannels, InspectorSessionKind, InspectorSessionProxy, JsRuntime,
    JsRuntimeInspector,
};
use hikigane_executor::Inspection;
use hikigane_executor::frames::{FromWorker, MESSAGE_LIMIT, ToWorker};
use tokio::sync::mpsc;

use crate::environment::JsEnvironment;
use crate::extensions::Stop;
use crate::link::{Input, Link, Output};

/// The number of a message of our own. Debuggers count from 0 or 1.
const OURS: i32 = -1;

/// What takes the messages of each debugger that is attached, by its number. V8 ends a session when what takes them is dropped, and goes on
/// if it stands because of that debugger.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<BTreeMap<u32, UnboundedSender<String>>>>);

/// Lets debuggers in from now on. The socket is read by a thread, which starts in the cage and with no privilege, as the function does. It
/// passes on the frames that are not debuggers'.
///
/// They wait without a bound, since the thread must go on reading while JavaScript stands at a breakpoint: the word to go on comes the same
/// way. They are few: nothing is sent ahead to an environment that can be debugged, and credit is given for what was sent.
pub fn admit(
    runtime: &mut JsRuntime,
    input: Input,
    output: &Output,
    Inspection { waits, .. }: Inspection,
) -> Result<mpsc::UnboundedReceiver<ToWorker>, String> {
    runtime.maybe_init_inspector();
    let inspector = runtime.inspector();
    let (sender, frames) = mpsc::unbounded_channel();
    let sessions = Sessions::default();
    let reader = Reader {
        input,
        output: output.clone(),
        frames: sender,
        sessions: sessions.clone(),
        arrivals: inspector.get_session_sender(),
    };
    std::thread::Builder::new()
        .name("debuggers".into())
        .spawn(|| reader.run())
        .map_err(|error| error.to_string())?;
    if waits {
        inspector.wait_for_runtime_run_if_waiting_for_debugger();
        let stop = Stop(Box::new(move || sessions.stop(&inspector)));
        runtime.op_state().borrow_mut().put(stop);
    }
    Ok(frames)
}

/// The next frame that is not a debugger's; `None` when the server is gone. V8 answers debuggers meanwhile. The function is frozen all the
/// same: its event loop does not turn.
pub async fn serve_until_frame(environment: &mut JsEnvironment, link: &Link) -> Result<Option<ToWorker>, String> {
    let inspector = environment.runtime().inspector();
    poll_fn(|cx| {
        inspector.poll_sessions_from_event_loop(cx);
        if inspector.sessions_state().has_active {
            // What V8 puts off until nothing runs: a snapshot of the heap.
            environment.run_tasks();
        }
        link.poll_receive(cx)
    })
    .await
}

/// Reads the socket.
struct Reader {
    input: Input,
    output: Output,
    frames: mpsc::UnboundedSender<ToWorker>,
    sessions: Sessions,
    arrivals: UnboundedSender<InspectorSessionProxy>,
}

impl Reader {
    fn run(mut self) {
        while let Ok(Some(frame)) = self.input.next() {
            let fine = match frame {
                ToWorker::Attach { session } => self.sessions.add(session, &self.output, &self.arrivals),
                ToWorker::Inspect { session, message } => {
                    self.sessions.tell(session, &message);
                    true
                }
                ToWorker::Detach { session } => {
                    self.sessions.lock().remove(&session);
                    true
                }
                ToWorker::Init(_) | ToWorker::Invoke(_) | ToWorker::Credit { .. } => self.frames.send(frame).is_ok(),
            };
            if !fine {
                break;
            }
        }
        // The server is gone: whatever stands at a breakpoint goes on, to the end.
        self.sessions.lock().clear();
    }
}

impl Sessions {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, UnboundedSender<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session for a debugger. False: there can be none.
    fn add(&self, number: u32, output: &Output, arrivals: &UnboundedSender<InspectorSessionProxy>) -> bool {
        let ((says, said), (tells, told)) = (unbounded(), unbounded());
        let output = output.clone();
        let writer = std::thread::Builder::new()
            .name("debugger".into())
            .spawn(move || write(number, told, &output));
        let session = InspectorSessionProxy {
            channels: InspectorSessionChannels::Regular { tx: tells, rx: said },
            kind: InspectorSessionKind::NonBlocking {
                wait_for_disconnect: false,
            },
        };
        self.lock().insert(number, says);
        writer.is_ok() && arrivals.unbounded_send(session).is_ok()
    }

    /// Hands over what a debugger says.
    fn tell(&self, number: u32, message: &[u8]) {
        if let Some(session) = self.lock().get(&number) {
            let _ = session.unbounded_send(String::from_utf8_lossy(message).into_owned());
        }
    }

    /// Has the debugger that came last stop at the next function that is called, when JavaScript is about to call one.
    ///
    /// V8 does this for a debugger that has been waited for and lets the function run. This one has let it run before, so the word is said in
    /// its name.
    fn stop(&self, inspector: &JsRuntimeInspector) {
        let go = format!(r#"{{"id":{OURS},"method":"Runtime.runIfWaitingForDebugger"}}"#);
        let said = match self.lock().last_key_value() {
            Some((_, session)) => session.unbounded_send(go).is_ok(),
            None => false,
        };
        if said {
            inspector.wait_for_session_and_break_on_next_statement();
        }
    }
}

/// Writes what V8 tells one debugger, until its session ends.
fn write(session: u32, told: UnboundedReceiver<InspectorMsg>, output: &Output) {
    for message in block_on_stream(told) {
        let Some(content) = sendable(message) else { continue };
        let message = content.into();
        if output.send(&FromWorker::Inspect { session, message }).is_err() {
            return;
        }
    }
}

/// A message as it is sent. An answer that is too large becomes an error; a debugger must not wait for it in vain.
fn sendable(message: InspectorMsg) -> Option<String> {
    match message.kind {
        InspectorMsgKind::Message(OURS) => None,
        _ if message.content.len() <= MESSAGE_LIMIT => Some(message.content),
        InspectorMsgKind::Notification => None,
        InspectorMsgKind::Message(id) => {
            let text = format!("the answer is larger than {MESSAGE_LIMIT} bytes");
            Some(serde_json::json!({"id": id, "error": {"code": -32000, "message": text}}).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_is_too_large_becomes_an_error_or_is_left_out() {
        let message = |kind, length| {
            sendable(InspectorMsg {
                kind,
                content: "x".repeat(length),
            })
        };
        let small = message(InspectorMsgKind::Message(7), MESSAGE_LIMIT);
        assert_eq!(small.unwrap().len(), MESSAGE_LIMIT);
        let large = message(InspectorMsgKind::Message(7), MESSAGE_LIMIT + 1).unwrap();
        assert!(large.starts_with(r#"{"id":7,"error":{"code":-32000,"#), "{large}");
        assert_eq!(message(InspectorMsgKind::Notification, MESSAGE_LIMIT + 1), None);
        assert_eq!(message(InspectorMsgKind::Message(OURS), 1), None);
    }
}

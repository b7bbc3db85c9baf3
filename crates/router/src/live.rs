//! Following what happens while it does: logs as they are written, and runs that fail.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_executor::LiveLog;
use hikigane_model::FunctionName;
use hikigane_store::{Run, RunStatus};
use tokio::sync::broadcast;

/// Pieces of log that a follower may lag behind before it misses some.
const BACKLOG: usize = 4096;

/// A piece of a function's log.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// The function.
    pub function: FunctionName,
    /// The text, one or several lines.
    pub text: String,
}

/// Hands log lines to whoever listens; costs nothing while nobody does.
#[derive(Clone)]
pub struct LiveLogs(broadcast::Sender<LogLine>);

impl Default for LiveLogs {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl LiveLogs {
    /// Everything logged from now on.
    pub fn follow(&self) -> broadcast::Receiver<LogLine> {
        self.0.subscribe()
    }

    /// Where one invocation's lines go, when somebody listens.
    pub(crate) fn of(&self, function: &FunctionName) -> Option<LiveLog> {
        if self.0.receiver_count() == 0 {
            return None;
        }
        let (sender, function) = (self.0.clone(), function.clone());
        Some(Box::new(move |text| {
            let _ = sender.send(LogLine {
                function: function.clone(),
                text: text.to_owned(),
            });
        }))
    }
}

/// Failed runs that a follower may lag behind before it misses some.
const FAILURES: usize = 16;

/// A run that was a function's failure.
#[derive(Debug, Clone)]
pub struct FailedRun {
    /// The function.
    pub function: FunctionName,
    /// How it failed.
    pub status: RunStatus,
    /// Lambda's error JSON.
    pub error: Bytes,
    /// 1 for the first.
    pub attempt: u32,
    /// What becomes of its event.
    pub then: Then,
}

/// What becomes of the event of a run that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Its caller was told.
    Told,
    /// It runs again.
    Again(DateTime<Utc>),
    /// It is given up: a dead letter.
    GivenUp,
}

/// Hands failed runs to whoever listens; costs nothing while nobody does.
pub struct Failures(broadcast::Sender<FailedRun>);

impl Default for Failures {
    fn default() -> Self {
        Self(broadcast::Sender::new(FAILURES))
    }
}

impl Failures {
    /// Every run that fails from now on.
    pub fn follow(&self) -> broadcast::Receiver<FailedRun> {
        self.0.subscribe()
    }

    /// Tells of a run, if it has failed. One that found no room is not the function's failure.
    pub(crate) fn tell(&self, run: &Run, then: Then) {
        let failed = matches!(run.status, RunStatus::Failed | RunStatus::TimedOut | RunStatus::Crashed);
        if !failed || self.0.receiver_count() == 0 {
            return;
        }
        let _ = self.0.send(FailedRun {
            function: run.function.clone(),
            status: run.status,
            error: run.output.clone(),
            attempt: run.attempt,
            then,
        });
    }
}

//! Following the logs as they are written.

use hikigane_executor::LiveLog;
use hikigane_model::FunctionName;
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

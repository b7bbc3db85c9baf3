//! The log of an invocation.

use std::time::Duration;

use hikigane_model::{InitKind, LogFormat, RequestId, Usage};

/// Most bytes of log that one invocation keeps; the rest is dropped, and a line says so.
const LIMIT: usize = 1024 * 1024;

/// Gets each piece of log as it comes.
pub type LiveLog = Box<dyn Fn(&str) + Send + Sync>;

/// Collects the log lines of one invocation, bounded, and passes them on to whoever follows the log.
pub struct LogSink {
    text: String,
    truncated: bool,
    live: Option<LiveLog>,
}

impl LogSink {
    /// A sink; `live` gets each piece as it comes, also beyond the bound.
    pub fn new(live: Option<LiveLog>) -> Self {
        Self {
            text: String::new(),
            truncated: false,
            live,
        }
    }

    /// Takes a piece of the function's log, with or without a line end.
    pub fn line(&mut self, line: &str) {
        if self.truncated {
            self.tell(line);
            return;
        }
        let room = LIMIT.saturating_sub(self.text.len());
        if line.len() <= room {
            self.platform(line);
            return;
        }
        self.tell(line);
        self.truncated = true;
        let mut cut = room;
        while !line.is_char_boundary(cut) {
            cut -= 1;
        }
        self.append(&line[..cut]);
        self.append("[hikigane] the log of this invocation is cut here: it passed 1 MiB");
    }

    /// Takes a line of the platform's own, whatever the function has logged.
    pub fn platform(&mut self, line: &str) {
        self.tell(line);
        self.append(line);
    }

    fn tell(&self, line: &str) {
        if let Some(live) = &self.live {
            live(line);
        }
    }

    fn append(&mut self, line: &str) {
        self.text.push_str(line);
        if !line.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Everything that was logged.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// The lines that the platform itself logs around an invocation.
pub struct PlatformLog<'a> {
    /// The invocation.
    pub request_id: &'a RequestId,
    /// The version that runs.
    pub version: &'a str,
    /// Text or JSON.
    pub format: LogFormat,
}

impl PlatformLog<'_> {
    /// `START RequestId: .. Version: ..` (facts: recorded from AWS), or the `platform.start` record.
    pub fn start(&self) -> String {
        match self.format {
            LogFormat::Text => format!("START RequestId: {} Version: {}\n", self.request_id, self.version),
            LogFormat::JSON => self.record(
                "platform.start",
                serde_json::json!({"requestId": self.request_id, "version": self.version}),
            ),
        }
    }

    /// `END RequestId: ..`; the JSON format has no such record.
    pub fn end(&self) -> String {
        match self.format {
            LogFormat::Text => format!("END RequestId: {}\n", self.request_id),
            LogFormat::JSON => String::new(),
        }
    }

    /// The `REPORT` line, tab-separated as on AWS, or the `platform.report` record.
    pub fn report(&self, usage: &Usage, memory_mb: u32, succeeded: bool) -> String {
        let billed = usage.billed().as_millis();
        let init = match usage.init {
            InitKind::Warm => None,
            InitKind::Cold(duration) => Some(millis(duration)),
        };
        match self.format {
            LogFormat::Text => {
                let init = init
                    .map(|ms| format!("Init Duration: {ms:.2} ms\t"))
                    .unwrap_or_default();
                format!(
                    "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: {} MB\t{init}\n",
                    self.request_id,
                    millis(usage.duration),
                    usage.max_memory_mb,
                )
            }
            LogFormat::JSON => {
                let mut metrics = serde_json::json!({
                    "durationMs": millis(usage.duration),
                    "billedDurationMs": billed,
                    "memorySizeMB": memory_mb,
                    "maxMemoryUsedMB": usage.max_memory_mb,
                });
                if let (Some(init), Some(object)) = (init, metrics.as_object_mut()) {
                    object.insert("initDurationMs".into(), init.into());
                }
                let status = if succeeded { "success" } else { "error" };
                self.record(
                    "platform.report",
                    serde_json::json!({"requestId": self.request_id, "metrics": metrics, "status": status}),
                )
            }
        }
    }

    fn record(&self, kind: &str, record: serde_json::Value) -> String {
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        format!(
            "{}\n",
            serde_json::json!({"time": time, "type": kind, "record": record})
        )
    }
}

/// A duration in milliseconds, to two decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

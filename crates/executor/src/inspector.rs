//! The environments that debuggers can attach to, and what passes between the two.
//!
//! A worker has no network: the server listens for debuggers, and what they say goes to the task that drives the environment, which hands it
//! to the worker as frames. While one is attached, the function's time stands still.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hikigane_model::{FunctionName, Qualifier, TargetId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::EnvironmentSpec;
use crate::frames::ToWorker;

/// Messages that wait on either way between a debugger and its environment; then who sends waits.
const BACKLOG: usize = 64;
/// Debuggers that wait until an environment takes note of them.
const ARRIVALS: usize = 8;

/// The environments that debuggers can attach to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inspector {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<Listed>>>,
}

/// An environment that debuggers can attach to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its id.
    pub id: TargetId,
    /// The function.
    pub function: FunctionName,
    /// The version.
    pub version: Qualifier,
    /// The function's handler, `file.export`.
    pub handler: String,
}

#[derive(Debug)]
struct Listed {
    target: Target,
    arrivals: mpsc::Sender<Arrival>,
}

/// A debugger's end of its connection to an environment. It is detached when `says` is dropped.
#[derive(Debug)]
pub struct Debugger {
    /// Takes what the debugger says: messages of the Chrome DevTools Protocol of at most [`crate::frames::MESSAGE_LIMIT`] bytes.
    pub says: mpsc::Sender<Bytes>,
    /// Gives what it is told; `None` when the environment has ended.
    pub hears: mpsc::Receiver<Bytes>,
}

/// The environment's end.
#[derive(Debug)]
struct Arrival {
    says: mpsc::Receiver<Bytes>,
    hears: mpsc::Sender<Bytes>,
}

impl Inspector {
    /// No environment yet. Debuggers reach them at `address`, which functions are kept away from.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            targets: Arc::default(),
        }
    }

    /// Where the server listens for debuggers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environments, the newest first: tools that attach to whatever there is take the first.
    pub fn targets(&self) -> Vec<Target> {
        self.lock().iter().rev().map(|listed| listed.target.clone()).collect()
    }

    /// Attaches a debugger; `None`: there is no such environment, or too many debuggers come at once.
    pub fn attach(&self, id: &TargetId) -> Option<Debugger> {
        let arrivals = {
            let targets = self.lock();
            targets.iter().rfind(|listed| listed.target.id == *id)?.arrivals.clone()
        };
        let ((says, said), (tells, hears)) = (mpsc::channel(BACKLOG), mpsc::channel(BACKLOG));
        let arrival = Arrival {
            says: said,
            hears: tells,
        };
        arrivals.try_send(arrival).ok()?;
        Some(Debugger { says, hears })
    }

    /// Lists an environment that is being made, for as long as the result lives.
    pub(crate) fn list(&self, id: TargetId, spec: &EnvironmentSpec) -> Inspected {
        let (sender, arrivals) = mpsc::channel(ARRIVALS);
        self.lock().push(Listed {
            target: Target {
                id,
                function: spec.config.name.clone(),
                version: spec.version.clone(),
                handler: spec.config.handler.clone(),
            },
            arrivals: sender,
        });
        Inspected {
            inspector: self.clone(),
            arrivals,
            sessions: Vec::new(),
            last: 0,
            held: None,
            released: None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Listed>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The debuggers of one environment. Dropped: they lose their connection.
pub(crate) struct Inspected {
    inspector: Inspector,
    arrivals: mpsc::Receiver<Arrival>,
    sessions: Vec<Session>,
    /// The number of the debugger that came last.
    last: u32,
    /// Since when there has been one.
    held: Option<Instant>,
    released: Option<Instant>,
}

struct Session {
    number: u32,
    says: mpsc::Receiver<Bytes>,
    hears: mpsc::Sender<Bytes>,
}

impl Inspected {
    /// Whether a debugger is attached: then the function's time stands still.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Since when the function's time has stood still, told once, when it goes on.
    pub(crate) fn released(&mut self) -> Option<Instant> {
        self.released.take()
    }

    /// What the worker must be told next, when a debugger comes, says something or goes. Nothing is lost when it is given up on.
    pub(crate) async fn next(&mut self) -> ToWorker {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<ToWorker> {
        if let Poll::Ready(Some(Arrival { says, hears })) = self.arrivals.poll_recv(cx) {
            self.last += 1;
            self.held.get_or_insert_with(Instant::now);
            let number = self.last;
            self.sessions.push(Session { number, says, hears });
            return Poll::Ready(ToWorker::Attach { session: number });
        }
        for place in 0..self.sessions.len() {
            let session = self.sessions[place].number;
            match self.sessions[place].says.poll_recv(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(message)) => return Poll::Ready(ToWorker::Inspect { session, message }),
                Poll::Ready(None) => {
                    self.sessions.remove(place);
                    if self.sessions.is_empty() {
                        self.released = self.held.take();
                    }
                    return Poll::Ready(ToWorker::Detach { session });
                }
            }
        }
        Poll::Pending
    }

    /// Tells a debugger something. Waits for one that is slow, and the worker with it, as long as it is attached.
    pub(crate) async fn tell(&self, session: u32, message: Bytes) {
        if let Some(session) = self.sessions.iter().find(|known| known.number == session) {
            // One that has gone is taken note of by `next`.
            let _ = session.hears.send(message).await;
        }
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        self.arrivals.close();
        self.inspector.lock().retain(|listed| !listed.arrivals.is_closed());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use hikigane_model::{Allow, AsyncConfig, FunctionConfig, LogFormat};

    use super::*;

    fn spec(name: &str) -> EnvironmentSpec {
        let config = FunctionConfig {
            name: FunctionName::new(name).unwrap(),
            description: String::new(),
            code: "/f.mjs".into(),
            layers: Vec::new(),
            handler: "f.handler".into(),
            runtime: "nodejs22.x".into(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            env: Default::default(),
            allow: Allow::default(),
            reserved_concurrency: None,
            provisioned_concurrency: None,
            asynchronous: AsyncConfig::default(),
            log_format: LogFormat::Text,
            log_level: None,
        };
        EnvironmentSpec {
            config: Arc::new(config),
            version: Qualifier::Latest,
            revision: 1,
            pin: Arc::new(()),
        }
    }

    fn inspector() -> Inspector {
        Inspector::new("127.0.0.1:9229".parse().unwrap())
    }

    #[tokio::test]
    async fn a_debugger_comes_speaks_hears_and_goes() {
        let inspector = inspector();
        let id = TargetId::random();
        let mut environment = inspector.list(id.clone(), &spec("f"));
        assert!(!environment.is_held());

        let begun = Instant::now();
        let mut debugger = inspector.attach(&id).unwrap();
        debugger.says.send(Bytes::from_static(b"pause")).await.unwrap();
        assert_eq!(environment.next().await, ToWorker::Attach { session: 1 });
        assert!(environment.is_held() && environment.released().is_none());
        let message = Bytes::from_static(b"pause");
        assert_eq!(environment.next().await, ToWorker::Inspect { session: 1, message });
        environment.tell(1, Bytes::from_static(b"paused")).await;
        environment.tell(2, Bytes::from_static(b"nobody's")).await;
        assert_eq!(debugger.hears.recv().await.unwrap(), "paused");

        let attached = Instant::now();
        drop(debugger);
        assert_eq!(environment.next().await, ToWorker::Detach { session: 1 });
        assert!(!environment.is_held());
        let since = environment.released().unwrap();
        assert!(
            (begun..=attached).contains(&since),
            "the whole time that it was attached"
        );
        assert_eq!(environment.released(), None);
    }

    #[tokio::test]
    async fn time_stands_still_until_the_last_debugger_has_gone() {
        let inspector = inspector();
        let id = TargetId::random();
        let mut environment = inspector.list(id.clone(), &spec("f"));
        let (one, two) = (inspector.attach(&id).unwrap(), inspector.attach(&id).unwrap());
        environment.next().await;
        assert_eq!(environment.next().await, ToWorker::Attach { session: 2 });
        drop(one);
        assert_eq!(environment.next().await, ToWorker::Detach { session: 1 });
        assert!(environment.is_held());
        drop(two);
        environment.next().await;
        assert!(environment.released().is_some());
        // A number is never given twice: what is still under way for the first must not reach another.
        let _three = inspector.attach(&id).unwrap();
        assert_eq!(environment.next().await, ToWorker::Attach { session: 3 });
    }

    #[tokio::test]
    async fn only_environments_that_live_are_listed_the_newest_first() {
        let inspector = inspector();
        let first = inspector.list(TargetId::random(), &spec("a"));
        let id = TargetId::random();
        let second = inspector.list(id.clone(), &spec("b"));
        let names = |inspector: &Inspector| -> Vec<String> {
            let targets = inspector.targets().into_iter();
            targets.map(|target| target.function.to_string()).collect()
        };
        assert_eq!(names(&inspector), ["b", "a"]);
        let mut debugger = inspector.attach(&id).unwrap();
        drop(second);
        assert_eq!(names(&inspector), ["a"]);
        assert!(inspector.attach(&id).is_none());
        assert!(debugger.hears.recv().await.is_none(), "its environment has ended");
        drop(first);
        assert!(inspector.targets().is_empty());
    }
}

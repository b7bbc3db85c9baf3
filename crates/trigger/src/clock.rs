//! Time, behind one door, so that a test can hold the hand of the clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// The time of day. Real, or virtual: a virtual clock stands still until it is moved.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Virtual(Arc<watch::Sender<DateTime<Utc>>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start`.
    pub fn virtual_at(start: DateTime<Utc>) -> Self {
        Self(Source::Virtual(Arc::new(watch::Sender::new(start))))
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Virtual(time) => *time.borrow(),
        }
    }

    /// Whether this clock is virtual.
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }

    /// Moves a virtual clock to `time`; it never goes back. Returns false for the machine's clock.
    pub fn advance_to(&self, time: DateTime<Utc>) -> bool {
        match &self.0 {
            Source::System => false,
            Source::Virtual(now) => {
                now.send_modify(|now| *now = (*now).max(time));
                true
            }
        }
    }

    /// Waits until the clock shows `time` or later.
    ///
    /// The machine's clock may be set and the machine may sleep: it is looked at again at least every 30 seconds.
    pub async fn sleep_until(&self, time: DateTime<Utc>) {
        match &self.0 {
            Source::System => loop {
                let Ok(left) = (time - Utc::now()).to_std() else { return };
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_secs(30))).await;
            },
            Source::Virtual(now) => {
                // The sender lives as long as `self`, so the wait cannot fail.
                let _ = now.subscribe().wait_for(|now| *now >= time).await;
            }
        }
    }
}

//! Time, behind one door, so that a test can hold the hand of the clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// The time of day. Real, or virtual: a virtual clock stands still until it is moved.
///
/// Neither goes forward only: the machine's clock is set, by its owner or by NTP.
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

    /// Sets a virtual clock to `time`, also back, as the machine's may be. Returns false for the machine's clock.
    pub fn set(&self, time: DateTime<Utc>) -> bool {
        match &self.0 {
            Source::System => false,
            Source::Virtual(now) => {
                now.send_replace(time);
                true
            }
        }
    }

    /// Moves a virtual clock on to `time`, unless it is there already; it does not go back. Returns false for the machine's clock.
    pub fn advance_to(&self, time: DateTime<Utc>) -> bool {
        match &self.0 {
            Source::System => false,
            Source::Virtual(now) => {
                now.send_modify(|now| *now = (*now).max(time));
                true
            }
        }
    }

    /// Waits until the clock shows `time` or later, or is set back: `time` may then be a day away, and whoever chose it chooses anew.
    ///
    /// The machine's clock may be set and the machine may sleep: it is looked at again at least every 30 seconds.
    pub async fn sleep_until(&self, time: DateTime<Utc>) {
        match &self.0 {
            Source::System => {
                let mut latest = Utc::now();
                while let Ok(left) = (time - latest).to_std()
                    && !left.is_zero()
                {
                    tokio::time::sleep(left.min(Duration::from_secs(30))).await;
                    let now = Utc::now();
                    if now < latest {
                        return;
                    }
                    latest = now;
                }
            }
            Source::Virtual(now) => {
                let mut now = now.subscribe();
                let begin = *now.borrow();
                // The sender lives as long as `self`, so the wait cannot fail.
                let _ = now.wait_for(|now| *now >= time || *now < begin).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-01-01T10:{minute:02}:00Z").parse().unwrap()
    }

    #[tokio::test]
    async fn a_sleep_ends_at_its_time_or_when_the_clock_is_set_back() {
        let clock = Clock::virtual_at(at(10));
        clock.sleep_until(at(10)).await;
        for (label, moves, ends) in [
            ("before", &[at(11), at(14)][..], false),
            ("at its time", &[at(15)], true),
            ("after", &[at(30)], true),
            ("back", &[at(9)], true),
        ] {
            let clock = Clock::virtual_at(at(10));
            let mut sleep = std::pin::pin!(clock.sleep_until(at(15)));
            assert!(at_once(sleep.as_mut()).await.is_none(), "{label}");
            for time in moves {
                assert!(clock.set(*time));
            }
            assert_eq!(at_once(sleep).await.is_some(), ends, "{label}");
        }
    }

    #[test]
    fn advancing_never_goes_back_and_the_machines_clock_is_not_moved() {
        let clock = Clock::virtual_at(at(10));
        assert!(clock.advance_to(at(20)) && clock.advance_to(at(15)));
        assert_eq!(clock.now(), at(20));
        assert!(clock.set(at(15)));
        assert_eq!(clock.now(), at(15));
        assert!(!Clock::system().set(at(0)) && !Clock::system().advance_to(at(0)));
    }

    /// What the future gives without waiting.
    async fn at_once<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = tokio::task::yield_now() => None,
        }
    }
}

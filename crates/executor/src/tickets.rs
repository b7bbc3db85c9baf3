//! Who may start an invocation that was sent ahead.

use std::io;
use std::os::fd::OwnedFd;

/// A counter in the kernel that the server and one worker share: one ticket for each invocation that was sent and not started.
///
/// The worker draws a ticket before it starts an invocation. The server can draw them, too, and so take back what is not started: each ticket is
/// drawn once, so an invocation is run by this worker or by another, never by both. The invocations taken back are the
/// last ones sent, since the worker starts them in order. (An `eventfd` in semaphore mode, see eventfd(2).)
#[derive(Debug)]
pub struct Tickets(OwnedFd);

impl Tickets {
    /// The tickets behind a non-blocking semaphore `eventfd`.
    pub fn new(eventfd: OwnedFd) -> Self {
        Self(eventfd)
    }

    /// Gives out `count` tickets: before the invocations themselves are sent.
    pub fn give(&self, count: u32) -> io::Result<()> {
        if count > 0 {
            rustix::io::write(&self.0, &u64::from(count).to_ne_bytes())?;
        }
        Ok(())
    }

    /// Draws one, if any is left.
    pub fn draw(&self) -> io::Result<bool> {
        loop {
            match rustix::io::read(&self.0, &mut [0u8; 8]) {
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Draws all that are left, at most `count`; returns how many there were.
    pub fn draw_all(&self, count: usize) -> usize {
        (0..count).take_while(|_| self.draw().unwrap_or(false)).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    #[test]
    fn each_ticket_is_drawn_once() {
        let fd = eventfd(0, EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK).unwrap();
        let (server, worker) = (Tickets::new(fd.try_clone().unwrap()), Tickets::new(fd));
        assert!(!worker.draw().unwrap());
        server.give(3).unwrap();
        assert!(worker.draw().unwrap());
        assert_eq!(server.draw_all(8), 2);
        assert!(!worker.draw().unwrap());

        // However server and worker race for them.
        const ROUNDS: u32 = 2_000;
        let drawn = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut drawn = 0;
                while drawn < ROUNDS / 2 {
                    drawn += u32::from(worker.draw().unwrap());
                }
                drawn
            });
            server.give(ROUNDS / 2).unwrap();
            other.join().unwrap()
        });
        server.give(ROUNDS).unwrap();
        let (mine, theirs) = std::thread::scope(|scope| {
            let other = scope.spawn(|| worker.draw_all(ROUNDS as usize));
            let mine = server.draw_all(ROUNDS as usize);
            (mine, other.join().unwrap())
        });
        assert_eq!((drawn, mine + theirs), (ROUNDS / 2, ROUNDS as usize));
    }
}

//! What the disk has left, and who may still take of it.
//!
//! To end an event, to purge dead letters, to copy the log into the database: what makes room needs some first. A disk that is filled to its
//! last byte by events or by their history would stay full for ever. So new events leave a little, and the history leaves more.

use std::path::Path;

/// Bytes that new events leave to others, ...
const FOR_ENDS: u64 = 4 << 20;
/// ... and bytes that the history leaves to events; of a small disk an eighth, and a quarter.
const FOR_EVENTS: u64 = 16 << 20;

/// The room that a transaction has. All is written twice, into the log and from there into the database: both can take what is free in the files
/// already, and then of the disk.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes left on it.
    pub left: u64,
    /// Bytes that are free in the log's file.
    pub in_log: u64,
    /// Bytes that are free in the database's file.
    pub in_database: u64,
    /// Somebody found too little.
    pub is_short: bool,
}

impl Room {
    /// On the disk that holds `path`, of which `to_come` bytes are as good as taken. Where the system does not say, there is room until a write fails.
    pub fn at(path: &Path, to_come: u64, in_log: u64, in_database: u64) -> Self {
        let (size, left) = match rustix::fs::statvfs(path) {
            Ok(disk) if disk.f_blocks > 0 => (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize),
            _ => (0, u64::MAX),
        };
        Self {
            size,
            left: left.saturating_sub(to_come),
            in_log,
            in_database,
            is_short: false,
        }
    }

    /// Takes room for a new event, if there is enough.
    #[must_use]
    pub fn take_for_event(&mut self, bytes: usize) -> bool {
        self.take(bytes, FOR_ENDS.min(self.size / 8))
    }

    /// Takes room for a run, if there is enough.
    #[must_use]
    pub fn take_for_run(&mut self, bytes: usize) -> bool {
        self.take(bytes, FOR_EVENTS.min(self.size / 4))
    }

    fn take(&mut self, bytes: usize, reserve: u64) -> bool {
        let bytes = bytes as u64;
        let wanted = bytes + reserve / 2;
        let beyond = |wanted: u64| wanted.saturating_sub(self.in_log) + wanted.saturating_sub(self.in_database);
        let enough = beyond(wanted) <= self.left;
        if enough {
            self.left -= beyond(bytes);
            self.in_log = self.in_log.saturating_sub(bytes);
            self.in_database = self.in_database.saturating_sub(bytes);
        }
        self.is_short |= !enough;
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_stops_before_events_do_and_events_before_the_end() {
        const MIB: usize = 1 << 20;
        let room = |size: usize, left: usize| Room {
            size: size as u64,
            left: left as u64,
            in_log: 0,
            in_database: 0,
            is_short: false,
        };
        let takes = |room: &mut Room| (room.take_for_run(MIB), room.take_for_event(MIB));
        assert_eq!(takes(&mut room(1000 * MIB, 20 * MIB)), (true, true));
        assert_eq!(takes(&mut room(1000 * MIB, 18 * MIB - 1)), (false, true));
        assert_eq!(takes(&mut room(1000 * MIB, 6 * MIB - 1)), (false, false));
        assert_eq!(takes(&mut room(8 * MIB, 6 * MIB)), (true, true));
        // What the first take is no longer there for others.
        let mut small = room(8 * MIB, 5 * MIB);
        assert_eq!(takes(&mut small), (true, true));
        assert_eq!(takes(&mut small), (false, false));
        // What is free in the files is as good, but only for what goes into the file.
        let with = |in_log: usize, in_database: usize| Room {
            in_log: in_log as u64,
            in_database: in_database as u64,
            ..room(8 * MIB, 0)
        };
        assert_eq!(takes(&mut with(2 * MIB, 2 * MIB)), (true, false));
        assert_eq!(takes(&mut with(3 * MIB / 2, 9 * MIB)), (false, true));
        assert_eq!(takes(&mut with(9 * MIB, MIB)), (false, false));
    }
}

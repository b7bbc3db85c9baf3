//! What the kernel's news mean for the objects.

use tokio::time::Instant;

use super::{Rescan, Session};
use crate::key::ObjectKey;
use crate::tracker::Removal;
use crate::tree::Look;
use crate::watch::{Change, Changes};

/// Renames of files with a writer whose second half may still come; the halves are told one after the other.
const RENAMES: usize = 16;
/// Files with a writer that are no objects but may be renamed to one.
const HIDDEN_WRITERS: usize = 10_000;
/// Changes taken in before due objects get their turn.
const CHANGES_AT_ONCE: usize = 256;

impl Session {
    pub(super) fn take_changes(&mut self, first: Option<Change>) {
        let mut next = Some(first);
        let mut left = CHANGES_AT_ONCE;
        while let Some(change) = next {
            match change {
                Some(change) => self.take_change(change),
                None => self.want_scan(Rescan::AfterLoss),
            }
            left -= 1;
            next = if left > 0 {
                self.changes.as_mut().and_then(Changes::now)
            } else {
                None
            };
        }
        self.note_dropped();
    }

    fn take_change(&mut self, change: Change) {
        let now = Instant::now();
        match change {
            Change::Appeared(key) if self.is_wanted(&key) => match self.look_at_news(&key) {
                // A second name of a file that is complete; readers may open it at once.
                Some(Look::Object { identity, links: 2.. }) => self.tracker.closed(&key, identity, now),
                Some(Look::Object { .. }) => self.tracker.appeared(&key, now),
                _ => {}
            },
            Change::Appeared(_) => {}
            Change::DirectoryAppeared(key) => self.new_directory(key),
            Change::Opened(key) => self.tracker.opened(&key),
            Change::Written(key) if self.is_wanted(&key) => self.tracker.written(&key),
            Change::Written(key) => self.hide_writer(key),
            Change::Closed(key) if self.is_wanted(&key) => match self.look_at_news(&key) {
                Some(Look::Object { identity, .. }) => self.tracker.closed(&key, identity, now),
                Some(_) => self.tracker.ended(&key),
                None => {}
            },
            Change::Closed(key) => {
                self.hidden_writers.remove(&key);
            }
            Change::Touched(key) if self.forbidden.remove(&key) => self.new_directory(key),
            Change::Touched(key) if self.is_wanted(&key) => {
                if let Some(Look::Object { identity, .. }) = self.look_at_news(&key) {
                    self.tracker.touched(&key, identity, now);
                }
            }
            Change::Touched(_) => {}
            Change::MovedIn(key, cookie) => self.moved_in(key, cookie, now),
            Change::Gone(key, cookie) => self.gone(&key, cookie, now),
            Change::BucketGone => {
                // A new directory may have the old one's inode.
                self.directory = None;
                self.look_at_directory();
            }
        }
    }

    fn moved_in(&mut self, key: ObjectKey, cookie: Option<usize>, now: Instant) {
        let is_written = cookie.is_some_and(|cookie| self.renamed_while_written.contains(&cookie));
        match self.look_at_news(&key) {
            Some(Look::Directory) => self.new_directory(key),
            Some(Look::Object { .. }) => match (self.is_wanted(&key), is_written) {
                (true, true) => self.tracker.written(&key),
                (true, false) => self.tracker.moved_in(&key, now),
                (false, true) => self.hide_writer(key),
                (false, false) => {}
            },
            // A link or device that took an object's place; of what it replaced nothing is told.
            Some(Look::Other) => self.gone(&key, None, now),
            _ => {}
        }
    }

    fn gone(&mut self, key: &ObjectKey, cookie: Option<usize>, now: Instant) {
        let was_written = self.hidden_writers.remove(key) || self.tracker.is_open(key);
        if let Some(cookie) = cookie.filter(|_| was_written) {
            self.renamed_while_written.truncate(RENAMES - 1);
            self.renamed_while_written.push_front(cookie);
        }
        let look = self.look_at_news(key);
        // When it was a directory, what was in it went with it and is not told by itself.
        let mut inside = self.ledger.below(key);
        inside.extend(self.tracker.below(key));
        let is_known = self.ledger.knows(key) || self.tracker.knows(key);
        if is_known {
            let stands = matches!(look, Some(Look::Object { .. }));
            self.tracker.gone(key, now, Removal::Told, stands);
        }
        if look == Some(Look::Directory) {
            self.new_directory(key.clone());
        }
        for key in inside {
            self.tracker
                .gone(&key, now, Removal::Missed, look == Some(Look::Directory));
        }
    }

    /// Looks at an object that something happened to; `None` when the disk does not answer.
    fn look_at_news(&mut self, key: &ObjectKey) -> Option<Look> {
        self.ledger.forgive(key);
        match self.tree.look(key) {
            Ok(look) => Some(look),
            Err(error) => {
                self.cannot_look(key, &error);
                None
            }
        }
    }

    /// A directory that is new, or whose watch may have gone: watched and scanned next.
    fn new_directory(&mut self, key: ObjectKey) {
        if !self.bucket.ignore.covers(&key) {
            self.new_directories.push(key);
        }
    }

    fn hide_writer(&mut self, key: ObjectKey) {
        if self.hidden_writers.len() < HIDDEN_WRITERS {
            self.hidden_writers.insert(key);
        }
    }
}

//! Who holds which event.
//!
//! Leases live in memory: the data directory is locked, so no lease outlives the process that gave it, and taking one
//! costs no fsync. They follow the transaction that they were given or ended in: undone with it when it fails.

use std::collections::HashMap;

/// The leases that are out.
pub(super) struct Leases {
    tokens: HashMap<i64, i64>,
    next_token: i64,
    /// Since the last commit.
    changes: Vec<Change>,
}

enum Change {
    Granted { id: i64 },
    Ended { id: i64, token: i64 },
}

impl Leases {
    /// No leases. `start` is the number of this start of the store: tokens are greater than those of earlier starts.
    pub fn new(start: i64) -> Self {
        Self {
            tokens: HashMap::new(),
            next_token: start << 32,
            changes: Vec::new(),
        }
    }

    pub fn is_leased(&self, id: i64) -> bool {
        self.tokens.contains_key(&id)
    }

    pub fn holds(&self, id: i64, token: i64) -> bool {
        self.tokens.get(&id) == Some(&token)
    }

    /// Leases the event; returns the fencing token.
    pub fn grant(&mut self, id: i64) -> i64 {
        self.next_token += 1;
        self.tokens.insert(id, self.next_token);
        self.changes.push(Change::Granted { id });
        self.next_token
    }

    pub fn end(&mut self, id: i64) {
        if let Some(token) = self.tokens.remove(&id) {
            self.changes.push(Change::Ended { id, token });
        }
    }

    /// The transaction is on disk.
    pub fn commit(&mut self) {
        self.changes.clear();
    }

    /// The transaction did not happen.
    pub fn roll_back(&mut self) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::Granted { id } => self.tokens.remove(&id),
                Change::Ended { id, token } => self.tokens.insert(id, token),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_undoes_everything_since_the_last_commit() {
        let mut leases = Leases::new(1);
        let kept = leases.grant(1);
        leases.commit();
        leases.end(1);
        let undone = leases.grant(1);
        leases.grant(2);
        assert!(undone > kept && leases.holds(1, undone) && !leases.holds(1, kept));
        leases.roll_back();
        assert!(leases.holds(1, kept) && !leases.is_leased(2));
        leases.end(1);
        leases.commit();
        leases.roll_back();
        assert!(!leases.is_leased(1));
        assert!(Leases::new(2).grant(1) > undone);
    }
}

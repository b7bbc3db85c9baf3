//! The store over one SQLite file.

/// The store over one SQLite file.
pub struct SqliteStore;

//! Keys that requests are signed with.

use std::fmt;

/// What signs requests in AWS's way: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for a session, `AWS_SESSION_TOKEN`.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its name, which every request shows.
    pub id: String,
    /// What only the two sides know.
    pub secret: String,
    /// For the key of a session: what tells the server of it, sent along with every request.
    pub session_token: Option<String>,
}

/// Without the secret: what is printed ends up in logs.
impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

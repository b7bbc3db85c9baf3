//! Function URLs, as they are kept.

use chrono::{DateTime, Utc};
use hikigane_model::FunctionUrl;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Row;

/// The URL of a function or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Url {
    /// The first label of its host: 32 digits and small letters.
    pub id: String,
    /// How it answers.
    pub config: FunctionUrl,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// It is declared in the manifest.
    #[serde(skip)]
    pub from_manifest: bool,
}

impl Row for Url {
    const KIND: &'static str = "url";
    fn is_kept(&self) -> bool {
        !self.from_manifest
    }
}

impl Url {
    /// The id that belongs to a text, always the same.
    pub fn id(text: &str) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let digit = |byte: u8| char::from(DIGITS[usize::from(byte) % DIGITS.len()]);
        Sha256::digest(text).iter().map(|&byte| digit(byte)).collect()
    }
}

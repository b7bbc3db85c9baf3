//! Lists in pages: `Marker`, `MaxItems`, `NextMarker`.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Input;
use crate::error::ApiError;

/// The page that a client asks for.
pub struct Page {
    /// The key of the last entry of the page before; empty for the first page.
    pub after: String,
    limit: usize,
}

impl Page {
    /// Most entries on one page (AWS: 50).
    pub const MOST: usize = 50;

    /// Reads `Marker` and `MaxItems`.
    pub fn of(input: &Input) -> Result<Self, ApiError> {
        Self::up_to(Self::MOST, input)
    }

    /// As [`Page::of`], of a list that AWS gives out in other pages than most.
    pub fn up_to(most: usize, input: &Input) -> Result<Self, ApiError> {
        let marker = BASE64_URL_SAFE_NO_PAD.decode(input.text("Marker")).ok();
        let after = marker
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| ApiError::invalid("Invalid pagination token."))?;
        let limit = input.get("MaxItems").and_then(Value::as_u64);
        Ok(Self {
            after,
            limit: limit.map_or(most, |limit| usize::try_from(limit).unwrap_or(most).clamp(1, most)),
        })
    }

    /// The answer with as many entries as fit, under `member`. `entries` are those after [`Page::after`], in order, with their keys.
    pub fn answer<K: AsRef<str>>(&self, member: &str, entries: impl Iterator<Item = (K, Value)>) -> Value {
        let mut entries = entries.peekable();
        let mut page = Vec::new();
        let mut last = None;
        while page.len() < self.limit
            && let Some((key, entry)) = entries.next()
        {
            page.push(entry);
            last = Some(key);
        }
        let mut answer = Map::new();
        if let (Some(_), Some(last)) = (entries.peek(), last) {
            answer.insert("NextMarker".into(), BASE64_URL_SAFE_NO_PAD.encode(last.as_ref()).into());
        }
        answer.insert(member.into(), page.into());
        answer.into()
    }
}

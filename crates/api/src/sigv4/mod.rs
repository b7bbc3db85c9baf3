//! AWS Signature Version 4: who says to have signed a request, and whether they did. Pure: it has no clock and no keys.
//!
//! 1. `Claim::read` takes from the request what it says of its signature, in `Authorization` or, as a presigned URL, in its query.
//! 2. `Claim::check_time` refuses what was signed too long ago, and what is not to be used yet.
//! 3. `Claim::verify` makes the signature anew with the secret of the key that the claim names, and compares.
//!
//! [`sign`] is the other side, for clients. The rules are AWS's (IAM user guide, "Create a signed AWS API request"), the order of the checks and
//! the texts those that AWS's services answer with. Regions are not compared: everything here is in one, whatever a client is set to.

mod canonical;
mod claim;
mod error;
mod signing;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;

pub use canonical::encode;
pub(crate) use claim::{Claim, service};
pub use error::SignatureError;
pub use signing::sign;
pub(crate) use signing::{hex, hmac};

/// The algorithm, and the first word of every `Authorization`.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last element of every scope.
const TERMINATOR: &str = "aws4_request";
/// How times are written: ISO 8601 "basic format".
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// The service whose paths are signed as they are written, and whose bodies need not be signed.
const S3: &str = "s3";

/// A request as it came, but for its body.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as it stands in the request, not decoded.
    pub path: &'a str,
    /// The query as it stands in the request, without `?`.
    pub query: &'a str,
    /// The headers; `host` among them.
    pub headers: &'a HeaderMap,
}

/// What a signature is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    /// `YYYYMMDD`.
    date: String,
    region: String,
    service: String,
}

impl Scope {
    fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

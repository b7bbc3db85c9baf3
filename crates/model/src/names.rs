//! Names: functions, qualifiers, bindings, request ids, ARNs.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The account number in every ARN: the one that AWS documentation and local tools use.
pub const ACCOUNT_ID: &str = "000000000000";
/// The region in every ARN and event.
pub const REGION: &str = "us-east-1";
/// The source address of functions' connections to the server's own endpoint, which tells them from its user's programs by it.
pub const FUNCTIONS_LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 76, 77, 68);

/// A text that is not a legal name, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

/// The name of a function: 1 to 64 letters, digits, `-` and `_` (the `FunctionName` shape of AWS's Lambda model).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

impl FunctionName {
    /// Parses a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 64 || !text.chars().all(legal) {
            return Err(NameError(format!(
                "\"{text}\" is not a function name: use 1 to 64 letters, digits, \"-\" and \"_\""
            )));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FunctionName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}
impl From<FunctionName> for String {
    fn from(name: FunctionName) -> Self {
        name.0.to_string()
    }
}
impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl Borrow<str> for FunctionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What of a function is meant: the unpublished code, a version, or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Qualifier {
    /// `$LATEST`: the code as it is now.
    Latest,
    /// A published version's number.
    Version(u64),
    /// An alias.
    Alias(String),
}

impl Qualifier {
    /// Parses `$LATEST`, a number or an alias name: `(?!^[0-9]+$)([a-zA-Z0-9-_]+)`, at most 128 characters (AWS's `Alias` shape).
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text == "$LATEST" {
            return Ok(Self::Latest);
        }
        if let Ok(number) = text.parse::<u64>() {
            return Ok(Self::Version(number));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 128 || !text.chars().all(legal) {
            return Err(NameError(format!(
                "\"{text}\" is not a qualifier: use $LATEST, a version number or an alias name"
            )));
        }
        Ok(Self::Alias(text.to_owned()))
    }
}
impl TryFrom<String> for Qualifier {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}
impl From<Qualifier> for String {
    fn from(qualifier: Qualifier) -> Self {
        qualifier.to_string()
    }
}
impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Version(number) => write!(f, "{number}"),
            Self::Alias(name) => f.write_str(name),
        }
    }
}

/// The ARN of a function, with the qualifier when one was named.
pub fn function_arn(name: &FunctionName, qualifier: Option<&Qualifier>) -> String {
    match qualifier {
        None => format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}"),
        Some(qualifier) => format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name}:{qualifier}"),
    }
}

/// The function that an ARN names, and what of it; `None` for an ARN of something else.
pub fn parse_function_arn(arn: &str) -> Option<(FunctionName, Option<Qualifier>)> {
    let mut parts = arn.splitn(6, ':');
    let prefix = [parts.next()?, parts.next()?, parts.next()?];
    let (_region, _account, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let name = resource.strip_prefix("function:")?;
    if prefix[0] != "arn" || prefix[2] != "lambda" {
        return None;
    }
    let (name, qualifier) = match name.split_once(':') {
        Some((name, qualifier)) => (name, Some(Qualifier::new(qualifier).ok()?)),
        None => (name, None),
    };
    Some((FunctionName::new(name).ok()?, qualifier))
}

/// The identity of one event binding: `function/name`. History and catch-up follow it, whatever its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct BindingId(Arc<str>);

impl BindingId {
    /// The binding called `name` of `function`.
    pub fn new(function: &FunctionName, name: &str) -> Self {
        Self(format!("{function}/{name}").into())
    }

    /// A binding id that was stored as text.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// `function/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl From<String> for BindingId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}
impl From<BindingId> for String {
    fn from(id: BindingId) -> Self {
        id.0.to_string()
    }
}
impl fmt::Display for BindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invocation's id, a version 4 UUID; the same on every attempt of one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// A new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// An id that was stored or sent as text.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number from 0 up to but without 1, always the same for the same id and evenly spread over random ones: from its first 32 bits, which
    /// are random in a version 4 UUID (RFC 9562). 0 for a text that does not start like one.
    pub fn fraction(&self) -> f64 {
        let bits = self.0.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        f64::from(bits.unwrap_or_default()) / 4_294_967_296.0
    }
}
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_arn_names_a_function_as_it_was_written() {
        let name = FunctionName::new("f-1").unwrap();
        for qualifier in [
            None,
            Some(Qualifier::Latest),
            Some(Qualifier::Version(7)),
            Some(Qualifier::Alias("live".into())),
        ] {
            let arn = function_arn(&name, qualifier.as_ref());
            assert_eq!(parse_function_arn(&arn), Some((name.clone(), qualifier)), "{arn}");
        }
        for other in [
            "",
            "f-1",
            "arn:aws:lambda:us-east-1:000000000000:function:",
            "arn:aws:lambda:us-east-1:000000000000:function:a b",
            "arn:aws:lambda:us-east-1:000000000000:function:f:a:b",
            "arn:aws:lambda:us-east-1:000000000000:layer:f",
            "arn:aws:sqs:us-east-1:000000000000:function:f",
        ] {
            assert_eq!(parse_function_arn(other), None, "{other}");
        }
    }
}

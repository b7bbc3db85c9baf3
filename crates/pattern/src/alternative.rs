//! One alternative of a leaf.

use std::net::IpAddr;

use serde_json::{Number, Value};

use crate::PatternError;
use crate::number::{self, Range};

/// What a value of the event must be like. Operators on text accept strings only.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// A literal that is an IP address accepts every way to write the address.
    Address(IpAddr),
    Prefix(Text),
    Suffix(Text),
    EqualsIgnoreCase(String),
    Wildcard(Wildcard),
    Numeric(Range),
    Cidr(Cidr),
    /// `exists: true`.
    Present,
    /// `exists: false`: accepts no value; that there is none is checked where values are looked for.
    Absent,
    /// Accepts a value, of any type, that none of these accepts.
    AnythingBut(Vec<Test>),
}

impl Test {
    /// The test of a string literal.
    pub fn literal(text: &str) -> Self {
        address(text).map_or_else(|| Self::Text(text.to_owned()), Self::Address)
    }

    /// Whether the value of a leaf passes.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::AnythingBut(tests) => !tests.iter().any(|test| test.accepts(value)),
            Self::Null => value.is_null(),
            Self::Bool(wanted) => value.as_bool() == Some(*wanted),
            Self::Number(wanted) => matches!(value, Value::Number(found) if number::same(wanted, found)),
            Self::Numeric(range) => matches!(value, Value::Number(found) if range.contains(found)),
            _ => value.as_str().is_some_and(|text| self.accepts_text(text)),
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => text == wanted,
            Self::Address(wanted) => address(text) == Some(*wanted),
            Self::Prefix(Text::Exact(wanted)) => text.starts_with(wanted.as_str()),
            Self::Prefix(Text::Folded(wanted)) => fold(text).starts_with(wanted.as_str()),
            Self::Suffix(Text::Exact(wanted)) => text.ends_with(wanted.as_str()),
            Self::Suffix(Text::Folded(wanted)) => fold(text).ends_with(wanted.as_str()),
            Self::EqualsIgnoreCase(wanted) => fold(text) == *wanted,
            Self::Wildcard(wildcard) => wildcard.accepts(text),
            Self::Cidr(cidr) => address(text).is_some_and(|address| cidr.contains(address)),
            _ => false,
        }
    }
}

/// The operand of `prefix` and `suffix`.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Exact(String),
    /// In lower case, as [`fold`] makes it.
    Folded(String),
}

/// Lower case, character by character: unlike `str::to_lowercase` it does not depend on what stands around a character.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether AWS takes the text for an address, right or wrong: four numbers with dots between them, or hexadecimal digits with colons.
fn looks_like_address(text: &str) -> bool {
    let numbers: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
    let is_version_6 = || text.contains(':') && text.chars().all(|c| c == ':' || c.is_ascii_hexdigit());
    (numbers.len() == 4 && numbers.iter().all(is_number)) || is_version_6()
}

/// A text with `*` for any characters or none.
#[derive(Debug, Clone)]
pub(crate) struct Wildcard {
    /// A single one: there is no `*`.
    literals: Vec<String>,
}

impl Wildcard {
    /// Parses `*`, `\*` and `\\`. Positions in messages count bytes, and the quote before the text as AWS does.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut literals = vec![String::new()];
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let literal = match (character, next) {
                ('*', Some('*')) => {
                    return Err(PatternError::new(format!(
                        "Consecutive wildcard characters at pos {}",
                        at + 1
                    )));
                }
                ('*', _) => {
                    literals.push(String::new());
                    continue;
                }
                ('\\', Some(escaped @ ('*' | '\\'))) => {
                    characters.next();
                    escaped
                }
                ('\\', _) => return Err(PatternError::new(format!("Invalid escape character at pos {}", at + 1))),
                (other, _) => other,
            };
            if let Some(last) = literals.last_mut() {
                last.push(literal);
            }
        }
        Ok(Self { literals })
    }

    /// The literals: what stands before the first `*`, between them, and after the last.
    pub fn literals(&self) -> &[String] {
        &self.literals
    }

    fn accepts(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.literals.as_slice() else {
            return self.literals.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for literal in middle {
            let Some(at) = rest.find(literal.as_str()) else {
                return false;
            };
            rest = &rest[at + literal.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

/// A block of IP addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cidr {
    network: IpAddr,
    bits: u32,
}

impl Cidr {
    /// Parses `address/bits`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let invalid = |reason: &str| Err(PatternError::new(reason));
        let parts = text.split('/').collect::<Vec<_>>();
        let [host, bits] = parts.as_slice() else {
            return invalid("Malformed CIDR, one '/' required");
        };
        let Ok(bits) = bits.parse::<i32>() else {
            return invalid("Malformed CIDR, mask bits must be an integer");
        };
        let Ok(bits) = u32::try_from(bits) else {
            return invalid("Malformed CIDR, mask bits must not be negative");
        };
        let Some(network) = address(host) else {
            let kind = if looks_like_address(host) {
                "Invalid"
            } else {
                "Nonstandard"
            };
            return Err(PatternError::new(format!("{kind} IP address: {host}")));
        };
        match network {
            IpAddr::V4(_) if bits > 31 => invalid("IPv4 mask bits must be < 32"),
            IpAddr::V6(_) if bits > 127 => invalid("IPv6 mask bits must be < 128"),
            _ => Ok(Self { network, bits }),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(32 - self.bits).is_none_or(|kept| kept == 0)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(128 - self.bits).is_none_or(|kept| kept == 0)
            }
            _ => false,
        }
    }
}

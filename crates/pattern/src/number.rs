//! Numbers as EventBridge compares them.

use serde_json::Number;

use crate::PatternError;

/// A number in millionths: AWS compares numbers from -5e9 to 5e9 with six digits to the right of the decimal point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Millionths(i64);

impl Millionths {
    const LARGEST: f64 = 5e9;

    /// The number, if it is in the range that AWS compares.
    pub fn of(number: &Number) -> Option<Self> {
        let float = number.as_f64().filter(|float| float.abs() <= Self::LARGEST)?;
        Some(Self((float * 1e6).round() as i64))
    }

    /// The number of a pattern, which must be in the range.
    pub fn demand(number: &Number) -> Result<Self, PatternError> {
        Self::of(number).ok_or_else(|| PatternError::new("Value must be between -5.0E9 and 5.0E9, inclusive"))
    }
}

/// Whether the numbers are the same. Numbers out of the range of comparison are the same when they are written the same.
pub(crate) fn same(a: &Number, b: &Number) -> bool {
    match (Millionths::of(a), Millionths::of(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// What `numeric` allows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Range {
    /// `=`.
    Equal(Millionths),
    /// The other operators; `None`: no bound on this side.
    Between(Option<Bound>, Option<Bound>),
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub value: Millionths,
    /// Whether the value itself is inside.
    pub inclusive: bool,
}

impl Range {
    /// Whether the number is inside. One out of the range of comparison is in no range.
    pub fn contains(&self, number: &Number) -> bool {
        let Some(number) = Millionths::of(number) else {
            return false;
        };
        match self {
            Self::Equal(value) => number == *value,
            Self::Between(bottom, top) => {
                bottom.is_none_or(|b| number > b.value || (b.inclusive && number == b.value))
                    && top.is_none_or(|t| number < t.value || (t.inclusive && number == t.value))
            }
        }
    }
}

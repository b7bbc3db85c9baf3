//! EventBridge event patterns: compile and match.
//!
//! A pattern is a JSON object shaped like the events it wants. Its leaves are arrays of alternatives: literals, or
//! objects that name an operator (`prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`,
//! `exists`, `cidr`). Fields are joined by "and", alternatives by "or", and `$or` joins whole sub-patterns. Source of the
//! rules: "Creating Amazon EventBridge event patterns" in the EventBridge user guide, and the behaviour and messages of
//! aws/event-ruler, the library that EventBridge runs.
//!
//! ```
//! use hikigane_pattern::Pattern;
//! use serde_json::json;
//!
//! let pattern = Pattern::compile(&json!({"detail": {"state": ["pending", {"prefix": "run"}]}}))?;
//! assert!(pattern.matches(&json!({"detail": {"state": "running"}})));
//! assert!(!pattern.matches(&json!({"detail": {"state": "stopped"}})));
//! # Ok::<(), hikigane_pattern::PatternError>(())
//! ```

mod alternative;
mod compile;
mod complexity;
mod consistency;
mod event;
mod number;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::alternative::Test;
use crate::consistency::Selections;
use crate::event::Fields;

/// A compiled event pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// One for each way through the `$or`s; the event must satisfy one of them.
    branches: Vec<Branch>,
    /// Every path of every branch, and every path that leads to one: the rest of an event is not looked at.
    paths: HashSet<String>,
}

/// Dotted paths of leaves with their alternatives; all must be satisfied. Branches share both: a pattern of a few lines may have a thousand.
type Branch = BTreeMap<Arc<str>, Arc<[Test]>>;

/// The longest pattern as JSON, in characters (the `EventPattern` shape of EventBridge's model). It bounds what a pattern can cost, too: each of
/// its leaves stands in up to a thousand branches.
const LONGEST: usize = 4_096;

/// The pattern is not valid; the text is the first line of what AWS says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Event pattern is not valid. Reason: {reason}")]
pub struct PatternError {
    /// What is wrong, in AWS's words.
    pub reason: String,
    /// Keys and places in arrays that lead to the piece that is wrong; empty: the whole pattern.
    pub place: Vec<String>,
}

impl PatternError {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            place: Vec::new(),
        }
    }

    /// The same error, seen from one step further out.
    fn within(mut self, step: impl ToString) -> Self {
        self.place.insert(0, step.to_string());
        self
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn compile(pattern: &Value) -> Result<Self, PatternError> {
        if pattern.to_string().chars().count() > LONGEST {
            return Err(PatternError::new(format!(
                "it has more than {LONGEST} characters as JSON"
            )));
        }
        let branches = compile::compile(pattern)?;
        complexity::check(&branches)?;
        let mut paths = HashSet::new();
        for path in branches.iter().flat_map(Branch::keys) {
            paths.extend(path.match_indices('.').map(|(dot, _)| path[..dot].to_owned()));
            paths.insert(path.to_string());
        }
        Ok(Self { branches, paths })
    }

    /// The operators of alternatives.
    pub const OPERATORS: [&str; 9] = compile::OPERATORS;

    /// Whether the event satisfies the pattern. An event that is not a JSON object satisfies none.
    pub fn matches(&self, event: &Value) -> bool {
        let Value::Object(event) = event else { return false };
        let fields = Fields::of(event, &self.paths);
        self.branches.iter().any(|branch| satisfies(&fields, branch))
    }
}

/// Whether one element can be chosen from every array of objects such that each path finds its value within the
/// chosen elements ("array consistency").
///
/// The paths are visited in their order, which keeps those below one array together: as soon as no later path reads
/// an array, the choice made in it is forgotten, so that independent arrays do not multiply.
fn satisfies(fields: &Fields<'_>, branch: &Branch) -> bool {
    let mut last_reader = BTreeMap::new();
    for (turn, path) in branch.keys().enumerate() {
        for field in fields.at(path) {
            last_reader.extend(field.place.iter().map(|step| (step.array, turn)));
        }
    }
    let mut selections = Selections::none();
    for (turn, (path, tests)) in branch.iter().enumerate() {
        let found = fields.at(path);
        selections = selections.narrow(
            found.iter().map(|field| field.place.as_slice()),
            found
                .iter()
                .filter(|field| tests.iter().any(|test| test.accepts(field.value)))
                .map(|field| field.place.as_slice()),
            tests.iter().any(|test| matches!(test, Test::Absent)),
            |array| last_reader.get(&array).is_some_and(|last| *last > turn),
        );
        if selections.is_empty() {
            return false;
        }
    }
    true
}

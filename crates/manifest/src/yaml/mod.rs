//! YAML as a tree of values that know their place in the text.

mod interpolation;
mod outline;
mod parser;
mod scalar;
mod syntax;

use std::rc::Rc;

use hikigane_trigger::PathStep;
use serde_json::Number;

use crate::diagnostic::Span;
use crate::suggestion::quote;

pub(crate) use interpolation::Variables;
pub(crate) use outline::Outline;
pub(crate) use parser::parse;

/// The largest manifest, bytes.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// Collections inside each other.
const MAX_DEPTH: usize = 64;

/// A value and its place. Cheap to clone: an alias is a clone of what it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it is written; for a value that is left out or that begins on the next line, the key before it.
    pub(crate) span: Span,
    pub(crate) value: Rc<Value>,
    /// Values in it, itself and what its aliases stand for included.
    size: usize,
    /// Collections around its innermost value, itself included.
    height: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A scalar that was refused when it was read; nothing more is said about it. Its text as it was written.
    Refused(String),
}

/// A single value.
#[derive(Debug)]
pub(crate) struct Scalar {
    /// As written, after quotes, escapes and variables.
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// Whether a variable was replaced in it.
    pub(crate) interpolated: bool,
}

/// What a scalar means in YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text,
}

/// One key of a mapping and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    fn new(span: Span, value: Value) -> Self {
        let (size, height) = match &value {
            Value::Scalar(_) | Value::Refused(_) => (1, 0),
            Value::Sequence(items) => measure(items.iter()),
            Value::Mapping(entries) => measure(entries.iter().map(|entry| &entry.node)),
        };
        Self {
            span,
            value: Rc::new(value),
            size,
            height,
        }
    }

    /// Its scalar, if it is one that can be used.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &*self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether it is `null`, `~`, or left out.
    pub(crate) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// Whether a diagnostic about it exists already.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(*self.value, Value::Refused(_))
    }

    /// Whether it is a mapping.
    pub(crate) fn is_mapping(&self) -> bool {
        matches!(*self.value, Value::Mapping(_))
    }

    /// What it is, in words: "a list", "the text `x`".
    pub(crate) fn describe(&self) -> String {
        match &*self.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Refused(text) => quote(text),
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "nothing".to_owned(),
                Kind::Bool(_) => quote(&scalar.text),
                Kind::Number(_) => format!("the number {}", quote(&scalar.text)),
                Kind::Text => format!("the text {}", quote(&scalar.text)),
            },
        }
    }

    /// The node that `path` leads to, or the last one on the way that exists.
    pub(crate) fn at(&self, path: &[PathStep]) -> &Node {
        let mut node = self;
        for step in path {
            let next = match (&*node.value, step) {
                (Value::Mapping(entries), PathStep::Key(key)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
                }
                (Value::Sequence(items), PathStep::Index(index)) => items.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }

    /// The value under a key, or at a place in a list.
    pub(crate) fn child(&self, step: &str) -> Option<&Node> {
        match &*self.value {
            Value::Mapping(entries) => Some(&entries.iter().find(|entry| entry.key == step)?.node),
            Value::Sequence(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// The place of the key that `path` ends with.
    pub(crate) fn key_at(&self, path: &[PathStep]) -> Option<Span> {
        let (PathStep::Key(last), parent) = path.split_last()? else {
            return None;
        };
        match &*self.at(parent).value {
            Value::Mapping(entries) => entries
                .iter()
                .find(|entry| entry.key == *last)
                .map(|entry| entry.key_span),
            _ => None,
        }
    }

    /// The value as JSON. A refused scalar becomes its text, so that a reader of the rest can go on.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &*self.value {
            Value::Refused(text) => Json::String(text.clone()),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => Json::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()))
                    .collect(),
            ),
            Value::Scalar(scalar) => match &scalar.kind {
                Kind::Null => Json::Null,
                Kind::Bool(value) => Json::Bool(*value),
                Kind::Number(number) => Json::Number(number.clone()),
                Kind::Text => Json::String(scalar.text.clone()),
            },
        }
    }
}

fn measure<'a>(children: impl Iterator<Item = &'a Node>) -> (usize, usize) {
    let (size, height) = children.fold((1_usize, 0), |(size, height), child| {
        (size.saturating_add(child.size), height.max(child.height))
    });
    (size, height + 1)
}

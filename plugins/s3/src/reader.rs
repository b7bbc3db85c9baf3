//! Reading a part of the manifest field by field, so that every mistake in it is reported, each with its place.

use hikigane_trigger::{PathStep, SpecError, SpecPlace, nearest};
use serde_json::{Map, Value};

/// A value of the manifest and the way to it.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    place: &'a SpecPlace,
    path: Vec<PathStep>,
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value, place: &'a SpecPlace) -> Self {
        Self {
            value,
            place,
            path: Vec::new(),
        }
    }

    /// A mistake at this value.
    pub(crate) fn mistake(&self, message: impl Into<String>, help: impl Into<String>) -> SpecError {
        SpecError {
            place: self.place.clone(),
            path: self.path.clone(),
            message: message.into(),
            help: Some(help.into()),
        }
    }

    /// The fields of an object. Keys other than `known` are mistakes; so is any other kind of value.
    pub(crate) fn fields(&self, known: &[&str], errors: &mut Vec<SpecError>) -> Option<&'a Map<String, Value>> {
        let fields = self.object(&format!("write a map with the keys {}", quoted(known)), errors)?;
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let help = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"? the keys here are {}", quoted(known)),
                None => format!("the keys here are {}", quoted(known)),
            };
            errors.push(
                self.below(key.as_str().into(), self.value)
                    .mistake(format!("unknown key \"{key}\""), help),
            );
        }
        Some(fields)
    }

    /// The fields of an object with keys of the user's choice.
    pub(crate) fn object(&self, help: &str, errors: &mut Vec<SpecError>) -> Option<&'a Map<String, Value>> {
        let fields = self.value.as_object();
        if fields.is_none() {
            errors.push(self.mistake(format!("a map was expected, not {}", kind(self.value)), help));
        }
        fields
    }

    pub(crate) fn text(&self, help: &str, errors: &mut Vec<SpecError>) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            errors.push(self.mistake(format!("text was expected, not {}", kind(self.value)), help));
        }
        text
    }

    /// The field `key` of this object.
    pub(crate) fn field(&self, key: &str) -> Option<Self> {
        self.value.get(key).map(|value| self.below(key.into(), value))
    }

    /// The elements of a list; `None` for any other kind of value.
    pub(crate) fn elements(&self) -> Option<Vec<Self>> {
        let list = self.value.as_array()?;
        Some(
            list.iter()
                .enumerate()
                .map(|(i, value)| self.below(i.into(), value))
                .collect(),
        )
    }

    fn below(&self, step: PathStep, value: &'a Value) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self {
            value,
            place: self.place,
            path,
        }
    }
}

/// `"a", "b" and "c"`.
pub(crate) fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// What kind of value this is, in the manifest's words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

//! An event seen as a list of leaves with their dotted paths.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// The leaves of an event that a pattern may read, by dotted path.
///
/// A path does not tell a nested object from a key with a dot in it, as in EventBridge: `{"a": {"b": 1}}` and
/// `{"a.b": 1}` both have the leaf `a.b`. Elements of arrays have the path of the array.
pub(crate) struct Fields<'a> {
    by_path: HashMap<String, Vec<Field<'a>>>,
    arrays: u32,
}

/// A leaf: a string, a number, a boolean or null.
pub(crate) struct Field<'a> {
    pub value: &'a Value,
    /// The array elements that it lies in, outermost first. A leaf that is itself an element is bound to the elements
    /// around the array only: values of an array of strings never exclude each other.
    pub place: Vec<Step>,
}

/// One element of one array of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// The array's number; those inside an array have greater ones.
    pub array: u32,
    pub index: u32,
}

impl<'a> Fields<'a> {
    /// The leaves of `event` whose paths, and those of the objects around them, are in `wanted`.
    pub fn of(event: &'a Map<String, Value>, wanted: &HashSet<String>) -> Self {
        let mut fields = Self {
            by_path: HashMap::new(),
            arrays: 0,
        };
        fields.add_object(event, &mut String::new(), &mut Vec::new(), wanted);
        fields
    }

    /// The leaves at `path`.
    pub fn at(&self, path: &str) -> &[Field<'a>] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    fn add_object(
        &mut self,
        object: &'a Map<String, Value>,
        path: &mut String,
        place: &mut Vec<Step>,
        wanted: &HashSet<String>,
    ) {
        let length = path.len();
        for (key, value) in object {
            if length > 0 {
                path.push('.');
            }
            path.push_str(key);
            if wanted.contains(path.as_str()) {
                self.add(value, path, place, wanted);
            }
            path.truncate(length);
        }
    }

    fn add(&mut self, value: &'a Value, path: &mut String, place: &mut Vec<Step>, wanted: &HashSet<String>) {
        match value {
            Value::Object(object) => self.add_object(object, path, place, wanted),
            Value::Array(elements) => self.add_array(elements, path, place, wanted),
            leaf => {
                let field = Field {
                    value: leaf,
                    place: place.clone(),
                };
                match self.by_path.get_mut(path.as_str()) {
                    Some(fields) => fields.push(field),
                    None => drop(self.by_path.insert(path.clone(), vec![field])),
                }
            }
        }
    }

    fn add_array(&mut self, elements: &'a [Value], path: &mut String, place: &mut Vec<Step>, wanted: &HashSet<String>) {
        let array = self.arrays;
        self.arrays += 1;
        for (index, element) in (0..).zip(elements) {
            if element.is_object() || element.is_array() {
                place.push(Step { array, index });
                self.add(element, path, place, wanted);
                place.pop();
            } else {
                self.add(element, path, place, wanted);
            }
        }
    }
}

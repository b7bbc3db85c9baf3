//! A request as the input of its operation.

use axum::http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::path::pairs;
use super::{Labels, Location, Operation, Service, Shape};
use crate::error::ApiError;

/// An operation's input: what a request says, by the names that AWS's model gives its members, checked against their shapes.
#[derive(Debug)]
pub struct Input(Map<String, Value>);

impl Input {
    /// The input as a type of our own, whose fields are named as the members are.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        serde_json::from_value(Value::Object(self.0)).map_err(|error| serialization(&error.to_string()))
    }

    /// A member that is text; what is not there is empty.
    pub fn text(&self, member: &str) -> &str {
        self.0.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    /// A member.
    pub fn get(&self, member: &str) -> Option<&Value> {
        self.0.get(member)
    }
}

/// What a request consists of.
pub struct Parts<'a> {
    /// What its path says.
    pub labels: &'a Labels,
    /// Its query, as sent.
    pub query: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

impl Service {
    /// The input of `operation` that a request is.
    ///
    /// # Errors
    ///
    /// `SerializationException` for a body that is no JSON object or a member of another type; `ValidationException` with every
    /// constraint that is not satisfied.
    pub fn read(&self, operation: &Operation, parts: &Parts<'_>) -> Result<Input, ApiError> {
        let Some(structure) = operation.input.as_ref().and_then(|name| self.structure(name)) else {
            return Ok(Input(Map::new()));
        };
        let mut body = if structure.payload.is_some() {
            Map::new()
        } else {
            object(parts.body)?
        };
        let query = pairs(parts.query);
        let mut input = Map::new();
        for (name, member) in &structure.members {
            let shape = self.shapes.get(&member.shape);
            let key = member.location_name.as_deref().unwrap_or(name);
            let value = match member.location {
                Location::Body => body.remove(name),
                Location::Uri => parts.labels.get(key).map(|text| typed(shape, text)),
                Location::Header => {
                    let text = parts.headers.get(key).and_then(|value| value.to_str().ok());
                    text.map(|text| typed(shape, text))
                }
                Location::Querystring => {
                    let mut sent = query.iter().filter(|(name, _)| name == key).map(|(_, text)| text);
                    match shape {
                        Some(Shape::List { .. }) => {
                            let list: Vec<Value> = sent.map(|text| text.as_str().into()).collect();
                            (!list.is_empty()).then_some(Value::Array(list))
                        }
                        _ => sent.next().map(|text| typed(shape, text)),
                    }
                }
            };
            if let Some(value) = value.filter(|value| !value.is_null()) {
                input.insert(name.clone(), value);
            }
        }
        self.check_types(structure, &input)?;
        self.validate(structure, &input)?;
        Ok(Input(input))
    }

    fn check_types(&self, structure: &super::Structure, input: &Map<String, Value>) -> Result<(), ApiError> {
        for (name, member) in &structure.members {
            if let Some(value) = input.get(name) {
                self.check_type(&member.shape, value)?;
            }
        }
        Ok(())
    }

    /// Whether a value is of the type of its shape. AWS's words for the other case come from its reader of JSON, and are not part of the API.
    fn check_type(&self, shape: &str, value: &Value) -> Result<(), ApiError> {
        let wrong = |wanted: &str| {
            Err(serialization(&format!(
                "{} can not be converted to {wanted}",
                kind(value)
            )))
        };
        match (self.shapes.get(shape), value) {
            (None, _) | (_, Value::Null) => Ok(()),
            (Some(Shape::Structure(structure)), Value::Object(members)) => self.check_types(structure, members),
            (Some(Shape::Structure(_)), _) => wrong("a structure"),
            (Some(Shape::List { member, .. }), Value::Array(items)) => {
                items.iter().try_for_each(|item| self.check_type(member, item))
            }
            (Some(Shape::List { .. }), _) => wrong("a list"),
            (Some(Shape::Map { value, .. }), Value::Object(members)) => {
                members.values().try_for_each(|item| self.check_type(value, item))
            }
            (Some(Shape::Map { .. }), _) => wrong("a map"),
            (Some(Shape::String(_) | Shape::Blob), Value::String(_)) => Ok(()),
            (Some(Shape::String(_) | Shape::Blob), _) => wrong("a String"),
            (Some(Shape::Boolean), Value::Bool(_)) => Ok(()),
            (Some(Shape::Boolean), _) => wrong("a Boolean"),
            (Some(Shape::Integer(_) | Shape::Long(_)), Value::Number(number)) if number.as_i64().is_some() => Ok(()),
            (Some(Shape::Integer(_)), _) => wrong("an Integer"),
            (Some(Shape::Long(_)), _) => wrong("a Long"),
            (Some(Shape::Double(_) | Shape::Timestamp), Value::Number(_)) => Ok(()),
            // AWS's clients write times as numbers or as text.
            (Some(Shape::Timestamp), Value::String(_)) => Ok(()),
            (Some(Shape::Double(_) | Shape::Timestamp), _) => wrong("a Double"),
        }
    }
}

/// The text of a path, query or header as a value of its shape's type; left as text when it is none.
fn typed(shape: Option<&Shape>, text: &str) -> Value {
    match shape {
        Some(Shape::Integer(_) | Shape::Long(_)) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        Some(Shape::Double(_)) => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
        Some(Shape::Boolean) => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}

/// The body as an object; an empty one has no members.
fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(other) => Err(serialization(&format!(
            "Start of structure or map found where not expected: {}",
            kind(&other)
        ))),
        Err(error) => Err(ApiError::new(
            400,
            "InvalidRequestContentException",
            format!("Could not parse request body into json: {error}"),
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

fn serialization(message: &str) -> ApiError {
    ApiError::new(400, "SerializationException", message)
}

//! What values must satisfy, and how AWS words it when they do not (texts recorded from AWS).
//!
//! A member is named by its path in camel case: `routingConfig.additionalVersionWeights`. A list or map is shown whole when one of its
//! elements is wrong: `Value '[a, b]' at 'layers'`, `Value '{2=-1.0}' at ..`.

use serde_json::{Map, Number, Value};

use super::{Range, Service, Shape, Structure, Text};
use crate::error::ApiError;

impl Service {
    /// Checks a structure's members. The error names every constraint that is not satisfied.
    pub(super) fn validate(&self, structure: &Structure, members: &Map<String, Value>) -> Result<(), ApiError> {
        let mut errors = Vec::new();
        self.structure_errors(structure, members, "", &mut errors);
        match errors.len() {
            0 => Ok(()),
            1 => Err(refused(format!("1 validation error detected: {}", errors[0]))),
            many => Err(refused(format!(
                "{many} validation errors detected: {}",
                errors.join("; ")
            ))),
        }
    }

    fn structure_errors(
        &self,
        structure: &Structure,
        members: &Map<String, Value>,
        at: &str,
        errors: &mut Vec<String>,
    ) {
        for (name, member) in &structure.members {
            let path = if at.is_empty() {
                camel(name)
            } else {
                format!("{at}.{}", camel(name))
            };
            match members.get(name) {
                None | Some(Value::Null) => {
                    if structure.required.contains(name) {
                        errors.push(format!(
                            "Value null at '{path}' failed to satisfy constraint: Member must not be null"
                        ));
                    }
                }
                Some(value) => self.errors(&member.shape, value, &path, errors),
            }
        }
    }

    fn errors(&self, shape: &str, value: &Value, path: &str, errors: &mut Vec<String>) {
        let mut fail = |constraint: &str| {
            errors.push(format!(
                "Value '{}' at '{path}' failed to satisfy constraint: {constraint}",
                shown(value)
            ));
        };
        match (self.shapes.get(shape), value) {
            (Some(Shape::Structure(structure)), Value::Object(members)) => {
                self.structure_errors(structure, members, path, errors);
            }
            (Some(Shape::List { member, min, max, bare }), Value::Array(items)) => {
                length(items.len(), *min, *max)
                    .iter()
                    .for_each(|constraint| fail(constraint));
                if items.iter().any(|item| !self.satisfies(member, item)) {
                    match self.shapes.get(member) {
                        Some(Shape::Structure(structure)) => {
                            for (index, item) in items.iter().enumerate() {
                                if let Value::Object(members) = item {
                                    let path = format!("{path}.{}.member", index + 1);
                                    self.structure_errors(structure, members, &path, errors);
                                }
                            }
                        }
                        _ if *bare => fail(&self.constraints(member, false).join(", ")),
                        _ => fail(&format!(
                            "Member must satisfy constraint: [{}]",
                            self.constraints(member, true).join(", ")
                        )),
                    }
                }
            }
            (
                Some(Shape::Map {
                    key,
                    value: of,
                    min,
                    max,
                }),
                Value::Object(members),
            ) => {
                length(members.len(), *min, *max)
                    .iter()
                    .for_each(|constraint| fail(constraint));
                if members.keys().any(|name| !self.satisfies(key, &name.as_str().into())) {
                    fail(&format!(
                        "Map keys must satisfy constraint: [{}]",
                        self.constraints(key, false).join(", ")
                    ));
                }
                if members.values().any(|value| !self.satisfies(of, value)) {
                    fail(&format!(
                        "Map value must satisfy constraint: [{}]",
                        self.constraints(of, true).join(", ")
                    ));
                }
            }
            (Some(Shape::String(text)), Value::String(value)) => {
                text.errors(value).iter().for_each(|constraint| fail(constraint));
            }
            (Some(Shape::Integer(range) | Shape::Long(range) | Shape::Double(range)), Value::Number(number)) => {
                range.errors(number).iter().for_each(|constraint| fail(constraint));
            }
            _ => {}
        }
    }

    fn satisfies(&self, shape: &str, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.errors(shape, value, "", &mut errors);
        errors.is_empty() && !value.is_null()
    }

    /// All constraints of an element's shape, in AWS's order. The lists that AWS says to hold no null are those of numbers and enumerations.
    fn constraints(&self, shape: &str, element: bool) -> Vec<String> {
        let mut all = Vec::new();
        let not_null = match self.shapes.get(shape) {
            Some(Shape::String(text)) => {
                if let Some(max) = text.max {
                    all.push(format!("Member must have length less than or equal to {max}"));
                }
                if let Some(min) = text.min {
                    all.push(format!("Member must have length greater than or equal to {min}"));
                }
                all.extend(text.pattern.as_deref().map(matches));
                all.extend(text.values.as_deref().map(one_of));
                text.values.is_some()
            }
            Some(Shape::Integer(range) | Shape::Long(range) | Shape::Double(range)) => {
                if let Some(max) = &range.max {
                    all.push(format!("Member must have value less than or equal to {max}"));
                }
                if let Some(min) = &range.min {
                    all.push(format!("Member must have value greater than or equal to {min}"));
                }
                true
            }
            _ => false,
        };
        if element && not_null {
            all.push("Member must not be null".to_owned());
        }
        all
    }
}

impl Text {
    fn errors(&self, value: &str) -> Vec<String> {
        let mut errors = Vec::new();
        if let (Some(pattern), Some(regex)) = (&self.pattern, self.regex())
            // A text on which matching gives up satisfies nothing.
            && !regex.is_match(value).unwrap_or(false)
        {
            errors.push(matches(pattern));
        }
        // Java counts UTF-16 units.
        errors.extend(length(value.encode_utf16().count(), self.min, self.max));
        if let Some(values) = &self.values
            && !values.iter().any(|known| known == value)
        {
            errors.push(one_of(values));
        }
        errors
    }
}

impl Range {
    fn errors(&self, number: &Number) -> Vec<String> {
        let float = |number: &Number| number.as_f64().unwrap_or_default();
        let mut errors = Vec::new();
        if let Some(max) = self.max.as_ref().filter(|max| float(number) > float(max)) {
            errors.push(format!("Member must have value less than or equal to {max}"));
        }
        if let Some(min) = self.min.as_ref().filter(|min| float(number) < float(min)) {
            errors.push(format!("Member must have value greater than or equal to {min}"));
        }
        errors
    }
}

fn length(length: usize, min: Option<u64>, max: Option<u64>) -> Vec<String> {
    let length = length as u64;
    let mut errors = Vec::new();
    if let Some(max) = max.filter(|max| length > *max) {
        errors.push(format!("Member must have length less than or equal to {max}"));
    }
    if let Some(min) = min.filter(|min| length < *min) {
        errors.push(format!("Member must have length greater than or equal to {min}"));
    }
    errors
}

fn matches(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn one_of(values: &[String]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

/// A value as Java prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{name}={}", shown(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        other => other.to_string(),
    }
}

fn camel(name: &str) -> String {
    let capitals = name.chars().take_while(char::is_ascii_uppercase).count();
    // `UUID` and `KMSKeyArn`, but `FunctionName`.
    let lower = if capitals == name.len() {
        capitals
    } else {
        capitals.saturating_sub(1).max(1)
    };
    name[..lower].to_ascii_lowercase() + &name[lower..]
}

fn refused(message: String) -> ApiError {
    ApiError::new(400, "ValidationException", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::super::LAMBDA;
    use super::super::request::Parts;

    /// The message that AWS gives to a request; empty when its model has nothing against it.
    fn check(method: &str, path: &str, body: serde_json::Value, expect: &str) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (operation, labels) = LAMBDA.find(method, path, query).expect("an operation");
        let body = body.to_string();
        let parts = Parts {
            labels: &labels,
            query,
            headers: &HeaderMap::new(),
            body: body.as_bytes(),
        };
        let found = LAMBDA.read(operation, &parts);
        assert_eq!(found.map_or_else(|error| error.to_string(), |_| String::new()), expect);
    }

    #[test]
    fn what_the_model_demands_is_demanded_in_awss_words() {
        check("POST", "/2015-03-31/functions/f/versions", json!({}), "");
        check(
            "POST",
            "/2015-03-31/functions/f/aliases",
            json!({"Name": "2024", "FunctionVersion": "1"}),
            r"ValidationException: 1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        );
        check(
            "POST",
            "/2015-03-31/functions/f/aliases",
            json!({"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": -1.0}}}),
            "ValidationException: 2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]",
        );
        check(
            "PUT",
            "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            json!({"ProvisionedConcurrentExecutions": 0}),
            "ValidationException: 1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1",
        );
        check(
            "DELETE",
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
            json!({}),
            "ValidationException: 1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
        );
        check(
            "PUT",
            "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            json!({"ProvisionedConcurrentExecutions": "many"}),
            "SerializationException: STRING_VALUE can not be converted to an Integer",
        );
    }

    #[test]
    fn names_of_members_are_in_camel_case() {
        for (name, expect) in [
            ("FunctionName", "functionName"),
            ("KMSKeyArn", "kmsKeyArn"),
            ("UUID", "uuid"),
            ("S3Bucket", "s3Bucket"),
            ("tagKeys", "tagKeys"),
        ] {
            assert_eq!(super::camel(name), expect);
        }
    }
}

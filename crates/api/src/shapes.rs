//! A service's API as data: its operations, where the members of each request stand, and what they must satisfy.
//!
//! The descriptions are AWS's own, trimmed (`crates/api/shapes/README.md`). [`Service::find`] names the operation of a request,
//! [`Service::read`] makes the operation's input of it, and checks that against every constraint of its shape: the first of the two
//! layers of validation that AWS has. The second, the rules of the business, is each operation's own.

mod constraint;
mod path;
mod request;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use fancy_regex::Regex;
use serde::Deserialize;

pub use path::Labels;
pub use request::{Input, Parts};

/// AWS Lambda.
pub static LAMBDA: LazyLock<Service> = LazyLock::new(|| Service::of(include_str!("../shapes/lambda.json")));

/// AWS Signer.
pub static SIGNER: LazyLock<Service> = LazyLock::new(|| Service::of(include_str!("../shapes/signer.json")));

/// A service.
pub struct Service {
    operations: Vec<Operation>,
    shapes: HashMap<String, Shape>,
}

/// An operation.
#[derive(Debug)]
pub struct Operation {
    /// As AWS names it.
    pub name: String,
    /// The status of an answer to it.
    pub status: u16,
    method: String,
    path: path::Template,
    input: Option<String>,
}

/// A type of values.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
enum Shape {
    Structure(Structure),
    List {
        member: String,
        min: Option<u64>,
        max: Option<u64>,
        /// How AWS words a mistake of an element: without saying that it is one.
        #[serde(default)]
        bare: bool,
    },
    Map {
        key: String,
        value: String,
        min: Option<u64>,
        max: Option<u64>,
    },
    String(Text),
    Integer(Range),
    Long(Range),
    Double(Range),
    Boolean,
    Blob,
    Timestamp,
}

#[derive(Debug, Deserialize)]
struct Structure {
    required: Vec<String>,
    #[serde(deserialize_with = "in_order")]
    members: Vec<(String, Member)>,
    /// The member that is the whole body.
    payload: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    shape: String,
    #[serde(default)]
    location: Location,
    location_name: Option<String>,
}

/// Where a member stands in a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Location {
    #[default]
    Body,
    Uri,
    Querystring,
    Header,
}

#[derive(Debug, Deserialize)]
struct Text {
    min: Option<u64>,
    max: Option<u64>,
    pattern: Option<String>,
    #[serde(rename = "enum")]
    values: Option<Vec<String>>,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

#[derive(Debug, Deserialize)]
struct Range {
    min: Option<serde_json::Number>,
    max: Option<serde_json::Number>,
}

#[derive(Deserialize)]
struct Described {
    operations: HashMap<String, DescribedOperation>,
    shapes: HashMap<String, Shape>,
}

#[derive(Deserialize)]
struct DescribedOperation {
    method: String,
    uri: String,
    status: u16,
    input: Option<String>,
}

impl Service {
    /// Reads a description that is part of this program. A broken one gives a service without operations, which every test notices.
    fn of(description: &str) -> Self {
        let Ok(described) = serde_json::from_str::<Described>(description) else {
            return Self {
                operations: Vec::new(),
                shapes: HashMap::new(),
            };
        };
        let mut operations: Vec<Operation> = described
            .operations
            .into_iter()
            .map(|(name, operation)| Operation {
                name,
                status: operation.status,
                method: operation.method,
                path: path::Template::new(&operation.uri),
                input: operation.input,
            })
            .collect();
        // A path that demands something of the query comes before the same path without.
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.path.demands()));
        Self {
            operations,
            shapes: described.shapes,
        }
    }

    /// The operation that a request asks for, and what its path says. `path` and `query` as they were sent.
    pub fn find(&self, method: &str, path: &str, query: &str) -> Option<(&Operation, Labels)> {
        self.operations
            .iter()
            .filter(|operation| operation.method == method)
            .find_map(|operation| Some((operation, operation.path.labels(path, query)?)))
    }

    /// The values of an enumeration, in AWS's order.
    pub fn values(&self, shape: &str) -> &[String] {
        match self.shapes.get(shape) {
            Some(Shape::String(text)) => text.values.as_deref().unwrap_or_default(),
            _ => &[],
        }
    }

    fn structure(&self, name: &str) -> Option<&Structure> {
        match self.shapes.get(name) {
            Some(Shape::Structure(structure)) => Some(structure),
            _ => None,
        }
    }
}

/// Reads an object as pairs, in the order in which they are written.
fn in_order<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Member)>, D::Error> {
    struct Pairs;
    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, Member)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    deserializer.deserialize_map(Pairs)
}

impl Text {
    /// The pattern as Java's `matches` takes it: all of the text, and `\d` for ASCII digits only.
    fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| {
                let pattern = self.pattern.as_ref()?.replace(r"\d", "[0-9]");
                Regex::new(&format!(r"\A(?:{pattern})\z")).ok()
            })
            .as_ref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_descriptions_are_whole() {
        for service in [&LAMBDA, &SIGNER] {
            assert!(service.operations.len() > 10);
            for operation in &service.operations {
                if let Some(input) = &operation.input {
                    assert!(service.structure(input).is_some(), "{input}");
                }
            }
            for (name, shape) in &service.shapes {
                let named: Vec<&String> = match shape {
                    Shape::Structure(structure) => structure.members.iter().map(|(_, member)| &member.shape).collect(),
                    Shape::List { member, .. } => vec![member],
                    Shape::Map { key, value, .. } => vec![key, value],
                    Shape::String(text) => {
                        assert_eq!(
                            text.pattern.is_some(),
                            text.regex().is_some(),
                            "{name}: {:?}",
                            text.pattern
                        );
                        vec![]
                    }
                    _ => vec![],
                };
                for shape in named {
                    assert!(service.shapes.contains_key(shape), "{name} names {shape}");
                }
            }
        }
    }

    #[test]
    fn requests_find_their_operation() {
        let find = |method, path, query| {
            let (operation, labels) = LAMBDA.find(method, path, query)?;
            Some(format!("{} {:?}", operation.name, labels.pairs()))
        };
        for (method, path, query, expect) in [
            ("GET", "/2015-03-31/functions", "", Some("ListFunctions []")),
            ("GET", "/2015-03-31/functions/", "MaxItems=1", Some("ListFunctions []")),
            ("POST", "/2015-03-31/functions", "", Some("CreateFunction []")),
            (
                "GET",
                "/2015-03-31/functions/arn%3Aaws%3Alambda/versions",
                "",
                Some(r#"ListVersionsByFunction [("FunctionName", "arn:aws:lambda")]"#),
            ),
            ("GET", "/2018-10-31/layers", "", Some("ListLayers []")),
            (
                "GET",
                "/2018-10-31/layers",
                "find=LayerVersion&Arn=x",
                Some("GetLayerVersionByArn []"),
            ),
            (
                "GET",
                "/2019-09-30/functions/f/provisioned-concurrency",
                "List=ALL",
                Some(r#"ListProvisionedConcurrencyConfigs [("FunctionName", "f")]"#),
            ),
            (
                "GET",
                "/2019-09-30/functions/f/provisioned-concurrency",
                "Qualifier=1",
                Some(r#"GetProvisionedConcurrencyConfig [("FunctionName", "f")]"#),
            ),
            ("PATCH", "/2015-03-31/functions", "", None),
            ("GET", "/2015-03-31/functions//versions", "", None),
            ("GET", "/", "", None),
        ] {
            assert_eq!(find(method, path, query).as_deref(), expect, "{method} {path}?{query}");
        }
    }
}

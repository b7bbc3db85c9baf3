//! Destinations: where the ends of asynchronous invocations are told.

use std::borrow::Cow;

use hikigane_model::{FunctionName, Qualifier, function_arn, parse_function_arn};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::Problems;
use crate::document::{Asynchronous, Function};
use crate::section::{FromNode, Named, Spanned, variable_schema};
use crate::suggestion::quote;
use crate::yaml::Node;

/// `function:NAME`, `function:NAME:QUALIFIER` or an ARN; kept as an ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination(pub(crate) String);

impl FromNode for Destination {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = String::from_node(node, problems)?;
        let arn = match text.strip_prefix("function:") {
            Some(function) => arn(function),
            None => Some(text.clone()).filter(|text| text.starts_with("arn:")),
        };
        if arn.is_none() {
            problems
                .error(node.span, format!("{} is not a destination", quote(&text)))
                .help("write `function:` and the name of a function, as `function:report`");
        }
        arn.map(Self)
    }
}

fn arn(function: &str) -> Option<String> {
    let (name, qualifier) = match function.split_once(':') {
        Some((name, qualifier)) => (name, Some(Qualifier::new(qualifier).ok()?)),
        None => (function, None),
    };
    Some(function_arn(&FunctionName::new(name).ok()?, qualifier.as_ref()))
}

impl JsonSchema for Destination {
    fn schema_name() -> Cow<'static, str> {
        "Destination".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "string", "pattern": "^(function:[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_$-]+)?|arn:.+)$"},
            variable_schema(),
        ]})
    }
}

/// Refuses destinations that lead back to their own function, and warns of functions that the manifest does not have.
pub(crate) fn check(functions: &Named<Function>, problems: &mut Problems) {
    for (name, function) in functions.known() {
        let destinations = function.value.asynchronous.value().into_iter().flat_map(of);
        for destination in destinations {
            let Some((target, _)) = parse_function_arn(&destination.value.0) else {
                continue;
            };
            if target.as_str() == name.value {
                problems
                    .error(destination.span, "a function cannot be its own destination")
                    .help("name another function");
            } else if !functions.0.iter().any(|(other, _)| other.value == target.as_str()) {
                problems
                    .warning(
                        destination.span,
                        format!("the manifest has no function {}", quote(target.as_str())),
                    )
                    .help("until one of that name is deployed, what is sent to it becomes a dead letter");
            }
        }
    }
}

fn of(section: &Asynchronous) -> impl Iterator<Item = &Spanned<Destination>> {
    [&section.on_success, &section.on_failure]
        .into_iter()
        .filter_map(|setting| setting.given())
}

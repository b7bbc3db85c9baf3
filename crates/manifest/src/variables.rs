//! Environment variables of functions.

use std::collections::BTreeMap;

use hikigane_model::limits;

use crate::diagnostic::Problems;
use crate::document::Variable;
use crate::section::{Named, Setting};
use crate::suggestion::quote;

/// The defaults' variables and the function's own, which win.
pub(crate) fn merge(
    own: &Setting<Named<Variable>>,
    defaults: &Setting<Named<Variable>>,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let (own, defaults) = (own.given(), defaults.given());
    if let Some(own) = own {
        check_names(&own.value, problems);
    }
    let all = defaults.into_iter().chain(own);
    let variables: BTreeMap<String, String> = all
        .flat_map(|env| env.value.known())
        .map(|(name, value)| (name.value.clone(), value.value.0.clone()))
        .collect();
    let size = serde_json::to_string(&variables).map_or(0, |json| json.len());
    if let Some(env) = own.or(defaults).filter(|_| size > limits::ENVIRONMENT) {
        let from_defaults = if own.is_some() && defaults.is_some() {
            " with those of `defaults`"
        } else {
            ""
        };
        problems
            .error(
                env.span,
                format!("the environment variables{from_defaults} have {size} bytes as JSON"),
            )
            .help(format!(
                "AWS Lambda allows {}: put large values in a file beside the code",
                limits::ENVIRONMENT
            ));
    }
    variables
}

/// Checks the names: `[a-zA-Z]([a-zA-Z0-9_])+` (the `EnvironmentVariableName` shape of AWS's Lambda model), none reserved.
pub(crate) fn check_names(env: &Named<Variable>, problems: &mut Problems) {
    for (name, _) in &env.0 {
        let text = name.value.as_str();
        if hikigane_model::is_reserved_variable(text) {
            problems
                .error(
                    name.span,
                    format!("the environment variable {} is reserved", quote(text)),
                )
                .help("AWS Lambda sets it itself: use another name");
        } else if text.len() < 2
            || !text.starts_with(|c: char| c.is_ascii_alphabetic())
            || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            problems
                .error(
                    name.span,
                    format!("{} is not a name for an environment variable", quote(text)),
                )
                .help("use two or more letters, digits and `_`, a letter first");
        }
    }
}

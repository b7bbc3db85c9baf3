//! The ways to name a function in a path.

use hikigane_model::{ACCOUNT_ID, Qualifier, REGION};

use crate::error::ApiError;

/// A function's name and what of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// The bare name; not yet known to exist.
    pub function: String,
    /// The qualifier, from the name or from the query.
    pub qualifier: Option<Qualifier>,
}

/// Reads `name`, `name:qualifier`, `account:function:name[:qualifier]` or a full ARN, and the `Qualifier` of the query.
pub fn parse(text: &str, query: Option<&str>) -> Result<Named, ApiError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (function, inner) = match parts.as_slice() {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some(*qualifier)),
        [account, "function", name, rest @ ..] if rest.len() <= 1 && is_account(account) => {
            (*name, rest.first().copied())
        }
        ["arn", "aws", "lambda", region, account, "function", name, rest @ ..]
            if rest.len() <= 1 && is_account(account) =>
        {
            if *region != REGION {
                let message = format!("Functions from '{region}' are not reachable in this region ('{REGION}')");
                return Err(ApiError::new(404, "ResourceNotFoundException", message));
            }
            (*name, rest.first().copied())
        }
        _ => return Err(invalid("functionName", text)),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if function.is_empty() || !function.chars().all(legal) {
        return Err(invalid("functionName", text));
    }
    if let (Some(inner), Some(query)) = (inner, query)
        && inner != query
    {
        let message = "The derived qualifier from the function name does not match the specified qualifier.";
        return Err(ApiError::new(400, "InvalidParameterValueException", message));
    }
    let qualifier = inner
        .or(query)
        .map(|text| Qualifier::new(text).map_err(|_| no_qualifier(function, text)))
        .transpose()?;
    Ok(Named {
        function: function.to_owned(),
        qualifier,
    })
}

/// AWS's pattern lets `$` through anywhere; then there just is no such version (recorded).
fn no_qualifier(function: &str, text: &str) -> ApiError {
    let passes = |c: char| c.is_ascii_alphanumeric() || "-_$".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(passes) {
        return invalid("qualifier", text);
    }
    ApiError::not_found(format!(
        "Function not found: arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{function}:{text}"
    ))
}

fn is_account(text: &str) -> bool {
    text == ACCOUNT_ID || (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn invalid(member: &str, value: &str) -> ApiError {
    let pattern = match member {
        "qualifier" => r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
        _ => {
            r"(arn:(aws[a-zA-Z-]*)?:lambda:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:((?!\d+)|[0-9a-zA-Z-_]+))?"
        }
    };
    let message = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"
    );
    ApiError::new(400, "ValidationException", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_in_every_form() {
        let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:f");
        for (text, query, function, qualifier) in [
            ("f", None, "f", None),
            ("f", Some("$LATEST"), "f", Some(Qualifier::Latest)),
            ("f:7", None, "f", Some(Qualifier::Version(7))),
            ("f:live", Some("live"), "f", Some(Qualifier::Alias("live".into()))),
            ("000000000000:function:f", None, "f", None),
            (&arn, None, "f", None),
            (&format!("{arn}:live"), None, "f", Some(Qualifier::Alias("live".into()))),
        ] {
            assert_eq!(
                parse(text, query).unwrap(),
                Named {
                    function: function.into(),
                    qualifier
                },
                "{text}"
            );
        }
        for (text, query) in [
            ("", None),
            ("a/b", None),
            ("f:1:2", None),
            ("f:1", Some("2")),
            ("arn:aws:lambda:eu-west-1:000000000000:function:f", None),
            ("f", Some("a b")),
        ] {
            assert!(parse(text, query).is_err(), "{text}");
        }
    }
}

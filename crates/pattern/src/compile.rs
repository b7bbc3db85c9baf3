//! From JSON to branches of tests. The messages are AWS's.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::alternative::{Cidr, Test, Text, Wildcard, fold};
use crate::number::{Bound, Millionths, Range};
use crate::{Branch, PatternError};

/// The key that joins sub-patterns by "or".
const OR: &str = "$or";

/// Most combinations that the `$or`s of a pattern may make (EventBridge user guide, "Considerations when using $or").
const MOST_BRANCHES: usize = 1_000;

/// Names that a field inside `$or` may not have: there, one would read an operator as a field.
const RESERVED_INSIDE_OR: [&str; 24] = [
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// The operators of alternatives.
pub(crate) const OPERATORS: [&str; 9] = [
    "prefix",
    "suffix",
    "equals-ignore-case",
    "wildcard",
    "anything-but",
    "numeric",
    "exists",
    "cidr",
    "exactly",
];

/// Compiles a pattern to its branches.
pub(crate) fn compile(pattern: &Value) -> Result<Vec<Branch>, PatternError> {
    let Value::Object(object) = pattern else {
        return invalid("Filter is not an object");
    };
    let mut branches = vec![Branch::new()];
    add_object(&mut branches, object, "", Within::Fields)?;
    Ok(branches)
}

/// Where an object stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Fields,
    Or,
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError::new(reason))
}

fn add_object(
    branches: &mut Vec<Branch>,
    object: &Map<String, Value>,
    path: &str,
    within: Within,
) -> Result<(), PatternError> {
    if object.is_empty() {
        return invalid("Empty objects are not allowed");
    }
    for (key, value) in object {
        if key == OR {
            add_or(branches, value, path).map_err(|error| error.within(key))?;
            continue;
        }
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let added = match value {
            _ if within == Within::Or && RESERVED_INSIDE_OR.contains(&key.as_str()) => invalid(format!(
                "{key} is Ruler reserved fieldName which cannot be used inside {OR}."
            )),
            Value::Object(object) => add_object(branches, object, &path, within),
            Value::Array(alternatives) => add_leaf(branches, &path, alternatives),
            _ => invalid(format!("\"{key}\" must be an object or an array")),
        };
        added.map_err(|error| error.within(key))?;
    }
    Ok(())
}

/// Every branch so far goes on through each of the alternatives.
fn add_or(branches: &mut Vec<Branch>, value: &Value, path: &str) -> Result<(), PatternError> {
    let Value::Array(alternatives) = value else {
        return invalid(format!("It must be an Array followed with {OR}."));
    };
    let before = std::mem::take(branches);
    for (position, alternative) in alternatives.iter().enumerate() {
        let mut ways = before.clone();
        let added = match alternative {
            Value::Object(object) => add_object(&mut ways, object, path, Within::Or),
            _ => invalid(format!("Only JSON object is allowed in array of {OR} relationship.")),
        };
        added.map_err(|error| error.within(position))?;
        branches.append(&mut ways);
        if branches.len() > MOST_BRANCHES {
            return invalid(format!(
                "The {OR} relationships make more than {MOST_BRANCHES} combinations"
            ));
        }
    }
    if alternatives.len() < 2 {
        return invalid(format!("There must have at least 2 Objects in {OR} relationship."));
    }
    Ok(())
}

fn add_leaf(branches: &mut [Branch], path: &str, alternatives: &[Value]) -> Result<(), PatternError> {
    if alternatives.is_empty() {
        return invalid("Empty arrays are not allowed");
    }
    let tests = alternatives
        .iter()
        .enumerate()
        .map(|(position, value)| alternative(value).map_err(|error| error.within(position)))
        .collect::<Result<Arc<[Test]>, _>>()?;
    let path: Arc<str> = path.into();
    for branch in branches {
        if branch.insert(path.clone(), tests.clone()).is_some() {
            return invalid(format!("Path `{path}` cannot be allowed multiple times"));
        }
    }
    Ok(())
}

fn alternative(value: &Value) -> Result<Test, PatternError> {
    Ok(match value {
        Value::Null => Test::Null,
        Value::Bool(wanted) => Test::Bool(*wanted),
        Value::Number(wanted) => Test::Number(wanted.clone()),
        Value::String(wanted) => Test::literal(wanted),
        Value::Object(expression) => operator(expression)?,
        Value::Array(_) => return invalid("Match value must be String, number, true, false, or null"),
    })
}

/// Most operators' word for a second key; `numeric` and `anything-but` have their own.
const ONE_KEY: &str = "Only one key allowed in match expression";
const TOO_MANY: &str = "Too many elements in numeric expression";

fn operator(expression: &Map<String, Value>) -> Result<Test, PatternError> {
    let mut entries = expression.iter();
    let Some((name, operand)) = entries.next() else {
        return invalid("Match expression name not found");
    };
    let test = match name.as_str() {
        "exactly" => Test::Text(text(operand, "exact")?.to_owned()),
        "prefix" => Test::Prefix(affix(operand, "prefix", "Prefix")?),
        "suffix" => Test::Suffix(affix(operand, "suffix", "Suffix")?),
        "equals-ignore-case" => Test::EqualsIgnoreCase(fold(text(operand, "equals-ignore-case")?)),
        "wildcard" => Test::Wildcard(Wildcard::parse(text(operand, "wildcard")?)?),
        // AWS says "prefix" here too.
        "cidr" => Test::Cidr(Cidr::parse(text(operand, "prefix")?)?),
        "numeric" => Test::Numeric(numeric(operand)?),
        "anything-but" => Test::AnythingBut(anything_but(operand)?),
        "exists" => match operand {
            Value::Bool(true) => Test::Present,
            Value::Bool(false) => Test::Absent,
            _ => return invalid("exists match pattern must be either true or false."),
        },
        other => return invalid(format!("Unrecognized match type {other}")),
    };
    match (entries.next(), name.as_str()) {
        (None, _) => Ok(test),
        (Some(_), "numeric" | "anything-but") => invalid(TOO_MANY),
        (Some(_), _) => invalid(ONE_KEY),
    }
}

fn text<'a>(operand: &'a Value, operator: &str) -> Result<&'a str, PatternError> {
    operand
        .as_str()
        .ok_or_else(|| PatternError::new(format!("{operator} match pattern must be a string")))
}

/// The operand of `prefix` or `suffix`: a string, or a string in `{"equals-ignore-case": …}`.
fn affix(operand: &Value, operator: &str, title: &str) -> Result<Text, PatternError> {
    let Value::Object(expression) = operand else {
        return Ok(Text::Exact(text(operand, operator)?.to_owned()));
    };
    let mut entries = expression.iter();
    match entries.next() {
        None => invalid(format!("{title} expression name not found")),
        Some((name, operand)) if name == "equals-ignore-case" => {
            let folded = fold(text(operand, "equals-ignore-case")?);
            if entries.next().is_some() {
                invalid(ONE_KEY)
            } else {
                Ok(Text::Folded(folded))
            }
        }
        Some((name, _)) => invalid(format!("Unsupported {operator} pattern: {name}")),
    }
}

/// What `anything-but` excludes: one value, a list of strings or of numbers, or an operator on one string or a list.
fn anything_but(operand: &Value) -> Result<Vec<Test>, PatternError> {
    let Value::Object(expression) = operand else {
        return excluded_values(operand);
    };
    let mut entries = expression.iter();
    let Some((name, operand)) = entries.next() else {
        return invalid("Anything-But expression name not found");
    };
    let test: fn(&str) -> Result<Test, PatternError> = match name.as_str() {
        "prefix" => |text| Ok(Test::Prefix(Text::Exact(not_empty(text)?))),
        "suffix" => |text| Ok(Test::Suffix(Text::Exact(not_empty(text)?))),
        "equals-ignore-case" => |text| Ok(Test::EqualsIgnoreCase(fold(text))),
        "wildcard" => |text| Ok(Test::Wildcard(Wildcard::parse(text)?)),
        other => return invalid(format!("Unsupported anything-but pattern: {other}")),
    };
    let tests = one_or_many(operand)?
        .iter()
        .map(|value| match value.as_str() {
            Some(text) => test(text),
            None => invalid(match name.as_str() {
                "equals-ignore-case" => {
                    "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
                }
                "wildcard" => "wildcard match pattern must be a string",
                _ => "prefix/suffix match pattern must be a string",
            }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if entries.next().is_some() {
        invalid(TOO_MANY)
    } else {
        Ok(tests)
    }
}

fn excluded_values(operand: &Value) -> Result<Vec<Test>, PatternError> {
    let values = one_or_many(operand)?;
    let tests = values
        .iter()
        .map(|value| match value {
            Value::String(text) => Ok(Test::Text(text.clone())),
            Value::Number(number) => Millionths::demand(number).map(|number| Test::Numeric(Range::Equal(number))),
            _ => invalid("Inside anything but list, start|null|boolean is not supported."),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let strings = values.iter().filter(|value| value.is_string()).count();
    if values.is_empty() || (strings > 0 && strings < values.len()) {
        return invalid(
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        );
    }
    Ok(tests)
}

fn one_or_many(operand: &Value) -> Result<&[Value], PatternError> {
    match operand {
        Value::Array(values) => Ok(values),
        Value::String(_) | Value::Number(_) => Ok(std::slice::from_ref(operand)),
        _ => invalid("Value of anything-but must be an array or single string/number value."),
    }
}

fn not_empty(text: &str) -> Result<String, PatternError> {
    if text.is_empty() {
        invalid("Null prefix/suffix not allowed")
    } else {
        Ok(text.to_owned())
    }
}

/// `[operator, number]`, or `[">" or ">=", number, "<" or "<=", number]`.
fn numeric(operand: &Value) -> Result<Range, PatternError> {
    let Value::Array(terms) = operand else {
        return invalid("Value of numeric must be an array.");
    };
    let operator = match terms.first() {
        Some(Value::String(operator)) => operator.as_str(),
        other => return invalid(format!("Invalid member in numeric match: {}", token(other))),
    };
    if !["=", "<", "<=", ">", ">="].contains(&operator) {
        return invalid(format!("Unrecognized numeric range operator: {operator}"));
    }
    let value = number(terms.get(1), operator)?;
    let first = Bound {
        value,
        inclusive: operator.ends_with('='),
    };
    match (operator, terms.get(2..).unwrap_or_default()) {
        ("=", []) => Ok(Range::Equal(value)),
        ("<" | "<=", []) => Ok(Range::Between(None, Some(first))),
        (_, []) => Ok(Range::Between(Some(first), None)),
        ("=" | "<" | "<=", _) => invalid(TOO_MANY),
        (_, rest) => Ok(Range::Between(Some(first), Some(top(first.value, rest)?))),
    }
}

fn top(bottom: Millionths, terms: &[Value]) -> Result<Bound, PatternError> {
    let operator = match terms.first() {
        Some(Value::String(operator)) => operator.as_str(),
        other => return invalid(format!("Bad value in numeric range: {}", token(other))),
    };
    if operator != "<" && operator != "<=" {
        return invalid(format!("Bad numeric range operator: {operator}"));
    }
    let value = number(terms.get(1), operator)?;
    if terms.len() > 2 {
        return invalid("Too many terms in numeric range expression");
    }
    if bottom >= value {
        return invalid("Bottom must be less than top");
    }
    Ok(Bound {
        value,
        inclusive: operator == "<=",
    })
}

fn number(term: Option<&Value>, operator: &str) -> Result<Millionths, PatternError> {
    match term {
        Some(Value::Number(number)) => Millionths::demand(number),
        _ => invalid(format!(
            "Value of {} must be numeric",
            if operator == "=" { "equals" } else { operator }
        )),
    }
}

/// The piece of JSON that AWS's parser stopped at.
fn token(value: Option<&Value>) -> String {
    match value {
        None => "]".into(),
        Some(Value::Array(_)) => "[".into(),
        Some(Value::Object(_)) => "{".into(),
        Some(other) => other.to_string(),
    }
}

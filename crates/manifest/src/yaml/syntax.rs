//! Mistakes in YAML's syntax, in words that say what to do.

use granit_parser::{ErrorKind, ScanError};

use super::MAX_DEPTH;
use crate::diagnostic::{Problems, Span};

/// Reports the parser's error at its place in `text`.
pub(super) fn report(text: &str, error: &ScanError, problems: &mut Problems) {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let length = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = Span::new(at, at + length);
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(span, problems);
    }
    let line_start = text
        .get(..at)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1);
    let line = text
        .get(line_start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    let finding = problems.error(span, format!("this is not YAML: {}", error.kind()));
    if let Some(help) = explain(error.kind(), line) {
        finding.help(help);
    }
}

/// Says that a collection is inside too many others.
pub(super) fn too_deep(span: Span, problems: &mut Problems) {
    problems.error(span, format!("this is nested deeper than {MAX_DEPTH} levels"));
}

/// What to do about the mistakes in syntax that people make most.
fn explain(kind: &ErrorKind, line: &str) -> Option<&'static str> {
    match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => Some("indent with spaces: YAML does not allow tabs there"),
        _ if line.contains("${") && !line.contains("\"${") => Some("put values with `${...}` between quotes"),
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::InvalidTrailingDoubleQuotedScalar
        | ErrorKind::InvalidTrailingSingleQuotedScalar => Some("check the quotes: each needs its partner"),
        ErrorKind::MappingValueNotAllowed => {
            Some("check the indentation of this line and of the one above; text with `: ` in it needs quotes")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            Some("write `key: value`, at the same indentation as the other keys")
        }
        ErrorKind::UnexpectedCharacter { character: '@' | '`' } => {
            Some("text that begins with this character needs quotes")
        }
        ErrorKind::DirectiveDisallowed => Some("delete the line: directives are not supported"),
        _ => None,
    }
}

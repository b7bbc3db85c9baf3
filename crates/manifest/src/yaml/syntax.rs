//! Mistakes in YAML's syntax, in words that say what to do.

use granit_parser::{ErrorKind, ScanError};

use super::MAX_DEPTH;
use crate::diagnostic::{Problems, Span};

/// Reports the parser's error at its place in `text`; or, when something was not closed, at the place where it was opened. `open` is where the innermost
/// collection begins, `read` where the last thing ended that was understood.
pub(super) fn report(text: &str, error: &ScanError, open: Option<usize>, read: usize, problems: &mut Problems) {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let length = text
        .get(at..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = Span::new(at, at + length);
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(span, problems);
    }
    if let Some(opening) = unclosed(text, error.kind(), at, open, read) {
        let sign = &text[opening..=opening];
        let partner = match sign {
            "[" => "]",
            "{" => "}",
            quote => quote,
        };
        let span = Span::new(opening, opening + 1);
        let mut help = format!("add its partner, `{partner}`");
        let dedented = matches!(
            error.kind(),
            ErrorKind::InvalidIndentation | ErrorKind::InvalidQuotedScalarIndent
        );
        if dedented && at < text.len() {
            let line = problems.line(Span::new(at, at));
            help += &format!("; if line {line} belongs inside, indent it further");
        }
        problems
            .error(span, format!("this is not YAML: `{sign}` is not closed"))
            .help(help);
        return;
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

/// The quote or bracket that the mistake at `at` comes from: the parser sees it a line or more too late.
fn unclosed(text: &str, kind: &ErrorKind, at: usize, open: Option<usize>, read: usize) -> Option<usize> {
    let opening = match kind {
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => quote_after(text, read),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::InvalidIndentation => open.filter(|open| text[*open..].starts_with(['[', '{'])),
        _ => None,
    };
    opening.filter(|opening| *opening <= at)
}

/// The first quote from a place on, outside comments.
fn quote_after(text: &str, from: usize) -> Option<usize> {
    let mut in_comment = false;
    let mut previous = '\n';
    for (at, character) in text.get(from..)?.char_indices() {
        match character {
            '\n' => in_comment = false,
            '#' if previous.is_whitespace() => in_comment = true,
            '\'' | '"' if !in_comment => return Some(from + at),
            _ => {}
        }
        previous = character;
    }
    None
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
        ErrorKind::InvalidTrailingDoubleQuotedScalar | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            Some("check the quotes: each needs its partner")
        }
        ErrorKind::MappingValueNotAllowed => {
            Some("check the indentation of this line and of the one above; text with `: ` in it needs quotes")
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            Some("write `key: value`, at the same indentation as the other keys")
        }
        ErrorKind::UnexpectedCharacter { character: '@' | '`' } => {
            Some("text that begins with this character needs quotes")
        }
        ErrorKind::MissingAnchorOrAliasName => Some("text that begins with `*` or `&` needs quotes: \"* * * * *\""),
        ErrorKind::CommentInterceptedScalar => {
            Some("check the indentation of the line below: it is taken for more of this text")
        }
        ErrorKind::DirectiveDisallowed => Some("delete the line: directives are not supported"),
        _ => None,
    }
}

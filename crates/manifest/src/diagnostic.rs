//! Diagnostics: what is wrong, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::{Serialize, Serializer};

use crate::yaml::{Node, Outline};

/// More than this many are not drawn as text: a file with so many mistakes has one cause, and each drawing costs time.
const DRAWN: usize = 200;

/// Of a longer line, bytes, only the place is given.
const LONGEST_LINE: usize = 10_000;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// It can, but something in it will probably not do what its author wants.
    Warning,
}

/// One finding about a manifest.
///
/// As JSON: `file`, `line`, `column`, `endColumn`, `path`, `severity`, `message`, `help`; a missing part is `null`.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named to [`load`](crate::load).
    pub file: String,
    /// Where in the file; `None` when the file could not be read.
    pub location: Option<Location>,
    /// The keys that lead there, as `functions.ingest.events[0].s3`; `None` when the file could not be read as YAML.
    pub path: Option<String>,
    /// What is wrong, lower case, one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A piece of one line of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    /// The line, from 1.
    pub line: usize,
    /// The first character's column, from 1.
    pub column: usize,
    /// The column after the last character.
    pub end_column: usize,
    source: Arc<Source>,
    line_bytes: Range<usize>,
    bytes: Range<usize>,
}

impl Location {
    /// The text that is underlined.
    pub fn text(&self) -> &str {
        self.source.slice(&self.bytes)
    }

    /// The whole line.
    pub fn line_text(&self) -> &str {
        self.source.slice(&self.line_bytes)
    }
}

impl Diagnostic {
    fn draw(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.message));
        if let Some(location) = &self.location {
            let offset = location.line_bytes.start;
            let underline = location.bytes.start - offset..location.bytes.end - offset;
            // One key says no more than the line does.
            let path = self.path.as_deref().filter(|path| path.contains(['.', '[']));
            group = if location.line_bytes.len() > LONGEST_LINE {
                group.element(
                    Origin::path(&self.file)
                        .line(location.line)
                        .char_column(location.column),
                )
            } else {
                group.element(
                    Snippet::source(location.line_text())
                        .line_start(location.line)
                        .path(&self.file)
                        .annotation(AnnotationKind::Primary.span(underline).label(path)),
                )
            };
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(location) = &self.location {
            write!(f, ":{}:{}-{}", location.line, location.column, location.end_column)?;
        }
        write!(f, ": {:?}: {}", self.severity, self.message)?;
        self.help.iter().try_for_each(|help| write!(f, " ({help})"))
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            file: &'a str,
            line: Option<usize>,
            column: Option<usize>,
            end_column: Option<usize>,
            path: Option<&'a str>,
            severity: Severity,
            message: &'a str,
            help: Option<&'a str>,
        }
        let location = self.location.as_ref();
        Wire {
            file: &self.file,
            line: location.map(|location| location.line),
            column: location.map(|location| location.column),
            end_column: location.map(|location| location.end_column),
            path: self.path.as_deref(),
            severity: self.severity,
            message: &self.message,
            help: self.help.as_deref(),
        }
        .serialize(serializer)
    }
}

/// All diagnostics of a manifest, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report(pub Vec<Diagnostic>);

impl Report {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many errors there are, and how many warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self
            .0
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .count();
        (errors, self.0.len() - errors)
    }

    /// The diagnostics as the Rust compiler draws its own: message, place, the line, the offending text underlined, help.
    /// With `color`, ANSI escape sequences dress them up.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut drawn: Vec<String> = self
            .0
            .iter()
            .take(DRAWN)
            .map(|diagnostic| diagnostic.draw(&renderer))
            .collect();
        if let Some(more) = self.0.len().checked_sub(DRAWN).filter(|more| *more > 0) {
            drawn.push(format!("… and {more} more"));
        }
        drawn.join("\n\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// Bytes of the source text, from the first to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// The text that diagnostics point into.
#[derive(PartialEq, Eq)]
pub(crate) struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: String, text: String) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name,
            text,
            line_starts,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn slice(&self, bytes: &Range<usize>) -> &str {
        self.text.get(bytes.clone()).unwrap_or_default()
    }

    /// The line of a byte, from 1.
    fn line(&self, byte: usize) -> usize {
        self.line_starts
            .partition_point(|line_start| *line_start <= byte)
            .max(1)
    }

    /// The part of `span` on its first line, without white space at the end. `before` is a location further up, from
    /// which columns are counted: a line of a megabyte may hold thousands of mistakes.
    pub(crate) fn locate(self: &Arc<Self>, span: Span, before: Option<&Location>) -> Location {
        let line = self.line(span.start);
        let line_start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let next_line = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        let line_end = line_start
            + self
                .slice(&(line_start..next_line))
                .trim_end_matches(['\n', '\r'])
                .len();
        // A place behind the end of its line (an unfinished line) is drawn at the end.
        let start = self.text.floor_char_boundary(span.start).min(line_end);
        let end = self.text.floor_char_boundary(span.end.clamp(start, line_end));
        let end = start + self.slice(&(start..end)).trim_end().len();
        let (counted, column) = match before {
            Some(before) if before.line == line && before.bytes.start <= start => (before.bytes.start, before.column),
            _ => (line_start, 1),
        };
        let column = column + self.slice(&(counted..start)).chars().count();
        let end_column = column + self.slice(&(start..end)).chars().count();
        Location {
            line,
            column,
            end_column,
            source: self.clone(),
            line_bytes: line_start..line_end,
            bytes: start..end,
        }
    }
}

/// Collects the findings about one file.
pub(crate) struct Problems {
    source: Arc<Source>,
    found: Vec<Finding>,
}

/// A diagnostic in the making.
#[derive(PartialEq)]
pub(crate) struct Finding {
    severity: Severity,
    span: Span,
    message: String,
    help: Option<String>,
}

impl Finding {
    pub(crate) fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}

impl Problems {
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            found: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, span, message.into())
    }

    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, span, message.into())
    }

    fn add(&mut self, severity: Severity, span: Span, message: String) -> &mut Finding {
        let at = self.found.len();
        self.found.push(Finding {
            severity,
            span,
            message,
            help: None,
        });
        &mut self.found[at]
    }

    /// The line of a place, for "on line 3".
    pub(crate) fn line(&self, span: Span) -> usize {
        self.source.line(span.start)
    }

    /// All diagnostics in the order of the file, each once: a part that an alias repeats, or that two builds of one
    /// plug-in look at, is judged more than once. `tree` says which keys lead where.
    pub(crate) fn finish(mut self, tree: Option<&Node>) -> Report {
        self.found.sort_by(|one, other| {
            let key = |finding: &Finding| (finding.span.start, finding.span.end);
            key(one).cmp(&key(other)).then_with(|| one.message.cmp(&other.message))
        });
        self.found.dedup();
        let outline = tree.filter(|_| !self.found.is_empty()).map(Outline::of);
        let mut report: Vec<Diagnostic> = Vec::with_capacity(self.found.len());
        for Finding {
            severity,
            span,
            message,
            help,
        } in self.found
        {
            let before = report.last().and_then(|diagnostic| diagnostic.location.as_ref());
            let location = Some(self.source.locate(span, before));
            report.push(Diagnostic {
                severity,
                file: self.source.name.clone(),
                location,
                path: outline.as_ref().and_then(|outline| outline.path(span)),
                message,
                help,
            });
        }
        Report(report)
    }
}

/// A report of one sentence, about a file that could not be read.
pub(crate) fn unreadable(file: String, message: String, help: Option<String>) -> Report {
    Report(vec![Diagnostic {
        severity: Severity::Error,
        file,
        location: None,
        path: None,
        message,
        help,
    }])
}

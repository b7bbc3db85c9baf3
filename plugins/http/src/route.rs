//! What a route matches: a method and a path, or everything.

use std::collections::HashSet;
use std::fmt;

use hikigane_trigger::proxy::percent;
use http::Method;

/// A method that a route can name (API Gateway's HTTP API knows these seven and ANY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

impl Verb {
    /// Every verb; `verb as usize` is its place.
    pub(crate) const ALL: [Self; 7] = [
        Self::Get,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Head,
        Self::Options,
    ];

    /// The verb of a request; `None` for a method that no route can name.
    pub(crate) fn of(method: &Method) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == method.as_str())
    }

    /// Its name in capitals.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// Which methods a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    Only(Verb),
    Any,
}

impl Methods {
    /// Reads `GET`, `get`, `ANY` or `*`.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        if text == "*" || text.eq_ignore_ascii_case("ANY") {
            return Ok(Self::Any);
        }
        let verb = Verb::ALL
            .into_iter()
            .find(|verb| text.eq_ignore_ascii_case(verb.as_str()));
        verb.map(Self::Only).ok_or_else(|| {
            Mistake::new(
                format!("\"{text}\" is not a method of a route"),
                "use GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY",
            )
        })
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Only(verb) => verb.as_str(),
            Self::Any => "ANY",
        })
    }
}

/// One part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text, percent-decoded.
    Static(String),
    /// `{name}`: any text but the empty one.
    Param(String),
}

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutePath {
    /// As it was written.
    pub(crate) text: String,
    /// Its segments; `/` is one empty static segment.
    pub(crate) segments: Vec<Segment>,
    /// The name of a `{name+}` after the segments: all that follows, at least one character.
    pub(crate) greedy: Option<String>,
}

impl RoutePath {
    /// Reads `/p/{id}/x` or `/files/{proxy+}`. Reports every mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(vec![Mistake::new(
                format!("the path \"{text}\" does not start with \"/\""),
                format!("write \"/{text}\""),
            )]);
        };
        let mut path = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            greedy: None,
        };
        let mut mistakes = Vec::new();
        let mut names = HashSet::new();
        let last = rest.split('/').count() - 1;
        for (i, part) in rest.split('/').enumerate() {
            match Part::parse(part) {
                Ok(Part::Static(text)) if text.is_empty() && i != last => mistakes.push(Mistake::new(
                    format!("the path \"{}\" has an empty segment", path.text),
                    "remove the doubled \"/\"",
                )),
                Ok(Part::Static(text)) => path.segments.push(Segment::Static(text)),
                Ok(Part::Param(name) | Part::Greedy(name)) if !names.insert(name.clone()) => {
                    mistakes.push(Mistake::new(
                        format!("the path \"{}\" has two parameters called \"{name}\"", path.text),
                        "give each parameter its own name",
                    ))
                }
                Ok(Part::Param(name)) => path.segments.push(Segment::Param(name)),
                Ok(Part::Greedy(name)) if i == last => path.greedy = Some(name),
                Ok(Part::Greedy(name)) => mistakes.push(Mistake::new(
                    format!("\"{{{name}+}}\" is not at the end of the path \"{}\"", path.text),
                    format!("a greedy parameter takes all that follows: put it last, or write \"{{{name}}}\""),
                )),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(path) } else { Err(mistakes) }
    }

    /// The names of its parameters, in order.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        let named = self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Static(_) => None,
        });
        named.chain(self.greedy.as_deref())
    }
}

/// A segment, or the greedy end of a path.
enum Part {
    Static(String),
    Param(String),
    Greedy(String),
}

impl Part {
    fn parse(text: &str) -> Result<Self, Mistake> {
        if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (name, greedy) = inner.strip_suffix('+').map_or((inner, false), |name| (name, true));
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
            if name.is_empty() || !name.chars().all(legal) {
                return Err(Mistake::new(
                    format!("\"{text}\" is not a parameter"),
                    "a parameter's name has letters, digits, \".\", \"_\", \"-\" and \":\", as in \"{id}\" or \"{proxy+}\"",
                ));
            }
            return Ok(if greedy {
                Self::Greedy(name.to_owned())
            } else {
                Self::Param(name.to_owned())
            });
        }
        if text.contains(['{', '}']) {
            return Err(Mistake::new(
                format!("the segment \"{text}\" is partly a parameter"),
                "a parameter is a whole segment, as in \"/p/{id}\"",
            ));
        }
        if text.contains(['?', '#']) {
            return Err(Mistake::new(
                format!("the segment \"{text}\" has a query or a fragment"),
                "a route is a path only; the query comes in the event",
            ));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Mistake::new(
                format!("the segment \"{text}\" has a space in it"),
                "write \"%20\" for a space",
            ));
        }
        Ok(Self::Static(percent::decode(text).into_owned()))
    }
}

/// What a route matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `$default`: every request that no other route takes.
    Default,
    /// A method and a path.
    Path(Methods, RoutePath),
}

impl Pattern {
    /// Reads `METHOD /path`, `$default` or `*`. Reports every mistake.
    pub(crate) fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let text = text.trim();
        if is_default(text) {
            return Ok(Self::Default);
        }
        let Some((method, path)) = text.split_once(char::is_whitespace) else {
            return Err(vec![Mistake::new(
                format!("\"{text}\" is not a route"),
                "write a method and a path, as in \"GET /hello/{name}\", or \"$default\"",
            )]);
        };
        match (Methods::parse(method), RoutePath::parse(path.trim_start())) {
            (Ok(methods), Ok(path)) => Ok(Self::Path(methods, path)),
            (methods, path) => Err(methods
                .err()
                .into_iter()
                .chain(path.err().into_iter().flatten())
                .collect()),
        }
    }
}

impl fmt::Display for Pattern {
    /// The route key, as it stands in the event.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("$default"),
            Self::Path(methods, path) => write!(f, "{methods} {}", path.text),
        }
    }
}

/// Whether a text names the catch-all route; `*` alone is serverless.yml's word for it.
pub(crate) fn is_default(text: &str) -> bool {
    matches!(text, "$default" | "*")
}

/// What is wrong with a route, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Mistake {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

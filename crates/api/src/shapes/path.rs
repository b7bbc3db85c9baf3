//! The paths of operations: fixed segments, labels, and what the query must hold.

use percent_encoding::percent_decode_str;

/// A path with labels: `/2015-03-31/functions/{FunctionName}/aliases?List=ALL`.
#[derive(Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
    query: Vec<(String, String)>,
}

#[derive(Debug)]
enum Segment {
    Fixed(String),
    Label(String),
}

/// What a path says at a template's labels, decoded.
#[derive(Debug, Default)]
pub struct Labels(Vec<(String, String)>);

impl Template {
    pub(super) fn new(uri: &str) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(label) => Segment::Label(label.to_owned()),
            None => Segment::Fixed(text.to_owned()),
        };
        Self {
            segments: split(path).map(segment).collect(),
            query: pairs(query),
        }
    }

    /// How many things the query must hold.
    pub(super) fn demands(&self) -> usize {
        self.query.len()
    }

    /// The labels of a path that this is the template of.
    pub(super) fn labels(&self, path: &str, query: &str) -> Option<Labels> {
        let mut labels = Vec::new();
        let mut segments = self.segments.iter();
        for text in split(path) {
            match segments.next()? {
                Segment::Fixed(fixed) if fixed == text => {}
                Segment::Label(label) if !text.is_empty() => labels.push((label.clone(), decode(text)?)),
                _ => return None,
            }
        }
        if segments.next().is_some() {
            return None;
        }
        if !self.query.is_empty() {
            let sent = pairs(query);
            if !self.query.iter().all(|demanded| sent.contains(demanded)) {
                return None;
            }
        }
        Some(Labels(labels))
    }
}

impl Labels {
    /// What the path says at `label`.
    pub fn get(&self, label: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == label);
        found.map(|(_, text)| text.as_str())
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// The segments of a path. Older clients end that of a collection with a slash.
fn split(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path).split('/')
}

/// The names and values of a query, decoded; what does not decode to text is left out.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| decode(&text.replace('+', " "));
        Some((decoded(name)?, decoded(value)?))
    };
    query
        .split('&')
        .filter(|text| !text.is_empty())
        .filter_map(pair)
        .collect()
}

fn decode(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

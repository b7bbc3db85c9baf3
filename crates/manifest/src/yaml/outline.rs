//! Which keys lead to a place in the text.

use super::{Node, Value};
use crate::diagnostic::Span;

/// The keys and list items of a tree.
pub(crate) struct Outline<'a> {
    places: Vec<Place<'a>>,
    /// Positions in `places`, in the order of the text; an item before a key that begins where it begins.
    order: Vec<usize>,
}

struct Place<'a> {
    /// Of the key, or of the item.
    span: Span,
    /// Where the last of what is in it ends; a block goes on until something else begins.
    end: usize,
    step: Step<'a>,
    parent: Option<usize>,
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl<'a> Outline<'a> {
    pub(crate) fn of(tree: &'a Node) -> Self {
        let mut places = Vec::new();
        add(tree, None, &mut places);
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&position| places[position].span.start);
        Self { places, order }
    }

    /// The path of what stands at `span`; `None` above all keys.
    pub(crate) fn path(&self, span: Span) -> Option<String> {
        let place = |position: &usize| &self.places[*position];
        let before = self
            .order
            .partition_point(|position| place(position).span.start <= span.start);
        // Of what begins where `span` begins, the innermost that holds all of it.
        let holds = |position: &&usize| {
            let candidate = place(position).span;
            candidate.start < span.start || span.end <= candidate.end
        };
        let mut step = self.order[..before].iter().rev().find(holds).map(place);
        // What was dropped, as a key that is given twice, stands behind all that is in the one before.
        while let Some(inner) = step.filter(|inner| inner.end < span.start) {
            step = inner.parent.map(|parent| &self.places[parent]);
        }
        let mut steps = Vec::new();
        while let Some(inner) = step {
            steps.push(&inner.step);
            step = inner.parent.map(|parent| &self.places[parent]);
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Item(position) => path.push_str(&format!("[{position}]")),
            }
        }
        Some(path).filter(|path| !path.is_empty())
    }
}

/// Adds what is in the node; returns where the last of it ends.
fn add<'a>(node: &'a Node, parent: Option<usize>, places: &mut Vec<Place<'a>>) -> usize {
    let mut end = node.span.end;
    let mut within = |span: Span, step: Step<'a>, child: &'a Node| {
        // What an alias or a merge key brings in is written further up, and is listed there.
        if span.start >= node.span.start {
            let at = places.len();
            places.push(Place {
                span,
                end: span.end,
                step,
                parent,
            });
            // The key before a block stands for it.
            let is_block = matches!(places[at].step, Step::Key(_)) && child.span == span;
            let last = add(child, Some(at), places).max(span.end);
            places[at].end = if is_block { usize::MAX } else { last };
            end = end.max(places[at].end);
        }
    };
    match &*node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                within(entry.key_span, Step::Key(&entry.key), &entry.node);
            }
        }
        Value::Sequence(items) => {
            for (position, item) in items.iter().enumerate() {
                within(item.span, Step::Item(position), item);
            }
        }
        Value::Scalar(_) | Value::Refused(_) => {}
    }
    end
}

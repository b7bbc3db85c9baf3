//! From the parser's events to the tree: limits, duplicate keys, aliases, merge keys.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::scalar::{Refusal, resolve};
use super::{Entry, Kind, MAX_DEPTH, Node, Scalar, Value, Variables, interpolation, syntax};
use crate::diagnostic::{Problems, Span};
use crate::suggestion::quote;

/// Aliases (`*name`) in a manifest.
const MAX_ALIASES: usize = 100;
/// Values that all aliases together stand for. Aliases of aliases multiply: a file of one kilobyte can name 10^9 values.
const MAX_ALIASED: usize = 10_000;

/// Parses `text`. After a mistake in YAML's syntax there is no tree; other mistakes leave [`Value::Refused`] in it.
pub(crate) fn parse(text: &str, variables: Variables, problems: &mut Problems) -> Option<Node> {
    let options = granit_parser::options! {
        strict_indentation: true,
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        text,
        variables,
        problems,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliases: 0,
        aliased: 0,
        root: None,
        read: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let tag = span.tag_span().map(bytes);
                let span = bytes(span);
                builder.read = builder.read.max(span.end);
                builder.event(event, span, tag)?;
            }
            Err(error) => {
                let open = builder.stack.last().map(|frame| frame.start);
                syntax::report(text, &error, open, builder.read, builder.problems);
                return None;
            }
        }
    }
    if builder.root.is_none() {
        builder
            .problems
            .error(Span::new(0, 0), "the manifest is empty")
            .help("begin with `functions:`");
    }
    builder.root
}

fn bytes(span: granit_parser::Span) -> Span {
    span.byte_range()
        .map_or(Span::new(0, 0), |bytes| Span::new(bytes.start, bytes.end))
}

struct Builder<'a> {
    text: &'a str,
    variables: Variables<'a>,
    problems: &'a mut Problems,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    aliases: usize,
    aliased: usize,
    root: Option<Node>,
    /// Where the last event ended.
    read: usize,
}

/// A collection that is not closed yet.
struct Frame {
    start: usize,
    anchor: usize,
    collection: Collection,
}

enum Collection {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        seen: HashMap<String, Span>,
        merged: Vec<Node>,
        key: Option<Key>,
    },
}

/// How a node is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A scalar without quotes.
    Plain,
    /// A collection that goes by indentation. It begins on a line of its own: the key before it stands for it.
    Block,
    Other,
}

/// A key that waits for its value.
enum Key {
    Text(String, Span),
    /// `<<`: the value's entries are taken over.
    Merge,
    /// A key that was refused: its value is dropped.
    Refused,
}

impl Builder<'_> {
    /// Takes one event and the place of its tag; `None` ends the parse, with a diagnostic.
    fn event(&mut self, event: Event<'_>, span: Span, tag_span: Option<Span>) -> Option<()> {
        let tag_span = tag_span.unwrap_or(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.problems
                    .error(span, "a second document begins here; a manifest is one document")
                    .help("delete the `---` line, or move what follows to another file");
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = if self.expects_key() {
                    Node::new(
                        span,
                        Value::Scalar(Scalar {
                            text: text.into_owned(),
                            kind: Kind::Text,
                            interpolated: false,
                        }),
                    )
                } else {
                    Node::new(
                        span,
                        self.scalar(text, style, tag.as_deref().map(|tag| (tag, tag_span)), span),
                    )
                };
                self.define(anchor, &node);
                self.complete(
                    node,
                    if style == ScalarStyle::Plain {
                        Form::Plain
                    } else {
                        Form::Other
                    },
                );
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, span);
                self.complete(node, Form::Other);
            }
            Event::UnresolvedAlias(name) => {
                self.problems
                    .error(span, format!("no anchor {} before this alias", quote(&format!("&{name}"))))
                    .help("anchors are defined with `&name` in front of a value, above their first use; text that begins with `*` needs quotes");
                self.complete(self.refused(span), Form::Other);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(
                    span,
                    anchor,
                    tag.as_deref().map(|tag| (tag, tag_span)),
                    Collection::Sequence(Vec::new()),
                )?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let collection = Collection::Mapping {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.open(span, anchor, tag.as_deref().map(|tag| (tag, tag_span)), collection)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            _ => {}
        }
        Some(())
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame {
                collection: Collection::Mapping { key: None, .. },
                ..
            })
        )
    }

    fn refused(&self, span: Span) -> Node {
        Node::new(
            span,
            Value::Refused(self.text.get(span.start..span.end).unwrap_or_default().to_owned()),
        )
    }

    fn open(&mut self, span: Span, anchor: usize, tag: Option<(&Tag, Span)>, collection: Collection) -> Option<()> {
        if self.stack.len() >= MAX_DEPTH {
            syntax::too_deep(span, self.problems);
            return None;
        }
        if let Some((tag, tag_span)) = tag {
            self.refuse_tag(tag, tag_span);
        }
        self.stack.push(Frame {
            start: span.start,
            anchor,
            collection,
        });
        Some(())
    }

    fn close(&mut self, span: Span) {
        let Some(frame) = self.stack.pop() else { return };
        let (value, last) = match frame.collection {
            Collection::Sequence(items) => {
                let last = items.last().map(|item| item.span.end);
                (Value::Sequence(items), last)
            }
            Collection::Mapping {
                mut entries,
                seen,
                merged,
                ..
            } => {
                let last = entries.last().map(|entry| entry.node.span.end);
                merge(&mut entries, seen, &merged);
                (Value::Mapping(entries), last)
            }
        };
        // A block collection has no closing sign: it ends with its last value.
        let (end, form) = if span.is_empty() {
            (last.unwrap_or(span.end), Form::Block)
        } else {
            (span.end, Form::Other)
        };
        let node = Node::new(Span::new(frame.start, end.max(frame.start)), value);
        self.define(frame.anchor, &node);
        self.complete(node, form);
    }

    fn define(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Node {
        self.aliases += 1;
        let Some(target) = self.anchors.get(&anchor).cloned() else {
            self.problems
                .error(span, "the alias stands inside the value that it names");
            return self.refused(span);
        };
        let before = self.aliased;
        self.aliased = self.aliased.saturating_add(target.size);
        if self.aliases > MAX_ALIASES {
            if self.aliases == MAX_ALIASES + 1 {
                self.problems.error(
                    span,
                    format!("there are more than {MAX_ALIASES} aliases in the manifest"),
                );
            }
            return self.refused(span);
        }
        if self.aliased > MAX_ALIASED {
            if before <= MAX_ALIASED {
                self.problems.error(
                    span,
                    format!("the aliases up to here stand for more than {MAX_ALIASED} values"),
                );
            }
            return self.refused(span);
        }
        if self.stack.len() + target.height > MAX_DEPTH {
            syntax::too_deep(span, self.problems);
            return self.refused(span);
        }
        Node { span, ..target }
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or at the root.
    fn complete(&mut self, node: Node, form: Form) {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut frame.collection {
            Collection::Sequence(items) => items.push(node),
            Collection::Mapping {
                entries,
                seen,
                merged,
                key,
            } => match key.take() {
                None => *key = Some(as_key(&node, form, self.problems)),
                Some(Key::Refused) => {}
                Some(Key::Merge) => merged_mappings(&node, merged, self.problems),
                Some(Key::Text(text, key_span)) => {
                    if let Some(first) = seen.get(&text) {
                        let line = self.problems.line(*first);
                        self.problems
                            .error(key_span, format!("the key {} is given twice", quote(&text)))
                            .help(format!("it is also on line {line}: delete one of them"));
                        return;
                    }
                    seen.insert(text.clone(), key_span);
                    let span = if node.span.is_empty() || form == Form::Block {
                        key_span
                    } else {
                        node.span
                    };
                    entries.push(Entry {
                        key: text,
                        key_span,
                        node: Node { span, ..node },
                    });
                }
            },
        }
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<(&Tag, Span)>, span: Span) -> Value {
        let as_text = match tag {
            Some((tag, _)) if tag.is_yaml_core_schema_tag("str") => true,
            Some((tag, tag_span)) => {
                self.refuse_tag(tag, tag_span);
                return Value::Refused(text.into_owned());
            }
            None => style != ScalarStyle::Plain,
        };
        if text.contains("${") {
            return self.interpolated(text, as_text, span);
        }
        if as_text {
            return Value::Scalar(Scalar {
                text: text.into_owned(),
                kind: Kind::Text,
                interpolated: false,
            });
        }
        match resolve(&text) {
            Ok(kind) => Value::Scalar(Scalar {
                text: text.into_owned(),
                kind,
                interpolated: false,
            }),
            Err(Refusal { message, help }) => {
                self.problems.error(span, message).help(help);
                Value::Refused(text.into_owned())
            }
        }
    }

    /// Replaces variables. Where the scalar has no quotes, the result may be a number or a boolean; but a variable's
    /// value that only looks like one to other readers (`no`, `010`) is text.
    fn interpolated(&mut self, text: Cow<'_, str>, as_text: bool, span: Span) -> Value {
        match interpolation::interpolate(&text, self.variables) {
            Ok(text) => {
                let kind = match resolve(&text) {
                    Ok(kind) if !as_text && kind != Kind::Null => kind,
                    _ => Kind::Text,
                };
                Value::Scalar(Scalar {
                    text,
                    kind,
                    interpolated: true,
                })
            }
            Err(mistakes) => {
                let raw = self.text.get(span.start..span.end).unwrap_or_default();
                let mut from = 0;
                for mistake in mistakes {
                    // Escapes and folded lines can make the text differ from what is written: then all of it is meant.
                    let written = text.get(mistake.place).unwrap_or_default();
                    let place = match raw.get(from..).and_then(|rest| rest.find(written)) {
                        Some(found) => {
                            let start = span.start + from + found;
                            from += found + written.len();
                            Span::new(start, start + written.len())
                        }
                        None => span,
                    };
                    self.problems.error(place, mistake.message).help(mistake.help);
                }
                Value::Refused(text.into_owned())
            }
        }
    }

    fn refuse_tag(&mut self, tag: &Tag, span: Span) {
        self.problems
            .error(
                span,
                format!("the tag {} has no meaning in a manifest", quote(&tag.original())),
            )
            .help("delete the tag, or quote the value if it is text");
    }
}

fn as_key(node: &Node, form: Form, problems: &mut Problems) -> Key {
    let plain = form == Form::Plain;
    match node.scalar() {
        Some(_) if node.span.is_empty() && plain => {
            problems.error(node.span, "a key is missing before the `:`");
            Key::Refused
        }
        Some(scalar) if plain && scalar.text == "<<" => Key::Merge,
        Some(scalar) => Key::Text(scalar.text.clone(), node.span),
        None => {
            if !node.is_refused() {
                problems.error(
                    node.span,
                    format!("a key must be text, but this is {}", node.describe()),
                );
            }
            Key::Refused
        }
    }
}

/// The mappings that a merge key names: one, or a list of them.
fn merged_mappings(node: &Node, merged: &mut Vec<Node>, problems: &mut Problems) {
    match &*node.value {
        Value::Mapping(_) => merged.push(node.clone()),
        Value::Sequence(items) if items.iter().all(|item| item.is_mapping() || item.is_refused()) => {
            merged.extend(items.iter().cloned());
        }
        _ if node.is_refused() => {}
        _ => {
            problems
                .error(
                    node.span,
                    format!(
                        "`<<` merges a mapping or a list of mappings, but this is {}",
                        node.describe()
                    ),
                )
                .help("write `<<: *name`, where `&name` stands in front of a mapping");
        }
    }
}

/// Adds the entries of the merged mappings; a key that is there already stays (yaml.org/type/merge.html).
fn merge(entries: &mut Vec<Entry>, mut seen: HashMap<String, Span>, merged: &[Node]) {
    for node in merged {
        let Value::Mapping(more) = &*node.value else { continue };
        for entry in more {
            if !seen.contains_key(&entry.key) {
                seen.insert(entry.key.clone(), entry.key_span);
                entries.push(entry.clone());
            }
        }
    }
}

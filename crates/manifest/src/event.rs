//! The `events:` of the functions: from items to bindings.

use std::collections::HashMap;
use std::sync::Arc;

use hikigane_model::{BindingId, FunctionName, InvokeMode};
use hikigane_pattern::{Pattern, PatternError};
use hikigane_trigger::{TriggerPlugin, nearest};

use crate::diagnostic::{Problems, Span};
use crate::document::{EventItem, EventKeys, Function};
use crate::section::{Setting, Spanned};
use crate::suggestion::{list, quote, suggest};
use crate::yaml::{Entry, Node};

/// One event of a function, with the plug-in's part still unread.
#[derive(Debug)]
pub(crate) struct Event {
    /// The binding's identity; a makeshift when the manifest gives it none, so that the rest can be checked.
    pub(crate) id: BindingId,
    /// `None` when the function's name is not legal.
    pub(crate) function: Option<FunctionName>,
    pub(crate) kind: String,
    /// The place of the kind's key.
    pub(crate) kind_span: Span,
    /// The value under the kind's key.
    pub(crate) config: Node,
    pub(crate) invoke: Option<InvokeMode>,
    pub(crate) filter: Option<Pattern>,
    pub(crate) enabled: bool,
}

/// The events of the function `name`, in the order of the file.
pub(crate) fn read(
    name: &Spanned<String>,
    section: &Function,
    kinds: Kinds<'_>,
    problems: &mut Problems,
) -> Vec<Event> {
    let items = section.events.value().into_iter().flat_map(|events| &events.0);
    let items: Vec<Item> = items
        .filter_map(|item| Item::read(&item.value, kinds, problems))
        .collect();
    let ids = identify(name, &items, kinds, problems);
    let function = FunctionName::new(&name.value).ok();
    let event = |(item, id): (Item, Option<BindingId>)| {
        Some(Event {
            id: id?,
            function: function.clone(),
            kind: item.kind.key,
            kind_span: item.kind.key_span,
            config: item.kind.node,
            invoke: item.keys.invoke.value().map(|invoke| invoke.0),
            filter: item.filter,
            enabled: item.keys.enabled.value().is_none_or(|enabled| enabled.0),
        })
    };
    items.into_iter().zip(ids).filter_map(event).collect()
}

/// The kinds of triggers there are.
#[derive(Clone, Copy)]
pub(crate) struct Kinds<'a>(pub(crate) &'a [Arc<dyn TriggerPlugin>]);

impl<'a> Kinds<'a> {
    fn names(self) -> Vec<&'static str> {
        self.0.iter().map(|plugin| plugin.kind()).collect()
    }

    fn get(self, kind: &str) -> Option<&'a dyn TriggerPlugin> {
        self.0.iter().map(Arc::as_ref).find(|plugin| plugin.kind() == kind)
    }

    pub(crate) fn has(self, kind: &str) -> bool {
        self.get(kind).is_some()
    }

    /// Says that `key` is no kind, and what was probably meant: a kind that other tools call so, or one of the words that are known there.
    fn refuse(self, key: &str, span: Span, known: &[&'static str], problems: &mut Problems) {
        let foreign = self.0.iter().find(|plugin| plugin.foreign_names().contains(&key));
        let help = match foreign {
            Some(plugin) => format!("it is written `{}` here", plugin.kind()),
            None => match nearest(key, self.names().into_iter().chain(known.iter().copied())) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("the kinds are {}", list(&self.names())),
            },
        };
        problems
            .error(span, format!("unknown trigger {}", quote(key)))
            .help(help);
    }
}

/// An item of `events:` with exactly one known kind.
struct Item {
    kind: Entry,
    keys: EventKeys,
    filter: Option<Pattern>,
}

impl Item {
    fn read(EventItem(node): &EventItem, kinds: Kinds<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.is_mapping() {
            if !node.is_refused() {
                problems
                    .error(
                        node.span,
                        format!(
                            "an event is a mapping with its trigger's kind as a key, but this is {}",
                            node.describe()
                        ),
                    )
                    .help(format!("the kinds are {}", list(&kinds.names())));
            }
            return None;
        }
        let (keys, others) = EventKeys::read_open(node, problems)?;
        let filter = keys.filter.value().filter(|filter| !filter.0.is_refused());
        let filter = filter.and_then(|filter| compile(&filter.0, problems));
        let (mut found, unknown): (Vec<Entry>, Vec<Entry>) =
            others.into_iter().partition(|entry| kinds.has(&entry.key));
        refuse_unknown(&found, &unknown, kinds, problems);
        if let [first, second, ..] = found.as_slice() {
            problems
                .error(
                    second.key_span,
                    format!(
                        "this event has two triggers: {} and {}",
                        quote(&first.key),
                        quote(&second.key)
                    ),
                )
                .help("write two events, each beginning with `- `");
        } else if found.is_empty() && unknown.is_empty() {
            problems
                .error(node.span, "the event has no trigger")
                .help(format!("add one of {}", list(&kinds.names())));
        }
        // A second trigger is checked no further: which one was meant is not known.
        let kind = if found.is_empty() {
            return None;
        } else {
            found.swap_remove(0)
        };
        Some(Self { kind, keys, filter })
    }
}

fn refuse_unknown(found: &[Entry], unknown: &[Entry], kinds: Kinds<'_>, problems: &mut Problems) {
    let common = EventKeys::KEYS.known;
    for entry in unknown {
        let key = entry.key.as_str();
        match found.first() {
            // `- s3:` on one line and its fields below at the same indentation: the commonest slip.
            Some(kind) if kind.node.is_null() && nearest(key, common.iter().copied()).is_none() => {
                problems
                    .error(entry.key_span, format!("unknown key {}", quote(key)))
                    .help(format!(
                        "if it belongs to `{}`, indent it further than `{}`",
                        kind.key, kind.key
                    ));
            }
            Some(_) => EventKeys::KEYS.refuse(entry, problems),
            None => kinds.refuse(key, entry.key_span, common, problems),
        }
    }
}

fn compile(node: &Node, problems: &mut Problems) -> Option<Pattern> {
    match Pattern::compile(&node.to_json()) {
        Ok(pattern) => Some(pattern),
        Err(PatternError { reason, place }) => {
            let mut at = node;
            let mut span = node.span;
            for step in &place {
                let Some(child) = at.child(step) else { break };
                (at, span) = (child, child.span);
            }
            let mut help = "a pattern has the shape of the events it wants, with a list of alternatives in the place of each value".to_owned();
            if let Some(operator) = reason.strip_prefix("Unrecognized match type ") {
                span = at.key_at(&[operator.into()]).unwrap_or(span);
                help = suggest(operator, "the operators are", &Pattern::OPERATORS);
            }
            problems
                .error(span, format!("the filter is not an event pattern: {reason}"))
                .help(help);
            None
        }
    }
}

/// The binding ids. A name, not a position, is a binding's identity: an event may go without one only where its configuration makes it known, or
/// while it is the single event of its kind, so that history and catch-up survive reordering.
///
/// `None`: an event whose configuration an earlier one of the function has; what its plug-in would say of that is said already.
fn identify(
    function: &Spanned<String>,
    items: &[Item],
    kinds: Kinds<'_>,
    problems: &mut Problems,
) -> Vec<Option<BindingId>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    items
        .iter()
        .for_each(|item| *counts.entry(&item.kind.key).or_default() += 1);
    let mut taken: HashMap<String, Span> = HashMap::new();
    let mut ids = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let kind = item.kind.key.as_str();
        let siblings = counts.get(kind).copied().unwrap_or_default();
        let own = kinds
            .get(kind)
            .and_then(|kind| kind.own_name(&item.kind.node.to_json()));
        let unnamed = matches!(item.keys.name, Setting::Missing);
        let known_by_itself = unnamed && own.is_some();
        let name = match &item.keys.name {
            Setting::Given(name) => check_name(name, problems).then(|| name.clone()),
            Setting::Refused => None,
            Setting::Missing => own
                .or_else(|| (siblings == 1).then(|| kind.to_owned()))
                .map(|value| Spanned {
                    span: item.kind.key_span,
                    value,
                }),
        };
        if unnamed && name.is_none() {
            ask_for_name(item, siblings, function, problems);
        }
        let name = name.filter(|name| claim(name, known_by_itself, function, &mut taken, problems));
        ids.push(match (name, FunctionName::new(&function.value)) {
            (None, _) if known_by_itself => None,
            (Some(name), Ok(function)) => Some(BindingId::new(&function, &name.value)),
            _ => Some(BindingId::from_text(&format!("{}/{kind}#{position}", function.value))),
        });
    }
    ids
}

fn ask_for_name(item: &Item, siblings: usize, function: &Spanned<String>, problems: &mut Problems) {
    let count = if siblings == 2 {
        "two".to_owned()
    } else {
        siblings.to_string()
    };
    let message = format!(
        "{count} `{}` events in function {}: give each a `name`",
        item.kind.key,
        quote(&function.value)
    );
    problems
        .error(item.kind.key_span, message)
        .help("history and catch-up follow the name, so that the events can be reordered");
}

/// Takes the name for an event of the function, which has it from the manifest or, `known_by_itself`, from its configuration; false, with a
/// diagnostic, when another event has it.
fn claim(
    name: &Spanned<String>,
    known_by_itself: bool,
    function: &Spanned<String>,
    taken: &mut HashMap<String, Span>,
    problems: &mut Problems,
) -> bool {
    let Some(first) = taken.get(&name.value) else {
        taken.insert(name.value.clone(), name.span);
        return true;
    };
    let line = problems.line(*first);
    let (function, value) = (quote(&function.value), quote(&name.value));
    if known_by_itself {
        problems
            .error(
                name.span,
                format!("another event of function {function} is {value}, too"),
            )
            .help(format!("it is on line {line}: delete one of them"));
    } else {
        problems
            .error(
                name.span,
                format!("another event of function {function} has the name {value}"),
            )
            .help(format!("it is on line {line}: give one of them another `name`"));
    }
    false
}

fn check_name(name: &Spanned<String>, problems: &mut Problems) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let sound = !name.value.is_empty() && name.value.len() <= 64 && name.value.chars().all(legal);
    if !sound {
        problems
            .error(name.span, format!("{} is not a name for an event", quote(&name.value)))
            .help("use 1 to 64 letters, digits, `-`, `_` and `.`");
    }
    sound
}

/// Says that there is no plug-in for a key under `sources:`.
pub(crate) fn refuse_source(kind: &Spanned<String>, kinds: Kinds<'_>, problems: &mut Problems) {
    kinds.refuse(&kind.value, kind.span, &[], problems);
}

//! The `events:` of the functions: from items to bindings.

use std::collections::HashMap;

use hikigane_model::{BindingId, FunctionName, InvokeMode};
use hikigane_pattern::{Pattern, PatternError};

use crate::diagnostic::{Problems, Span};
use crate::document::{EventItem, EventKeys, Function};
use crate::section::{Setting, Spanned};
use crate::suggestion::{list, nearest, quote, suggest};
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
pub(crate) fn read(name: &Spanned<String>, section: &Function, kinds: &[&str], problems: &mut Problems) -> Vec<Event> {
    let items = section.events.value().into_iter().flat_map(|events| &events.0);
    let items: Vec<Item> = items
        .filter_map(|item| Item::read(&item.value, kinds, problems))
        .collect();
    let ids = identify(name, &items, problems);
    let function = FunctionName::new(&name.value).ok();
    let event = |(item, id): (Item, BindingId)| Event {
        id,
        function: function.clone(),
        kind: item.kind.key,
        kind_span: item.kind.key_span,
        config: item.kind.node,
        invoke: item.keys.invoke.value().map(|invoke| invoke.0),
        filter: item.filter,
        enabled: item.keys.enabled.value().is_none_or(|enabled| enabled.0),
    };
    items.into_iter().zip(ids).map(event).collect()
}

/// An item of `events:` with exactly one known kind.
struct Item {
    kind: Entry,
    keys: EventKeys,
    filter: Option<Pattern>,
}

impl Item {
    fn read(EventItem(node): &EventItem, kinds: &[&str], problems: &mut Problems) -> Option<Self> {
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
                    .help(format!("the kinds are {}", list(kinds)));
            }
            return None;
        }
        let (keys, others) = EventKeys::read_open(node, problems)?;
        let filter = keys.filter.value().filter(|filter| !filter.0.is_refused());
        let filter = filter.and_then(|filter| compile(&filter.0, problems));
        let (mut found, unknown): (Vec<Entry>, Vec<Entry>) = others
            .into_iter()
            .partition(|entry| kinds.contains(&entry.key.as_str()));
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
                .help(format!("add one of {}", list(kinds)));
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

fn refuse_unknown(found: &[Entry], unknown: &[Entry], kinds: &[&str], problems: &mut Problems) {
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
            None => {
                let known: Vec<&str> = kinds.iter().chain(common).copied().collect();
                let help = match nearest(key, known.iter().copied()) {
                    Some(word) => format!("did you mean `{word}`?"),
                    None => format!("the kinds are {}", list(kinds)),
                };
                problems
                    .error(entry.key_span, format!("unknown trigger {}", quote(key)))
                    .help(help);
            }
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

/// The binding ids. A name, not a position, is a binding's identity: an event may go without one only while it is the
/// single event of its kind, so that history and catch-up survive reordering.
fn identify(function: &Spanned<String>, items: &[Item], problems: &mut Problems) -> Vec<BindingId> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    items
        .iter()
        .for_each(|item| *counts.entry(&item.kind.key).or_default() += 1);
    let mut taken: HashMap<String, Span> = HashMap::new();
    let mut ids = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let kind = item.kind.key.as_str();
        let makeshift = BindingId::from_text(&format!("{}/{kind}#{position}", function.value));
        let siblings = counts.get(kind).copied().unwrap_or_default();
        let name = match &item.keys.name {
            Setting::Given(name) => check_name(name, problems).then(|| name.clone()),
            Setting::Refused => None,
            Setting::Missing if siblings == 1 => Some(Spanned {
                span: item.kind.key_span,
                value: kind.to_owned(),
            }),
            Setting::Missing => {
                let count = if siblings == 2 {
                    "two".to_owned()
                } else {
                    siblings.to_string()
                };
                let message = format!(
                    "{count} `{kind}` events in function {}: give each a `name`",
                    quote(&function.value)
                );
                problems
                    .error(item.kind.key_span, message)
                    .help("history and catch-up follow the name, so that the events can be reordered");
                None
            }
        };
        let name = name.filter(|name| claim(name, function, &mut taken, problems));
        ids.push(match (name, FunctionName::new(&function.value)) {
            (Some(name), Ok(function)) => BindingId::new(&function, &name.value),
            _ => makeshift,
        });
    }
    ids
}

/// Takes the name for an event of the function; false, with a diagnostic, when another one has it.
fn claim(
    name: &Spanned<String>,
    function: &Spanned<String>,
    taken: &mut HashMap<String, Span>,
    problems: &mut Problems,
) -> bool {
    let Some(first) = taken.get(&name.value) else {
        taken.insert(name.value.clone(), name.span);
        return true;
    };
    let line = problems.line(*first);
    problems
        .error(
            name.span,
            format!(
                "another event of function {} has the name {}",
                quote(&function.value),
                quote(&name.value)
            ),
        )
        .help(format!("it is on line {line}: give one of them another `name`"));
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
pub(crate) fn refuse_source(kind: &Spanned<String>, kinds: &[&str], problems: &mut Problems) {
    problems
        .error(kind.span, format!("unknown trigger {}", quote(&kind.value)))
        .help(suggest(&kind.value, "the kinds are", kinds));
}

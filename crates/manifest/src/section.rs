//! Reading typed sections from the tree: one description gives the Rust type, its reader and its JSON Schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::{Problems, Span};
use crate::suggestion::{list, quote, suggest};
use crate::yaml::{Entry, Kind, Node, Scalar, Value};

/// A value that can be read from the manifest.
pub(crate) trait FromNode: Sized {
    /// Reads it. `None`, with a diagnostic in `problems`, when it is not what is expected.
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) span: Span,
    pub(crate) value: T,
}

impl<T: FromNode> Spanned<T> {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::from_node(node, problems).map(|value| Self { span: node.span, value })
    }
}

/// What a section says under one of its keys.
#[derive(Debug, Default)]
pub(crate) enum Setting<T> {
    /// The key is not there.
    #[default]
    Missing,
    /// It is there, and there is a diagnostic about its value.
    Refused,
    /// Its value.
    Given(Spanned<T>),
}

impl<T: FromNode> Setting<T> {
    pub(crate) fn read(node: &Node, problems: &mut Problems) -> Self {
        Spanned::read(node, problems).map_or(Self::Refused, Self::Given)
    }
}

impl<T> Setting<T> {
    pub(crate) fn given(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Missing | Self::Refused => None,
        }
    }

    /// The value without its place.
    pub(crate) fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }
}

/// The keys of a section.
pub(crate) struct Keys {
    pub(crate) known: &'static [&'static str],
    /// Refused by name: they will mean something in a later release, so they must not be ignored today.
    pub(crate) later: &'static [&'static str],
    /// What other tools call a key, and what it is called here.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

impl Keys {
    /// Says that `entry` does not belong here, and what was probably meant.
    pub(crate) fn refuse(&self, entry: &Entry, problems: &mut Problems) {
        let key = entry.key.as_str();
        if self.later.contains(&key) {
            problems
                .error(entry.key_span, format!("{} is not supported yet", quote(key)))
                .help("delete it");
            return;
        }
        let help = match self.elsewhere.iter().find(|(foreign, _)| *foreign == key) {
            Some((_, here)) => format!("did you mean `{here}`?"),
            None => suggest(key, "the keys here are", self.known),
        };
        problems
            .error(entry.key_span, format!("unknown key {}", quote(key)))
            .help(help);
    }
}

/// Declares a section: a mapping with these keys. Doc comments are the descriptions in the JSON Schema.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident {
            $( $(#[doc = $doc:literal])+ $key:literal => $field:ident: $kind:ty, )+
        }
        $( required: [$($required:literal),+] )?
        $( later: [$($later:literal),+] )?
        $( elsewhere: [$($foreign:literal => $here:literal),+] )?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub(crate) struct $name {
            $( $(#[doc = $doc])+ pub(crate) $field: $crate::section::Setting<$kind>, )+
        }

        impl $name {
            pub(crate) const KEYS: $crate::section::Keys = $crate::section::Keys {
                known: &[$($key),+],
                later: &[$($($later),+)?],
                elsewhere: &[$($(($foreign, $here)),+)?],
            };

            /// Reads the keys of the section; returns the entries with other keys.
            pub(crate) fn read_open(
                node: &$crate::yaml::Node,
                problems: &mut $crate::diagnostic::Problems,
            ) -> Option<(Self, Vec<$crate::yaml::Entry>)> {
                let mut section = Self::default();
                let mut others = Vec::new();
                for entry in $crate::section::entries(node, problems)? {
                    match entry.key.as_str() {
                        $( $key => section.$field = $crate::section::Setting::read(&entry.node, problems), )+
                        _ => others.push(entry.clone()),
                    }
                }
                Some((section, others))
            }
        }

        impl $crate::section::FromNode for $name {
            fn from_node(node: &$crate::yaml::Node, problems: &mut $crate::diagnostic::Problems) -> Option<Self> {
                let (section, others) = Self::read_open(node, problems)?;
                others.iter().for_each(|entry| Self::KEYS.refuse(entry, problems));
                Some(section)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let properties = [$(
                    ($key, $crate::section::described(generator.subschema_for::<$kind>(), &[$($doc),+])),
                )+];
                let required: &[&str] = &[$($($required),+)?];
                $crate::section::object_schema(&[$($about),+], properties, required)
            }
        }
    };
}
pub(crate) use section;

/// The entries of a mapping; nothing counts as an empty one.
pub(crate) fn entries<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a [Entry]> {
    match &*node.value {
        Value::Mapping(entries) => Some(entries),
        _ if node.is_null() => Some(&[]),
        _ => mismatch(node, "a mapping", "write `key: value` lines", problems),
    }
}

/// Says that `node` is not what it should be. Always `None`, for the caller to return.
pub(crate) fn mismatch<T>(node: &Node, expected: &str, help: &str, problems: &mut Problems) -> Option<T> {
    if node.is_null() {
        problems
            .error(node.span, format!("expected {expected}, found nothing"))
            .help("give it a value, or delete the key");
    } else if !node.is_refused() {
        problems
            .error(node.span, format!("expected {expected}, found {}", node.describe()))
            .help(help);
    }
    None
}

/// `schema` with the sentences of a doc comment as its description.
pub(crate) fn described(mut schema: Schema, doc: &[&str]) -> Schema {
    let description = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    schema.insert("description".to_owned(), description.trim().into());
    schema
}

/// The schema of a mapping that may also be left empty.
pub(crate) fn object_schema<const N: usize>(
    about: &[&str],
    properties: [(&str, Schema); N],
    required: &[&str],
) -> Schema {
    let properties: serde_json::Map<String, serde_json::Value> = properties
        .into_iter()
        .map(|(key, schema)| (key.to_owned(), schema.into()))
        .collect();
    let kind = if required.is_empty() {
        serde_json::json!(["object", "null"])
    } else {
        "object".into()
    };
    let mut schema = json_schema!({"type": kind, "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    described(schema, about)
}

/// A string that a variable stands in: what it becomes is known only when the manifest is loaded.
pub(crate) fn variable_schema() -> Schema {
    json_schema!({"type": "string", "pattern": "\\$\\{env:"})
}

impl FromNode for String {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.scalar() {
            Some(scalar) if scalar.kind == Kind::Text || scalar.interpolated => Some(scalar.text.clone()),
            Some(_) => mismatch(node, "text", "put the value in quotes", problems),
            None => mismatch(node, "text", "write one value", problems),
        }
    }
}

/// True or false.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag(pub(crate) bool);

impl FromNode for Flag {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.scalar() {
            Some(Scalar {
                kind: Kind::Bool(value),
                ..
            }) => Some(Self(*value)),
            // A variable in a flow mapping must stand in quotes, so the quotes say nothing about it.
            Some(scalar) if scalar.interpolated && scalar.text == "true" => Some(Self(true)),
            Some(scalar) if scalar.interpolated && scalar.text == "false" => Some(Self(false)),
            _ => mismatch(
                node,
                "true or false",
                "write `true` or `false`, without quotes",
                problems,
            ),
        }
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> Cow<'static, str> {
        "Flag".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "boolean"}, variable_schema()]})
    }
}

/// A list.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<Spanned<T>>);

impl<T: Clone> List<T> {
    pub(crate) fn values(&self) -> Vec<T> {
        self.0.iter().map(|item| item.value.clone()).collect()
    }
}

impl<T: FromNode> FromNode for List<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &*node.value {
            Value::Sequence(items) => Some(Self(
                items.iter().filter_map(|item| Spanned::read(item, problems)).collect(),
            )),
            _ if node.is_null() => Some(Self(Vec::new())),
            _ => mismatch(node, "a list", "begin each item with `- `, or write `[a, b]`", problems),
        }
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("List of {}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["array", "null"], "items": generator.subschema_for::<T>()})
    }
}

/// A mapping whose keys are the author's own names, in the order of the file. A name is kept when its value was
/// refused, so that it can be checked.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(Spanned<String>, Option<Spanned<T>>)>);

impl<T> Named<T> {
    /// The names whose values are known.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&Spanned<String>, &Spanned<T>)> {
        self.0.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

impl<T: FromNode> FromNode for Named<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let read = |entry: &Entry, problems: &mut Problems| {
            let name = Spanned {
                span: entry.key_span,
                value: entry.key.clone(),
            };
            (name, Spanned::read(&entry.node, problems))
        };
        Some(Self(
            entries(node, problems)?
                .iter()
                .map(|entry| read(entry, problems))
                .collect(),
        ))
    }
}

/// What the author's own names look like, as a regular expression of JSON Schema.
pub(crate) trait NamePattern {
    /// The expression.
    const NAME: &'static str;
}

impl<T: JsonSchema + NamePattern> JsonSchema for Named<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Names of {}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": T::NAME},
            "additionalProperties": generator.subschema_for::<T>(),
        })
    }
}

/// A choice among words.
pub(crate) trait Word: Copy + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneOf<T>(pub(crate) T);

impl<T: Word> FromNode for OneOf<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        let Some(scalar) = node.scalar().filter(|scalar| scalar.kind == Kind::Text) else {
            return mismatch(
                node,
                &format!("one of {}", list(&words)),
                "write one of these words",
                problems,
            );
        };
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == scalar.text) {
            return Some(Self(*value));
        }
        problems
            .error(
                node.span,
                format!("expected one of {}, found {}", list(&words), quote(&scalar.text)),
            )
            .help(suggest(&scalar.text, "write one of", &words));
        None
    }
}

impl<T: Word> JsonSchema for OneOf<T> {
    fn schema_name() -> Cow<'static, str> {
        "Choice".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
        json_schema!({"anyOf": [{"enum": words}, variable_schema()]})
    }
}

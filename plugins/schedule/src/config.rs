//! The plug-in's part of the manifest.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use hikigane_trigger::model::{BindingId, InvokeMode, limits};
use hikigane_trigger::schemars::{Schema, json_schema};
use hikigane_trigger::{BindingSpec, PathStep, SourceSpec, SpecError, SpecErrors, SpecPlace, nearest};
use serde_json::{Map, Value};

use crate::expression::Expression;

/// The plug-in's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The most missed slots that `catchUp: all` runs.
    pub catch_up_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { catch_up_limit: 100 }
    }
}

/// One schedule of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// Its identity.
    pub id: BindingId,
    /// When it fires.
    pub expression: Expression,
    /// In which zone.
    pub timezone: Tz,
    /// What happens at a slot while the previous event is not done.
    pub overlap: Overlap,
    /// What happens to missed slots.
    pub catch_up: CatchUp,
    /// The event to send instead of the scheduled event.
    pub input: Option<Bytes>,
}

/// What happens at a slot while the previous event is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// The slot is skipped.
    Skip,
    /// Both run.
    Allow,
    /// The slot's event waits for its turn.
    Queue,
}

/// What happens to missed slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// All are skipped.
    None,
    /// The last one runs.
    Last,
    /// They run in order.
    All,
}

const OVERLAPS: [(&str, Overlap); 3] = [
    ("skip", Overlap::Skip),
    ("allow", Overlap::Allow),
    ("queue", Overlap::Queue),
];
const CATCH_UPS: [(&str, CatchUp); 3] = [("none", CatchUp::None), ("last", CatchUp::Last), ("all", CatchUp::All)];
const BINDING_KEYS: [&str; 5] = ["rate", "timezone", "overlap", "catchUp", "input"];
const SETTINGS_KEYS: [&str; 1] = ["catchUpLimit"];
const CATCH_UP_LIMITS: std::ops::RangeInclusive<u64> = 1..=10_000;
const EXAMPLES: &str = "as cron(0 2 * * ? *), rate(5 minutes), at(2026-11-22T23:00:00) or 0 2 * * *";

/// JSON Schema of one binding's configuration.
pub(crate) fn binding_schema() -> Schema {
    let expression = serde_json::json!({
        "type": "string",
        // The form only: an editor shows at once what is no schedule, as six bare fields, and does not know calendars.
        "pattern": r"^(cron\(\s*\S+(\s+\S+){5}\s*\)|rate\([0-9]+ (minutes?|hours?|days?)\)|at\(.+\)|\s*\S+(\s+\S+){4}\s*)$|\$\{",
        "description": "When it fires: cron(minutes hours day-of-month month day-of-week year), rate(5 minutes), \
                        at(2026-11-22T23:00:00), or the five fields of Unix cron.",
        "examples": ["cron(0 2 * * ? *)", "rate(5 minutes)", "at(2026-11-22T23:00:00)", "*/5 * * * *"],
    });
    json_schema!({
        "title": "Schedule",
        "description": "Sends an event at set times, as Amazon EventBridge does.",
        "anyOf": [
            expression,
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["rate"],
                "properties": {
                    "rate": expression,
                    "timezone": {
                        "type": "string",
                        "description": "The IANA time zone of the expression; otherwise defaults.timezone, otherwise UTC.",
                        "examples": ["Europe/Paris", "UTC"],
                    },
                    "overlap": {
                        "enum": ["skip", "allow", "queue"],
                        "default": "skip",
                        "description": "At a slot while the previous event is not done: skip the slot, allow both to run, or queue it.",
                    },
                    "catchUp": {
                        "enum": ["none", "last", "all"],
                        "default": "last",
                        "description": "Of the slots missed while nothing ran: run none, the last, or all in order.",
                    },
                    "input": {
                        "description": "The event to send instead of the scheduled event: any JSON. EventBridge Scheduler's keywords \
                                        in it, as <aws.scheduler.scheduled-time>, are replaced.",
                    },
                },
            },
        ],
    })
}

/// JSON Schema of the plug-in's settings.
pub(crate) fn settings_schema() -> Schema {
    json_schema!({
        "title": "Settings of schedules",
        "description": "Settings of all schedules.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "catchUpLimit": {
                "type": "integer",
                "minimum": CATCH_UP_LIMITS.start(),
                "maximum": CATCH_UP_LIMITS.end(),
                "default": Settings::default().catch_up_limit,
                "description": "The most missed slots that \"catchUp: all\" runs; the older ones are skipped.",
            },
        },
    })
}

/// Reads settings and bindings, or finds all that is wrong with them.
pub(crate) fn read(spec: SourceSpec) -> Result<(Settings, Vec<Binding>), SpecErrors> {
    let mut errors = Vec::new();
    let mut in_settings = Reader {
        place: SpecPlace::Settings,
        errors: &mut errors,
    };
    let settings = spec
        .settings
        .map(|value| in_settings.settings(&value))
        .unwrap_or_default();
    let default_zone = spec.timezone.map_or(Tz::UTC, |name| in_settings.default_zone(&name));
    let bindings = spec
        .bindings
        .into_iter()
        .filter_map(|binding| {
            let place = SpecPlace::Binding(binding.id.clone());
            Reader {
                place,
                errors: &mut errors,
            }
            .binding(binding, default_zone)
        })
        .collect();
    if errors.is_empty() {
        Ok((settings, bindings))
    } else {
        Err(SpecErrors(errors))
    }
}

/// Reads one place of the spec and notes its mistakes.
struct Reader<'a> {
    place: SpecPlace,
    errors: &'a mut Vec<SpecError>,
}

impl Reader<'_> {
    fn settings(&mut self, value: &Value) -> Settings {
        let mut settings = Settings::default();
        let Some(fields) = self.object(value, "the settings of schedules are an object", &SETTINGS_KEYS) else {
            return settings;
        };
        if let Some(limit) = fields.get("catchUpLimit") {
            match limit
                .as_u64()
                .filter(|limit| CATCH_UP_LIMITS.contains(limit))
                .map(usize::try_from)
            {
                Some(Ok(limit)) => settings.catch_up_limit = limit,
                _ => self.mistake(
                    &["catchUpLimit"],
                    format!("{limit} is not allowed for \"catchUpLimit\""),
                    format!(
                        "use a whole number from {} to {}",
                        CATCH_UP_LIMITS.start(),
                        CATCH_UP_LIMITS.end()
                    ),
                ),
            }
        }
        settings
    }

    fn default_zone(&mut self, name: &str) -> Tz {
        parse_zone(name).unwrap_or_else(|help| {
            self.mistake(
                &[],
                format!("\"defaults.timezone\" has the unknown time zone \"{name}\""),
                help,
            );
            Tz::UTC
        })
    }

    fn binding(&mut self, spec: BindingSpec, default_zone: Tz) -> Option<Binding> {
        if spec.invoke == Some(InvokeMode::Sync) {
            let help = "remove \"invoke: sync\": nobody waits for the result of a schedule";
            self.mistake(&[], "a schedule cannot invoke synchronously".into(), help.into());
        }
        if let Value::String(text) = &spec.config {
            let expression = self.expression(&[], text, default_zone)?;
            return Some(Binding::new(spec.id, expression, default_zone));
        }
        let wanted = "a schedule is an expression or an object with \"rate\"";
        let fields = self.object(&spec.config, wanted, &BINDING_KEYS)?;
        let timezone = self.timezone(fields.get("timezone")).unwrap_or(default_zone);
        let overlap = self.choice(fields, "overlap", &OVERLAPS);
        let catch_up = self.choice(fields, "catchUp", &CATCH_UPS);
        let input = fields.get("input").and_then(|input| self.input(input));
        let expression = self.rate(fields.get("rate"), timezone)?;
        let binding = Binding::new(spec.id, expression, timezone);
        Some(Binding {
            overlap: overlap.unwrap_or(binding.overlap),
            catch_up: catch_up.unwrap_or(binding.catch_up),
            input,
            ..binding
        })
    }

    fn rate(&mut self, value: Option<&Value>, zone: Tz) -> Option<Expression> {
        match value {
            Some(Value::String(text)) => self.expression(&["rate"], text, zone),
            Some(Value::Array(_)) => {
                let help = "write one entry under \"events\" for each expression";
                self.mistake(&["rate"], "\"rate\" is one expression, not a list".into(), help.into());
                None
            }
            Some(other) => {
                let what = format!("\"rate\" is an expression, not {}", kind_of(other));
                self.mistake(&["rate"], what, format!("write it in quotes, {EXAMPLES}"));
                None
            }
            None => {
                self.mistake(
                    &[],
                    "\"rate\" is missing".into(),
                    format!("add an expression, {EXAMPLES}"),
                );
                None
            }
        }
    }

    /// An expression that means any time at all, past or future: `cron(0 0 31 2 ? *)` does not.
    fn expression(&mut self, path: &[&str], text: &str, zone: Tz) -> Option<Expression> {
        let beginning = DateTime::<Utc>::MIN_UTC;
        match Expression::parse(text) {
            Ok(expression) if expression.next_after(beginning, zone).is_some() => Some(expression),
            Ok(expression) => {
                let help = match expression.slot_after(beginning, zone) {
                    Some(_) => {
                        format!("clocks in {zone} go forward over its time: choose another, or another \"timezone\"")
                    }
                    None => "no such day exists in any of its months and years: change one of them".to_owned(),
                };
                self.mistake(path, format!("the schedule \"{text}\" never fires"), help);
                None
            }
            Err(error) => {
                for problem in error.problems {
                    self.mistake(
                        path,
                        format!("invalid schedule expression: {}", problem.what),
                        problem.help,
                    );
                }
                None
            }
        }
    }

    fn timezone(&mut self, value: Option<&Value>) -> Option<Tz> {
        let (what, help) = match value? {
            Value::String(name) => match parse_zone(name) {
                Ok(zone) => return Some(zone),
                Err(help) => (format!("\"{name}\" is not a known time zone"), help),
            },
            other => (
                format!("\"timezone\" is a name, not {}", kind_of(other)),
                "use a name as \"Europe/Paris\"".into(),
            ),
        };
        self.mistake(&["timezone"], what, help);
        None
    }

    fn choice<T: Copy>(&mut self, fields: &Map<String, Value>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = fields.get(key)?;
        let chosen = choices.iter().find(|(word, _)| value.as_str() == Some(word));
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let help = suggest(value.as_str().unwrap_or_default(), words.iter().copied())
                .unwrap_or_else(|| format!("use one of: {}", words.join(", ")));
            self.mistake(&[key], format!("{value} is not allowed for \"{key}\""), help);
        }
        chosen.map(|(_, choice)| *choice)
    }

    fn input(&mut self, value: &Value) -> Option<Bytes> {
        let text = value.to_string();
        if text.len() > limits::ASYNC_PAYLOAD {
            let what = format!("\"input\" has {} bytes as JSON", text.len());
            self.mistake(
                &["input"],
                what,
                format!("an event may have {} bytes", limits::ASYNC_PAYLOAD),
            );
        }
        Some(text.into())
    }

    /// The fields of an object, all keys of which must be among `keys`.
    fn object<'v>(&mut self, value: &'v Value, wanted: &str, keys: &[&str]) -> Option<&'v Map<String, Value>> {
        let Value::Object(fields) = value else {
            let help = format!("the keys are: {}", keys.join(", "));
            self.mistake(&[], format!("{wanted}, not {}", kind_of(value)), help);
            return None;
        };
        for key in fields.keys().filter(|key| !keys.contains(&key.as_str())) {
            let help = match key.as_str() {
                "enabled" | "name" | "filter" | "invoke" => "write it beside \"schedule\", not within".to_owned(),
                "cron" | "at" | "expression" => "write the expression under \"rate\", whatever its form".to_owned(),
                _ => suggest(key, keys.iter().copied()).unwrap_or_else(|| format!("the keys are: {}", keys.join(", "))),
            };
            self.mistake(&[key], format!("unknown key \"{key}\""), help);
        }
        Some(fields)
    }

    fn mistake(&mut self, path: &[&str], message: String, help: String) {
        let path = path.iter().map(|key| PathStep::from(*key)).collect();
        self.errors.push(SpecError {
            place: self.place.clone(),
            path,
            message,
            help: Some(help),
        });
    }
}

impl Binding {
    fn new(id: BindingId, expression: Expression, timezone: Tz) -> Self {
        Self {
            id,
            expression,
            timezone,
            overlap: Overlap::Skip,
            catch_up: CatchUp::Last,
            input: None,
        }
    }
}

/// The zone, or what to do about its name.
fn parse_zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| {
        let names = TZ_VARIANTS.iter().map(|zone| zone.name());
        suggest(name, names).unwrap_or_else(|| "use an IANA name, as \"Europe/Paris\" or \"UTC\"".to_owned())
    })
}

/// "did you mean", when one of the words is near enough.
fn suggest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(text, words).map(|word| format!("did you mean \"{word}\"?"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

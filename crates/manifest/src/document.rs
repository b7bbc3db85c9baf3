//! The sections of the manifest, as people write them.

use std::borrow::Cow;

use hikigane_model::{InvokeMode, LogFormat, LogLevel, SandboxMode, limits};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::destination::Destination;
use crate::diagnostic::Problems;
use crate::section::{Flag, FromNode, List, NamePattern, Named, OneOf, Spanned, Word, entries, mismatch, section};
use crate::units::{Count, Megabytes, Seconds};
use crate::url::Url;
use crate::yaml::{Entry, Kind, Node};

type Timeout = Seconds<{ limits::TIMEOUT.0 }, { limits::TIMEOUT.2 }>;
type Memory = Megabytes<{ limits::MEMORY.0 }, { limits::MEMORY.2 }>;
type Storage = Megabytes<{ limits::EPHEMERAL_STORAGE.0 }, { limits::EPHEMERAL_STORAGE.1 }>;
type Account = Count<1, { limits::MAX_ACCOUNT_CONCURRENCY }>;
type Reservation = Count<0, { limits::MAX_ACCOUNT_CONCURRENCY - limits::UNRESERVED_CONCURRENCY }>;
type Provision = Count<1, { limits::MAX_ACCOUNT_CONCURRENCY - limits::UNRESERVED_CONCURRENCY }>;
type Retries = Count<0, { limits::RETRIES }>;
type EventAge = Seconds<{ limits::EVENT_AGE.0 }, { limits::EVENT_AGE.1 }>;

section! {
    /// A manifest of Hikigane: functions, the events that run them, and the settings of the triggers.
    Document {
        /// What this set of functions is called.
        "service" => service: String,
        /// Settings for every function that does not have its own.
        "defaults" => defaults: Defaults,
        /// The functions, by name: 1 to 64 letters, digits, `-` and `_`.
        "functions" => functions: Named<Function>,
        /// The settings of the triggers themselves, by kind.
        "sources" => sources: Sources,
        /// The access keys that requests to the endpoint must be signed with: a list, or the path of a file in the format of AWS's
        /// `credentials` files. Unless set, the endpoint asks for no signature and is open on loopback only.
        "accessKeys" => access_keys: AccessKeys,
        /// `required`: start only where the kernel gives the whole sandbox. `auto` unless set: what is missing is a warning.
        "sandbox" => sandbox: OneOf<SandboxMode>,
        /// An S3 service, as `http://127.0.0.1:9100`: code that is deployed from a bucket which is none of `sources.s3` is fetched from there, unsigned.
        "s3Endpoint" => s3_endpoint: String,
        /// Invocations of all functions that may run at once. 1000 unless set, as of an account on AWS.
        "accountConcurrency" => account_concurrency: Account,
    }
    required: ["functions"]
    later: ["layers"]
    elsewhere: ["provider" => "defaults", "Globals" => "defaults", "Resources" => "functions"]
}

section! {
    /// Settings for every function that does not have its own.
    Defaults {
        /// The runtime: `nodejs22.x` unless set.
        "runtime" => runtime: String,
        /// After this long an invocation is killed: 1 to 900 seconds, as `30s`, `5m` or a number. 3 seconds unless set.
        "timeout" => timeout: Timeout,
        /// Memory: 128 to 10240 MB, as `256MB`, `1GB` or a number. 128 unless set.
        "memory" => memory: Memory,
        /// The time zone of schedules, an IANA name such as `Europe/Paris`.
        "timezone" => timezone: String,
        /// Environment variables. A function's own are added; of one name, the function's wins.
        "env" => env: Named<Variable>,
        /// What the sandbox opens. A list of the function's own replaces the list of the same name here.
        "allow" => allow: Allow,
    }
    elsewhere: ["environment" => "env", "memorySize" => "memory"]
}

section! {
    /// A function: code and how to run it.
    Function {
        /// A directory, a `.zip`, or one `.js`, `.mjs`, `.cjs` or `.ts` file; relative to the manifest.
        "code" => code: String,
        /// Directories and `.zip` files that the function sees merged at `/opt`; a later one wins. At most 5; relative to the manifest.
        "layers" => layers: List<String>,
        /// `file.export`. Unless set: `index.handler` for a directory; for a single file, its name and `handler`.
        "handler" => handler: String,
        /// What it is for, in one line.
        "description" => description: String,
        /// The runtime: `nodejs22.x` unless set.
        "runtime" => runtime: String,
        /// After this long an invocation is killed: 1 to 900 seconds, as `30s`, `5m` or a number. 3 seconds unless set.
        "timeout" => timeout: Timeout,
        /// Memory: 128 to 10240 MB, as `256MB`, `1GB` or a number. 128 unless set.
        "memory" => memory: Memory,
        /// Size of the function's own `/tmp`: 512 to 10240 MB. 512 unless set.
        "ephemeralStorage" => ephemeral_storage: Storage,
        /// Concurrency set aside for this function, and its cap. 0 switches the function off.
        "reservedConcurrency" => reserved_concurrency: Reservation,
        /// Environments that are initialised ahead and kept, whether or not anything is invoked. Part of what is reserved.
        "provisionedConcurrency" => provisioned_concurrency: Provision,
        /// Environment variables.
        "env" => env: Named<Variable>,
        /// What the sandbox opens: nothing, unless listed.
        "allow" => allow: Allow,
        /// How asynchronous events are retried, and who is told of their ends.
        "async" => asynchronous: Asynchronous,
        /// Its own HTTP address.
        "url" => url: Url,
        /// The format of log lines.
        "logFormat" => log_format: OneOf<LogFormat>,
        /// The least level of the function's own lines that is logged, with `logFormat: json`. `info` unless set.
        "logLevel" => log_level: OneOf<LogLevel>,
        /// What runs the function: each item has one trigger's kind as a key.
        "events" => events: List<EventItem>,
    }
    required: ["code"]
    elsewhere: [
        "environment" => "env",
        "memorySize" => "memory",
        "ephemeralStorageSize" => "ephemeralStorage",
        "maximumRetryAttempts" => "async: { retries: ... }",
        "maximumEventAge" => "async: { maxAge: ... }",
        "CodeUri" => "code"
    ]
}

section! {
    /// An access key.
    AccessKeyItem {
        /// Its name, `AWS_ACCESS_KEY_ID` of a client: letters, digits, `-` and `_`.
        "id" => id: String,
        /// What signs requests, `AWS_SECRET_ACCESS_KEY` of a client: at least 16 characters. Better a variable, `${env:NAME}`.
        "secret" => secret: String,
    }
    required: ["id", "secret"]
    elsewhere: ["accessKeyId" => "id", "secretAccessKey" => "secret", "aws_access_key_id" => "id", "aws_secret_access_key" => "secret"]
}

/// `accessKeys:`, a list or the path of a file.
#[derive(Debug)]
pub(crate) enum AccessKeys {
    List(List<AccessKeyItem>),
    File(String),
}

impl FromNode for AccessKeys {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.scalar() {
            Some(scalar) if scalar.kind == Kind::Text || scalar.interpolated => Some(Self::File(scalar.text.clone())),
            Some(_) => mismatch(
                node,
                "a list of access keys, or the path of a file",
                "write `- { id: ..., secret: ... }`",
                problems,
            ),
            None => List::from_node(node, problems).map(Self::List),
        }
    }
}

impl JsonSchema for AccessKeys {
    fn schema_name() -> Cow<'static, str> {
        "AccessKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "string"},
            {"type": "array", "minItems": 1, "items": generator.subschema_for::<AccessKeyItem>()},
        ]})
    }
}

section! {
    /// What a function may reach outside its code and its `/tmp`.
    Allow {
        /// Directories and files it may read; relative to the manifest.
        "read" => read: List<String>,
        /// Directories it may write (and read); relative to the manifest.
        "write" => write: List<String>,
        /// Hosts it may connect to: `host`, `host:port`, a block of addresses as `10.0.0.0/8`; `"*"` opens the network.
        "net" => net: List<String>,
    }
}

section! {
    /// How asynchronous events of a function are retried, and who is told of their ends.
    Asynchronous {
        /// Retries after a function error: 0 to 2. 2 unless set.
        "retries" => retries: Retries,
        /// An older event is not tried again: 60 seconds to 6 hours. 6 hours unless set.
        "maxAge" => max_age: EventAge,
        /// Gets the record of an event that was given up: `function:NAME`, or an ARN.
        "onFailure" => on_failure: Destination,
        /// Gets the record of an invocation that succeeded: `function:NAME`, or an ARN.
        "onSuccess" => on_success: Destination,
    }
    later: ["deadLetter"]
    elsewhere: ["maximumRetryAttempts" => "retries", "maximumEventAge" => "maxAge"]
}

section! {
    /// What every event may have beside its trigger.
    EventKeys {
        /// The binding's name; history follows it. Needed where a function has two events of one kind, unless these are known by themselves, as routes are.
        "name" => name: String,
        /// An EventBridge event pattern: other events are not delivered.
        "filter" => filter: Raw,
        /// Whether the trigger waits for the result.
        "invoke" => invoke: OneOf<InvokeMode>,
        /// `false` switches the event off.
        "enabled" => enabled: Flag,
    }
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::JSON)];
}

impl Word for LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("trace", Self::Trace),
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("fatal", Self::Fatal),
    ];
}

impl Word for SandboxMode {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("required", Self::Required)];
}

impl Word for InvokeMode {
    const WORDS: &'static [(&'static str, Self)] = &[("sync", Self::Sync), ("async", Self::Async)];
}

impl NamePattern for Function {
    const NAME: &'static str = "^[A-Za-z0-9_-]{1,64}$";
}

impl NamePattern for Variable {
    const NAME: &'static str = "^[A-Za-z][A-Za-z0-9_]+$";
}

/// The value of an environment variable: text, or a number or boolean as it is written.
#[derive(Debug)]
pub(crate) struct Variable(pub(crate) String);

impl FromNode for Variable {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.scalar() {
            Some(scalar) if scalar.kind != Kind::Null => Some(Self(scalar.text.clone())),
            Some(_) => {
                problems
                    .error(node.span, "the variable has no value")
                    .help("write \"\" for an empty one");
                None
            }
            None => mismatch(node, "text", "an environment variable is one text", problems),
        }
    }
}

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// Anything; read later by somebody who knows what it is.
#[derive(Debug, Clone)]
pub(crate) struct Raw(pub(crate) Node);

impl FromNode for Raw {
    fn from_node(node: &Node, _: &mut Problems) -> Option<Self> {
        Some(Self(node.clone()))
    }
}

impl JsonSchema for Raw {
    fn schema_name() -> Cow<'static, str> {
        "Raw".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// One item of `events:`. Which keys it has depends on the plug-ins: [`schema()`](crate::schema()) fills its definition in.
#[derive(Debug)]
pub(crate) struct EventItem(pub(crate) Node);

/// `sources:`. As for [`EventItem`], its keys are the plug-ins'.
#[derive(Debug)]
pub(crate) struct Sources(pub(crate) Vec<(Spanned<String>, Node)>);

impl FromNode for EventItem {
    fn from_node(node: &Node, _: &mut Problems) -> Option<Self> {
        Some(Self(node.clone()))
    }
}

impl FromNode for Sources {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let source = |entry: &Entry| {
            (
                Spanned {
                    span: entry.key_span,
                    value: entry.key.clone(),
                },
                entry.node.clone(),
            )
        };
        Some(Self(entries(node, problems)?.iter().map(source).collect()))
    }
}

impl JsonSchema for EventItem {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
    }
}

impl JsonSchema for Sources {
    fn schema_name() -> Cow<'static, str> {
        "Sources".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["object", "null"]})
    }
}

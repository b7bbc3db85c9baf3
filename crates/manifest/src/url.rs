//! Function URLs.

use std::borrow::Cow;

use hikigane_model::{self as model, FunctionUrl, UrlAuth, UrlMode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::Problems;
use crate::section::{Flag, FromNode, List, OneOf, Setting, Spanned, Word, section};
use crate::units::Seconds;
use crate::yaml::{Node, Value};

section! {
    /// The function's own HTTP address.
    Url {
        /// Who may call it: `none`: everybody; `iam`: who signs requests.
        "auth" => auth: OneOf<UrlAuth>,
        /// What pages of other sites may do with it: everything (`true`), or what is listed. Unless set, the function answers them itself.
        "cors" => cors: Sharing,
        /// How the answer gets to the caller: `buffered`, when it is whole; `response_stream`, as the function writes it. `buffered` unless set.
        "invokeMode" => invoke_mode: OneOf<UrlMode>,
    }
    required: ["auth"]
    elsewhere: ["authorizer" => "auth", "authType" => "auth", "AuthType" => "auth", "InvokeMode" => "invokeMode", "Cors" => "cors"]
}

section! {
    /// What pages of other sites may do with a function URL.
    Cors {
        /// Whether cookies and credentials may come along.
        "allowCredentials" => allow_credentials: Flag,
        /// The request headers that they may set; `"*"`: any.
        "allowHeaders" => allow_headers: List<String>,
        /// The methods that they may use; `"*"`: any.
        "allowMethods" => allow_methods: List<String>,
        /// Their origins, as `https://example.com`; `"*"`: any.
        "allowOrigins" => allow_origins: List<String>,
        /// The response headers that they may read.
        "exposeHeaders" => expose_headers: List<String>,
        /// How long a browser may remember all this: at most a day.
        "maxAge" => max_age: Seconds<0, 86_400>,
    }
    elsewhere: ["allowedOrigins" => "allowOrigins", "allowedHeaders" => "allowHeaders", "allowedMethods" => "allowMethods", "exposedResponseHeaders" => "exposeHeaders"]
}

/// `true`, `false`, or what is allowed.
#[derive(Debug)]
pub(crate) enum Sharing {
    Whole(bool),
    Listed(Box<Cors>),
}

impl Word for UrlAuth {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Self::None), ("iam", Self::Iam)];
}

impl Word for UrlMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("buffered", Self::Buffered), ("response_stream", Self::ResponseStream)];
}

impl FromNode for Sharing {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &*node.value {
            Value::Mapping(_) => Cors::from_node(node, problems).map(|cors| Self::Listed(Box::new(cors))),
            _ => Flag::from_node(node, problems).map(|Flag(whole)| Self::Whole(whole)),
        }
    }
}

impl JsonSchema for Sharing {
    fn schema_name() -> Cow<'static, str> {
        "Sharing".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Flag>(), generator.subschema_for::<Cors>()]})
    }
}

/// The URL that a section declares.
pub(crate) fn read(section: &Spanned<Url>, problems: &mut Problems) -> Option<FunctionUrl> {
    let url = &section.value;
    if let Setting::Missing = url.auth {
        problems
            .error(section.span, "the URL does not say who may call it")
            .help("add `auth: none` for everybody, or `auth: iam`");
    }
    Some(FunctionUrl {
        auth_type: url.auth.value()?.0,
        cors: url.cors.value().and_then(cors),
        invoke_mode: url.invoke_mode.value().map(|mode| mode.0),
    })
}

fn cors(sharing: &Sharing) -> Option<model::Cors> {
    let list = |setting: &Setting<List<String>>| setting.value().map(List::values);
    let any = || Some(vec!["*".to_owned()]);
    match sharing {
        Sharing::Whole(false) => None,
        Sharing::Whole(true) => Some(model::Cors {
            allow_headers: any(),
            allow_methods: any(),
            allow_origins: any(),
            ..model::Cors::default()
        }),
        Sharing::Listed(cors) => Some(model::Cors {
            allow_credentials: cors.allow_credentials.value().map(|flag| flag.0),
            allow_headers: list(&cors.allow_headers),
            allow_methods: list(&cors.allow_methods),
            allow_origins: list(&cors.allow_origins),
            expose_headers: list(&cors.expose_headers),
            max_age: cors.max_age.value().map(|age| age.0),
        }),
    }
}

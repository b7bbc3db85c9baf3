//! Function URLs.

use std::borrow::Cow;

use hikigane_model::{self as model, FunctionUrl, UrlAuth, UrlMode};
use hikigane_trigger::PathStep;
use hikigane_trigger::proxy::cors::check;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::{Problems, Span};
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
        /// Their origins, as `https://example.com`; `"*"`: any; `"https://*"` and `"http://*"`: any of the scheme.
        "allowOrigins" => allow_origins: List<String>,
        /// The response headers that they may read.
        "exposeHeaders" => expose_headers: List<String>,
        /// How long a browser may remember all this: at most a day.
        "maxAge" => max_age: Seconds<0, { model::Cors::LONGEST_AGE }>,
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
    let cors = url.cors.given().and_then(|sharing| cors(sharing, problems));
    Some(FunctionUrl {
        auth_type: url.auth.value()?.0,
        cors,
        invoke_mode: url.invoke_mode.value().map(|mode| mode.0),
    })
}

fn cors(sharing: &Spanned<Sharing>, problems: &mut Problems) -> Option<model::Cors> {
    let list = |setting: &Setting<List<String>>| setting.value().map(List::values);
    match &sharing.value {
        Sharing::Whole(false) => None,
        Sharing::Whole(true) => Some(model::Cors::everything()),
        Sharing::Listed(section) => {
            let cors = model::Cors {
                allow_credentials: section.allow_credentials.value().map(|flag| flag.0),
                allow_headers: list(&section.allow_headers),
                allow_methods: list(&section.allow_methods),
                allow_origins: list(&section.allow_origins),
                expose_headers: list(&section.expose_headers),
                max_age: section.max_age.value().map(|age| age.0),
            };
            for mistake in check(&cors) {
                let span = section.place(&mistake.path).unwrap_or(sharing.span);
                problems.error(span, mistake.message).help(mistake.help);
            }
            Some(cors)
        }
    }
}

impl Cors {
    /// Where a mistake stands.
    fn place(&self, path: &[PathStep]) -> Option<Span> {
        let [PathStep::Key(key), rest @ ..] = path else {
            return None;
        };
        let list = match key.as_str() {
            "allowCredentials" => return self.allow_credentials.given().map(|flag| flag.span),
            "allowMethods" => self.allow_methods.given()?,
            "allowOrigins" => self.allow_origins.given()?,
            _ => return None,
        };
        match rest {
            [PathStep::Index(index)] => list.value.0.get(*index).map(|item| item.span),
            _ => Some(list.span),
        }
    }
}

//! What a failed `import()` rejects with: Node.js's error, of its class and with its code.
//!
//! deno_core makes one kind of error of whatever a loader tells, with one code. An error that a module throws is passed on as it is; so what
//! cannot be imported is answered with a module that throws. Only for what `import()` itself names: a module that others import from by name
//! must be what it is, and there deno_core's error stands.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use deno_core::url::Url;
use deno_error::{AdditionalProperties, JsErrorBox, JsErrorClass, PropertyValue};

/// The scheme of modules that are not there.
const SCHEME: &str = "hikigane-failed";

/// Failures that `import()` has not been told of yet, by the names of the modules that stand for them.
#[derive(Default)]
pub struct ImportErrors(RefCell<HashMap<Url, JsErrorBox>>);

impl ImportErrors {
    /// A module that stands for a failure to resolve. A failure that repeats itself has the same one.
    pub fn stand_in(&self, specifier: &str, referrer: &Url, error: JsErrorBox) -> Result<Url, JsErrorBox> {
        let Ok(mut module) = Url::parse(&format!("{SCHEME}:import")) else {
            return Err(error);
        };
        module
            .query_pairs_mut()
            .append_pair("of", specifier)
            .append_pair("from", referrer.as_str())
            .append_pair("is", &error.get_message());
        self.0.borrow_mut().insert(module.clone(), error);
        Ok(module)
    }

    /// The failure that a module stands for, if it does.
    pub fn of(&self, module: &Url) -> Option<JsErrorBox> {
        if module.scheme() != SCHEME {
            return None;
        }
        let error = self.0.borrow_mut().remove(module);
        Some(error.unwrap_or_else(|| JsErrorBox::generic(format!("{module} stands for no failure"))))
    }
}

/// A module that cannot be imported, with Node.js's code for the reason.
#[derive(Debug)]
pub struct Refused {
    /// `ERR_..`
    pub code: &'static str,
    /// Why.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl JsErrorClass for Refused {
    fn get_class(&self) -> Cow<'static, str> {
        class_of("Error", Some(self.code)).into()
    }

    fn get_message(&self) -> Cow<'static, str> {
        self.message.clone().into()
    }

    fn get_additional_properties(&self) -> AdditionalProperties {
        Box::new(std::iter::once(("code".into(), self.code.into())))
    }

    fn get_ref(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }
}

/// The source of a module that throws an error.
pub fn throwing(error: &JsErrorBox) -> String {
    let code = error
        .get_additional_properties()
        .find(|(name, _)| name == "code")
        .and_then(|(_, value)| match value {
            PropertyValue::String(code) => Some(code),
            PropertyValue::Number(_) => None,
        });
    // Deno's crates put the code before the message, and URLs where Node.js has paths.
    let whole = error.get_message().replace("file://", "");
    let message = match &code {
        Some(code) => whole.strip_prefix(&format!("[{code}] ")).unwrap_or(&whole),
        None => &whole,
    };
    let class = class_of(&error.get_class(), code.as_deref());
    let title = match &code {
        Some(code) => format!("{class} [{code}]: {message}"),
        None => format!("{class}: {message}"),
    };
    let text = |text: &str| serde_json::Value::from(text).to_string();
    // deno_core makes its own error of one whose stack was never looked at.
    format!(
        "const error = new {class}({}); error.stack; {}error.stack = {}; throw error;",
        text(message),
        code.map_or_else(String::new, |code| format!("error.code = {}; ", text(&code))),
        text(&title)
    )
}

/// Node.js's class of an error with this code (Node.js, lib/internal/errors.js).
fn class_of(class: &str, code: Option<&str>) -> &'static str {
    match code {
        Some(
            "ERR_IMPORT_ATTRIBUTE_MISSING"
            | "ERR_INVALID_FILE_URL_PATH"
            | "ERR_INVALID_MODULE_SPECIFIER"
            | "ERR_PACKAGE_IMPORT_NOT_DEFINED"
            | "ERR_UNKNOWN_FILE_EXTENSION",
        ) => "TypeError",
        None if class == "SyntaxError" => "SyntaxError",
        None if class == "TypeError" => "TypeError",
        _ => "Error",
    }
}

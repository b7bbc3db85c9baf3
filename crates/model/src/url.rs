//! Function URLs: a function's own HTTP address.

use serde::{Deserialize, Serialize};

/// How a function's URL answers (AWS: `FunctionUrlConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FunctionUrl {
    /// Who may call it.
    pub auth_type: UrlAuth,
    /// What pages of other sites may do with it; `None`: the function answers them itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// How the function's answer gets to the caller; `None`: at once, when it is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoke_mode: Option<UrlMode>,
}

/// Who may call a function URL (AWS: `FunctionUrlAuthType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UrlAuth {
    /// Everybody.
    #[serde(rename = "NONE")]
    None,
    /// Who signs requests with known credentials.
    #[serde(rename = "AWS_IAM")]
    Iam,
}

/// How the answer gets to the caller (AWS: `InvokeMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UrlMode {
    /// When it is whole.
    #[default]
    Buffered,
    /// As the function writes it.
    ResponseStream,
}

/// What pages of other sites may do (AWS: `Cors`). What is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    /// Whether cookies and credentials may come along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// The request headers that they may set; `*`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_headers: Option<Vec<String>>,
    /// The methods that they may use; `*`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_methods: Option<Vec<String>>,
    /// Their origins; `*`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_origins: Option<Vec<String>>,
    /// The response headers that they may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose_headers: Option<Vec<String>>,
    /// How long a browser may remember all this, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

impl Cors {
    /// The longest that a browser may remember it, seconds (AWS: `Cors` of Lambda and of API Gateway).
    pub const LONGEST_AGE: u32 = 86_400;

    /// Every site may read every answer, whatever it asks; cookies and credentials stay at home.
    pub fn everything() -> Self {
        let any = || Some(vec!["*".to_owned()]);
        Self {
            allow_headers: any(),
            allow_methods: any(),
            allow_origins: any(),
            ..Self::default()
        }
    }
}

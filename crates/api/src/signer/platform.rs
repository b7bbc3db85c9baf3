//! The one platform.

use serde_json::{Value, json};

use super::invalid;
use crate::error::ApiError;
use crate::shapes::Input;

/// What code of Lambda functions is signed for.
pub const PLATFORM: &str = "AWSLambda-SHA384-ECDSA";
/// How AWS shows it.
pub const DISPLAY_NAME: &str = "AWS Lambda";

pub fn get(input: &Input) -> Result<Value, ApiError> {
    known(input.text("platformId"))?;
    Ok(shown())
}

pub fn list() -> Result<Value, ApiError> {
    Ok(json!({"platforms": [shown()]}))
}

/// Refuses other platforms.
pub fn known(platform: &str) -> Result<(), ApiError> {
    if platform == PLATFORM {
        return Ok(());
    }
    Err(invalid(format!(
        "Signing platform {platform} is not there: use {PLATFORM}"
    )))
}

/// AWS's description of it.
fn shown() -> Value {
    json!({
        "platformId": PLATFORM,
        "displayName": DISPLAY_NAME,
        "partner": "AWSLambda",
        "target": "SHA384-ECDSA",
        "category": "AWS",
        "signingConfiguration": {
            "encryptionAlgorithmOptions": {"allowedValues": ["ECDSA"], "defaultValue": "ECDSA"},
            "hashAlgorithmOptions": {"allowedValues": ["SHA384"], "defaultValue": "SHA384"},
        },
        "signingImageFormat": {"supportedFormats": ["JSONDetached"], "defaultFormat": "JSONDetached"},
        "maxSizeInMB": 250,
        "revocationSupported": true,
    })
}

//! A worker's answers as outcomes.

use bytes::Bytes;
use hikigane_model::{FunctionError, Outcome, limits};

/// A result within Lambda's response limit; over it, Lambda's error (recorded from AWS).
pub(crate) fn returned(payload: Bytes) -> Outcome {
    if payload.len() <= limits::RESPONSE_PAYLOAD {
        return Outcome::Returned(payload);
    }
    failed(too_large())
}

/// Lambda's error JSON for an answer that is too large.
pub fn too_large() -> Bytes {
    let message = format!(
        "Response payload size exceeded maximum allowed payload size ({} bytes).",
        limits::RESPONSE_PAYLOAD
    );
    let json = serde_json::json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message});
    json.to_string().into()
}

/// A worker's error JSON as an outcome.
pub(crate) fn failed(json: Bytes) -> Outcome {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    match serde_json::from_slice::<Typed>(&json) {
        Ok(Typed { error_type }) => Outcome::Failed(FunctionError { error_type, json }),
        Err(_) => {
            let json =
                serde_json::json!({"errorType": "Error", "errorMessage": String::from_utf8_lossy(&json), "trace": []})
                    .to_string();
            Outcome::Failed(FunctionError {
                error_type: "Error".into(),
                json: json.into(),
            })
        }
    }
}

/// Whole MB, rounded up.
pub(crate) fn mebibytes(kib: u32) -> u32 {
    kib.div_ceil(1024)
}

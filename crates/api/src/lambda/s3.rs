//! Code that lies in buckets: those of this server's own triggers, or of an S3 service elsewhere.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use hikigane_trigger::{ObjectError, ObjectStore};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::ApiError;

/// How long a service may take to connect, and to begin its answer.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// How much of an error's body is read, bytes.
const ERROR: u64 = 64 * 1024;
/// What stays as it is in the path of a request (RFC 3986, unreserved characters).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where objects are looked for.
pub struct Buckets {
    own: Vec<Arc<dyn ObjectStore>>,
    /// `http://host:port`.
    endpoint: Option<String>,
}

/// An object that is named in a request.
pub struct Object {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

impl Buckets {
    pub fn new(own: Vec<Arc<dyn ObjectStore>>, endpoint: Option<String>) -> Self {
        Self { own, endpoint }
    }

    /// Opens an object: in the first of the server's own sources that has the bucket, or else at the endpoint. Blocks.
    pub fn open(&self, object: &Object) -> Result<Box<dyn Read + Send>, ApiError> {
        for store in &self.own {
            match store.open(&object.bucket, &object.key) {
                Err(ObjectError::NoSuchBucket) => {}
                // A directory has no versions of its files.
                Ok(_) if object.version.is_some() => return Err(no_version()),
                Ok(file) => return Ok(Box::new(file)),
                Err(ObjectError::NoSuchKey) => return Err(no_key()),
                Err(ObjectError::Unavailable(error)) => {
                    return Err(unavailable(format!("the object cannot be read: {error}")));
                }
            }
        }
        match &self.endpoint {
            Some(endpoint) => get(endpoint, object),
            None => Err(no_bucket()),
        }
    }

    /// Puts an object into one of the server's own buckets. Blocks.
    pub fn put(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), ApiError> {
        let put_object = |code: &str, message: &str| {
            ApiError::invalid(format!(
                "Error occurred while PutObject. S3 Error Code: {code}. S3 Error Message: {message}"
            ))
        };
        for store in &self.own {
            match store.put(bucket, key, content) {
                Err(ObjectError::NoSuchBucket) => {}
                Ok(()) => return Ok(()),
                Err(ObjectError::NoSuchKey) => {
                    return Err(put_object(
                        "InvalidArgument",
                        "The key is none that this bucket can have.",
                    ));
                }
                Err(ObjectError::Unavailable(error)) => {
                    return Err(unavailable(format!("the object cannot be written: {error}")));
                }
            }
        }
        Err(put_object(
            "NoSuchBucket",
            "The specified bucket does not exist: objects are put into buckets of the manifest only",
        ))
    }
}

/// S3's GetObject, unsigned.
fn get(endpoint: &str, object: &Object) -> Result<Box<dyn Read + Send>, ApiError> {
    let segments: Vec<&str> = object.key.split('/').collect();
    // What is on the way might take them for steps.
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(no_key());
    }
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let key: Vec<String> = segments.iter().map(|segment| encoded(segment)).collect();
    let mut url = format!("{endpoint}/{}/{}", encoded(&object.bucket), key.join("/"));
    if let Some(version) = &object.version {
        url.push_str(&format!("?versionId={}", encoded(version)));
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(PATIENCE.0))
        .timeout_recv_response(Some(PATIENCE.1))
        .build()
        .into();
    let answer = agent.get(&url).call().map_err(|error| {
        unavailable(format!(
            "the S3 service at {endpoint} (s3Endpoint) does not answer: {error}"
        ))
    })?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body().into_reader();
    if status == 200 {
        return Ok(Box::new(body));
    }
    let mut error = String::new();
    let _ = Read::by_ref(&mut body).take(ERROR).read_to_string(&mut error);
    let element = |name: &str| {
        let (_, rest) = error.split_once(&format!("<{name}>"))?;
        rest.split_once('<').map(|(text, _)| text)
    };
    match (status, element("Code"), element("Message")) {
        (_, Some("NoSuchBucket"), _) => Err(no_bucket()),
        (_, Some("NoSuchKey"), _) | (404, None, _) => Err(no_key()),
        (400..500, Some(code), message) => Err(refused(code, message.unwrap_or_default())),
        _ => Err(unavailable(format!(
            "the S3 service at {endpoint} (s3Endpoint) answers with status {status}"
        ))),
    }
}

fn no_bucket() -> ApiError {
    refused("NoSuchBucket", "The specified bucket does not exist")
}

fn no_key() -> ApiError {
    refused("NoSuchKey", "The specified key does not exist.")
}

fn no_version() -> ApiError {
    refused("NoSuchVersion", "The specified version does not exist.")
}

/// As AWS words what S3 said (recorded).
fn refused(code: &str, message: &str) -> ApiError {
    ApiError::invalid(format!(
        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    ))
}

fn unavailable(message: String) -> ApiError {
    ApiError::new(503, "ServiceException", message)
}

//! The code that a client deploys.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_store::PackageError;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Lambda;
use crate::catalog::Code;
use crate::error::ApiError;

/// The largest zip that may be sent as such (AWS: 50 MB).
const ZIPPED: usize = 52_428_800;

/// Where code comes from: the members of `FunctionCode`, and of `UpdateFunctionCode`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CodeSource {
    /// The zip, base64.
    pub zip_file: Option<String>,
    /// The bucket of an object that is the zip.
    pub s3_bucket: Option<String>,
    /// The object's key.
    pub s3_key: Option<String>,
    /// A container image, which is accepted and never run.
    pub image_uri: Option<String>,
}

impl Lambda {
    /// Takes code in: fetched, unpacked and kept.
    pub(super) async fn take_in(self: &Arc<Self>, source: CodeSource) -> Result<Code, ApiError> {
        if let Some(image) = source.image_uri {
            return Ok(image_code(image));
        }
        let zip = self.fetch(source).await?;
        if zip.len() > ZIPPED {
            return Err(ApiError::new(
                413,
                "RequestEntityTooLargeException",
                format!("Zipped size must be smaller than {ZIPPED} bytes"),
            ));
        }
        let objects = self.objects.clone();
        let package = tokio::task::spawn_blocking(move || objects.put(&zip))
            .await
            .map_err(|error| ApiError::new(500, "ServiceException", error.to_string()))?
            .map_err(|error| refused(&error))?;
        Ok(Code {
            sha256: package.sha256,
            size: package.size,
            image: None,
            signing_profile_version: None,
            signing_job: None,
        })
    }

    /// An uploaded package, by the last part of [`Lambda::package_address`].
    pub(crate) async fn zip(self: &Arc<Self>, name: String) -> Option<std::fs::File> {
        let sha256 = name.replace('-', "+").replace('_', "/");
        let objects = self.objects.clone();
        let opened = tokio::task::spawn_blocking(move || objects.zip(&sha256).ok());
        opened.await.ok().flatten()
    }

    async fn fetch(&self, source: CodeSource) -> Result<Vec<u8>, ApiError> {
        match source {
            CodeSource {
                zip_file: Some(zip), ..
            } => BASE64_STANDARD
                .decode(zip)
                .map_err(|_| ApiError::new(400, "SerializationException", "ZipFile is not base64")),
            CodeSource {
                s3_bucket: Some(_),
                s3_key: Some(_),
                ..
            } => Err(ApiError::invalid(
                "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist",
            )),
            // AWS's words for it.
            _ => Err(ApiError::invalid("Please provide a source for function code.")),
        }
    }
}

fn image_code(image: String) -> Code {
    Code {
        sha256: Sha256::digest(&image)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        size: 0,
        image: Some(image),
        signing_profile_version: None,
        signing_job: None,
    }
}

/// A package that cannot be used, in AWS's words where it has some.
fn refused(error: &PackageError) -> ApiError {
    match error {
        PackageError::Broken(_) => {
            ApiError::invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
        }
        PackageError::Io(error) => {
            ApiError::new(503, "ServiceException", format!("the package cannot be kept: {error}"))
        }
        other => ApiError::invalid(other.to_string()),
    }
}

//! The code that a client deploys.

use std::fs::File;
use std::io;
use std::sync::Arc;

use base64::prelude::BASE64_STANDARD;
use base64::read::DecoderReader;
use hikigane_model::limits;
use hikigane_store::{PackageError, Pin};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Lambda;
use super::s3::Object;
use crate::catalog::{Code, Version};
use crate::error::ApiError;

/// Where code comes from: the members of `FunctionCode`, of `UpdateFunctionCode` and of a layer's `Content`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CodeSource {
    /// The zip, base64.
    pub zip_file: Option<String>,
    /// The bucket of an object that is the zip.
    pub s3_bucket: Option<String>,
    /// The object's key.
    pub s3_key: Option<String>,
    /// The object's version.
    pub s3_object_version: Option<String>,
    /// A container image, which is accepted and never run.
    pub image_uri: Option<String>,
}

/// Code that was taken in.
#[derive(Debug)]
pub struct Taken {
    /// As the catalog names it.
    pub code: Code,
    /// Keeps the package until the catalog does. Without it, the package goes.
    pub pin: Option<Pin>,
}

impl Lambda {
    /// Takes code in: fetched, unpacked and kept. It goes again, in a moment, unless the catalog names it when the answer's pin is dropped.
    pub(super) async fn take_in(self: &Arc<Self>, source: CodeSource) -> Result<Taken, ApiError> {
        if let Some(image) = source.image_uri {
            return Ok(Taken {
                code: image_code(image),
                pin: None,
            });
        }
        let lambda = self.clone();
        // What a package needs while it is taken in is let go of there, too: 70 MB of text.
        tokio::task::spawn_blocking(move || lambda.keep(source))
            .await
            .map_err(|error| ApiError::new(500, "ServiceException", error.to_string()))?
    }

    fn keep(&self, source: CodeSource) -> Result<Taken, ApiError> {
        let kept = match source {
            CodeSource {
                zip_file: Some(text), ..
            } => {
                let mut zip = DecoderReader::new(text.as_bytes(), &BASE64_STANDARD);
                self.objects.put(&mut zip, limits::ZIPPED)
            }
            CodeSource {
                s3_bucket: Some(bucket),
                s3_key: Some(key),
                s3_object_version: version,
                ..
            } => {
                let mut object = self.buckets.open(&Object { bucket, key, version })?;
                // AWS takes larger zips from a bucket, of files within the same limit. No zip is larger than what is in it, but for its frame.
                self.objects.put(&mut object, limits::UNZIPPED)
            }
            // AWS's words for it.
            _ => return Err(ApiError::invalid("Please provide a source for function code.")),
        };
        let package = kept.map_err(|error| refused(&error))?;
        Ok(Taken {
            code: Code {
                sha256: package.sha256,
                size: package.size,
                unzipped: package.unzipped,
                ..Code::default()
            },
            pin: Some(package.pin),
        })
    }

    /// An uploaded package, by the last part of [`Lambda::package_address`].
    pub(crate) async fn zip(self: &Arc<Self>, name: String) -> Option<File> {
        let sha256 = name.replace('-', "+").replace('_', "/");
        let objects = self.objects.clone();
        let opened = tokio::task::spawn_blocking(move || objects.zip(&sha256).ok());
        opened.await.ok().flatten()
    }

    /// Removes packages that nothing needs any more, and what an earlier server left half made. Blocks.
    pub fn collect(&self) -> io::Result<()> {
        self.objects.collect(|| self.catalog.packages())
    }

    /// Collects for as long as the server runs, after each change that may have left something behind.
    pub async fn collect_always(self: Arc<Self>) {
        loop {
            self.objects.freed().await;
            // Changes come in bursts.
            tokio::time::sleep(super::PAUSE).await;
            let lambda = self.clone();
            // What cannot be removed now is tried again after the next change.
            let _ = tokio::task::spawn_blocking(move || lambda.collect()).await;
        }
    }
}

/// Refuses a change after which more bytes are kept than AWS keeps for an account.
pub(super) fn check_storage(before: u64, after: u64) -> Result<(), ApiError> {
    if after > before && after > limits::CODE_STORAGE {
        return Err(ApiError::new(
            400,
            "CodeStorageExceededException",
            "Code storage limit exceeded.",
        ));
    }
    Ok(())
}

/// Refuses a function that is too large together with its layers (AWS's text).
pub(super) fn check_size(version: &Version) -> Result<(), ApiError> {
    let layers = version.layers.iter().map(|layer| layer.code.unzipped);
    let size = version.code.unzipped + layers.sum::<u64>();
    if size > limits::UNZIPPED {
        return Err(ApiError::invalid(format!(
            "Function code combined with layers exceeds the maximum allowed size of {} bytes. The actual size is {size} bytes.",
            limits::UNZIPPED
        )));
    }
    Ok(())
}

/// An image is known by its digest, which is asked of nobody here: made from its address, it changes when that does.
fn image_code(image: String) -> Code {
    Code {
        sha256: Sha256::digest(&image)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        image: Some(image),
        ..Code::default()
    }
}

/// A package that cannot be used, in AWS's words where it has some.
fn refused(error: &PackageError) -> ApiError {
    match error {
        PackageError::Broken(_) => {
            ApiError::invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
        }
        PackageError::ZipTooLarge(limits::ZIPPED) => {
            ApiError::new(413, "RequestEntityTooLargeException", error.to_string())
        }
        PackageError::ZipTooLarge(_) => ApiError::invalid(PackageError::TooLarge.to_string()),
        PackageError::Unreadable(error) if error.kind() == io::ErrorKind::InvalidData => {
            ApiError::new(400, "SerializationException", format!("ZipFile is not base64: {error}"))
        }
        PackageError::Unreadable(error) => {
            ApiError::new(503, "ServiceException", format!("the package broke off: {error}"))
        }
        PackageError::Io(error) => {
            ApiError::new(503, "ServiceException", format!("the package cannot be kept: {error}"))
        }
        PackageError::Entry { .. } | PackageError::TooLarge => ApiError::invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{LayerVersion, State, version_key};

    #[test]
    fn storage_is_counted_by_version_and_bounded() {
        let layer = |size: u64| LayerVersion {
            description: String::new(),
            license: None,
            runtimes: None,
            architectures: None,
            created: chrono::DateTime::UNIX_EPOCH,
            code: Code {
                size,
                ..Code::default()
            },
            policy: None,
        };
        let state = |sizes: &[u64]| {
            let mut state = State::default();
            for (number, size) in (1..).zip(sizes) {
                state.layer_versions.insert(version_key("l", number), layer(*size));
            }
            state
        };
        let half = limits::CODE_STORAGE / 2;
        let storage = |sizes: &[u64]| state(sizes).code_storage();
        assert_eq!(storage(&[half, half]), 80_530_636_800);
        assert!(check_storage(storage(&[half]), storage(&[half, half])).is_ok());
        assert!(check_storage(storage(&[half, half]), storage(&[half, half, 1])).is_err());
        assert!(
            check_storage(storage(&[half, half, half]), storage(&[half, half, 1])).is_ok(),
            "what makes it less is allowed"
        );
    }
}

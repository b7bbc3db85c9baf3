//! Functions and their versions, as they are kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hikigane_model::{LogFormat, LogLevel};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Row, UsedLayer};

/// A function: its unpublished version, and what belongs to all of its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// `$LATEST`.
    pub latest: Version,
    /// The number of the version that was published last; 0 before the first. Numbers are never given twice.
    pub last_version: u64,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The id of its code signing configuration.
    #[serde(default)]
    pub code_signing_config: Option<String>,
    /// Concurrency set aside for it, and its cap.
    #[serde(default)]
    pub reserved: Option<u32>,
    /// Environments of `$LATEST` that the manifest wants initialised ahead.
    #[serde(skip)]
    pub provisioned: Option<u32>,
    /// What becomes of invocations that go in a circle.
    #[serde(default)]
    pub recursive_loop: RecursiveLoop,
    /// It is declared in the manifest: the API shows it and changes nothing.
    #[serde(skip)]
    pub from_manifest: bool,
}

impl Row for Function {
    const KIND: &'static str = "function";
    fn is_kept(&self) -> bool {
        !self.from_manifest
    }
}

/// What becomes of invocations that go in a circle through other services (AWS: `RecursiveLoop`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecursiveLoop {
    /// They go on.
    Allow,
    /// They are stopped.
    #[default]
    Terminate,
}

/// The code and configuration of a function at a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// What it is for.
    pub description: String,
    /// Lambda's runtime identifier; none for an image.
    pub runtime: Option<String>,
    /// `file.export`; none for an image.
    pub handler: Option<String>,
    /// The ARN of its role.
    pub role: String,
    /// Seconds.
    pub timeout: u32,
    /// MB.
    pub memory: u32,
    /// Environment variables; `None` when they were never set.
    pub environment: Option<BTreeMap<String, String>>,
    /// Layer versions, in the order in which they are merged.
    pub layers: Vec<UsedLayer>,
    /// Size of `/tmp`, MB.
    pub ephemeral_storage: u32,
    /// `x86_64` or `arm64`.
    pub architectures: Vec<String>,
    /// `Zip` or `Image`.
    pub package_type: String,
    /// `PassThrough` or `Active`.
    pub tracing: String,
    /// The ARN of the dead-letter target.
    pub dead_letter: Option<String>,
    /// How it logs.
    pub logging: Logging,
    /// `None` or `PublishedVersions`.
    pub snap_start: String,
    /// What is kept and shown, and has no meaning on one machine: `VpcConfig`, `FileSystemConfigs`, `ImageConfig`, `KMSKeyArn`.
    #[serde(default)]
    pub inert: BTreeMap<String, Value>,
    /// Its code.
    pub code: Code,
    /// When its runtime is renewed.
    #[serde(default)]
    pub runtime_update: RuntimeUpdate,
    /// A UUID that changes with every change.
    pub revision: String,
    /// The revision at which code or configuration changed last, when what changed since is neither.
    #[serde(default)]
    pub edition: Option<String>,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// Where it is in its life.
    pub phase: Phase,
    /// How its last change went; `None` until the first has begun or it became active.
    pub update: Option<LastUpdate>,
}

impl Row for Version {
    const KIND: &'static str = "version";
}

impl Version {
    /// Gives it a new revision, as of now: its code or its configuration changed.
    pub fn revise(&mut self, now: DateTime<Utc>) {
        self.revision = uuid::Uuid::new_v4().to_string();
        self.edition = None;
        self.modified = now;
    }

    /// Gives it a new revision, because something changed that is not in its environments: they stay.
    pub fn touch(&mut self) {
        let revision = uuid::Uuid::new_v4().to_string();
        let before = std::mem::replace(&mut self.revision, revision);
        self.edition.get_or_insert(before);
    }

    /// Tells this state of code and configuration from every other: an environment of another is never used.
    pub fn generation(&self) -> u64 {
        let edition = self.edition.as_ref().unwrap_or(&self.revision);
        edition.parse::<uuid::Uuid>().map_or(0, |uuid| uuid.as_u64_pair().0)
    }
}

/// When the runtime of a version is renewed (AWS: `RuntimeManagementConfig`). There is one of each here, so that it is kept and shown only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeUpdate {
    /// `Auto`, `FunctionUpdate` or `Manual`.
    pub mode: String,
    /// The ARN of the version of the runtime that is wanted, with `Manual`.
    pub runtime_version: Option<String>,
}

impl Default for RuntimeUpdate {
    fn default() -> Self {
        Self {
            mode: "Auto".to_owned(),
            runtime_version: None,
        }
    }
}

/// A package of code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Code {
    /// SHA-256 of the zip, base64, as AWS shows it.
    pub sha256: String,
    /// Bytes of the zip.
    pub size: u64,
    /// Bytes of the files in it.
    #[serde(default)]
    pub unzipped: u64,
    /// The image's address, of a function that is one.
    #[serde(default)]
    pub image: Option<String>,
    /// ARN of the version of the signing profile that signed it.
    #[serde(default)]
    pub signing_profile_version: Option<String>,
    /// ARN of the job in which it was signed.
    #[serde(default)]
    pub signing_job: Option<String>,
}

/// How a function logs (AWS: `LoggingConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logging {
    /// Text or JSON.
    pub format: LogFormat,
    /// `ApplicationLogLevel`.
    pub application_level: Option<LogLevel>,
    /// `SystemLogLevel`.
    pub system_level: Option<LogLevel>,
    /// `LogGroup`.
    pub group: String,
}

/// Where a version is in its life (AWS: `State`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Being made ready; cannot be invoked yet.
    Pending,
    /// Can be invoked.
    Active,
    /// Could not be made ready.
    Failed,
}

/// How a version's last change goes (AWS: `LastUpdateStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastUpdate {
    /// Under way: the version before it is still the one that runs.
    InProgress,
    /// In force.
    Successful,
    /// Given up.
    Failed,
}

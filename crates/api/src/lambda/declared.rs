//! The functions of the manifest in the catalog.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use hikigane_model::{FunctionConfig, FunctionName, FunctionUrl, LogFormat, LogLevel, Qualifier};
use hikigane_router::EnvironmentSpec;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::answer::role_of_manifest;
use super::create::blank;
use super::{Function, Phase, State};
use crate::catalog::{Code, EventInvoke, LastUpdate, RecursiveLoop, Url, Version, qualified_key};

/// A function of the manifest.
pub struct Declared {
    /// Its configuration as it is written: where its code is.
    pub source: PathBuf,
    /// Ready to be started.
    pub spec: Arc<EnvironmentSpec>,
    /// Its URL.
    pub url: Option<FunctionUrl>,
}

/// All of them.
pub struct Functions(HashMap<FunctionName, Entry>);

struct Entry {
    declared: Declared,
    /// Size and hash of its code, taken when first asked for.
    code: OnceCell<Code>,
}

impl Functions {
    pub fn new(declared: Vec<Declared>) -> Self {
        let entry = |declared: Declared| {
            let name = declared.spec.config.name.clone();
            let code = OnceCell::new();
            (name, Entry { declared, code })
        };
        Self(declared.into_iter().map(entry).collect())
    }

    /// As rows of the catalog.
    pub fn rows(&self) -> Vec<(FunctionName, Function)> {
        let row = |(name, entry): (&FunctionName, &Entry)| (name.clone(), row(&entry.declared));
        self.0.iter().map(row).collect()
    }

    /// Adds what belongs to them to a picture of the catalog.
    pub fn declare(&self, state: &mut State) {
        for (name, Entry { declared, .. }) in &self.0 {
            let key = qualified_key(name, &Qualifier::Latest);
            let modified = modified(&declared.source);
            if let Some(config) = EventInvoke::declared(&declared.spec.config.asynchronous, modified) {
                state.event_invokes.insert(key.as_str(), config);
            }
            if let Some(config) = &declared.url {
                let url = Url {
                    id: Url::id(name.as_str()),
                    config: config.clone(),
                    created: modified,
                    modified,
                    from_manifest: true,
                };
                state.urls.insert(key, url);
            }
        }
    }

    /// What a function is started with.
    pub fn spec(&self, name: &FunctionName) -> Option<&Arc<EnvironmentSpec>> {
        self.0.get(name).map(|entry| &entry.declared.spec)
    }

    /// Where a function's code is.
    pub fn source(&self, name: &FunctionName) -> Option<&Path> {
        self.0.get(name).map(|entry| entry.declared.source.as_path())
    }

    /// Size and hash of a function's code; `None` for one that the manifest does not declare.
    pub async fn code(&self, name: &FunctionName) -> Option<Code> {
        let entry = self.0.get(name)?;
        let measured = entry.code.get_or_try_init(|| {
            let path = entry.declared.source.clone();
            tokio::task::spawn_blocking(move || measure(&path))
        });
        measured.await.ok().cloned()
    }
}

fn row(declared: &Declared) -> Function {
    let config = &declared.spec.config;
    let mut latest = Version {
        description: config.description.clone(),
        runtime: Some(config.runtime.clone()),
        handler: Some(config.handler.clone()),
        role: role_of_manifest(),
        timeout: u32::try_from(config.timeout.as_secs()).unwrap_or(u32::MAX),
        memory: config.memory_mb,
        environment: (!config.env.is_empty()).then(|| config.env.clone()),
        ephemeral_storage: config.ephemeral_storage_mb,
        revision: revision(config),
        modified: modified(&declared.source),
        phase: Phase::Active,
        update: Some(LastUpdate::Successful),
        ..blank(&config.name)
    };
    latest.logging.format = config.log_format;
    if config.log_format == LogFormat::JSON {
        latest.logging.application_level = config.log_level.or(Some(LogLevel::Info));
        latest.logging.system_level = Some(LogLevel::Info);
    }
    Function {
        latest,
        last_version: 0,
        tags: BTreeMap::from([("hikigane:declared-in".to_owned(), "manifest".to_owned())]),
        code_signing_config: None,
        reserved: config.reserved_concurrency,
        provisioned: config.provisioned_concurrency,
        recursive_loop: RecursiveLoop::default(),
        from_manifest: true,
    }
}

/// When the code was changed.
fn modified(code: &Path) -> DateTime<Utc> {
    let time = std::fs::metadata(code).and_then(|data| data.modified());
    time.map_or(DateTime::UNIX_EPOCH, DateTime::from)
}

/// A UUID that changes when the configuration does.
fn revision(config: &FunctionConfig) -> String {
    let hash = Sha256::digest(format!("{config:?}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Size and hash over all files, in order of their names; symbolic links are not followed.
fn measure(code: &Path) -> Code {
    let mut files = Vec::new();
    collect(code, &mut files);
    files.sort();
    let mut size = 0;
    let mut hash = Sha256::new();
    for file in files {
        if let Ok(bytes) = std::fs::read(&file) {
            size += bytes.len() as u64;
            let name = file.strip_prefix(code).unwrap_or(&file);
            hash.update(name.as_os_str().as_encoded_bytes());
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
    }
    Code {
        sha256: BASE64_STANDARD.encode(hash.finalize()),
        size,
        ..Code::default()
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match std::fs::symlink_metadata(path) {
        Ok(data) if data.is_file() => files.push(path.to_owned()),
        Ok(data) if data.is_dir() => {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                collect(&entry.path(), files);
            }
        }
        _ => {}
    }
}

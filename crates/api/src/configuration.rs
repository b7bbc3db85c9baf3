//! GetFunction, GetFunctionConfiguration and ListFunctions.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, Query, State};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use hikigane_model::{FunctionConfig, LogFormat, LogLevel, Qualifier, REGION, function_arn};
use hikigane_router::EnvironmentSpec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Endpoint;
use crate::error::ApiError;
use crate::invoke::Qualified;
use crate::name;

/// Most functions on one page of ListFunctions (AWS: 50).
const PAGE: usize = 50;

/// Sizes and hashes of the functions' code, taken when first asked for.
#[derive(Clone, Default)]
pub struct Packages(Arc<Mutex<HashMap<PathBuf, Package>>>);

#[derive(Clone)]
struct Package {
    size: u64,
    sha256: String,
}

/// `GET /2015-03-31/functions/{F}`.
pub async fn get_function(
    State(endpoint): State<Endpoint>,
    Path(function): Path<String>,
    Query(query): Query<Qualified>,
) -> Result<Json<Value>, ApiError> {
    let (spec, qualifier) = find(&endpoint, &function, &query)?;
    let configuration = configuration(&endpoint, &spec, qualifier.as_ref()).await;
    let mut answer = json!({
        "Configuration": configuration,
        "Code": {"RepositoryType": "S3", "Location": format!("file://{}", spec.config.code.display())},
        "Tags": {"hikigane:declared-in": "manifest"},
    });
    if let (Some(reserved), Some(answer)) = (spec.config.reserved_concurrency, answer.as_object_mut()) {
        answer.insert("Concurrency".into(), json!({"ReservedConcurrentExecutions": reserved}));
    }
    Ok(Json(answer))
}

/// `GET /2015-03-31/functions/{F}/configuration`.
pub async fn get_function_configuration(
    State(endpoint): State<Endpoint>,
    Path(function): Path<String>,
    Query(query): Query<Qualified>,
) -> Result<Json<Value>, ApiError> {
    let (spec, qualifier) = find(&endpoint, &function, &query)?;
    Ok(Json(configuration(&endpoint, &spec, qualifier.as_ref()).await))
}

/// The query of ListFunctions.
#[derive(Debug, serde::Deserialize)]
pub struct Page {
    #[serde(rename = "Marker")]
    marker: Option<String>,
    #[serde(rename = "MaxItems")]
    max_items: Option<usize>,
}

/// `GET /2015-03-31/functions`: a page, and `NextMarker` when there is more.
pub async fn list_functions(
    State(endpoint): State<Endpoint>,
    Query(page): Query<Page>,
) -> Result<Json<Value>, ApiError> {
    let after = match &page.marker {
        None => String::new(),
        Some(marker) => BASE64_URL_SAFE_NO_PAD
            .decode(marker)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| ApiError::new(400, "InvalidParameterValueException", "Invalid pagination token."))?,
    };
    let limit = page.max_items.unwrap_or(PAGE).clamp(1, PAGE);
    let all = endpoint.router.routes().functions();
    let mut rest = all
        .into_iter()
        .filter(|spec| spec.config.name.as_str() > after.as_str());
    let page: Vec<_> = rest.by_ref().take(limit).cloned().collect();
    let mut functions = Vec::with_capacity(page.len());
    for spec in &page {
        functions.push(configuration(&endpoint, spec, None).await);
    }
    let mut answer = json!({"Functions": functions});
    if let (true, Some(last), Some(answer)) = (rest.next().is_some(), page.last(), answer.as_object_mut()) {
        answer.insert(
            "NextMarker".into(),
            BASE64_URL_SAFE_NO_PAD.encode(last.config.name.as_str()).into(),
        );
    }
    Ok(Json(answer))
}

fn find(
    endpoint: &Endpoint,
    function: &str,
    query: &Qualified,
) -> Result<(Arc<EnvironmentSpec>, Option<Qualifier>), ApiError> {
    let named = name::parse(function, query.qualifier.as_deref())?;
    match endpoint
        .router
        .routes()
        .function(&named.function, named.qualifier.as_ref())
    {
        Some(spec) => Ok((spec.clone(), named.qualifier)),
        None => {
            let qualifier = named
                .qualifier
                .map(|qualifier| format!(":{qualifier}"))
                .unwrap_or_default();
            let arn = format!(
                "arn:aws:lambda:{REGION}:{}:function:{}{qualifier}",
                hikigane_model::ACCOUNT_ID,
                named.function
            );
            Err(ApiError::new(
                404,
                "ResourceNotFoundException",
                format!("Function not found: {arn}"),
            ))
        }
    }
}

/// The `FunctionConfiguration` shape of AWS's Lambda model, with the defaults that AWS shows.
async fn configuration(endpoint: &Endpoint, spec: &EnvironmentSpec, qualifier: Option<&Qualifier>) -> Value {
    let config = &spec.config;
    let package = endpoint.packages.of(&config.code).await;
    let environment = if config.env.is_empty() {
        Value::Null
    } else {
        json!({"Variables": config.env})
    };
    let mut answer = json!({
        "FunctionName": config.name,
        "FunctionArn": function_arn(&config.name, qualifier),
        "Runtime": config.runtime,
        "Role": format!("arn:aws:iam::{}:role/hikigane", hikigane_model::ACCOUNT_ID),
        "Handler": config.handler,
        "CodeSize": package.size,
        "Description": config.description,
        "Timeout": config.timeout.as_secs(),
        "MemorySize": config.memory_mb,
        "LastModified": modified(&config.code),
        "CodeSha256": package.sha256,
        "Version": spec.version.to_string(),
        "Environment": environment,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": revision(spec),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": config.ephemeral_storage_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": logging(config),
    });
    if let Some(answer) = answer.as_object_mut() {
        answer.retain(|_, value| !value.is_null());
    }
    answer
}

/// Levels are of JSON lines only (AWS documentation, "Log format": INFO unless set).
fn logging(config: &FunctionConfig) -> Value {
    let mut logging = json!({"LogFormat": config.log_format, "LogGroup": format!("/aws/lambda/{}", config.name)});
    if config.log_format == LogFormat::JSON {
        logging["ApplicationLogLevel"] = json!(config.log_level.unwrap_or(LogLevel::Info));
        logging["SystemLogLevel"] = json!(LogLevel::Info);
    }
    logging
}

/// The code's time of change, as AWS writes it: `2026-11-22T21:00:00.000+0000`.
fn modified(code: &FilePath) -> String {
    let time = std::fs::metadata(code)
        .and_then(|data| data.modified())
        .unwrap_or(std::time::UNIX_EPOCH);
    chrono::DateTime::<chrono::Utc>::from(time)
        .format("%Y-%m-%dT%H:%M:%S%.3f+0000")
        .to_string()
}

/// A UUID that changes when the configuration does.
fn revision(spec: &EnvironmentSpec) -> String {
    let hash = Sha256::digest(format!("{:?}{}", spec.config, spec.revision));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

impl Packages {
    async fn of(&self, code: &FilePath) -> Package {
        if let Some(known) = self.lock().get(code) {
            return known.clone();
        }
        let path = code.to_owned();
        let package = tokio::task::spawn_blocking(move || measure(&path))
            .await
            .unwrap_or(Package {
                size: 0,
                sha256: String::new(),
            });
        self.lock().insert(code.to_owned(), package.clone());
        package
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Package>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Size and hash over all files, in order of their names; symbolic links are not followed.
fn measure(code: &FilePath) -> Package {
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
    Package {
        size,
        sha256: BASE64_STANDARD.encode(hash.finalize()),
    }
}

fn collect(path: &FilePath, files: &mut Vec<PathBuf>) {
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

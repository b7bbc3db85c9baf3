//! CreateFunction, and what it has in common with UpdateFunctionConfiguration.

use std::collections::BTreeMap;
use std::sync::Arc;

use hikigane_model::{FunctionName, LogFormat, LogLevel, Qualifier, limits};
use serde::Deserialize;
use serde_json::Value;

use super::answer::Configuration;
use super::code::{CodeSource, check_size};
use super::code_signing;
use super::layered::resolve;
use super::rules::Named;
use super::{Function, Input, Lambda, Phase, State};
use crate::catalog::{Code, Logging, RecursiveLoop, RuntimeUpdate, Version, version_key};
use crate::error::ApiError;
use crate::shapes::LAMBDA;

/// The members of a configuration that can be set, at the creation and later.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Settings {
    description: Option<String>,
    handler: Option<String>,
    role: Option<String>,
    runtime: Option<String>,
    timeout: Option<u32>,
    memory_size: Option<u32>,
    environment: Option<Environment>,
    /// ARNs of layer versions.
    pub layers: Option<Vec<String>>,
    ephemeral_storage: Option<EphemeralStorage>,
    tracing_config: Option<Tracing>,
    dead_letter_config: Option<DeadLetter>,
    logging_config: Option<LoggingConfig>,
    snap_start: Option<SnapStart>,
    vpc_config: Option<Value>,
    file_system_configs: Option<Value>,
    image_config: Option<Value>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Environment {
    variables: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorage {
    size: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tracing {
    mode: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DeadLetter {
    target_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LoggingConfig {
    log_format: Option<LogFormat>,
    application_log_level: Option<LogLevel>,
    system_log_level: Option<LogLevel>,
    log_group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SnapStart {
    apply_on: Option<String>,
}

/// What only a creation has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Creation {
    code: CodeSource,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    package_type: Option<String>,
    architectures: Option<Vec<String>>,
    code_signing_config_arn: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

impl Lambda {
    pub(super) async fn create_function(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let creation: Creation = input.parse()?;
        check_tags(&creation.tags)?;
        let mut version = blank(&name);
        version.package_type = creation.package_type.unwrap_or_else(|| "Zip".to_owned());
        if let Some(architectures) = creation.architectures {
            version.architectures = architectures;
        }
        let layers = creation.settings.layers.clone().unwrap_or_default();
        creation.settings.apply(&mut version)?;
        if version.package_type == "Zip" && (version.runtime.is_none() || version.handler.is_none()) {
            return Err(ApiError::invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        check_source(&version.package_type, &creation.code)?;
        let state = self.catalog.state();
        self.free(&state, &name)?;
        let used = resolve(&state, &layers)?;
        let signing = |state: &State| {
            let arn = creation.code_signing_config_arn.as_deref();
            arn.map(|arn| code_signing::named(state, arn)).transpose()
        };
        let config = signing(&state)?;
        let taken = self.take_in(creation.code).await?;
        version.code = taken.code;
        self.check_signature(&name, config.as_deref(), &mut version.code)
            .await?;
        self.check_layers(&name, config.as_deref(), &used).await?;
        version.revise(self.now());
        let answer = self
            .change(|state| {
                self.free(state, &name)?;
                // What was there before the package was taken in may be gone.
                version.layers = resolve(state, &layers)?;
                check_size(&version)?;
                let mut function = Function {
                    latest: version,
                    last_version: 0,
                    tags: creation.tags,
                    code_signing_config: signing(state)?,
                    reserved: None,
                    provisioned: None,
                    recursive_loop: RecursiveLoop::default(),
                    from_manifest: false,
                };
                let mut number = Qualifier::Latest;
                if creation.publish {
                    function.last_version = 1;
                    number = Qualifier::Version(1);
                    state
                        .versions
                        .insert(version_key(name.as_str(), 1), function.latest.clone());
                }
                let answer = Configuration {
                    name: &name,
                    version: &function.latest,
                    number,
                    qualifier: None,
                    listed: false,
                }
                .json();
                state.functions.insert(name.as_str(), function);
                Ok(answer)
            })
            .await?;
        drop(taken.pin);
        self.finish_soon(name);
        Ok(answer)
    }

    /// Whether no function has this name.
    fn free(&self, state: &State, name: &FunctionName) -> Result<(), ApiError> {
        match state.function(name) {
            None => Ok(()),
            Some(_) => Err(ApiError::conflict(format!("Function already exist: {name}"))),
        }
    }
}

impl Settings {
    /// Sets what is given, when it satisfies the rules; but for the layers, which depend on what else is deployed.
    pub fn apply(self, version: &mut Version) -> Result<(), ApiError> {
        set(&mut version.description, self.description);
        set(&mut version.role, self.role);
        set(&mut version.timeout, self.timeout);
        set(&mut version.memory, self.memory_size);
        if let Some(runtime) = self.runtime {
            check_runtime(&runtime)?;
            version.runtime = Some(runtime);
        }
        if self.handler.is_some() {
            version.handler = self.handler;
        }
        if let Some(environment) = self.environment {
            let variables = environment.variables.unwrap_or_default();
            check_environment(&variables)?;
            version.environment = Some(variables);
        }
        set(
            &mut version.ephemeral_storage,
            self.ephemeral_storage.map(|storage| storage.size),
        );
        set(
            &mut version.tracing,
            self.tracing_config.and_then(|tracing| tracing.mode),
        );
        if let Some(dead_letter) = self.dead_letter_config {
            version.dead_letter = dead_letter.target_arn.filter(|arn| !arn.is_empty());
        }
        if let Some(logging) = self.logging_config {
            logging.apply(&mut version.logging);
        }
        set(
            &mut version.snap_start,
            self.snap_start.and_then(|snap_start| snap_start.apply_on),
        );
        for (member, value) in [
            ("VpcConfig", self.vpc_config),
            ("FileSystemConfigs", self.file_system_configs),
            ("ImageConfig", self.image_config),
            (
                "KMSKeyArn",
                self.kms_key_arn.filter(|arn| !arn.is_empty()).map(Value::from),
            ),
        ] {
            if let Some(value) = value {
                version.inert.insert(member.to_owned(), value);
            }
        }
        Ok(())
    }
}

impl LoggingConfig {
    /// Levels exist with JSON only; there they are INFO unless set (AWS documentation, "Configuring JSON and plain text log formats").
    fn apply(self, logging: &mut Logging) {
        set(&mut logging.format, self.log_format);
        set(&mut logging.group, self.log_group);
        if logging.format == LogFormat::JSON {
            let level = |set: Option<LogLevel>, old: Option<LogLevel>| set.or(old).or(Some(LogLevel::Info));
            logging.application_level = level(self.application_log_level, logging.application_level);
            logging.system_level = level(self.system_log_level, logging.system_level);
        } else {
            (logging.application_level, logging.system_level) = (None, None);
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A version of which nothing was said yet: AWS's defaults (recorded).
pub fn blank(name: &FunctionName) -> Version {
    Version {
        description: String::new(),
        runtime: None,
        handler: None,
        role: String::new(),
        timeout: limits::TIMEOUT.1,
        memory: limits::MEMORY.1,
        environment: None,
        layers: Vec::new(),
        ephemeral_storage: limits::EPHEMERAL_STORAGE.0,
        architectures: vec!["x86_64".to_owned()],
        package_type: "Zip".to_owned(),
        tracing: "PassThrough".to_owned(),
        dead_letter: None,
        logging: Logging {
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
            group: format!("/aws/lambda/{name}"),
        },
        snap_start: "None".to_owned(),
        inert: BTreeMap::new(),
        code: Code::default(),
        runtime_update: RuntimeUpdate::default(),
        revision: String::new(),
        edition: None,
        modified: chrono::DateTime::UNIX_EPOCH,
        phase: Phase::Pending,
        update: None,
    }
}

/// An image is of its own type, and nothing else is (AWS's text for an update).
pub fn check_source(package_type: &str, code: &CodeSource) -> Result<(), ApiError> {
    match (package_type, &code.image_uri) {
        ("Image", None) => Err(ApiError::invalid(
            "Please provide ImageUri when updating a function with packageType Image.",
        )),
        ("Zip", Some(_)) => Err(ApiError::invalid(
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        )),
        _ => Ok(()),
    }
}

/// The runtimes that AWS takes, and what it says to others (texts recorded). Those that the model knows and the list has not are of the past, but for
/// the few that came after it was recorded.
fn check_runtime(runtime: &str) -> Result<(), ApiError> {
    const NEWER: [&str; 6] = [
        "nodejs26.x",
        "python3.15",
        "ruby4.0",
        "java8.al2023",
        "java11.al2023",
        "java17.al2023",
    ];
    let supported = LAMBDA.values("SupportedRuntime");
    if supported.iter().any(|known| known == runtime) || NEWER.contains(&runtime) {
        return Ok(());
    }
    if LAMBDA.values("Runtime").iter().any(|known| known == runtime) {
        return Err(ApiError::invalid(format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We recommend you use a supported runtime while creating or updating functions."
        )));
    }
    Err(ApiError::invalid(format!(
        "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN",
        supported.join(", ")
    )))
}

/// AWS: at most 4 KB as JSON, and none of the names that Lambda sets itself (AWS documentation, "Defined runtime environment variables").
fn check_environment(variables: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const PROBLEM: &str =
        "Lambda was unable to configure your environment variables because the environment variables you have provided";
    let reserved: Vec<&str> = variables
        .keys()
        .map(String::as_str)
        .filter(|name| hikigane_model::is_reserved_variable(name))
        .collect();
    if !reserved.is_empty() {
        return Err(ApiError::invalid(format!(
            "{PROBLEM} contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let text = serde_json::json!(variables).to_string();
    if text.len() > limits::ENVIRONMENT {
        return Err(ApiError::invalid(format!(
            "{PROBLEM} exceeded the 4KB limit. String measured: {text}"
        )));
    }
    Ok(())
}

/// AWS: at most 50.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    const MOST: usize = 50;
    if tags.len() > MOST {
        return Err(ApiError::invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(())
}

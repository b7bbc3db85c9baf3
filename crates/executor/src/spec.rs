//! What an environment is made from.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hikigane_model::{AccessKey, FunctionConfig, LogFormat, Qualifier};
use serde::{Deserialize, Serialize};

/// A function at a version, ready to be started. Environments are reused for an equal key only.
#[derive(Debug)]
pub struct EnvironmentSpec {
    /// The configuration.
    pub config: Arc<FunctionConfig>,
    /// The version.
    pub version: Qualifier,
    /// Tells one state of configuration and code from another: an environment of an older revision is never reused.
    pub revision: u64,
    /// Keeps the files that the configuration names. It lives as long as any environment that was made of this.
    pub pin: Arc<dyn Any + Send + Sync>,
}

/// Why an environment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialization {
    /// For an invocation that waits for it.
    OnDemand,
    /// Ahead of invocations: provisioned concurrency.
    Provisioned,
}

impl Initialization {
    /// AWS's word for it, which functions find in `AWS_LAMBDA_INITIALIZATION_TYPE` (AWS documentation, "Defined runtime environment variables").
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Provisioned => "provisioned-concurrency",
        }
    }
}

/// The first frame to a worker: all it needs to load one function, and nothing of the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerInit {
    /// The function's name.
    pub function: String,
    /// The version as text.
    pub version: String,
    /// The directory that handler paths start at. The server names the machine's; the worker may show it as `/var/task`.
    pub root: PathBuf,
    /// The one file in it that is the function. `None`: it is the directory.
    pub file: Option<String>,
    /// The layers, merged into one directory. The worker may show it as `/opt`.
    pub layers: Option<PathBuf>,
    /// `file.export`.
    pub handler: String,
    /// Major version of the Node.js runtime that is stood in for.
    pub node_major: u32,
    /// Whether `require()` loads ES modules.
    pub require_modules: bool,
    /// Memory in MB.
    pub memory_mb: u32,
    /// The complete environment of the function.
    pub env: BTreeMap<String, String>,
    /// Directories that may be read, beside the root and `tmp`.
    pub read: Vec<PathBuf>,
    /// Directories that may be written.
    pub write: Vec<PathBuf>,
    /// Hosts that may be connected to; `*`: all.
    pub net: Vec<String>,
    /// The environment's own `/tmp`.
    pub tmp: PathBuf,
    /// How much `tmp` may hold, MB.
    pub tmp_mb: u32,
    /// Where the server's own endpoint listens.
    pub endpoint: Option<std::net::SocketAddr>,
    /// CloudWatch's name for the function's logs.
    pub log_group: String,
    /// CloudWatch's name for this environment's logs.
    pub log_stream: String,
    /// Text or JSON lines.
    pub log_format: LogFormat,
    /// Where compiled code is kept between environments of the function; it must be there. `None`: nowhere.
    pub code_cache: Option<PathBuf>,
    /// How debuggers get to it. `None`: they do not.
    pub inspection: Option<Inspection>,
}

/// What an environment that debuggers can attach to must know of them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Inspection {
    /// Where the server listens for them: no function may connect there.
    pub address: std::net::SocketAddr,
    /// The function waits for the first one before it is loaded, and stops at the first line of its handler.
    pub waits: bool,
}

/// The variables that Lambda gives to every function (recorded from AWS for nodejs22.x), over the function's own; the second list under them,
/// since AWS does not reserve those (AWS documentation, "Defined runtime environment variables"). What names a directory of the function
/// is set by the worker, which knows where the function sees it.
///
/// Nothing listens at the addresses of the runtime API and of X-Ray's daemon.
pub(crate) fn lambda_environment(
    spec: &EnvironmentSpec,
    initialization: Initialization,
    log_group: &str,
    log_stream: &str,
) -> BTreeMap<String, String> {
    let config = &spec.config;
    let mut env = config.env.clone();
    for (name, value) in [
        ("AWS_REGION", hikigane_model::REGION),
        ("AWS_DEFAULT_REGION", hikigane_model::REGION),
        ("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", config.runtime)),
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.as_str()),
        ("AWS_LAMBDA_FUNCTION_VERSION", &spec.version.to_string()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &config.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", initialization.as_str()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream),
        ("AWS_LAMBDA_RUNTIME_API", "169.254.100.1:9001"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("_HANDLER", &config.handler),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    // AWS documentation, "Log format": the level of a function's own lines is set, and INFO unless configured, with JSON only.
    if config.log_format == LogFormat::JSON {
        env.insert("AWS_LAMBDA_LOG_FORMAT".to_owned(), "JSON".to_owned());
        match config.log_level {
            Some(level) => drop(env.insert("AWS_LAMBDA_LOG_LEVEL".to_owned(), level.as_str().to_owned())),
            None => drop(
                env.entry("AWS_LAMBDA_LOG_LEVEL".to_owned())
                    .or_insert_with(|| "INFO".to_owned()),
            ),
        }
    }
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "hikigane"),
        ("AWS_SECRET_ACCESS_KEY", "hikigane"),
        ("AWS_SESSION_TOKEN", "hikigane"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        ),
        ("SHLVL", "0"),
    ] {
        env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    env
}

/// The variables that the AWS SDKs sign with. Lambda reserves them: whatever a function sets is replaced.
pub(crate) fn set_access_key(env: &mut BTreeMap<String, String>, key: &AccessKey) {
    let token = key.session_token.clone().unwrap_or_default();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", key.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.clone()),
        ("AWS_SESSION_TOKEN", token),
    ] {
        env.insert(name.to_owned(), value);
    }
}

/// Whether `require()` loads ES modules: AWS switches that off before Node.js 24, unless NODE_OPTIONS switches it on again (AWS documentation,
/// "Building Lambda functions with Node.js", experimental features of Node.js 20 and 22).
pub(crate) fn requires_modules(node_major: u32, env: &BTreeMap<String, String>) -> bool {
    let options = env.get("NODE_OPTIONS").map_or("", String::as_str);
    let said = options.split_ascii_whitespace().rev().find_map(|option| match option {
        "--experimental-require-module" => Some(true),
        "--no-experimental-require-module" => Some(false),
        _ => None,
    });
    said.unwrap_or(node_major >= 24) && node_major >= 20
}

/// The path without `..`: what that means depends on the links before it, so the machine is asked. A path without it stays as it is written.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let climbs = path.components().any(|part| part == Component::ParentDir);
    let found = if climbs { path.canonicalize().ok() } else { None };
    found.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn require_loads_es_modules_from_node_24_on_or_by_option() {
        for (node_major, options, expected) in [
            (18, "--experimental-require-module", false),
            (20, "", false),
            (22, "--max-old-space-size=64", false),
            (22, "--enable-source-maps --experimental-require-module", true),
            (
                22,
                "--experimental-require-module --no-experimental-require-module",
                false,
            ),
            (24, "", true),
            (24, "--no-experimental-require-module", false),
        ] {
            let env = BTreeMap::from([("NODE_OPTIONS".to_owned(), options.to_owned())]);
            assert_eq!(requires_modules(node_major, &env), expected, "{node_major} {options}");
        }
        assert!(!requires_modules(22, &BTreeMap::new()));
    }
}

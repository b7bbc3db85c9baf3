//! From a function's section to its configuration.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hikigane_model::{
    self as model, AddressBlock, FunctionConfig, FunctionName, LogFormat, RuntimeFamily, limits, runtime_family,
};

use crate::code;
use crate::diagnostic::Problems;
use crate::document::{Allow, Asynchronous, Defaults, Function};
use crate::section::{List, Setting, Spanned};
use crate::suggestion::quote;
use crate::variables;

/// The runtime of a function that names none.
const RUNTIME: &str = "nodejs22.x";
/// The newest runtime that AWS Lambda had when this was written.
const NEWEST_NODE: u32 = 24;
/// What a function sees of its own (AWS documentation, "Lambda execution environment"): nothing of the machine can be shown over it.
const FUNCTIONS_OWN: [&str; 3] = ["/var/task", "/opt", "/tmp"];
/// The longest description (the `Description` shape of AWS's Lambda model).
const DESCRIPTION: usize = 256;

/// The configuration of the function `name`; `None` when one could not be made, with a diagnostic. What a diagnostic
/// was given for otherwise has its default here: nobody sees it, since the manifest is refused.
pub(crate) fn configure(
    name: &Spanned<String>,
    section: &Function,
    defaults: &Defaults,
    base: &Path,
    problems: &mut Problems,
) -> Option<FunctionConfig> {
    let valid_name = function_name(name, problems);
    if let Some(runtime) = section.runtime.given() {
        check_runtime(runtime, problems);
    }
    if let Some(description) = section
        .description
        .given()
        .filter(|text| text.value.chars().count() > DESCRIPTION)
    {
        problems.error(
            description.span,
            format!("a description has at most {DESCRIPTION} characters"),
        );
    }
    let env = variables::merge(&section.env, &defaults.env, problems);
    let allow = Allow::merge(section.allow.value(), defaults.allow.value(), base);
    if let Some(allow) = section.allow.value() {
        check_allow(allow, base, problems);
    }
    let log_format = section.log_format.value().map(|format| format.0).unwrap_or_default();
    if let Some(level) = section.log_level.given().filter(|_| log_format == LogFormat::Text) {
        problems
            .error(level.span, "text lines have no least level")
            .help("add `logFormat: json`: AWS Lambda leaves lines out by their level in that format only");
    }
    let layers = section
        .layers
        .value()
        .map_or_else(Vec::new, |layers| code::layers(&layers.0, base, problems));
    let code = match &section.code {
        Setting::Given(code) => code::locate(code, section.handler.given(), base, problems),
        Setting::Refused => None,
        Setting::Missing => {
            problems
                .error(name.span, format!("function {} has no `code`", quote(&name.value)))
                .help("add `code:` with a directory, a .zip, or a .js, .mjs, .cjs or .ts file");
            None
        }
    };
    let name = valid_name?;
    let (code, handler) = code?;
    Some(FunctionConfig {
        name,
        description: section.description.value().cloned().unwrap_or_default(),
        code,
        layers,
        handler,
        runtime: section
            .runtime
            .value()
            .or(defaults.runtime.value())
            .cloned()
            .unwrap_or_else(|| RUNTIME.to_owned()),
        timeout: section
            .timeout
            .value()
            .or(defaults.timeout.value())
            .map_or(Duration::from_secs(limits::TIMEOUT.1.into()), |timeout| {
                timeout.duration()
            }),
        memory_mb: section
            .memory
            .value()
            .or(defaults.memory.value())
            .map_or(limits::MEMORY.1, |memory| memory.0),
        ephemeral_storage_mb: section
            .ephemeral_storage
            .value()
            .map_or(limits::EPHEMERAL_STORAGE.0, |storage| storage.0),
        env,
        allow,
        reserved_concurrency: section.reserved_concurrency.value().map(|reserved| reserved.0),
        provisioned_concurrency: section.provisioned_concurrency.value().map(|provisioned| provisioned.0),
        asynchronous: section.asynchronous.value().map(asynchronous).unwrap_or_default(),
        log_format,
        log_level: section.log_level.value().map(|level| level.0),
    })
}

/// Checks what stands in `defaults` once, and not again for each function that inherits it.
pub(crate) fn check_defaults(defaults: &Defaults, base: &Path, problems: &mut Problems) {
    if let Some(runtime) = defaults.runtime.given() {
        check_runtime(runtime, problems);
    }
    if let Some(env) = defaults.env.value() {
        variables::check_names(env, problems);
    }
    if let Some(allow) = defaults.allow.value() {
        check_allow(allow, base, problems);
    }
}

/// Checks that what is set aside for all functions leaves enough to the others, and that a function provisions no more than it reserves (AWS:
/// PutFunctionConcurrency, PutProvisionedConcurrencyConfig).
pub(crate) fn check_reservations<'a>(
    functions: impl Iterator<Item = &'a Function>,
    account: u32,
    problems: &mut Problems,
) {
    let most = account.saturating_sub(limits::UNRESERVED_CONCURRENCY);
    let mut sum = 0_u64;
    let mut last = None;
    for function in functions {
        let reserved = function.reserved_concurrency.given();
        let reserved = reserved.map(|reserved| (reserved.value.0, reserved.span));
        let provisioned = function.provisioned_concurrency.given();
        let provisioned = provisioned.map(|provisioned| (provisioned.value.0, provisioned.span));
        if let (Some((reserved, _)), Some((provisioned, span))) = (reserved, provisioned)
            && provisioned > reserved
        {
            problems
                .error(
                    span,
                    format!("{provisioned} environments are provisioned of {reserved} reserved"),
                )
                .help("raise `reservedConcurrency`, which holds them, or delete it");
        }
        if let Some((many, span)) = reserved.or(provisioned) {
            sum += u64::from(many);
            if last.is_none() && sum > u64::from(most) {
                last = Some(span);
            }
        }
    }
    if let Some(span) = last {
        problems
            .error(
                span,
                format!("all functions together reserve {sum}, but at most {most} can be reserved"),
            )
            .help(format!(
                "of {account} concurrent executions {} must stay for functions without a reservation; `accountConcurrency` raises the whole",
                limits::UNRESERVED_CONCURRENCY
            ));
    }
}

/// The name, checked.
pub(crate) fn function_name(name: &Spanned<String>, problems: &mut Problems) -> Option<FunctionName> {
    match FunctionName::new(&name.value) {
        Ok(name) => Some(name),
        Err(_) => {
            problems
                .error(name.span, format!("{} is not a function name", quote(&name.value)))
                .help("use 1 to 64 letters, digits, `-` and `_`");
            None
        }
    }
}

fn check_runtime(runtime: &Spanned<String>, problems: &mut Problems) {
    match runtime_family(&runtime.value) {
        RuntimeFamily::Node(version) if version > NEWEST_NODE => {
            problems
                .warning(
                    runtime.span,
                    format!("{} is newer than the runtimes known here", quote(&runtime.value)),
                )
                .help(format!("it runs as `nodejs{NEWEST_NODE}.x` does"));
        }
        RuntimeFamily::Node(_) => {}
        RuntimeFamily::Other => {
            let digits: String = runtime.value.chars().filter(char::is_ascii_digit).take(2).collect();
            let help = match runtime.value.to_lowercase().starts_with("node") && !digits.is_empty() {
                true => format!("did you mean `nodejs{digits}.x`?"),
                false => format!("only Node.js functions run here: write `{RUNTIME}`"),
            };
            problems
                .error(
                    runtime.span,
                    format!("the runtime {} is not supported", quote(&runtime.value)),
                )
                .help(help);
        }
    }
}

/// What functions may reach that are deployed while the server runs: what the defaults say, or else all of the network, as on AWS.
pub(crate) fn allow_others(defaults: &Defaults, base: &Path) -> model::Allow {
    match defaults.allow.value() {
        Some(allow) => Allow::merge(None, Some(allow), base),
        None => model::Allow {
            net: vec!["*".to_owned()],
            ..model::Allow::default()
        },
    }
}

fn asynchronous(section: &Asynchronous) -> model::AsyncConfig {
    let default = model::AsyncConfig::default();
    model::AsyncConfig {
        retries: section.retries.value().map_or(default.retries, |retries| retries.0),
        max_age: section.max_age.value().map_or(default.max_age, |age| age.duration()),
        on_success: section.on_success.value().map(|arn| arn.0.clone()),
        on_failure: section.on_failure.value().map(|arn| arn.0.clone()),
    }
}

impl Allow {
    /// The function's lists, and those of the defaults that the function does not have.
    fn merge(own: Option<&Self>, defaults: Option<&Self>, base: &Path) -> model::Allow {
        let list = |pick: fn(&Self) -> &Setting<List<String>>| -> Vec<String> {
            let of = |allow: Option<&Self>| allow.and_then(|allow| pick(allow).value()).map(List::values);
            of(own).or_else(|| of(defaults)).unwrap_or_default()
        };
        let absolute =
            |paths: Vec<String>| -> Vec<PathBuf> { paths.iter().map(|path| code::absolute(base, path)).collect() };
        model::Allow {
            read: absolute(list(|allow| &allow.read)),
            write: absolute(list(|allow| &allow.write)),
            net: list(|allow| &allow.net),
        }
    }
}

fn check_allow(allow: &Allow, base: &Path, problems: &mut Problems) {
    let paths = [&allow.read, &allow.write]
        .into_iter()
        .filter_map(Setting::value)
        .flat_map(|list| &list.0);
    for path in paths {
        if path.value.is_empty() {
            problems
                .error(path.span, "the path is empty")
                .help("write `.` for the manifest's directory");
        } else if FUNCTIONS_OWN.iter().any(|own| Path::new(own).starts_with(&path.value)) {
            problems
                .error(path.span, format!("{} holds what is the function's own", quote(&path.value)))
                .help("a function has its code at /var/task, its layers at /opt and its own /tmp: name a directory beside or below them");
        } else if let Err(error) = code::absolute(base, &path.value).metadata() {
            // An environment is given what is there when it starts.
            code::warn_of_missing(path, &code::absolute(base, &path.value), &error, problems);
        }
    }
    for host in allow.net.value().into_iter().flat_map(|list| &list.0) {
        if let Err(help) = check_host(&host.value) {
            problems
                .error(host.span, format!("{} is not a host", quote(&host.value)))
                .help(help);
        }
    }
}

/// `*`, `host`, `host:port`, with an IPv6 address in brackets, or a block of addresses. The error says what to write.
fn check_host(text: &str) -> Result<(), String> {
    const FORMS: &str =
        "write `host`, `host:port`, a block of addresses as `10.0.0.0/8`, or `\"*\"` for the whole network";
    const BLOCKS: &str = "write a block of addresses as `10.0.0.0/8` (0 to 32 bits) or `[2001:db8::]/32` (0 to 128 bits), with a port as \
         `10.0.0.0/8:443`";
    const METADATA: &str = "clouds keep a machine's credentials at this address: it is never open";
    if text == "*" {
        return Ok(());
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Err(format!("write the host without scheme and path: `{host}`"));
    }
    if text.contains('*') {
        return Err("name each host, or write `\"*\"` for the whole network".to_owned());
    }
    if text.contains('/') {
        return match AddressBlock::parse(text) {
            None => Err(BLOCKS.to_owned()),
            Some(AddressBlock {
                first: IpAddr::V4(first),
                ..
            }) if first.is_link_local() => Err(METADATA.to_owned()),
            Some(AddressBlock {
                first: IpAddr::V6(first),
                ..
            }) if first.to_ipv4_mapped().is_some() => {
                Err("write blocks of IPv4 addresses as such: `10.0.0.0/8`".to_owned())
            }
            Some(_) => Ok(()),
        };
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, _))) if address.eq_ignore_ascii_case("fd00:ec2::254") => return Err(METADATA.to_owned()),
        Some(Some((address, rest))) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
            None,
            if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or(FORMS)?)
            },
        ),
        Some(_) => return Err(FORMS.to_owned()),
        None if text.matches(':').count() > 1 => return Err(format!("write an IPv6 address in brackets: `[{text}]`")),
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if host
        .and_then(|host| host.parse::<std::net::Ipv4Addr>().ok())
        .is_some_and(|address| address.is_link_local())
    {
        return Err(METADATA.to_owned());
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let host_is_good = host.is_none_or(|host| !host.is_empty() && host.len() <= 253 && host.chars().all(legal));
    let port_is_good =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0) && !port.starts_with('+'));
    if host_is_good && port_is_good {
        Ok(())
    } else {
        Err(FORMS.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "*",
            "localhost",
            "api.example.com:443",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "my_db:5432",
            "10.0.0.0/8",
            "10.0.0.0/8:5432",
            "2001:db8::/32",
            "[fd00::]/8",
            "[fd00::]/8:5432",
        ] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "https://api.example.com/x",
            "*.example.com",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]80",
            "a b",
            "a:0",
            "a:x",
            "a:70000",
            "10.0.0.0/33",
            "10.0.0/8",
            "fd00::/129",
            "::ffff:10.0.0.0/104",
            "10.0.0.0/8:x",
            "169.254.169.254",
            "169.254.0.0/16",
            "169.254.169.254:80",
            "[fd00:ec2::254]",
        ] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}

//! What a function may touch, in the terms of `deno_permissions`: checked at the boundary of every operation.

use std::path::Path;
use std::sync::Arc;

use deno_permissions::{Permissions, PermissionsContainer, PermissionsOptions, RuntimePermissionDescriptorParser};
use hikigane_executor::WorkerInit;
use sys_traits::impls::RealSys;

/// The system facts that Node.js code asks for at start (`node:os`; the AWS SDK's user agent; `ca` for `node:https`).
const SYSTEM: &[&str] = &[
    "osRelease",
    "hostname",
    "cpus",
    "uid",
    "gid",
    "homedir",
    "systemMemoryInfo",
    "loadavg",
    "osUptime",
    "networkInterfaces",
    "userInfo",
    "umask",
    "ca",
];

/// Nothing at all: what a worker has before it knows its function.
pub fn none() -> PermissionsContainer {
    PermissionsContainer::new(parser(), Permissions::none_without_prompt())
}

/// Code and `/tmp`, and what the function's `allow` lists. Never: other processes, native code.
pub fn of(init: &WorkerInit) -> Result<PermissionsContainer, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut write: Vec<_> = init.write.iter().map(|path| text(path)).collect();
    write.push(text(&init.tmp));
    let mut read = write.clone();
    read.extend([&init.root].into_iter().chain(&init.layers).map(|path| text(path)));
    read.extend(init.read.iter().map(|path| text(path)));
    // Names are compared here; where they point is looked at in `net`.
    let net = match init.net.as_slice() {
        [] => None,
        hosts if hosts.iter().any(|host| host == "*") => Some(Vec::new()),
        hosts => Some(hosts.to_vec()),
    };
    let options = PermissionsOptions {
        // The process's own environment is the function's: there is nothing else in it.
        allow_env: Some(Vec::new()),
        allow_net: net,
        allow_read: Some(read),
        allow_write: Some(write),
        allow_sys: Some(SYSTEM.iter().map(|&name| name.to_owned()).collect()),
        prompt: false,
        ..Default::default()
    };
    let parser = parser();
    let permissions = Permissions::from_options(parser.as_ref(), &options).map_err(|error| error.to_string())?;
    Ok(PermissionsContainer::new(parser, permissions))
}

fn parser() -> Arc<RuntimePermissionDescriptorParser<RealSys>> {
    Arc::new(RuntimePermissionDescriptorParser::new(RealSys))
}

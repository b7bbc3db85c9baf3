//! What a function may touch, in the terms of `deno_permissions`: checked at the boundary of every operation.

use std::path::Path;
use std::sync::Arc;

use deno_permissions::{
    Host, NetDescriptor, Permissions, PermissionsContainer, PermissionsOptions, RuntimePermissionDescriptorParser,
};
use hikigane_executor::WorkerInit;
use hikigane_model::AddressBlock;
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
    let options = PermissionsOptions {
        // The process's own environment is the function's: there is nothing else in it.
        allow_env: Some(Vec::new()),
        allow_read: Some(read),
        allow_write: Some(write),
        allow_sys: Some(SYSTEM.iter().map(|&name| name.to_owned()).collect()),
        prompt: false,
        ..Default::default()
    };
    let parser = parser();
    let mut permissions = Permissions::from_options(parser.as_ref(), &options).map_err(|error| error.to_string())?;
    // Names are compared here; where they point is looked at in `net`.
    let net = match init.net.as_slice() {
        [] => None,
        hosts if hosts.iter().any(|host| host == "*") => Some(Vec::new()),
        hosts => Some(hosts.iter().map(|host| descriptor(host)).collect::<Result<_, _>>()?),
    };
    permissions.net = Permissions::new_unary(net, None, false);
    Ok(PermissionsContainer::new(parser, permissions))
}

/// An item of `allow.net`. `deno_permissions` reads blocks of IPv4 addresses only.
fn descriptor(item: &str) -> Result<NetDescriptor, String> {
    let failed = |error: &dyn std::fmt::Display| format!("\"{item}\" in `allow.net` is no host: {error}");
    match AddressBlock::parse(item) {
        None => NetDescriptor::parse_for_list(item).map_err(|error| failed(&error)),
        Some(AddressBlock { first, length, port }) => {
            let block = format!("{first}/{length}").parse().map(Host::IpSubnet);
            Ok(NetDescriptor(
                block.map_err(|error| failed(&error))?,
                port.map(u32::from),
            ))
        }
    }
}

fn parser() -> Arc<RuntimePermissionDescriptorParser<RealSys>> {
    Arc::new(RuntimePermissionDescriptorParser::new(RealSys))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn hosts_and_blocks_of_both_kinds_are_read() {
        for item in [
            "localhost",
            "api.example.com:443",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:80",
            "10.0.0.0/8",
            "10.0.0.0/8:443",
            "fd00::/8",
            "[2001:db8::]/32",
            "[2001:db8::]/32:443",
        ] {
            assert!(descriptor(item).is_ok(), "{item}");
        }
        for item in ["", "a b", "[::1", "10.0.0.0/33"] {
            assert!(descriptor(item).unwrap_err().contains(item), "{item}");
        }
    }
}

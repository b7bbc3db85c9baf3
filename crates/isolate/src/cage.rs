//! Lambda's file tree, around one worker.
//!
//! A worker has a mount namespace of its own, whose root is an empty file system with the few things of the machine that functions need
//! ([`SYSTEM`]). When the function is known, its code is mounted at `/var/task`, its layers at `/opt`, its scratch directory at `/tmp` and
//! what it may read and write beside them at its own place; then the machine's root goes away, and the rest of the tree cannot be named any
//! more. A kernel that refuses (no user namespaces, as in many containers) leaves the machine's paths: permissions and Landlock hold there, too.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use hikigane_executor::WorkerInit;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

use crate::mounts::{self, Rights};
use crate::quota::DESCRIPTORS;

/// What every function may read: name resolution, certificates, time zones, randomness, and what the machine is.
pub const SYSTEM: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/localtime",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/self/statm",
    "/proc/stat",
    "/proc/sys/kernel/osrelease",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Where Lambda has the code (AWS documentation, "Lambda execution environment").
pub const TASK: &str = "/var/task";
/// Where Lambda has the layers.
pub const LAYERS: &str = "/opt";
/// Where Lambda has the scratch directory.
pub const TMP: &str = "/tmp";

/// Lambda's machines are in UTC (`TZ` is `:UTC` there, too). A link, as distributions have it: V8's ICU reads the zone's name from it, and compares
/// it with every file of the zones when it is none, which costs 6 ms.
const LOCAL_TIME: &str = "/etc/localtime";
const UTC: &str = "/usr/share/zoneinfo/UTC";

/// The machine's root, until the function is known.
const HOST: &str = "/.host";

/// A worker's file tree. Whoever has it may still mount: this process has its capabilities until it is furnished.
pub struct Cage(());

/// One thing of the machine and where the function sees it.
struct Mount {
    source: PathBuf,
    target: PathBuf,
    rights: Rights,
}

impl Cage {
    /// Puts this process, which must have one thread, into a tree of its own.
    ///
    /// # Errors
    ///
    /// Why the kernel refuses. The process sees the machine's paths then, and has no capability left.
    pub fn enter() -> Result<Self, String> {
        let entered = make_namespace().and_then(|()| make_root());
        if entered.is_err() {
            give_up_capabilities()?;
        }
        entered.map(|()| Self(()))
    }

    /// Brings in what the function may see, sends the machine's root away, gives all capabilities up, and tells `init` where things are now.
    /// This process must have one thread. Gives the directory of the code cache, which has no name in the tree.
    pub fn furnish(self, init: &mut WorkerInit) -> Result<Option<OwnedFd>, String> {
        let mut all = vec![
            Mount::new(&init.root, TASK, Rights::Read),
            Mount::new(&init.tmp, TMP, Rights::Write),
        ];
        all.extend(
            init.layers
                .iter()
                .map(|layers| Mount::new(layers, LAYERS, Rights::Read)),
        );
        let mut own: Vec<_> = init
            .read
            .iter()
            .map(|path| Mount::new(path, path, Rights::Read))
            .collect();
        own.extend(init.write.iter().map(|path| Mount::new(path, path, Rights::Write)));
        // What lies inside another comes after it; of the same path, writing comes after reading.
        own.sort_by_key(|mount| mount.target.components().count());
        all.extend(own);

        // Capabilities belong to threads: one that this one made would keep them.
        only_thread(&format!("{HOST}/proc"))?;
        let code_cache = furnish(&all, init.code_cache.take())?;
        give_up_capabilities()?;
        init.root = TASK.into();
        init.tmp = TMP.into();
        init.layers = Some(LAYERS.into());
        Ok(code_cache)
    }
}

/// Names the function's directories in its environment, as Lambda does (recorded from AWS for nodejs22.x): where it sees them, in a cage or not.
pub fn name_directories(init: &mut WorkerInit) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (root, layers) = (text(&init.root), init.layers.as_deref().map_or(LAYERS.into(), text));
    let packages = format!(
        "{layers}/nodejs/node{}/node_modules:{layers}/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:{root}",
        init.node_major
    );
    init.env.insert("LAMBDA_TASK_ROOT".into(), root.clone());
    init.env.entry("PWD".into()).or_insert(root);
    init.env.entry("NODE_PATH".into()).or_insert(packages);
    if init.tmp != Path::new(TMP) {
        init.env.insert("TMPDIR".into(), text(&init.tmp));
    }
}

/// Sets the environment of this process, which must have one thread. What is left in `init` is for JavaScript to set: V8 learns of another time
/// zone by way of it only.
pub fn set_variables(init: &mut WorkerInit) -> Result<(), String> {
    for (name, value) in init.env.extract_if(.., |name, _| name != "TZ") {
        let (Ok(variable), Ok(value)) = (CString::new(name.as_str()), CString::new(value)) else {
            return Err(format!("the environment variable {name} holds a zero byte"));
        };
        // SAFETY: both strings end with a zero, and no other thread reads the environment.
        if unsafe { libc::setenv(variable.as_ptr(), value.as_ptr(), 1) } != 0 {
            let error = io::Error::last_os_error();
            return Err(format!("the environment variable {name} cannot be set: {error}"));
        }
    }
    Ok(())
}

impl Mount {
    fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, rights: Rights) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            rights,
        }
    }

    /// Makes it visible. What is not there cannot be opened later, either, and is left out.
    fn make(&self, host: &OwnedFd) -> Result<(), String> {
        let failed = |error: io::Error| {
            format!(
                "{} cannot be shown at {}: {error}",
                self.source.display(),
                self.target.display()
            )
        };
        let Some((kind, mount)) = copy_of(host, &self.source, self.rights).map_err(failed)? else {
            return Ok(());
        };
        let onto = place(&self.target, kind).map_err(failed)?;
        mounts::attach(&mount, &onto).map_err(failed)
    }
}

/// A mount namespace, and a user namespace around it where that takes no privilege.
fn make_namespace() -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    let ids = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mount = unshare(UnshareFlags::NEWNS);
    if mount.is_err() {
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUSER).map_err(failed("no user namespace"))?;
        for (file, text) in [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("{0} {0} 1", ids.0)),
            ("/proc/self/gid_map", format!("{0} {0} 1", ids.1)),
        ] {
            std::fs::write(file, text).map_err(|error| format!("no user namespace: {file}: {error}"))?;
        }
    }
    mounts::make_private().map_err(|error| format!("no mount namespace: {error}"))
}

fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: new namespaces for a process of one thread; no descriptor table is taken apart.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// A root with [`SYSTEM`] in it, and the machine's at [`HOST`].
fn make_root() -> Result<(), String> {
    // It is made on any directory that holds nothing of SYSTEM, and uncovers it when it becomes the root.
    let start = ["/tmp", "/var", "/home"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.symlink_metadata().is_ok_and(|found| found.is_dir()))
        .ok_or("no directory to make a root on")?;
    mounts::mount_empty(start).map_err(|error| format!("no file system in memory: {error}"))?;
    let made = fill_root(start);
    if made.is_err() {
        let _ = mounts::detach(start);
    }
    made
}

fn fill_root(start: &Path) -> Result<(), String> {
    let host = open_root("/")?;
    for path in SYSTEM.iter().filter(|&&path| path != LOCAL_TIME) {
        let rights = if path.starts_with("/dev/") {
            Rights::ReadDevices
        } else {
            Rights::Read
        };
        Mount::new(path, below(start, path), rights).make(&host)?;
    }
    let failed = |error: io::Error| format!("no root of its own: {error}");
    for directory in [TASK, LAYERS, TMP, HOST] {
        std::fs::create_dir_all(below(start, directory)).map_err(failed)?;
    }
    std::os::unix::fs::symlink(UTC, below(start, LOCAL_TIME)).map_err(failed)?;
    rustix::process::pivot_root(start, below(start, HOST)).map_err(|error| failed(error.into()))?;
    std::env::set_current_dir("/").map_err(failed)
}

fn below(start: &Path, path: &str) -> PathBuf {
    start.join(path.trim_start_matches('/'))
}

/// A file or directory of the machine as a mount that is nowhere yet, with these rights; `None`: it is not there.
fn copy_of(host: &OwnedFd, path: &Path, rights: Rights) -> io::Result<Option<(FileType, OwnedFd)>> {
    let source = match host_file(host, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&source)?.st_mode);
    let mount = mounts::copy_of(&source)?;
    mounts::restrict(&mount, rights)?;
    Ok(Some((kind, mount)))
}

/// Makes the function's mounts, and takes the machine's root away.
fn furnish(mounts: &[Mount], code_cache: Option<PathBuf>) -> Result<Option<OwnedFd>, String> {
    let host = open_root(HOST)?;
    for mount in mounts {
        mount.make(&host)?;
    }
    let code_cache = match code_cache {
        Some(path) => copy_of(&host, &path, Rights::Write)
            .map_err(|error| format!("the code cache cannot be opened: {error}"))?
            .map(|(_, directory)| directory),
        None => None,
    };
    drop(host);
    let failed = |error: io::Error| format!("the machine's root cannot be sent away: {error}");
    mounts::detach(Path::new(HOST)).map_err(failed)?;
    std::fs::remove_dir(HOST).map_err(failed)?;
    mounts::make_root_read_only().map_err(failed)?;
    Ok(code_cache)
}

fn open_root(path: &str) -> Result<OwnedFd, String> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("the machine's root is not there: {error}"))
}

/// A file or directory of the machine. Links on the way mean what they mean on the machine.
fn host_file(host: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(
        host,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )?)
}

/// Something to mount on, made when it is missing. Nothing on the way may be a link: an earlier environment may have left one in `/tmp`.
fn place(path: &Path, kind: FileType) -> io::Result<OwnedFd> {
    let open = |path: &Path| {
        rustix::fs::openat2(
            CWD,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )
    };
    match open(path) {
        Ok(found) => return Ok(found),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(parent) = path.parent() {
        let parent = place(parent, FileType::Directory)?;
        let name = path.file_name().unwrap_or_default();
        let made = if kind == FileType::Directory {
            rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        };
        made?;
    }
    Ok(open(path)?)
}

/// Closes what the server itself was started with and did not open, and bounds what a worker may open. To be called before this process
/// opens anything: what it was given is its standard input.
pub fn close_strangers() {
    // SAFETY: nothing of this process has opened a descriptor yet. A kernel that does not know the call leaves them open.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    for (resource, most) in [(Resource::Nofile, DESCRIPTORS), (Resource::Core, 0)] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        let _ = rustix::process::setrlimit(resource, limit);
    }
}

/// Takes every capability from this thread, and the way to new ones.
fn give_up_capabilities() -> Result<(), String> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_no_new_privs(true)
        .and_then(|()| rustix::thread::set_capabilities(None, sets))
        .map_err(|error| format!("cannot give up capabilities: {error}"))
}

/// Fails when this process has more than one thread. `proc`: where the kernel's files about processes are.
pub fn only_thread(proc: &str) -> Result<(), String> {
    match std::fs::read_dir(format!("{proc}/self/task")).map(Iterator::count) {
        Ok(1) => Ok(()),
        Ok(threads) => Err(format!("this process has {threads} threads and must have one")),
        Err(error) => Err(format!("the threads of this process cannot be counted: {error}")),
    }
}

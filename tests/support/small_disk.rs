use std::path::Path;
use std::process::Command;

use super::namespaces::run_in_namespaces;

/// A file system of a few megabytes; unmounted when dropped.
pub struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one, with these options of tmpfs(5). Who may not mount runs the whole test again in namespaces where anybody may, and has no disk here.
    #[track_caller]
    pub fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { directory });
        }
        // Tried first, so that namespaces that do not give the right either are not made for ever.
        let may_mount = "mount -t tmpfs tmpfs /tmp && umount /tmp && exec \"$0\" \"$@\"";
        let namespaces = ["--user", "--map-root-user", "--mount", "sh", "-c", may_mount];
        // The harness names the thread of a test after it.
        run_in_namespaces(&namespaces, std::thread::current().name().unwrap_or_default());
        None
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

//! Which files of a bucket some process holds open for writing, as far as `/proc` lets us see.
//!
//! A watch tells when a file is closed, but not that a file which was there before the watch is still open. This is
//! asked about files that a scan found, never on the way of an ordinary event: it looks at every process once.
//! Processes of other users stay hidden from an unprivileged server; their files settle by time alone.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::key::ObjectKey;

/// The access mode within the open flags that `/proc` shows; 0 is read only.
const ACCESS_MODE: u32 = 0o3;

/// The keys below `root` that are open for writing.
pub(crate) fn open_for_writing(root: &Path) -> HashSet<ObjectKey> {
    let mut open = HashSet::new();
    let Ok(processes) = fs::read_dir("/proc") else {
        return open;
    };
    for process in processes.flatten() {
        let is_process = process
            .file_name()
            .as_encoded_bytes()
            .first()
            .is_some_and(u8::is_ascii_digit);
        if !is_process {
            continue;
        }
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let Some(key) = ObjectKey::of(root, &target) else {
                continue;
            };
            let info = fs::read_to_string(process.path().join("fdinfo").join(descriptor.file_name()));
            if info.is_ok_and(|info| is_writable(&info)) {
                open.insert(key);
            }
        }
    }
    open
}

fn is_writable(info: &str) -> bool {
    info.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & ACCESS_MODE != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_writers_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let writing = fs::File::create(root.join("written")).unwrap();
        fs::write(root.join("read"), "").unwrap();
        let reading = fs::File::open(root.join("read")).unwrap();
        assert_eq!(open_for_writing(&root), HashSet::from([ObjectKey::from("written")]));
        drop((writing, reading));
        assert_eq!(open_for_writing(&root), HashSet::new());
    }
}

use std::collections::BTreeSet;
use std::path::Path;

/// Processes whose parent is this one.
pub fn children(parent: u32) -> BTreeSet<u32> {
    with_field(1, parent)
}

/// Processes of this session: of a command run by `setsid`, and whatever it left behind.
pub fn in_session(session: u32) -> BTreeSet<u32> {
    with_field(3, session)
}

/// Processes by a field after the name in /proc/PID/stat (man 5 proc: state, parent, group, session ..).
fn with_field(index: usize, value: u32) -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.nth(index).and_then(|field| field.parse().ok()) == Some(value)
    })
    .collect()
}

/// How many entries a directory has; none where there is none.
pub fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

//! How much of the sandbox this machine's kernel gives: tried, not guessed.

use landlock::LandlockStatus;
use serde::{Deserialize, Serialize};

use crate::cage::Cage;

/// What a worker's sandbox is made of here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Levels {
    /// Lambda's file tree, in a mount namespace.
    pub file_tree: Level,
    /// Landlock: rules about files, in the kernel.
    pub landlock: Level,
    /// seccomp: the list of system calls.
    pub seccomp: Level,
}

/// One layer of the sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// Whether workers have it.
    pub available: bool,
    /// Its version, or why it is missing.
    pub detail: String,
}

impl Level {
    fn of(result: Result<String, String>) -> Self {
        let (available, detail) = match result {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        Self { available, detail }
    }
}

impl Levels {
    /// What is missing, in words: the layer and why.
    pub fn missing(&self) -> Vec<String> {
        let all = [
            ("a mount namespace", &self.file_tree),
            ("Landlock", &self.landlock),
            ("seccomp", &self.seccomp),
        ];
        let missing = all.into_iter().filter(|(_, level)| !level.available);
        missing
            .map(|(name, level)| format!("{name} ({})", level.detail))
            .collect()
    }
}

/// Puts this process into all of it, as a worker does, and says what came of it. For a process that does nothing else.
pub fn probe() -> Levels {
    let file_tree = Cage::enter().map(|_| "functions see /var/task, /opt and /tmp".to_owned());
    let landlock = match crate::sandbox::try_out() {
        Ok(LandlockStatus::Available { effective_abi, .. }) => Ok(format!("ABI {effective_abi:?}")),
        Ok(LandlockStatus::NotEnabled) => Err("not enabled in the kernel".to_owned()),
        Ok(LandlockStatus::NotImplemented) => Err("not in this kernel".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let seccomp = crate::seccomp::enclose()
        .and_then(|()| crate::seccomp::Door::compile()?.close(false))
        .map(|()| "only listed system calls".to_owned())
        .map_err(|error| error.to_string());
    Levels {
        file_tree: Level::of(file_tree),
        landlock: Level::of(landlock),
        seccomp: Level::of(seccomp),
    }
}

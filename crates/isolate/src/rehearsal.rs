//! What the zygote goes through before it is copied, so that no copy has to: everything up to the answer of a function, once.

use std::path::{Path, PathBuf};

use hikigane_executor::WorkerInit;
use hikigane_model::LogFormat;

/// Small functions of our own in a directory of their own, which is removed with them.
pub struct Rehearsal {
    directory: PathBuf,
}

const FILES: &[(&str, &str)] = &[
    // Nobody looks for one in the directories above.
    ("package.json", "{}"),
    (
        "script.js",
        "exports.handler = async (event, context) => { console.log('rehearsal', event, context.awsRequestId); return { event }; };",
    ),
    (
        "module.mjs",
        "export const handler = async (event, context) => { console.log('rehearsal', event, context.awsRequestId); return { event }; };",
    ),
];

impl Rehearsal {
    /// Writes the functions below the system's directory for temporary files.
    pub fn new() -> std::io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("hikigane-rehearsal-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let rehearsal = Self { directory };
        for (name, text) in FILES {
            std::fs::write(rehearsal.directory.join(name), text)?;
        }
        Ok(rehearsal)
    }

    /// The functions: both kinds of module, with and without callbacks.
    pub fn functions(&self) -> Vec<WorkerInit> {
        [("script.handler", 22), ("module.handler", 22), ("module.handler", 24)]
            .map(|(handler, node_major)| function(&self.directory, handler, node_major))
            .into()
    }

    /// A function that is not loaded from anywhere.
    pub fn without_code() -> Vec<WorkerInit> {
        vec![function(Path::new("/"), "", 22)]
    }
}

fn function(root: &Path, handler: &str, node_major: u32) -> WorkerInit {
    WorkerInit {
        function: "rehearsal".into(),
        version: "$LATEST".into(),
        root: root.to_owned(),
        layers: None,
        handler: handler.into(),
        node_major,
        memory_mb: 128,
        // As many as Lambda has.
        env: (0..30)
            .map(|n| (format!("HIKIGANE_REHEARSAL_{n}"), n.to_string()))
            .collect(),
        read: Vec::new(),
        write: Vec::new(),
        net: Vec::new(),
        tmp: root.to_owned(),
        tmp_mb: 512,
        endpoint: None,
        log_group: String::new(),
        log_stream: String::new(),
        log_format: LogFormat::Text,
        code_cache: None,
        inspection: None,
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

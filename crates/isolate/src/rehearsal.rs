//! What the zygote goes through before it is copied, so that no copy has to: everything up to the answer of a function, once.

use std::path::{Path, PathBuf};

use hikigane_executor::WorkerInit;
use hikigane_model::LogFormat;

/// Small functions of our own in a directory of their own, which is removed with them.
pub struct Rehearsal {
    directory: PathBuf,
}

/// How often each kind of function is gone through: V8 makes better code of what runs often, and would in each copy.
const ROUNDS: usize = 8;

/// A handler like most: its log line, event and context are what every function uses.
const HANDLER: &str =
    "async (event, context) => { console.log('rehearsal', event, context.awsRequestId); return { event }; };";

impl Rehearsal {
    /// Writes the functions below the system's directory for temporary files.
    pub fn new() -> std::io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("hikigane-rehearsal-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let rehearsal = Self { directory };
        let write = |name: String, text: &str| std::fs::write(rehearsal.directory.join(name), text);
        // Nobody looks for one in the directories above.
        write("package.json".into(), "{}")?;
        // A module of a name is loaded once.
        for round in 0..ROUNDS {
            write(format!("script{round}.js"), &format!("exports.handler = {HANDLER}"))?;
            write(
                format!("module{round}.mjs"),
                &format!("export const handler = {HANDLER}"),
            )?;
        }
        Ok(rehearsal)
    }

    /// The functions: both kinds of module, with and without callbacks.
    pub fn functions(&self) -> Vec<WorkerInit> {
        let round = |round: usize| {
            let kinds = [("script", 20), ("script", 22), ("module", 22), ("module", 24)];
            kinds.map(|(module, node_major)| function(&self.directory, &format!("{module}{round}.handler"), node_major))
        };
        (0..ROUNDS).flat_map(round).collect()
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
        file: None,
        layers: None,
        handler: handler.into(),
        node_major,
        require_modules: node_major >= 24,
        memory_mb: 128,
        env: Default::default(),
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

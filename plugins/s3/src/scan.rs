//! Walks over a bucket, or a part of it: sets the watches, and tells which objects stand there.

use std::io;
use std::sync::Arc;

use hikigane_trigger::Reports;
use tokio::sync::mpsc;

use crate::glob::Ignore;
use crate::key::ObjectKey;
use crate::tree::{Identity, Look, Tree};
use crate::watch::{Watch, WatchError};

/// Objects told at a time.
const BATCH: usize = 256;
/// Batches that wait to be received; beyond, the walk waits.
const BATCHES: usize = 16;

/// What to do about the kernel's limit.
const LIMIT: &str = "the limit on watches is reached; raise the sysctl fs.inotify.max_user_watches";

/// What a walk tells.
#[derive(Debug)]
pub(crate) enum Finding {
    Objects(Vec<(ObjectKey, Identity)>),
    /// The walk is over.
    End(Walked),
}

/// How far a walk came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Why directories are without a watch, when some are.
    pub(crate) unwatched: Option<String>,
    /// Directories that the server may not read.
    pub(crate) forbidden: Vec<ObjectKey>,
    /// Some directories could not be read just now; looking again may help.
    pub(crate) incomplete: bool,
}

/// What to walk over, and with what.
pub(crate) struct Walk {
    pub(crate) tree: Tree,
    pub(crate) bucket: String,
    pub(crate) ignore: Ignore,
    /// Each directory is watched before it is read, so that nothing falls between.
    pub(crate) watch: Option<Arc<Watch>>,
    pub(crate) reports: Arc<Reports>,
}

impl Walk {
    /// Walks over these directories on a thread of its own; `None` is the whole bucket.
    /// The walk ends early when its receiver is dropped.
    pub(crate) fn start(self, from: Vec<Option<ObjectKey>>) -> mpsc::Receiver<Finding> {
        let (sender, receiver) = mpsc::channel(BATCHES);
        tokio::task::spawn_blocking(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let found = |key, identity| {
                batch.push((key, identity));
                if batch.len() == BATCH {
                    // A closed channel ends the walk at its next directory.
                    let _ = sender.blocking_send(Finding::Objects(std::mem::take(&mut batch)));
                }
            };
            let walked = self.over(from, || sender.is_closed(), found);
            let _ = sender.blocking_send(Finding::Objects(batch));
            let _ = sender.blocking_send(Finding::End(walked));
        });
        receiver
    }

    /// Calls `found` for each object, until it should `stop`.
    pub(crate) fn over(
        &self,
        from: Vec<Option<ObjectKey>>,
        stop: impl Fn() -> bool,
        mut found: impl FnMut(ObjectKey, Identity),
    ) -> Walked {
        let mut walked = Walked::default();
        let mut directories = from;
        while let Some(directory) = directories.pop().filter(|_| !stop()) {
            if let Some(watch) = &self.watch {
                match watch.add(&self.tree.path_of(directory.as_ref())) {
                    // What may not be read is said below.
                    Ok(()) | Err(WatchError::Absent | WatchError::Forbidden) => {}
                    Err(WatchError::Limit) => walked.unwatched = Some(LIMIT.to_owned()),
                    Err(WatchError::Other(error)) => walked.unwatched = Some(error),
                }
            }
            let entries = match self.tree.entries(directory.as_ref()) {
                Ok(entries) => entries,
                Err(error) => {
                    self.report(directory.as_ref(), &error);
                    if error.kind() == io::ErrorKind::PermissionDenied {
                        walked.forbidden.extend(directory);
                    } else {
                        walked.incomplete = true;
                    }
                    continue;
                }
            };
            for (name, look) in entries {
                if self.ignore.covers_name(&name) {
                    continue;
                }
                let key = ObjectKey::inside(directory.as_ref(), &name);
                match look {
                    Look::Directory => directories.push(Some(key)),
                    Look::Object { identity, .. } => found(key, identity),
                    Look::Other | Look::Nothing | Look::NoBucket => {}
                }
            }
        }
        walked
    }

    fn report(&self, directory: Option<&ObjectKey>, error: &io::Error) {
        let directory = directory.map_or_else(|| "its directory".to_owned(), |key| format!("directory \"{key}\""));
        self.reports.say(&format!(
            "cannot read {directory} of bucket \"{}\": {error}",
            self.bucket
        ));
    }
}

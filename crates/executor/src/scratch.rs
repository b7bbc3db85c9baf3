//! The environments' own `/tmp` directories, which outlive them by one: the environment that replaces one that timed out or crashed finds
//! its files (recorded from AWS).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hikigane_model::RequestId;

use crate::EnvironmentSpec;

/// How long a directory waits for the environment that replaces its own. As long as an idle environment lives.
const WAIT: Duration = Duration::from_secs(5 * 60);

/// Makes and keeps them.
pub(crate) struct Scratches {
    root: PathBuf,
    /// Empty ones that nobody has: to make one takes a file system up to a millisecond, which a first invocation need not wait for.
    stock: Mutex<Vec<PathBuf>>,
    kept: Mutex<HashMap<Owner, Vec<(Instant, PathBuf)>>>,
}

/// A function at a version and a state of its code.
type Owner = (String, String, u64);

/// One environment's `/tmp`. Dropped: removed with all in it.
pub(crate) struct Scratch {
    path: Option<PathBuf>,
    owner: Owner,
    home: Arc<Scratches>,
}

impl Scratches {
    pub(crate) fn new(root: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            root,
            stock: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    /// Makes one more for the stock, unless it holds `most`. A failure is told of by the next that is taken.
    pub(crate) fn restock(&self, most: usize) {
        let stock = || self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if stock().len() < most
            && let Ok(path) = self.make()
        {
            stock().push(path);
        }
    }

    fn make(&self) -> io::Result<PathBuf> {
        let path = self.root.join(RequestId::random().as_str());
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// The directory that an environment of this function left, or an empty one.
    pub(crate) fn take(self: &Arc<Self>, spec: &EnvironmentSpec) -> io::Result<Scratch> {
        let owner = (spec.config.name.to_string(), spec.version.to_string(), spec.revision);
        let (left, expired) = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let mut expired = Vec::new();
            for left in kept.values_mut() {
                expired.extend(left.extract_if(.., |(since, _)| since.elapsed() >= WAIT));
            }
            let left = kept.get_mut(&owner).and_then(Vec::pop);
            kept.retain(|_, left| !left.is_empty());
            (left, expired)
        };
        for (_, path) in expired {
            let _ = std::fs::remove_dir_all(path);
        }
        let spare = || self.stock.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let path = match left.map(|(_, path)| path).or_else(spare) {
            Some(path) => path,
            None => self.make()?,
        };
        Ok(Scratch {
            path: Some(path),
            owner,
            home: self.clone(),
        })
    }
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(&self.home.root)
    }

    /// Leaves it to the environment that replaces this one, whose process must be dead or dying.
    pub(crate) fn keep(mut self) {
        if let Some(path) = self.path.take() {
            let mut kept = self.home.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.entry(self.owner.clone()).or_default().push((Instant::now(), path));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

//! The kernel's watch on a bucket's directories, as changes of keys.
//!
//! Each directory is watched by itself and only on our request: `notify`'s own recursive mode adds the watch of a new
//! directory some time after it has told of it, so that neither side knows what fell between.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

use crate::key::ObjectKey;

/// Something happened to a name in the bucket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A file, link or device appeared.
    Appeared(ObjectKey),
    DirectoryAppeared(ObjectKey),
    /// Somebody opened it, to read or to write.
    Opened(ObjectKey),
    Written(ObjectKey),
    /// A writer closed it.
    Closed(ObjectKey),
    /// Times, rights or the number of links changed.
    Touched(ObjectKey),
    /// Something was renamed to this key. The cookie is that of its [`Change::Gone`], when it came from the bucket.
    MovedIn(ObjectKey, Option<usize>),
    /// It was removed, or renamed: then with a cookie.
    Gone(ObjectKey, Option<usize>),
    /// The bucket's own directory went.
    BucketGone,
}

/// The receiving end of a watch.
pub(crate) struct Changes {
    queue: mpsc::Receiver<Change>,
    lost: Arc<Lost>,
}

/// A mark that changes were lost. It can be set from the watch's thread without waiting.
#[derive(Default)]
struct Lost {
    set: AtomicBool,
    wake: Notify,
}

impl Lost {
    fn mark(&self) {
        self.set.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// A watch. Dropping it ends it.
pub(crate) struct Watch {
    watcher: Mutex<RecommendedWatcher>,
}

/// Why a directory is not watched.
pub(crate) enum WatchError {
    /// The kernel's limit is reached.
    Limit,
    /// It is not there any more.
    Absent,
    /// The server may not read it.
    Forbidden,
    Other(String),
}

impl Watch {
    /// A watch on nothing yet. At most `capacity` changes wait to be received; more are lost, and marked so.
    pub(crate) fn new(root: &Path, capacity: usize) -> Result<(Self, Changes), String> {
        let (sender, queue) = mpsc::channel(capacity);
        let lost = Arc::new(Lost::default());
        let root = root.to_path_buf();
        let mark = Arc::clone(&lost);
        let forward = move |event: notify::Result<Event>| match event {
            Ok(event) if !event.need_rescan() => {
                if let Some(change) = change(&root, &event)
                    && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(change)
                {
                    mark.mark();
                }
            }
            Ok(_) | Err(_) => mark.mark(),
        };
        let watcher = notify::recommended_watcher(forward).map_err(|error| error.to_string())?;
        Ok((
            Self {
                watcher: Mutex::new(watcher),
            },
            Changes { queue, lost },
        ))
    }

    /// Watches the entries of one directory. When this returns, whatever happens in it is told. Blocks shortly.
    pub(crate) fn add(&self, directory: &Path) -> Result<(), WatchError> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(|error| match error.kind {
                ErrorKind::MaxFilesWatch => WatchError::Limit,
                ErrorKind::PathNotFound => WatchError::Absent,
                ErrorKind::Io(error) => match error.kind() {
                    std::io::ErrorKind::NotFound => WatchError::Absent,
                    std::io::ErrorKind::PermissionDenied => WatchError::Forbidden,
                    _ => WatchError::Other(error.to_string()),
                },
                _ => WatchError::Other(error.to_string()),
            })
    }
}

impl Changes {
    /// The next change; `None` when changes were lost. What still waited is then dropped with them: it could be an
    /// opening whose close is lost.
    pub(crate) async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(next) = self.now() {
                return next;
            }
            tokio::select! {
                () = self.lost.wake.notified() => {}
                change = self.queue.recv() => match change {
                    Some(change) if !self.lost.set.load(Ordering::Acquire) => return Some(change),
                    Some(_) => {}
                    // The watcher's thread has ended: only looking helps.
                    None => self.lost.wake.notified().await,
                },
            }
        }
    }

    /// The next change when there is one now.
    pub(crate) fn now(&mut self) -> Option<Option<Change>> {
        if self.lost.set.swap(false, Ordering::AcqRel) {
            while self.queue.try_recv().is_ok() {}
            return Some(None);
        }
        self.queue.try_recv().ok().map(Some)
    }
}

/// What an event of the kernel says about the bucket at `root`; `None`: nothing of interest.
fn change(root: &Path, event: &Event) -> Option<Change> {
    let path = event.paths.first()?;
    let Some(key) = ObjectKey::of(root, path) else {
        let gone = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        return (gone && path == root).then_some(Change::BucketGone);
    };
    let cookie = event.tracker();
    Some(match event.kind {
        EventKind::Create(CreateKind::Folder) => Change::DirectoryAppeared(key),
        EventKind::Create(_) => Change::Appeared(key),
        EventKind::Access(AccessKind::Open(_)) => Change::Opened(key),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Closed(key),
        EventKind::Modify(ModifyKind::Data(_)) => Change::Written(key),
        EventKind::Modify(ModifyKind::Metadata(_)) => Change::Touched(key),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Change::Gone(key, cookie),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Change::MovedIn(key, cookie),
        EventKind::Remove(_) => Change::Gone(key, None),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn next(changes: &mut Changes) -> Option<Change> {
        tokio::time::timeout(Duration::from_secs(10), changes.next())
            .await
            .unwrap()
    }

    fn watched(capacity: usize) -> (tempfile::TempDir, Watch, Changes) {
        let directory = tempfile::tempdir().unwrap();
        let (watch, changes) = Watch::new(directory.path(), capacity).unwrap();
        assert!(watch.add(directory.path()).is_ok());
        (directory, watch, changes)
    }

    #[tokio::test]
    async fn a_file_tells_its_life() {
        let (directory, _watch, mut changes) = watched(100);
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        std::fs::write(&a, "x").unwrap();
        std::fs::rename(&a, &b).unwrap();
        std::fs::remove_file(&b).unwrap();
        std::fs::create_dir(&a).unwrap();
        std::fs::remove_dir(&a).unwrap();
        std::fs::remove_dir(directory.path()).unwrap();
        let mut told = Vec::new();
        while told.last() != Some(&Change::BucketGone) {
            told.push(next(&mut changes).await.unwrap());
        }
        let [a, b] = ["a", "b"].map(ObjectKey::from);
        let cookie = match &told[4] {
            Change::Gone(_, cookie) => *cookie,
            other => panic!("{other:?}"),
        };
        assert!(cookie.is_some());
        assert_eq!(
            told,
            [
                Change::Appeared(a.clone()),
                Change::Opened(a.clone()),
                Change::Written(a.clone()),
                Change::Closed(a.clone()),
                Change::Gone(a.clone(), cookie),
                Change::MovedIn(b.clone(), cookie),
                Change::Gone(b, None),
                Change::DirectoryAppeared(a.clone()),
                Change::Gone(a, None),
                Change::BucketGone,
            ]
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_is_marked_as_lost() {
        let (directory, _watch, mut changes) = watched(2);
        for i in 0..20 {
            std::fs::write(directory.path().join(format!("{i}")), "x").unwrap();
        }
        while next(&mut changes).await.is_some() {}
        // After the loss, changes are told again.
        'told: for i in 0.. {
            let name = format!("later-{i}");
            std::fs::create_dir(directory.path().join(&name)).unwrap();
            let expected = Change::DirectoryAppeared(ObjectKey::from(name.as_str()));
            while let Some(change) = next(&mut changes).await {
                if change == expected {
                    break 'told;
                }
            }
        }
    }

    #[test]
    fn an_absent_directory_is_not_a_failure() {
        let (directory, watch, _changes) = watched(2);
        assert!(matches!(
            watch.add(&directory.path().join("none")),
            Err(WatchError::Absent)
        ));
    }
}

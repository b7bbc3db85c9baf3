//! The trigger `s3`: directories that act as buckets.
//!
//! A file that somebody finished writing is an object that was put; a file that went is an object that was removed.
//! Functions get the events that S3 would send. The parts, from the kernel to the router:
//!
//! - `watch`: what the kernel tells, as changes of keys; `scan`: what stands there; `tree`: the only door to the disk.
//! - `tracker`: who is writing, who is settling, who is due. Pure.
//! - `ledger`: which content of which object each binding has seen; the durable state.
//! - `delivery`: reads what is due, emits, and retries while events cannot be stored.
//! - `session`: one task a bucket that owns all of these.
//! - `objects`: the objects for others to read.
//!
//! **Invariants.** No event is emitted for content that its binding has seen, and the record of that is written with
//! the event. A loss (a full queue, a missed directory, a crash) is always followed by a scan that compares the disk
//! with the record: nothing depends on having been told. Nothing follows a symbolic link.

#[cfg(test)]
#[path = "../../../tests/support/absent.rs"]
mod absent;
mod config;
mod delivery;
mod event;
mod glob;
mod key;
mod ledger;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../../tests/support/namespaces.rs"]
mod namespaces;
mod objects;
mod reader;
mod scan;
mod schema;
mod session;
mod tracker;
mod tree;
mod watch;
mod writers;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hikigane_trigger::{
    Announcement, Clock, Context, Feed, ObjectStore, PluginState, Reports, Resource, Source, SourceError, SourceSpec,
    SpecErrors, TriggerPlugin, async_trait,
};
use schemars::Schema;
use tokio::task::JoinSet;

use crate::config::{Bucket, Listener};
use crate::delivery::Sequencer;
use crate::objects::{BucketObjects, Buckets};
use crate::scan::Walk;
use crate::schema::OnStart;
use crate::session::{Baseline, Limits, OpenBucket};
use crate::tree::Tree;

/// The key under `events:` and `sources:`.
const KIND: &str = "s3";

/// The plug-in `s3`.
pub fn plugin() -> impl TriggerPlugin {
    S3Plugin
}

/// The trigger plug-in for directories that act as buckets.
#[derive(Debug, Clone, Copy, Default)]
pub struct S3Plugin;

impl TriggerPlugin for S3Plugin {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn binding_schema(&self) -> Schema {
        schema::binding()
    }

    fn settings_schema(&self) -> Schema {
        schema::settings()
    }

    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors> {
        Ok(Box::new(S3Source::new(config::read(&spec)?)))
    }
}

/// The buckets of a manifest.
struct S3Source {
    buckets: Vec<Arc<Bucket>>,
    open: Vec<OpenBucket>,
    objects: Arc<Buckets>,
    limits: Limits,
}

impl S3Source {
    fn new(buckets: Vec<Bucket>) -> Self {
        Self {
            buckets: buckets.into_iter().map(Arc::new).collect(),
            open: Vec::new(),
            objects: Arc::new(Buckets(Vec::new())),
            limits: Limits::default(),
        }
    }
}

#[async_trait]
impl Source for S3Source {
    fn resources(&self) -> Vec<Resource> {
        self.buckets
            .iter()
            .map(|bucket| Resource::Directory(bucket.path.clone()))
            .collect()
    }

    async fn open(&mut self, _clock: &Clock, _state: &PluginState) -> Result<Vec<Announcement>, SourceError> {
        let mut announcements = Vec::new();
        let mut roots: Vec<(String, PathBuf)> = Vec::new();
        let mut objects = Vec::new();
        for bucket in &self.buckets {
            let root = find_directory(bucket)?;
            if let Some((other, _)) = roots.iter().find(|(_, known)| config::overlap(known, &root)) {
                return Err(SourceError(format!(
                    "buckets \"{other}\" and \"{}\" are the same directory or one inside the other, by a symbolic link: \
                     change sources.s3.buckets.{}.path",
                    bucket.name, bucket.name
                )));
            }
            announcements.push(announce(bucket, &root));
            roots.push((bucket.name.clone(), root.clone()));
            objects.push(BucketObjects {
                name: bucket.name.clone(),
                tree: Tree::new(root.clone()),
                ignore: bucket.ignore.clone(),
            });
            if !bucket.listeners.is_empty() {
                let tree = Tree::new(root);
                let baseline = match bucket.on_start {
                    OnStart::Scan => None,
                    OnStart::Ignore => Some(take_baseline(bucket, &tree).await?),
                };
                self.open.push(OpenBucket {
                    bucket: Arc::clone(bucket),
                    tree,
                    baseline,
                });
            }
        }
        self.objects = Arc::new(Buckets(objects));
        Ok(announcements)
    }

    fn fed_by(&self) -> Vec<Feed> {
        let every =
            |listener: &&Listener| listener.wants.created && listener.prefix.is_empty() && listener.suffix.is_empty();
        let of = |bucket: &Arc<Bucket>| {
            let listeners = bucket.listeners.iter().filter(every);
            let fed: Vec<_> = listeners
                .map(|listener| Feed {
                    binding: listener.id.clone(),
                    directory: bucket.path.clone(),
                    remedy: "give the event `rules` that leave out what it writes",
                })
                .collect();
            fed
        };
        self.buckets.iter().flat_map(of).collect()
    }

    fn objects(&self) -> Option<Arc<dyn ObjectStore>> {
        Some(self.objects.clone())
    }

    async fn run(self: Box<Self>, context: Context) -> Result<(), SourceError> {
        let context = Arc::new(context);
        let sequencer = Arc::new(Sequencer::default());
        let mut sessions = JoinSet::new();
        for open in self.open {
            sessions.spawn(session::run(
                open,
                self.limits,
                Arc::clone(&context),
                Arc::clone(&sequencer),
            ));
        }
        while let Some(ended) = sessions.join_next().await {
            ended.map_err(|error| SourceError(format!("a bucket's watcher failed: {error}")))??;
        }
        // A source without a bucket to watch still runs until it is told to end.
        context.shutdown.cancelled().await;
        Ok(())
    }
}

/// The bucket's directory with all symbolic links on the way to it resolved.
fn find_directory(bucket: &Bucket) -> Result<PathBuf, SourceError> {
    let Bucket { name, path, .. } = bucket;
    let fail = |problem: &str| {
        SourceError(format!(
            "the directory of bucket \"{name}\", {}, {problem}: create it or change sources.s3.buckets.{name}.path",
            path.display()
        ))
    };
    let describe = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => fail("does not exist"),
        _ => fail(&format!("cannot be used ({error})")),
    };
    let root = path.canonicalize().map_err(describe)?;
    if !root.is_dir() {
        return Err(fail("is not a directory"));
    }
    root.read_dir().map_err(describe)?;
    Ok(root)
}

fn announce(bucket: &Bucket, root: &Path) -> Announcement {
    let functions = config::functions(bucket);
    let to = if functions.is_empty() {
        "no function listens".to_owned()
    } else {
        format!("-> {}", functions.join(", "))
    };
    Announcement {
        label: "bucket",
        text: format!("{}  {}  ({to})", bucket.name, root.display()),
        example: example(bucket, root),
    }
}

/// How to drop a file that the first listener takes; `None` when nobody listens, its directory is yet to be made, or a shell would not take the path as it is.
fn example(bucket: &Bucket, root: &Path) -> Option<String> {
    let listener = bucket.listeners.iter().find(|listener| listener.wants.created)?;
    let path = root.join(format!("{}example{}", listener.prefix, listener.suffix));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let fits = path.parent().is_some_and(Path::is_dir);
    let text = path.to_str().filter(|text| fits && text.bytes().all(plain))?;
    Some(format!("echo hello > {text}"))
}

/// What is in the bucket before it is watched.
async fn take_baseline(bucket: &Arc<Bucket>, tree: &Tree) -> Result<Baseline, SourceError> {
    let walk = Walk {
        tree: tree.clone(),
        bucket: bucket.name.clone(),
        ignore: bucket.ignore.clone(),
        watch: None,
        reports: Arc::new(Reports::of(KIND)),
    };
    let task = tokio::task::spawn_blocking(move || {
        let mut baseline = Vec::new();
        walk.over(vec![None], || false, |key, identity| baseline.push((key, identity)));
        baseline
    });
    task.await.map_err(|error| {
        SourceError(format!(
            "bucket \"{}\" could not be looked through: {error}",
            bucket.name
        ))
    })
}

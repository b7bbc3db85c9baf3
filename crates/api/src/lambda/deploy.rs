//! From the catalog to what can be invoked.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hikigane_model::{AsyncConfig, FunctionConfig, FunctionName, Qualifier, RequestId, RuntimeFamily, runtime_family};
use hikigane_router::{Deployed, EnvironmentSpec, Refusal, Split, Target};
use hikigane_store::Files;

use super::{Changed, Function, Lambda, PAUSE, Phase, State};
use crate::catalog::{Alias, LastUpdate, RecursiveLoop, Version, version_key};
use crate::error::ApiError;

impl Lambda {
    /// Tells the router of every function that a change touched.
    pub(super) fn publish(&self, Changed { before, after }: &Changed) {
        let owner = |key: &str| key.split('/').next().unwrap_or_default().to_owned();
        let aliases = after.aliases.changed_since(&before.aliases).map(owner);
        let functions = after.functions.changed_since(&before.functions).map(str::to_owned);
        let provisioned = after.provisioned.changed_since(&before.provisioned).map(owner);
        let versions = after.versions.changed_since(&before.versions).map(owner);
        let event_invokes = after.event_invokes.changed_since(&before.event_invokes).map(owner);
        let parts = aliases.chain(event_invokes).chain(provisioned).chain(versions);
        for name in functions.chain(parts).collect::<BTreeSet<String>>() {
            let Ok(name) = FunctionName::new(&name) else { continue };
            let deployed = after
                .function(&name)
                .map(|function| self.deployed(after, &name, function));
            self.router.deploy(&name, deployed);
        }
        // Packages may be needed no more.
        self.objects.look_again();
    }

    fn deployed(&self, state: &State, name: &FunctionName, function: &Function) -> Deployed {
        if let Some(spec) = self.declared.spec(name).filter(|_| function.from_manifest) {
            return Deployed::unpublished(spec.clone());
        }
        let before = || {
            let routes = self.router.routes();
            routes.resolve(name.as_str(), None, &RequestId::random())
        };
        let latest = match function.latest.update {
            // The one before it is still the one that runs; or goes on, when the update was given up.
            Some(LastUpdate::InProgress | LastUpdate::Failed) => before(),
            _ => None,
        };
        Deployed {
            latest: latest.unwrap_or_else(|| self.target(name, Qualifier::Latest, &function.latest)),
            versions: state
                .versions_of(name)
                .map(|(number, version)| (number, self.target(name, Qualifier::Version(number), version)))
                .collect(),
            aliases: state
                .aliases_of(name)
                .map(|(alias, leads)| (alias.to_owned(), split(leads)))
                .collect(),
            asynchronous: state
                .event_invokes_of(name)
                .map(|(qualifier, config)| (qualifier, Arc::new(config.config())))
                .collect(),
            may_loop: function.recursive_loop == RecursiveLoop::Allow,
            reserved: function.reserved,
            provisioned: state.provisioned_versions(name),
        }
    }

    fn target(&self, name: &FunctionName, number: Qualifier, version: &Version) -> Target {
        match version.phase {
            Phase::Pending => return Target::Refused(Refusal::State("Pending")),
            Phase::Failed => return Target::Refused(Refusal::State("Failed")),
            Phase::Active => {}
        }
        let runtime = version.runtime.as_deref().unwrap_or("container image");
        if runtime_family(runtime) == RuntimeFamily::Other {
            return Target::Refused(Refusal::Runtime(runtime.to_owned()));
        }
        match self.files_of(version) {
            Ok(files) => Target::Ready(Arc::new(EnvironmentSpec {
                config: Arc::new(self.config(name, version, files.code, files.layers)),
                version: number,
                revision: version.generation(),
                pin: Arc::new(files.pin),
            })),
            // What was whole when it was deployed is damaged now.
            Err(_) => Target::Refused(Refusal::State("Failed")),
        }
    }

    /// The code of a version, and its layers in one directory.
    fn files_of(&self, version: &Version) -> io::Result<Files> {
        let layers: Vec<&str> = version.layers.iter().map(|layer| layer.code.sha256.as_str()).collect();
        self.objects.uploaded(&version.code.sha256, &layers)
    }

    fn config(&self, name: &FunctionName, version: &Version, code: PathBuf, layers: Option<PathBuf>) -> FunctionConfig {
        FunctionConfig {
            name: name.clone(),
            description: version.description.clone(),
            code,
            layers: layers.into_iter().collect(),
            handler: version.handler.clone().unwrap_or_default(),
            runtime: version.runtime.clone().unwrap_or_default(),
            timeout: Duration::from_secs(version.timeout.into()),
            memory_mb: version.memory,
            ephemeral_storage_mb: version.ephemeral_storage,
            env: version.environment.clone().unwrap_or_default(),
            allow: self.allow.clone(),
            reserved_concurrency: None,
            provisioned_concurrency: None,
            asynchronous: AsyncConfig::default(),
            log_format: version.logging.format,
            log_level: version.logging.application_level,
        }
    }

    /// Brings changes to their end that were under way when the server ended.
    pub(super) fn resume(self: &Arc<Self>) {
        let under_way =
            |version: &Version| version.phase == Phase::Pending || version.update == Some(LastUpdate::InProgress);
        for (name, function) in self.catalog.state().functions.iter() {
            if let (true, Ok(name)) = (under_way(&function.latest), FunctionName::new(name)) {
                self.finish_soon(name);
            }
        }
        self.resume_mappings();
    }

    /// Makes a function's new code or configuration ready in the background, and lets it come into force: `Pending` becomes `Active`, and `InProgress`
    /// `Successful`, with a new revision (recorded).
    pub(super) fn finish_soon(self: &Arc<Self>, name: FunctionName) {
        let lambda = self.clone();
        tokio::spawn(async move {
            // A full disk is not the function's fault.
            while let Err(_unavailable) = lambda.finish(&name).await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// [`Lambda::finish_soon`], at once. Nothing happens when the function was deleted meanwhile, or replaced by another, which is finished by who
    /// made it.
    async fn finish(self: &Arc<Self>, name: &FunctionName) -> Result<(), ApiError> {
        let state = self.catalog.state();
        let Some(function) = state.function(name).cloned() else {
            return Ok(());
        };
        let (lambda, prepared) = (self.clone(), function.clone());
        // Held until the router has them.
        let files = tokio::task::spawn_blocking(move || match prepared.latest.code.image {
            Some(_) => Ok(None),
            None => lambda.files_of(&prepared.latest).map(Some),
        });
        let files = files.await.map_err(io::Error::other).flatten();
        let ready = files.is_ok();
        let now = self.now();
        self.change(|state| {
            let was_prepared = |now: &Arc<Function>| {
                now.latest.code == function.latest.code && now.latest.layers == function.latest.layers
            };
            if state.function(name).is_some_and(was_prepared) {
                finish_in(state, name, ready, now);
            }
            Ok(())
        })
        .await
    }
}

/// Ends what is under way with a function's unpublished version, well or not.
fn finish_in(state: &mut State, name: &FunctionName, ready: bool, now: DateTime<Utc>) {
    let Some(function) = state.functions.get_mut(name.as_str()) else {
        return;
    };
    let last = function.last_version;
    let latest = &mut function.latest;
    let created = latest.phase == Phase::Pending;
    if !created && latest.update != Some(LastUpdate::InProgress) {
        return;
    }
    match (created, ready) {
        (true, false) => latest.phase = Phase::Failed,
        (false, false) => latest.update = Some(LastUpdate::Failed),
        (_, true) => {
            latest.phase = Phase::Active;
            latest.update = Some(LastUpdate::Successful);
        }
    }
    latest.revise(now);
    let (phase, update) = (latest.phase, latest.update);
    // One that was created and published at once is ready together with it.
    if let Some(version) = state.versions.get_mut(&version_key(name.as_str(), last))
        && version.phase == Phase::Pending
    {
        (version.phase, version.update) = (phase, update);
        version.revise(now);
    }
}

fn split(alias: &Alias) -> Split {
    let share = alias.share.as_ref();
    Split {
        main: alias.version.clone(),
        other: share.map(|share| (Qualifier::Version(share.version), share.weight)),
    }
}

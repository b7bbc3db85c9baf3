//! AWS Lambda's control plane: every operation but those that invoke.
//!
//! An operation is a function from [`Input`] to the JSON of its answer, in a file by subject. It reads [`Catalog::state`], checks the rules
//! of the business, and makes its change through [`Lambda::change`], which also tells the router what can be invoked from then on.

mod account;
mod aliases;
mod answer;
mod code;
mod code_signing;
mod concurrency;
mod create;
mod declared;
mod deploy;
mod event_invoke;
mod event_source;
mod function;
mod layer_policy;
mod layered;
mod layers;
mod management;
mod mappings;
mod operations;
pub(crate) mod page;
mod permissions;
mod provisioned;
mod rules;
mod s3;
mod tags;
mod update;
mod urls;
pub(crate) mod verification;
mod versions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hikigane_model::{Allow, FunctionName, Qualifier};
use hikigane_router::Router;
use hikigane_store::{Catalog as Documents, Objects, StoreError};
use hikigane_trigger::ObjectStore;

pub use declared::Declared;
pub(crate) use operations::serve;
pub(crate) use s3::Object;
pub(crate) use urls::UrlTarget;

use crate::catalog::{Catalog, Changed, Function, Phase, State};
use crate::error::ApiError;
use crate::shapes::Input;

/// How long work in the background waits: that which could not be done, until it is tried again; and that which is for many changes, for more of them.
const PAUSE: Duration = Duration::from_secs(1);

/// What the control plane is made of.
pub struct LambdaParts {
    /// Where the catalog is kept.
    pub documents: Arc<dyn Documents>,
    /// Where code is kept.
    pub objects: Arc<Objects>,
    /// Where code is taken from that lies in a bucket.
    pub buckets: Vec<Arc<dyn ObjectStore>>,
    /// Where it is taken from when none of these has the bucket: `http://host:port` of an S3 service.
    pub s3_endpoint: Option<String>,
    /// Runs functions.
    pub router: Arc<Router>,
    /// The functions of the manifest.
    pub declared: Vec<Declared>,
    /// What the sandbox opens to functions that are created through the API.
    pub allow: Allow,
    /// Where the endpoint listens.
    pub address: SocketAddr,
    /// Invocations that may run at once in all.
    pub account_concurrency: u32,
}

/// The control plane of one server.
pub struct Lambda {
    catalog: Catalog,
    shadowed: Vec<FunctionName>,
    objects: Arc<Objects>,
    buckets: s3::Buckets,
    router: Arc<Router>,
    declared: declared::Functions,
    allow: Allow,
    address: SocketAddr,
    account_concurrency: u32,
    distrust: verification::Distrust,
}

impl Lambda {
    /// Reads the catalog, adds the functions of the manifest, and makes all of them invocable. Changes that were under way when the server ended
    /// are brought to their end.
    ///
    /// # Errors
    ///
    /// A catalog that cannot be read.
    pub async fn open(parts: LambdaParts) -> Result<Arc<Self>, StoreError> {
        let declared = declared::Functions::new(parts.declared);
        let (catalog, shadowed) =
            Catalog::open(parts.documents, declared.rows(), |state| declared.declare(state)).await?;
        let lambda = Arc::new(Self {
            catalog,
            shadowed,
            objects: parts.objects,
            buckets: s3::Buckets::new(parts.buckets, parts.s3_endpoint),
            router: parts.router,
            declared,
            allow: parts.allow,
            address: parts.address,
            account_concurrency: parts.account_concurrency,
            distrust: verification::Distrust::default(),
        });
        lambda.publish(&Changed {
            before: Arc::default(),
            after: lambda.catalog.state(),
        });
        lambda.resume();
        Ok(lambda)
    }

    /// The functions that are both declared in the manifest and kept from an earlier `CreateFunction`: the manifest's run.
    pub fn shadowed(&self) -> &[FunctionName] {
        &self.shadowed
    }

    /// How often untrusted code came to each function since the start.
    pub(crate) fn distrust(&self) -> &verification::Distrust {
        &self.distrust
    }

    /// Every version of every function.
    pub fn versions(&self) -> Vec<(FunctionName, Qualifier)> {
        let state = self.catalog.state();
        let names = state
            .functions
            .iter()
            .filter_map(|(name, _)| FunctionName::new(name).ok());
        let versions = |name: FunctionName| {
            let numbers = state.versions_of(&name).map(|(number, _)| Qualifier::Version(number));
            let all: Vec<_> = std::iter::once(Qualifier::Latest).chain(numbers).collect();
            all.into_iter().map(move |version| (name.clone(), version))
        };
        names.flat_map(versions).collect()
    }

    /// Where objects are.
    pub(crate) fn buckets(&self) -> &s3::Buckets {
        &self.buckets
    }

    /// What is deployed now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.catalog.state()
    }

    /// Makes one change of the catalog and of what can be invoked.
    pub(crate) async fn change<T>(&self, work: impl FnOnce(&mut State) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let whole = |state: &mut State| {
            let before = state.code_storage();
            let result = work(state)?;
            state.forget_orphans();
            code::check_storage(before, state.code_storage())?;
            Ok(result)
        };
        self.catalog.change(whole, |changed| self.publish(changed)).await
    }

    /// Forgets all that was deployed: what is left is the manifest's.
    pub(crate) async fn reset(&self) -> Result<(), ApiError> {
        self.change(|state| {
            *state = State::default();
            for (name, function) in self.declared.rows() {
                state.functions.insert(name.as_str(), function);
            }
            self.declared.declare(state);
            Ok(())
        })
        .await
    }

    /// Changes one function. It must be there, and not be the manifest's.
    async fn change_function<T>(
        &self,
        name: &FunctionName,
        work: impl FnOnce(&mut Function) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.change(|state| work(rules::modifiable(state, name)?)).await
    }

    /// A function that is there.
    fn existing(&self, name: &FunctionName) -> Result<Arc<Function>, ApiError> {
        let state = self.catalog.state();
        state
            .function(name)
            .cloned()
            .ok_or_else(|| rules::no_function(name, None))
    }

    /// Where the endpoint listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.router.clock().now()
    }
}

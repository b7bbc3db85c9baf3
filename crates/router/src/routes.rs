//! What the router knows of functions and bindings.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use hikigane_executor::EnvironmentSpec;
use hikigane_model::{AsyncConfig, BindingId, FunctionName, Qualifier, RequestId, parse_function_arn};
use hikigane_pattern::Pattern;

/// Functions and bindings. The bindings never change; functions come and go.
#[derive(Debug, Default)]
pub struct Routes {
    functions: RwLock<HashMap<FunctionName, Arc<Deployed>>>,
    bindings: HashMap<BindingId, Binding>,
}

/// One event of a function.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Its identity.
    pub id: BindingId,
    /// The function it runs.
    pub function: FunctionName,
    /// The kind of its trigger; the namespace of the trigger's state.
    pub kind: String,
    /// Only events that match run the function.
    pub filter: Option<Pattern>,
}

/// A function as it can be invoked.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// `$LATEST`.
    pub latest: Target,
    /// Published versions by number.
    pub versions: BTreeMap<u64, Target>,
    /// Aliases by name.
    pub aliases: BTreeMap<String, Split>,
    /// How asynchronous events are handled, by the qualifier that they were sent to; `$LATEST` for none.
    pub asynchronous: HashMap<Qualifier, Arc<AsyncConfig>>,
    /// Whether destinations may lead back to it without end.
    pub may_loop: bool,
    /// Concurrency set aside for all of it, and its cap.
    pub reserved: Option<u32>,
    /// Environments that are kept initialised, by version: never of an alias.
    pub provisioned: Vec<(Qualifier, u32)>,
}

/// A version as it can be invoked.
#[derive(Debug, Clone)]
pub enum Target {
    /// With this.
    Ready(Arc<EnvironmentSpec>),
    /// Not now, or not at all.
    Refused(Refusal),
}

/// Why a version cannot be invoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is in another state than AWS's `Active`, named here.
    State(&'static str),
    /// Functions of this runtime do not run here.
    Runtime(String),
}

/// Where an alias leads: to a version, and for a part of the invocations to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The version.
    pub main: Qualifier,
    /// Another version, and its share from 0 to 1.
    pub other: Option<(Qualifier, f64)>,
}

impl Routes {
    /// No functions yet, and these bindings.
    pub fn new(bindings: impl IntoIterator<Item = Binding>) -> Self {
        Self {
            functions: RwLock::default(),
            bindings: bindings
                .into_iter()
                .map(|binding| (binding.id.clone(), binding))
                .collect(),
        }
    }

    /// The version that an invocation with this id runs; `None` when there is none of that name. An alias is resolved here and nowhere else: by the
    /// id, so that every attempt finds the same.
    pub fn resolve(&self, name: &str, qualifier: Option<&Qualifier>, id: &RequestId) -> Option<Target> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let function = functions.get(name)?;
        match qualifier {
            Some(Qualifier::Alias(alias)) => function.at(function.aliases.get(alias)?.choose(id)),
            Some(qualifier) => function.at(qualifier),
            None => Some(&function.latest),
        }
        .cloned()
    }

    /// How an asynchronous event is handled that was sent to `invoked_arn`, a function or what its qualifier names.
    pub fn asynchronous(&self, invoked_arn: &str) -> Arc<AsyncConfig> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        let config = || {
            let (name, qualifier) = parse_function_arn(invoked_arn)?;
            let configs = &functions.get(&name)?.asynchronous;
            configs.get(&qualifier.unwrap_or(Qualifier::Latest)).cloned()
        };
        config().unwrap_or_default()
    }

    /// Whether destinations may lead back to the function without end.
    pub fn may_loop(&self, name: &FunctionName) -> bool {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(name).is_some_and(|function| function.may_loop)
    }

    /// Returns the function as it was.
    pub(crate) fn set(&self, name: &FunctionName, function: Option<Arc<Deployed>>) -> Option<Arc<Deployed>> {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        match function {
            Some(function) => functions.insert(name.clone(), function),
            None => functions.remove(name),
        }
    }

    /// How many functions there are.
    pub fn functions(&self) -> usize {
        self.functions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A binding.
    pub fn binding(&self, id: &BindingId) -> Option<&Binding> {
        self.bindings.get(id)
    }
}

impl Deployed {
    /// A function that has nothing but its unpublished version.
    pub fn unpublished(latest: Arc<EnvironmentSpec>) -> Self {
        Self {
            reserved: latest.config.reserved_concurrency,
            provisioned: latest
                .config
                .provisioned_concurrency
                .map(|many| (Qualifier::Latest, many))
                .into_iter()
                .collect(),
            asynchronous: HashMap::from([(Qualifier::Latest, Arc::new(latest.config.asynchronous.clone()))]),
            may_loop: false,
            latest: Target::Ready(latest),
            versions: BTreeMap::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// All versions that can be started.
    pub(crate) fn ready(&self) -> Vec<&EnvironmentSpec> {
        let targets = std::iter::once(&self.latest).chain(self.versions.values());
        targets
            .filter_map(|target| match target {
                Target::Ready(spec) => Some(spec.as_ref()),
                Target::Refused(_) => None,
            })
            .collect()
    }

    /// The versions of which environments are kept initialised, and how many. One that cannot be invoked has none.
    pub(crate) fn floors(&self) -> Vec<(Arc<EnvironmentSpec>, u32)> {
        let floor = |(version, many): &(Qualifier, u32)| match self.at(version)? {
            Target::Ready(spec) => Some((spec.clone(), *many)),
            Target::Refused(_) => None,
        };
        self.provisioned.iter().filter_map(floor).collect()
    }

    fn at(&self, qualifier: &Qualifier) -> Option<&Target> {
        match qualifier {
            Qualifier::Latest => Some(&self.latest),
            Qualifier::Version(number) => self.versions.get(number),
            Qualifier::Alias(_) => None,
        }
    }
}

impl Split {
    /// The version for an invocation. Ids are random, so their digits choose with the right odds.
    fn choose(&self, id: &RequestId) -> &Qualifier {
        match &self.other {
            Some((other, share)) if id.fraction() < *share => other,
            _ => &self.main,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_alias_splits_by_its_weights_and_the_same_for_each_attempt() {
        let (main, other) = (Qualifier::Version(1), Qualifier::Version(2));
        for (share, low, high) in [(0.0, 0, 0), (0.1, 800, 1200), (1.0, 10_000, 10_000)] {
            let split = Split {
                main: main.clone(),
                other: Some((other.clone(), share)),
            };
            let ids: Vec<_> = (0..10_000).map(|_| RequestId::random()).collect();
            let others = ids.iter().filter(|id| *split.choose(id) == other).count();
            assert!((low..=high).contains(&others), "{share}: {others}");
            assert!(ids.iter().all(|id| split.choose(id) == split.choose(id)));
        }
    }
}

//! What the router knows of functions and bindings: an immutable picture.

use std::collections::HashMap;
use std::sync::Arc;

use hikigane_executor::EnvironmentSpec;
use hikigane_model::{BindingId, FunctionName, Qualifier};
use hikigane_pattern::Pattern;

/// Functions and bindings.
#[derive(Debug, Default)]
pub struct Routes {
    functions: HashMap<FunctionName, Arc<EnvironmentSpec>>,
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

impl Routes {
    /// A picture of these functions and bindings.
    pub fn new(
        functions: impl IntoIterator<Item = Arc<EnvironmentSpec>>,
        bindings: impl IntoIterator<Item = Binding>,
    ) -> Self {
        Self {
            functions: functions
                .into_iter()
                .map(|spec| (spec.config.name.clone(), spec))
                .collect(),
            bindings: bindings
                .into_iter()
                .map(|binding| (binding.id.clone(), binding))
                .collect(),
        }
    }

    /// The function at a version. There is only the unpublished one so far.
    pub fn function(&self, name: &str, qualifier: Option<&Qualifier>) -> Option<&Arc<EnvironmentSpec>> {
        match qualifier {
            None | Some(Qualifier::Latest) => self.functions.get(name),
            Some(_) => None,
        }
    }

    /// All functions, ordered by name.
    pub fn functions(&self) -> Vec<&Arc<EnvironmentSpec>> {
        let mut all: Vec<_> = self.functions.values().collect();
        all.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        all
    }

    /// A binding.
    pub fn binding(&self, id: &BindingId) -> Option<&Binding> {
        self.bindings.get(id)
    }
}

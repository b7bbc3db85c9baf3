//! What closes around a function when it is known, made before.

use crate::sandbox::Rules;
use crate::seccomp::Filters;

/// Landlock's rules and seccomp's filters.
pub struct Walls {
    pub rules: Rules,
    pub filters: Filters,
}

impl Walls {
    /// Makes as much as can be made without the function.
    pub fn prepare() -> Result<Self, String> {
        Ok(Self {
            rules: Rules::prepare().map_err(|error| error.to_string())?,
            filters: Filters::compile().map_err(|error| error.to_string())?,
        })
    }
}

//! What closes around a function when it is known, made before.

use crate::sandbox::Rules;
use crate::seccomp::Door;

/// Landlock's rules and seccomp's door.
pub struct Walls {
    pub rules: Rules,
    pub door: Door,
}

impl Walls {
    /// Makes as much as can be made without the function.
    pub fn prepare() -> Result<Self, String> {
        Ok(Self {
            rules: Rules::prepare().map_err(|error| error.to_string())?,
            door: Door::compile().map_err(|error| error.to_string())?,
        })
    }
}

//! Rules that many operations share, in AWS's words.

use std::sync::Arc;

use hikigane_model::{ACCOUNT_ID, FunctionName, Qualifier, REGION, function_arn};

use super::{Function, Input, Phase, State};
use crate::catalog::{LastUpdate, qualified_key};
use crate::error::ApiError;
use crate::name;

/// The function that an operation names, and what of it.
#[derive(Debug)]
pub struct Named {
    /// The function; not yet known to exist.
    pub name: FunctionName,
    /// From its name or from the query.
    pub qualifier: Option<Qualifier>,
}

impl Named {
    /// Reads the members `FunctionName` and `Qualifier`.
    pub fn of(input: &Input) -> Result<Self, ApiError> {
        let query = input.get("Qualifier").and_then(serde_json::Value::as_str);
        let named = name::parse(input.text("FunctionName"), query)?;
        let name = FunctionName::new(&named.function).map_err(|_| too_long(&named.function))?;
        Ok(Self {
            name,
            qualifier: named.qualifier,
        })
    }

    /// Reads `FunctionName` of an operation that is for whole functions (text recorded from AWS).
    pub fn unqualified(input: &Input) -> Result<FunctionName, ApiError> {
        let named = Self::of(input)?;
        match named.qualifier {
            None => Ok(named.name),
            Some(_) => Err(ApiError::invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
            )),
        }
    }
}

/// What a configuration belongs to: a function, as `$LATEST`, or one of its versions or aliases.
pub struct Target {
    /// The function.
    pub name: FunctionName,
    /// What of it.
    pub qualifier: Qualifier,
}

impl Target {
    /// The key of the configuration in the catalog.
    pub fn key(&self) -> String {
        qualified_key(&self.name, &self.qualifier)
    }

    /// Whether there is such a function, version or alias.
    pub fn is_there(&self, state: &State) -> bool {
        state.version_of(&self.name, &self.qualifier).is_some()
    }
}

/// What AWS says of a name of more than 64 characters (recorded).
pub fn too_long(name: &str) -> ApiError {
    ApiError::invalid(format!(
        "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
    ))
}

/// "Function not found", with the ARN that was looked for.
pub fn no_function(name: &FunctionName, qualifier: Option<&Qualifier>) -> ApiError {
    ApiError::not_found(format!("Function not found: {}", function_arn(name, qualifier)))
}

/// What AWS says of most things that are not there (recorded).
pub fn nothing_there() -> ApiError {
    ApiError::not_found("The resource you requested does not exist.")
}

/// "Cannot find alias", with the ARN that was looked for (recorded).
pub fn no_alias(name: &FunctionName, alias: &Qualifier) -> ApiError {
    ApiError::not_found(format!("Cannot find alias arn: {}", function_arn(name, Some(alias))))
}

/// The function, to be changed. One that the manifest declares is changed there.
pub fn modifiable<'a>(state: &'a mut State, name: &FunctionName) -> Result<&'a mut Function, ApiError> {
    let function = state.functions.get_mut(name.as_str());
    let function = function.ok_or_else(|| no_function(name, None))?;
    not_from_manifest(name, function)?;
    Ok(function)
}

/// A function that may be changed, before it is: so that nothing is done for a change that is refused.
pub fn modifiable_now(state: &State, name: &FunctionName) -> Result<Arc<Function>, ApiError> {
    let function = state.function(name).ok_or_else(|| no_function(name, None))?;
    not_from_manifest(name, function)?;
    Ok(function.clone())
}

fn not_from_manifest(name: &FunctionName, function: &Function) -> Result<(), ApiError> {
    match function.from_manifest {
        false => Ok(()),
        true => Err(ApiError::conflict(format!(
            "The function {name} is declared in the manifest: change it there and start the server again."
        ))),
    }
}

/// Refuses to change code or configuration while that is being done, or before the function is ready (texts recorded from AWS).
pub fn not_in_progress(name: &FunctionName, function: &Function) -> Result<(), ApiError> {
    if function.latest.phase == Phase::Pending {
        return Err(ApiError::conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending",
        ));
    }
    if function.latest.update == Some(LastUpdate::InProgress) {
        return Err(ApiError::conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {}",
            function_arn(name, None)
        )));
    }
    Ok(())
}

/// Refuses a change that was made up for another revision (text recorded from AWS).
pub fn revision(wanted: Option<&str>, current: &str) -> Result<(), ApiError> {
    revision_by("GetFunction/GetAlias", wanted, current)
}

/// As [`revision`], of a revision that is to be had from `operation`.
pub fn revision_by(operation: &str, wanted: Option<&str>, current: &str) -> Result<(), ApiError> {
    match wanted {
        Some(wanted) if wanted != current => Err(ApiError::new(
            412,
            "PreconditionFailedException",
            format!(
                "The Revision Id provided does not match the latest Revision Id. Call the {operation} API to retrieve the latest Revision Id"
            ),
        )),
        _ => Ok(()),
    }
}

/// Refuses code whose signature was checked by another code signing configuration than the one that the function has.
pub fn signed_by(config: Option<&str>, function: &Function) -> Result<(), ApiError> {
    if function.code_signing_config.as_deref() == config {
        return Ok(());
    }
    Err(ApiError::conflict(
        "The function's code signing configuration was changed during the update: send it again.",
    ))
}

/// The ARN of something of Lambda's in this account: `layer:name`, `code-signing-config:csc-..`.
pub fn arn(resource: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT_ID}:{resource}")
}

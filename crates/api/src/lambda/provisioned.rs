//! Put, Get, List and DeleteProvisionedConcurrencyConfig(s): environments that are kept initialised for a version or an alias.

use chrono::{DateTime, Utc};
use hikigane_model::{FunctionName, Qualifier, function_arn, limits};
use serde_json::{Map, Value, json};

use super::concurrency::number;
use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, State};
use crate::catalog::{Provisioned, provisioned_key};
use crate::error::ApiError;

impl Lambda {
    pub(super) async fn put_provisioned_concurrency_config(&self, input: Input) -> Result<Value, ApiError> {
        let (name, qualifier) = named(&input, UNPUBLISHED)?;
        let requested = number(&input, "ProvisionedConcurrentExecutions");
        let modified = self.now();
        self.change(|state| {
            exists(state, &name, &qualifier)?;
            if state.version_of(&name, &qualifier) == Some(Qualifier::Latest) {
                return Err(ApiError::invalid(UNPUBLISHED));
            }
            not_twice(state, &name, &qualifier)?;
            self.affordable(state, &name, &qualifier, requested)?;
            let row = Provisioned { requested, modified };
            state.provisioned.insert(provisioned_key(&name, &qualifier), row);
            Ok(())
        })
        .await?;
        // Whatever is there already, AWS's first answer is this one (recorded).
        Ok(Shown {
            requested,
            ready: 0,
            status: Status::InProgress,
            modified,
        }
        .members()
        .into())
    }

    pub(super) async fn get_provisioned_concurrency_config(&self, input: Input) -> Result<Value, ApiError> {
        let (name, qualifier) = named(&input, MUST_BE_PUBLISHED)?;
        let state = self.catalog.state();
        exists(&state, &name, &qualifier)?;
        match state.provisioned.get(&provisioned_key(&name, &qualifier)) {
            Some(row) => Ok(self.shown_provisioned(&state, &name, &qualifier, row).members().into()),
            None => Err(ApiError::new(
                404,
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )),
        }
    }

    pub(super) async fn list_provisioned_concurrency_configs(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let page = Page::of(&input)?;
        self.existing(&name)?;
        let state = self.catalog.state();
        let entries = state.provisioned_of(&name).into_iter().map(|(qualifier, row)| {
            let mut members = self.shown_provisioned(&state, &name, &qualifier, &row).members();
            members.insert("FunctionArn".into(), function_arn(&name, Some(&qualifier)).into());
            (qualifier.to_string(), Value::Object(members))
        });
        Ok(page.answer(
            "ProvisionedConcurrencyConfigs",
            entries.filter(|(key, _)| *key > page.after),
        ))
    }

    pub(super) async fn delete_provisioned_concurrency_config(&self, input: Input) -> Result<Value, ApiError> {
        let (name, qualifier) = named(&input, MUST_BE_PUBLISHED)?;
        self.change(|state| {
            exists(state, &name, &qualifier)?;
            // One that is not there is as good as deleted.
            state.provisioned.remove(&provisioned_key(&name, &qualifier));
            Ok(Value::Null)
        })
        .await
    }

    /// Whether so much can be set aside: out of what is reserved for the function, or else out of the account (texts recorded from AWS).
    fn affordable(
        &self,
        state: &State,
        name: &FunctionName,
        qualifier: &Qualifier,
        requested: u32,
    ) -> Result<(), ApiError> {
        let others = state.provisioned_of(name);
        let others = others.iter().filter(|(other, _)| other != qualifier);
        let others: u32 = others.map(|(_, row)| row.requested).sum();
        if let Some(reserved) = state.function(name).and_then(|function| function.reserved) {
            if others.saturating_add(requested) > reserved {
                return Err(ApiError::invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
                ));
            }
            return Ok(());
        }
        let left = state
            .left_without(name, self.account_concurrency)
            .saturating_sub(others);
        if requested > left {
            return Err(ApiError::concurrency(format!(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{left}]."
            )));
        }
        if left - requested < limits::UNRESERVED_CONCURRENCY {
            return Err(ApiError::concurrency(format!(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{}].",
                limits::UNRESERVED_CONCURRENCY
            )));
        }
        Ok(())
    }

    fn shown_provisioned(&self, state: &State, name: &FunctionName, qualifier: &Qualifier, row: &Provisioned) -> Shown {
        let version = state.version_of(name, qualifier);
        let provisioning = version.and_then(|version| self.router.provisioning(name, &version));
        let (ready, status) = match provisioning {
            // The version cannot be invoked here.
            None => (0, Status::Failed),
            Some(all) if all.ready >= all.wanted => (row.requested, Status::Ready),
            Some(all) if all.failed => (all.ready, Status::Failed),
            Some(all) => (all.ready, Status::InProgress),
        };
        Shown {
            requested: row.requested,
            // Two aliases of one version share its environments.
            ready: ready.min(row.requested),
            status,
            modified: row.modified,
        }
    }
}

/// What AWS says when `$LATEST` is to be provisioned, or an alias that leads there.
const UNPUBLISHED: &str = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
/// What it says of `$LATEST` otherwise (recorded).
const MUST_BE_PUBLISHED: &str = "The function resource provided must be an alias or a published version.";

/// The version or alias that an operation names; `unpublished` is what is said of `$LATEST`.
fn named(input: &Input, unpublished: &str) -> Result<(FunctionName, Qualifier), ApiError> {
    let named = Named::of(input)?;
    match named.qualifier {
        None | Some(Qualifier::Latest) => Err(ApiError::invalid(unpublished)),
        Some(qualifier) => Ok((named.name, qualifier)),
    }
}

/// Whether the function has such a version or alias (texts recorded from AWS).
fn exists(state: &State, name: &FunctionName, qualifier: &Qualifier) -> Result<(), ApiError> {
    match (state.version_of(name, qualifier), qualifier) {
        (Some(_), _) => Ok(()),
        (None, Qualifier::Alias(_)) => Err(ApiError::not_found(format!(
            "Cannot find alias arn: {}",
            function_arn(name, Some(qualifier))
        ))),
        (None, _) => Err(rules::no_function(name, Some(qualifier))),
    }
}

/// A version is provisioned under its own number or under an alias, not under both (the first text recorded from AWS; the second as LocalStack has it).
fn not_twice(state: &State, name: &FunctionName, qualifier: &Qualifier) -> Result<(), ApiError> {
    let version = state.version_of(name, qualifier);
    let provisioned = state.provisioned_of(name);
    let is_alias = |qualifier: &Qualifier| matches!(qualifier, Qualifier::Alias(_));
    if is_alias(qualifier) && provisioned.iter().any(|(other, _)| Some(other) == version.as_ref()) {
        return Err(ApiError::conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        ));
    }
    let leads_here = |other: &Qualifier| is_alias(other) && state.version_of(name, other) == version;
    if !is_alias(qualifier) && provisioned.iter().any(|(other, _)| leads_here(other)) {
        return Err(ApiError::conflict(
            "Version is pointed by a Provisioned Concurrency alias",
        ));
    }
    Ok(())
}

/// How far provisioning is (AWS: `ProvisionedConcurrencyStatusEnum`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    InProgress,
    Ready,
    Failed,
}

/// A configuration as AWS shows it.
struct Shown {
    requested: u32,
    ready: u32,
    status: Status,
    modified: DateTime<Utc>,
}

impl Shown {
    fn members(self) -> Map<String, Value> {
        let (status, reason) = match self.status {
            Status::InProgress => ("IN_PROGRESS", None),
            Status::Ready => ("READY", None),
            // Recorded from AWS.
            Status::Failed => ("FAILED", Some("FUNCTION_ERROR_INIT_FAILURE")),
        };
        let mut members = Map::new();
        let mut put = |member: &str, value: Value| members.insert(member.to_owned(), value);
        put("RequestedProvisionedConcurrentExecutions", self.requested.into());
        put("AvailableProvisionedConcurrentExecutions", self.ready.into());
        put("AllocatedProvisionedConcurrentExecutions", self.ready.into());
        put("Status", status.into());
        if let Some(reason) = reason {
            put("StatusReason", reason.into());
        }
        put(
            "LastModified",
            json!(self.modified.format("%Y-%m-%dT%H:%M:%S+0000").to_string()),
        );
        members
    }
}

//! CreateEventSourceMapping, GetEventSourceMapping, ListEventSourceMappings, UpdateEventSourceMapping, DeleteEventSourceMapping.
//!
//! Mappings are kept and go through AWS's states; nothing reads their sources yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use hikigane_model::{Qualifier, function_arn};
use serde_json::{Value, json};

use super::create::check_tags;
use super::event_source::{Settings, epoch};
use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, PAUSE, State};
use crate::catalog::{EventSource, Mapping, MappingState};
use crate::error::ApiError;

/// Most mappings on one page (AWS: 100).
const PAGE: usize = 100;

impl Lambda {
    pub(super) async fn create_event_source_mapping(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let Named { name, qualifier } = Named::of(&input)?;
        let mut settings: Settings = input.parse()?;
        settings.remove("FunctionName");
        let enabled = settings.remove("Enabled") != Some(Value::Bool(false));
        let tags: BTreeMap<String, String> = match settings.remove("Tags") {
            Some(tags) => serde_json::from_value(tags).map_err(|error| ApiError::invalid(error.to_string()))?,
            None => BTreeMap::new(),
        };
        check_tags(&tags)?;
        let source = EventSource::of(&settings)?;
        let uuid = uuid::Uuid::new_v4().to_string();
        source.complete(&mut settings, &uuid);
        source.check(&settings)?;
        if let Some(time) = settings.get_mut("StartingPositionTimestamp") {
            *time = epoch(time).into();
        }
        let mapping = Mapping {
            function: name,
            qualifier,
            source,
            enabled,
            state: MappingState::Creating,
            settings,
            tags,
            modified: self.now(),
        };
        self.change_mapping(uuid, |state, uuid| {
            check_target(state, &mapping)?;
            check_new(state, uuid, &mapping)?;
            Ok(mapping)
        })
        .await
    }

    pub(super) async fn update_event_source_mapping(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let uuid = uuid_of(&input);
        let target = input
            .get("FunctionName")
            .is_some()
            .then(|| Named::of(&input))
            .transpose()?;
        let mut changes: Settings = input.parse()?;
        changes.remove("UUID");
        changes.remove("FunctionName");
        let enabled = changes.remove("Enabled").and_then(|enabled| enabled.as_bool());
        let now = self.now();
        self.change_mapping(uuid, |state, uuid| {
            let mut mapping = settled(state, uuid, "update")?;
            if let Some(Named { name, qualifier }) = target {
                (mapping.function, mapping.qualifier) = (name, qualifier);
            }
            mapping.settings.extend(changes);
            mapping.source.complete(&mut mapping.settings, uuid);
            mapping.source.check(&mapping.settings)?;
            check_target(state, &mapping)?;
            check_new(state, uuid, &mapping)?;
            mapping.state = match enabled {
                Some(true) if !mapping.enabled => MappingState::Enabling,
                Some(false) if mapping.enabled => MappingState::Disabling,
                _ => MappingState::Updating,
            };
            mapping.enabled = enabled.unwrap_or(mapping.enabled);
            mapping.modified = now;
            Ok(mapping)
        })
        .await
    }

    pub(super) async fn delete_event_source_mapping(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        self.change_mapping(uuid_of(&input), |state, uuid| {
            let mut mapping = settled(state, uuid, "delete")?;
            mapping.state = MappingState::Deleting;
            Ok(mapping)
        })
        .await
    }

    /// Puts what `make` makes into the catalog, and brings that change to its end in the background. What it is meanwhile.
    async fn change_mapping(
        self: &Arc<Self>,
        uuid: String,
        make: impl FnOnce(&State, &str) -> Result<Mapping, ApiError>,
    ) -> Result<Value, ApiError> {
        let answer = self
            .change(|state| {
                let mapping = make(state, &uuid)?;
                let answer = shown(&uuid, &mapping);
                state.mappings.insert(uuid.as_str(), mapping);
                Ok(answer)
            })
            .await?;
        self.settle_soon(uuid);
        Ok(answer)
    }

    pub(super) async fn get_event_source_mapping(&self, input: Input) -> Result<Value, ApiError> {
        let uuid = uuid_of(&input);
        let state = self.catalog.state();
        let mapping = state.mappings.get(&uuid).ok_or_else(rules::nothing_there)?;
        Ok(shown(&uuid, mapping))
    }

    /// Those of one source, of one function, or all.
    pub(super) async fn list_event_source_mappings(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::up_to(PAGE, &input)?;
        let target = input
            .get("FunctionName")
            .is_some()
            .then(|| Named::of(&input))
            .transpose()?;
        let source = input.text("EventSourceArn");
        let state = self.catalog.state();
        let mappings = state
            .mappings
            .after(&page.after)
            .filter(|(_, mapping)| source.is_empty() || arn_of(mapping) == source)
            .filter(|(_, mapping)| {
                target.as_ref().is_none_or(|target| {
                    mapping.function == target.name
                        && (target.qualifier.is_none() || mapping.qualifier == target.qualifier)
                })
            })
            .map(|(uuid, mapping)| (uuid, shown(uuid, mapping)));
        Ok(page.answer("EventSourceMappings", mappings))
    }

    /// Brings changes to their end that were under way when the server ended.
    pub(super) fn resume_mappings(self: &Arc<Self>) {
        for (uuid, mapping) in self.catalog.state().mappings.iter() {
            if !mapping.state.is_settled() {
                self.settle_soon(uuid.to_owned());
            }
        }
    }

    /// Brings a change of a mapping to its end in the background.
    fn settle_soon(self: &Arc<Self>, uuid: String) {
        let lambda = self.clone();
        tokio::spawn(async move {
            // A full disk is not the mapping's fault.
            while let Err(_unavailable) = lambda.settle(&uuid).await {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    async fn settle(&self, uuid: &str) -> Result<(), ApiError> {
        self.change(|state| {
            match state.mappings.get_mut(uuid) {
                Some(mapping) if mapping.state == MappingState::Deleting => drop(state.mappings.remove(uuid)),
                Some(mapping) if mapping.enabled => mapping.state = MappingState::Enabled,
                Some(mapping) => mapping.state = MappingState::Disabled,
                None => {}
            }
            Ok(())
        })
        .await
    }
}

fn uuid_of(input: &Input) -> String {
    input.text("UUID").to_ascii_lowercase()
}

/// A copy of a mapping that is not being changed already (AWS: `ResourceInUseException`).
fn settled(state: &State, uuid: &str, verb: &str) -> Result<Mapping, ApiError> {
    let mapping = state.mappings.get(uuid).ok_or_else(rules::nothing_there)?;
    if !mapping.state.is_settled() {
        return Err(ApiError::new(
            400,
            "ResourceInUseException",
            format!("Cannot {verb} the event source mapping because it is in use."),
        ));
    }
    Ok(Mapping::clone(mapping))
}

/// Whether the function that a mapping invokes is there.
fn check_target(state: &State, mapping: &Mapping) -> Result<(), ApiError> {
    let qualifier = mapping.qualifier.as_ref().unwrap_or(&Qualifier::Latest);
    match state.version_of(&mapping.function, qualifier) {
        Some(_) => Ok(()),
        None => Err(ApiError::invalid("Function does not exist")),
    }
}

/// Whether no other mapping takes from the same source to the same function (texts recorded from AWS).
fn check_new(state: &State, uuid: &str, new: &Mapping) -> Result<(), ApiError> {
    let is_same = |other: &Mapping| {
        other.state != MappingState::Deleting
            && (&other.function, &other.qualifier) == (&new.function, &new.qualifier)
            && shares(&sources(other), &sources(new))
            && names(other).is_none_or(|topics| names(new).is_none_or(|new| shares(&topics, &new)))
    };
    let mut others = state.mappings.iter();
    let Some((existing, _)) = others.find(|(key, other)| *key != uuid && is_same(other)) else {
        return Ok(());
    };
    let what = match new.source {
        EventSource::Sqs => format!(
            "An event source mapping with SQS arn (\" {} \") and function (\" {} \") already exists.",
            arn_of(new),
            new.function
        ),
        EventSource::Kafka | EventSource::SelfManagedKafka => format!(
            "An event source mapping with event source (\"{}\"), function (\"{}\"), topics (\"{}\") already exists.",
            sources(new).join(","),
            function_arn(&new.function, new.qualifier.as_ref()),
            names(new).unwrap_or_default().join(",")
        ),
        _ => format!(
            "The event source arn (\" {} \") and function (\" {} \") provided mapping already exists.",
            arn_of(new),
            new.function
        ),
    };
    Err(ApiError::conflict(format!(
        "{what} Please update or delete the existing mapping with UUID {existing}"
    )))
}

fn arn_of(mapping: &Mapping) -> &str {
    let arn = mapping.settings.get("EventSourceArn");
    arn.and_then(Value::as_str).unwrap_or_default()
}

/// Where the records come from: an ARN, or the addresses of Kafka's servers.
fn sources(mapping: &Mapping) -> Vec<&str> {
    let endpoints = mapping
        .settings
        .get("SelfManagedEventSource")
        .and_then(|source| source.get("Endpoints"));
    match endpoints.and_then(Value::as_object) {
        Some(endpoints) => endpoints.values().flat_map(texts).collect(),
        None => vec![arn_of(mapping)],
    }
}

/// What of the source is read, of sources that have several such things.
fn names(mapping: &Mapping) -> Option<Vec<&str>> {
    let names = mapping
        .settings
        .get("Topics")
        .or_else(|| mapping.settings.get("Queues"))?;
    Some(texts(names).collect())
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn shares(some: &[&str], others: &[&str]) -> bool {
    some.iter().any(|one| others.contains(one))
}

/// The shape `EventSourceMappingConfiguration` (recorded from AWS).
fn shown(uuid: &str, mapping: &Mapping) -> Value {
    let mut answer = mapping.settings.clone();
    let mut put = |member: &str, value: Value| answer.insert(member.to_owned(), value);
    put("UUID", uuid.into());
    put(
        "EventSourceMappingArn",
        rules::arn(&format!("event-source-mapping:{uuid}")).into(),
    );
    put(
        "FunctionArn",
        function_arn(&mapping.function, mapping.qualifier.as_ref()).into(),
    );
    // Milliseconds of this age are exact.
    put(
        "LastModified",
        json!(mapping.modified.timestamp_millis() as f64 / 1000.0),
    );
    put("State", json!(mapping.state));
    let reason = if mapping.source.is_stream() {
        "User action"
    } else {
        "USER_INITIATED"
    };
    put("StateTransitionReason", reason.into());
    if mapping.source != EventSource::Sqs {
        put("LastProcessingResult", "No records processed".into());
    }
    answer.into()
}

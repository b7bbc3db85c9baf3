//! Provisioned concurrency, as it is kept, and the account's concurrency that is set aside.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hikigane_model::{FunctionName, Qualifier};
use serde::{Deserialize, Serialize};

use super::{Row, State};

/// Provisioned concurrency of a version or an alias.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// How many environments are wanted.
    pub requested: u32,
    /// When that was said.
    pub modified: DateTime<Utc>,
}

impl Row for Provisioned {
    const KIND: &'static str = "provisioned";
}

/// The key of what is provisioned for a version or an alias.
pub fn provisioned_key(function: &FunctionName, qualifier: &Qualifier) -> String {
    format!("{function}/{qualifier}")
}

impl State {
    /// What is provisioned for a function, by qualifier. For the unpublished version that can be in the manifest only: AWS has none for it.
    pub fn provisioned_of(&self, name: &FunctionName) -> Vec<(Qualifier, Provisioned)> {
        let Some(function) = self.function(name) else {
            return Vec::new();
        };
        if function.from_manifest {
            let modified = function.latest.modified;
            let latest = function
                .provisioned
                .map(|requested| (Qualifier::Latest, Provisioned { requested, modified }));
            return latest.into_iter().collect();
        }
        let prefix = format!("{name}/");
        let rows = self.provisioned.starting_with(prefix);
        rows.filter_map(|(key, row)| Some((qualifier_of(key)?, row.as_ref().clone())))
            .collect()
    }

    /// How many environments are wanted of each version of a function: its own, and those of the aliases that lead to it.
    pub fn provisioned_versions(&self, name: &FunctionName) -> Vec<(Qualifier, u32)> {
        let mut versions: BTreeMap<u64, u32> = BTreeMap::new();
        let mut latest = Vec::new();
        for (qualifier, Provisioned { requested, .. }) in self.provisioned_of(name) {
            match self.version_of(name, &qualifier) {
                Some(Qualifier::Version(number)) => *versions.entry(number).or_default() += requested,
                Some(Qualifier::Latest) => latest.push((Qualifier::Latest, requested)),
                _ => {}
            }
        }
        let versions = versions
            .into_iter()
            .map(|(number, many)| (Qualifier::Version(number), many));
        latest.into_iter().chain(versions).collect()
    }

    /// How much of the account's concurrency is set aside for a function: what is reserved, or else what is provisioned.
    pub fn set_aside(&self, name: &FunctionName) -> u32 {
        let reserved = self.function(name).and_then(|function| function.reserved);
        reserved.unwrap_or_else(|| self.provisioned_total(name))
    }

    /// How many environments are wanted of all versions of a function.
    pub fn provisioned_total(&self, name: &FunctionName) -> u32 {
        let all = self.provisioned_of(name);
        all.iter().map(|(_, provisioned)| provisioned.requested).sum()
    }

    /// What is left of the account's concurrency when nothing is set aside for `name`.
    pub fn left_without(&self, name: &FunctionName, account: u32) -> u32 {
        let names = self
            .functions
            .iter()
            .filter_map(|(name, _)| FunctionName::new(name).ok());
        let others = names.filter(|other| other != name);
        others.fold(account, |left, other| left.saturating_sub(self.set_aside(&other)))
    }

    /// The version that a qualifier stands for, if there is such a one.
    pub fn version_of(&self, name: &FunctionName, qualifier: &Qualifier) -> Option<Qualifier> {
        match qualifier {
            Qualifier::Latest => self.function(name).map(|_| Qualifier::Latest),
            Qualifier::Version(number) => self.version(name, *number).map(|_| qualifier.clone()),
            Qualifier::Alias(alias) => self.alias(name, alias).map(|alias| alias.version.clone()),
        }
    }

    /// Takes away what is provisioned for versions and aliases that are gone, whatever took them away.
    pub fn forget_orphans(&mut self) {
        let is_orphan = |key: &str| {
            let name = key.split('/').next().and_then(|name| FunctionName::new(name).ok());
            let version = name.zip(qualifier_of(key));
            version.is_none_or(|(name, qualifier)| self.version_of(&name, &qualifier).is_none())
        };
        let orphans: Vec<String> = self
            .provisioned
            .iter()
            .filter(|(key, _)| is_orphan(key))
            .map(|(key, _)| key.to_owned())
            .collect();
        for key in orphans {
            self.provisioned.remove(&key);
        }
    }
}

fn qualifier_of(key: &str) -> Option<Qualifier> {
    Qualifier::new(key.rsplit_once('/')?.1).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::{Alias, Function, Version, version_key};
    use super::*;

    const ACCOUNT: u32 = 1000;

    /// A function with two versions, and the alias `live` of one of them.
    fn state(live: u64) -> (State, FunctionName) {
        let name = FunctionName::new("f").unwrap();
        let version: Version = serde_json::from_value(serde_json::json!({
            "description": "", "runtime": "nodejs22.x", "handler": "index.handler", "role": "", "timeout": 3, "memory": 128,
            "environment": null, "layers": [], "ephemeralStorage": 512, "architectures": ["x86_64"], "packageType": "Zip",
            "tracing": "PassThrough", "deadLetter": null, "snapStart": "None", "code": {"sha256": "", "size": 0}, "revision": "",
            "modified": "2026-01-01T00:00:00Z", "phase": "Active", "update": null,
            "logging": {"format": "Text", "applicationLevel": null, "systemLevel": null, "group": ""},
        }))
        .unwrap();
        let mut state = State::default();
        for number in [1, 2] {
            state.versions.insert(version_key("f", number), version.clone());
        }
        let function = serde_json::json!({"latest": version, "lastVersion": 2});
        let function: Function = serde_json::from_value(function).unwrap();
        state.functions.insert("f", function);
        let version = Qualifier::Version(live);
        state.aliases.insert(
            "f/live",
            Alias {
                description: String::new(),
                version,
                share: None,
                revision: String::new(),
            },
        );
        (state, name)
    }

    fn provision(state: &mut State, qualifier: &str, requested: u32) {
        let name = FunctionName::new("f").unwrap();
        let modified = DateTime::UNIX_EPOCH;
        let key = provisioned_key(&name, &Qualifier::new(qualifier).unwrap());
        state.provisioned.insert(key, Provisioned { requested, modified });
    }

    #[test]
    fn what_is_provisioned_for_an_alias_moves_with_it() {
        for live in [1, 2] {
            let (mut state, f) = state(live);
            provision(&mut state, "live", 3);
            assert_eq!(state.provisioned_versions(&f), [(Qualifier::Version(live), 3)]);
            provision(&mut state, "2", 4);
            let expected = match live {
                1 => vec![(Qualifier::Version(1), 3), (Qualifier::Version(2), 4)],
                _ => vec![(Qualifier::Version(2), 7)],
            };
            assert_eq!(state.provisioned_versions(&f), expected);
        }
    }

    #[test]
    fn what_is_provisioned_goes_with_its_version_alias_or_function() {
        let kept = |take: fn(&mut State)| {
            let (mut state, f) = state(1);
            provision(&mut state, "live", 3);
            provision(&mut state, "2", 4);
            take(&mut state);
            state.forget_orphans();
            let kept = state.provisioned.iter().map(|(key, _)| key.to_owned());
            (kept.collect::<Vec<_>>(), state.provisioned_total(&f))
        };
        assert_eq!(kept(|_| {}), (vec!["f/2".into(), "f/live".into()], 7));
        let without_alias = kept(|state| drop(state.aliases.remove("f/live")));
        assert_eq!(without_alias, (vec!["f/2".into()], 4));
        let without_version = kept(|state| drop(state.versions.remove(&version_key("f", 2))));
        assert_eq!(without_version, (vec!["f/live".into()], 3));
        let without_function = kept(|state| {
            state.functions.remove("f");
            state.aliases.remove("f/live");
            state.versions = Default::default();
        });
        assert_eq!(without_function, (vec![], 0));
    }

    #[test]
    fn what_is_reserved_holds_what_is_provisioned() {
        let (mut state, f) = state(1);
        let other = FunctionName::new("other").unwrap();
        provision(&mut state, "1", 30);
        provision(&mut state, "2", 40);
        assert_eq!((state.set_aside(&f), state.left_without(&other, ACCOUNT)), (70, 930));
        assert_eq!(state.left_without(&f, ACCOUNT), 1000);
        state.functions.get_mut("f").unwrap().reserved = Some(100);
        assert_eq!((state.set_aside(&f), state.left_without(&other, ACCOUNT)), (100, 900));
    }
}

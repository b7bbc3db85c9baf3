//! The access keys of the endpoint, listed in the manifest or in a file beside it.

use std::collections::HashSet;
use std::path::Path;

use hikigane_model::AccessKey;

use crate::code;
use crate::diagnostic::{Problems, Span};
use crate::document::{AccessKeyItem, AccessKeys};
use crate::section::{Setting, Spanned};
use crate::suggestion::quote;

/// The shortest secret: whoever sees a signed request can try secrets at leisure, so it must not be one that can be guessed.
const SECRET: usize = 16;
/// The longest id (the `accessKeyIdType` shape of AWS's IAM model).
const ID: usize = 128;

/// The keys. Every one that is not good has a diagnostic, and so has a setting without any: it would leave the endpoint open.
pub(crate) fn configure(setting: &Setting<AccessKeys>, base: &Path, problems: &mut Problems) -> Vec<AccessKey> {
    let Setting::Given(Spanned { span, value }) = setting else {
        return Vec::new();
    };
    let keys: Vec<(Span, AccessKey)> = match value {
        AccessKeys::List(items) => items.0.iter().filter_map(|item| listed(item, problems)).collect(),
        AccessKeys::File(path) => match read_file(&code::absolute(base, path)) {
            Ok(keys) => keys.into_iter().map(|key| (*span, key)).collect(),
            Err(message) => {
                problems.error(*span, message);
                return Vec::new();
            }
        },
    };
    let nothing_is_listed = match value {
        AccessKeys::List(items) => items.0.is_empty(),
        AccessKeys::File(_) => keys.is_empty(),
    };
    if nothing_is_listed {
        problems
            .error(*span, "there is no access key here")
            .help("add one, or delete `accessKeys` to ask for no signatures");
    }
    let mut ids = HashSet::new();
    for (span, key) in &keys {
        if !ids.insert(&key.id) {
            problems.error(*span, format!("the access key {} is there twice", quote(&key.id)));
        }
        check(*span, key, problems);
    }
    keys.into_iter().map(|(_, key)| key).collect()
}

fn listed(item: &Spanned<AccessKeyItem>, problems: &mut Problems) -> Option<(Span, AccessKey)> {
    let section = &item.value;
    for (name, missing) in [
        ("id", matches!(section.id, Setting::Missing)),
        ("secret", matches!(section.secret, Setting::Missing)),
    ] {
        if missing {
            problems
                .error(item.span, format!("the access key has no `{name}`"))
                .help("write `- { id: ..., secret: ... }`");
        }
    }
    let key = AccessKey {
        id: section.id.value()?.clone(),
        secret: section.secret.value()?.clone(),
        session_token: None,
    };
    Some((item.span, key))
}

fn check(span: Span, key: &AccessKey, problems: &mut Problems) {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if key.id.is_empty() || key.id.len() > ID || !key.id.chars().all(legal) {
        problems
            .error(span, format!("{} is not the id of an access key", quote(&key.id)))
            .help(format!("use 1 to {ID} letters, digits, `-` and `_`"));
    }
    if key.secret.len() < SECRET {
        let message = format!(
            "the secret of the access key {} has fewer than {SECRET} characters",
            quote(&key.id)
        );
        problems
            .error(span, message)
            .help("make one that nobody can guess: `openssl rand -base64 30`");
    }
}

/// The keys of a file in the format of AWS's `credentials` files (AWS CLI user guide, "Configuration and credential file settings"): a section
/// for each key, with `aws_access_key_id` and `aws_secret_access_key`. Other settings are for other programs.
///
/// # Errors
///
/// A message: the file cannot be read, a line is not understood, or a section has one of the two only.
pub fn read_file(path: &Path) -> Result<Vec<AccessKey>, String> {
    let name = quote(&path.display().to_string());
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read the access keys in {name}: {error}"))?;
    let mut profiles: Vec<(&str, Option<&str>, Option<&str>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(profile) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            profiles.push((profile.trim(), None, None));
            continue;
        }
        let (Some((setting, value)), Some((_, id, secret))) = (line.split_once('='), profiles.last_mut()) else {
            return Err(format!(
                "line {} of the access keys in {name} is neither `[section]` nor `setting = value` in one",
                number + 1
            ));
        };
        match setting.trim() {
            "aws_access_key_id" => *id = Some(value.trim()),
            "aws_secret_access_key" => *secret = Some(value.trim()),
            _ => {}
        }
    }
    let mut keys = Vec::new();
    for (profile, id, secret) in profiles {
        match (id, secret) {
            (Some(id), Some(secret)) => keys.push(AccessKey {
                id: id.to_owned(),
                secret: secret.to_owned(),
                session_token: None,
            }),
            (None, None) => {}
            _ => {
                return Err(format!(
                    "the section [{profile}] of the access keys in {name} has only one of aws_access_key_id and aws_secret_access_key"
                ));
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = quote(&file.path().display().to_string());
        let keys = read_file(file.path()).map_err(|message| message.replace(&name, "FILE"))?;
        Ok(keys.into_iter().map(|key| (key.id, key.secret)).collect())
    }

    #[test]
    fn every_section_is_a_key() {
        let text = "; one\n[default]\n aws_access_key_id = a\r\naws_secret_access_key=b=/+c \n\n[role]\nregion=x\n[two]\naws_secret_access_key = s\naws_access_key_id = t\n";
        let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        assert_eq!(read(text), Ok(vec![pair("a", "b=/+c"), pair("t", "s")]));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, message) in [
            (
                "[a]\naws_access_key_id = a\n",
                "the section [a] of the access keys in FILE has only one of aws_access_key_id and aws_secret_access_key",
            ),
            (
                "aws_access_key_id = a\n",
                "line 1 of the access keys in FILE is neither `[section]` nor `setting = value` in one",
            ),
            (
                "[a]\nwhat\n",
                "line 2 of the access keys in FILE is neither `[section]` nor `setting = value` in one",
            ),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }
}

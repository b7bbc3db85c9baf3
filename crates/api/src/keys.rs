//! The access keys that the endpoint accepts: those of the manifest, and those of sessions, which it makes itself.
//!
//! Nothing is kept of a session. Its token says what it is, and its key is derived from the token and a secret of this process: a token that
//! was changed has another key, and sessions end with the server.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hikigane_model::{ACCOUNT_ID, AccessKey};
use serde::{Deserialize, Serialize};

use crate::sigv4::{SignatureError, hex, hmac};

/// The role of every function that the manifest declares, as GetFunction shows it.
pub(crate) const FUNCTIONS_ROLE: &str = "hikigane";

/// Who may sign requests.
pub struct Keys {
    configured: Vec<AccessKey>,
    /// What the keys of sessions are derived from.
    master: [u8; 32],
}

/// Who signed a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Whoever can reach an endpoint that asks for no signature.
    Anybody,
    /// A key of the manifest.
    Key(String),
    /// A session.
    Session(Session),
}

/// What the token of a session says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Functions may not use the admin API, nor may sessions that they began.
    pub(crate) of_function: bool,
    pub(crate) role: String,
    pub(crate) name: String,
    /// `None`: with the server.
    pub(crate) ends: Option<DateTime<Utc>>,
    nonce: String,
}

impl Session {
    pub(crate) fn new(of_function: bool, role: &str, name: &str, ends: Option<DateTime<Utc>>) -> Self {
        Self {
            of_function,
            role: role.to_owned(),
            name: name.to_owned(),
            ends,
            nonce: hikigane_model::RequestId::random().to_string(),
        }
    }
}

impl Keys {
    /// These keys, and sessions. Without any the endpoint asks for no signature.
    ///
    /// # Errors
    ///
    /// The machine has no random numbers.
    pub fn new(configured: Vec<AccessKey>) -> std::io::Result<Self> {
        let mut master = [0; 32];
        getrandom::fill(&mut master).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { configured, master })
    }

    /// Whether requests must be signed.
    pub fn demand_signatures(&self) -> bool {
        !self.configured.is_empty()
    }

    /// The key that functions have in their environment: as on AWS, that of a session of their role.
    pub fn of_functions(&self) -> AccessKey {
        self.of_session(&Session::new(true, FUNCTIONS_ROLE, "function", None))
    }

    /// The key of a session. Its names are those that AWS gives: `ASIA` begins the id of a temporary key.
    pub(crate) fn of_session(&self, session: &Session) -> AccessKey {
        let json = serde_json::to_string(session).unwrap_or_default();
        self.derive(&BASE64_URL_SAFE_NO_PAD.encode(json))
    }

    fn derive(&self, token: &str) -> AccessKey {
        let id = hex(&hmac(&self.master, &format!("id {token}"))).to_uppercase();
        AccessKey {
            id: format!("ASIA{}", &id[..16]),
            secret: hex(&hmac(&self.master, &format!("secret {token}"))),
            session_token: Some(token.to_owned()),
        }
    }

    /// The secret of the key `id` with `token`, and whose it is. Whoever signs with it is believed to be that.
    pub(crate) fn recognise(
        &self,
        id: &str,
        token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(String, Caller), SignatureError> {
        let Some(token) = token else {
            let key = self.configured.iter().find(|key| key.id == id);
            let key = key.ok_or(SignatureError::Unrecognized)?;
            return Ok((key.secret.clone(), Caller::Key(key.id.clone())));
        };
        let key = self.derive(token);
        let json = BASE64_URL_SAFE_NO_PAD.decode(token).ok().filter(|_| key.id == id);
        let session = json.and_then(|json| serde_json::from_slice::<Session>(&json).ok());
        let session = session.ok_or(SignatureError::Unrecognized)?;
        if session.ends.is_some_and(|ends| ends <= now) {
            return Err(SignatureError::ExpiredToken);
        }
        Ok((key.secret, Caller::Session(session)))
    }
}

impl Caller {
    /// Whether a function, or a session that one began, sent the request.
    pub(crate) fn is_function(&self) -> bool {
        matches!(self, Self::Session(session) if session.of_function)
    }

    /// The caller's ARN and unique id, as GetCallerIdentity tells them. The access keys of the manifest are users of their names.
    pub(crate) fn identity(&self) -> (String, String) {
        match self {
            Self::Anybody => (format!("arn:aws:iam::{ACCOUNT_ID}:root"), ACCOUNT_ID.to_owned()),
            Self::Key(id) => (format!("arn:aws:iam::{ACCOUNT_ID}:user/{id}"), unique_id("AIDA", id)),
            Self::Session(Session { role, name, .. }) => (
                format!("arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/{name}"),
                format!("{}:{name}", unique_id("AROA", role)),
            ),
        }
    }
}

/// The unique id of what has this `name`: AWS's prefix for its kind, and 17 characters (IAM user guide, "Unique identifiers").
pub(crate) fn unique_id(prefix: &str, name: &str) -> String {
    let id = hex(&hmac(prefix.as_bytes(), name)).to_uppercase();
    format!("{prefix}{}", &id[..17])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use chrono::TimeDelta;

    fn keys() -> Keys {
        let key = AccessKey {
            id: "AKIDEXAMPLE".to_owned(),
            secret: "a secret of the manifest".to_owned(),
            session_token: None,
        };
        Keys::new(vec![key]).unwrap()
    }

    #[test]
    fn a_key_of_the_manifest_is_known_by_its_id_and_takes_no_token() {
        let (keys, now) = (keys(), Utc::now());
        let (secret, caller) = keys.recognise("AKIDEXAMPLE", None, now).unwrap();
        assert_eq!(secret, "a secret of the manifest");
        assert!(!caller.is_function());
        assert!(keys.recognise("AKIDEXAMPLF", None, now).is_err());
        assert!(keys.recognise("AKIDEXAMPLE", Some("x"), now).is_err());
    }

    #[test]
    fn the_key_of_a_session_is_good_with_its_token_until_it_ends() {
        let (keys, now) = (keys(), Utc::now());
        let ends = now + TimeDelta::hours(1);
        let key = keys.of_session(&Session::new(false, "r", "s", Some(ends)));
        let token = key.session_token.as_deref();
        let (secret, caller) = keys.recognise(&key.id, token, now).unwrap();
        assert_eq!(secret, key.secret);
        assert!(caller.identity().0.ends_with(":assumed-role/r/s"));
        assert_eq!(
            keys.recognise(&key.id, token, ends).unwrap_err(),
            SignatureError::ExpiredToken
        );
        assert_eq!(
            keys.recognise(&key.id, None, now).unwrap_err(),
            SignatureError::Unrecognized
        );
        let other = keys.of_functions();
        assert_ne!(other.secret, key.secret);
        assert!(keys.recognise(&other.id, token, now).is_err(), "another's token");
        let (_, function) = keys.recognise(&other.id, other.session_token.as_deref(), now).unwrap();
        assert!(function.is_function());
    }

    #[test]
    fn a_token_that_was_changed_or_is_of_another_server_is_not_known() {
        let (keys, now) = (keys(), Utc::now());
        let key = keys.of_functions();
        let mut session: serde_json::Value =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(key.session_token.unwrap()).unwrap()).unwrap();
        session["of_function"] = false.into();
        let forged = BASE64_URL_SAFE_NO_PAD.encode(session.to_string());
        assert!(keys.recognise(&key.id, Some(&forged), now).is_err());
        let elsewhere = Keys::new(Vec::new()).unwrap().of_functions();
        assert!(
            keys.recognise(&elsewhere.id, elsewhere.session_token.as_deref(), now)
                .is_err()
        );
        for junk in ["", "x", "%%%", "e30", "bnVsbA"] {
            assert!(
                keys.recognise(&keys.derive(junk).id, Some(junk), now).is_err(),
                "{junk}"
            );
        }
    }
}

//! Who signs: a version of a signing profile, named by its ARN as on AWS.

use std::fmt;
use std::str::FromStr;

use hikigane_model::{ACCOUNT_ID, REGION};

use super::certificate::Fingerprint;

/// A version of a signing profile: what `AllowedPublishers` of a code signing configuration lists.
///
/// There are two kinds. Profiles of the signer API have a name that somebody chose, and the server keeps their certificates. A certificate that
/// `hikigane sign` uses needs no server: its profile is named by its fingerprint, so that the name itself says which certificate is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileVersion {
    name: String,
    version: String,
}

/// A text that is not the ARN of a signing profile's version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not the ARN of a signing profile's version: write arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-profiles/NAME/VERSION"
)]
pub struct NotAProfileVersion(String);

impl ProfileVersion {
    /// The version of a profile. AWS's names are 2 to 64 letters, digits and `_`, its versions 10 letters and digits (the shapes `ProfileName` and
    /// `ProfileVersion` of its signer model).
    pub fn new(name: &str, version: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let named = (2..=64).contains(&name.len()) && name.bytes().all(legal);
        let numbered = version.len() == 10 && version.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (named && numbered).then(|| Self {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }

    /// The profile of a certificate that the signer API does not know: name and version are its fingerprint and the beginning of it.
    pub fn of_certificate(fingerprint: &Fingerprint) -> Self {
        let name = fingerprint.as_str();
        Self {
            name: name.to_owned(),
            version: name[..10].to_owned(),
        }
    }

    /// The certificate that the name means, when it is named by one.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Fingerprint::parse(&self.name).filter(|fingerprint| *self == Self::of_certificate(fingerprint))
    }

    /// `name/version`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The profile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version's id.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl fmt::Display for ProfileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version } = self;
        write!(
            f,
            "arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-profiles/{name}/{version}"
        )
    }
}

impl FromStr for ProfileVersion {
    type Err = NotAProfileVersion;

    fn from_str(arn: &str) -> Result<Self, Self::Err> {
        let path = arn.strip_prefix(&format!("arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-profiles/"));
        path.and_then(|path| path.split_once('/'))
            .and_then(|(name, version)| Self::new(name, version))
            .ok_or_else(|| NotAProfileVersion(arn.to_owned()))
    }
}

/// The act of signing one archive: what `RevokeSignature` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    /// A new random id.
    pub fn random() -> Self {
        Self(hikigane_model::RequestId::random().as_str().to_owned())
    }

    /// Reads an id: 36 hexadecimal digits and `-`, a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        (text.len() == 36 && text.bytes().all(legal)).then(|| Self(text.to_owned()))
    }

    /// Reads the ARN of a job.
    pub fn from_arn(arn: &str) -> Option<Self> {
        let id = arn.strip_prefix(&format!("arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-jobs/"))?;
        Self::parse(id)
    }

    /// The job's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-jobs/{}", self.0)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

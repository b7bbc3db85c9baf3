//! Signing archives: a private key and its certificate.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use chrono::{DateTime, Utc};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::archive::{Archive, ArchiveError};
use super::certificate::{Certificate, CertificateError};
use super::publisher::{JobId, ProfileVersion};
use super::signature::{Statement, seal};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key's PEM has no private key.
    #[error(
        "the key is no private key in PEM: it begins with -----BEGIN PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----"
    )]
    NoKey,
    /// It has one that needs a password.
    #[error("the key is encrypted: decrypt it with `openssl pkey -in KEY -out PLAIN`")]
    Encrypted,
    /// It is of another kind.
    #[error(
        "the key is not on the curve P-384: make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384`"
    )]
    Curve,
    /// The certificate's PEM has no certificate.
    #[error("the certificate is no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("the certificate cannot sign code: {0}")]
    Certificate(CertificateError),
    /// Key and certificate belong to others.
    #[error(
        "the key does not belong to the certificate: `openssl pkey -in KEY -pubout` and `openssl x509 -in CERT -pubkey -noout` differ"
    )]
    Strangers,
    /// The certificate is not valid now.
    #[error("the certificate is valid from {from} to {to} only: nothing is signed with it now")]
    NotValid {
        /// Its first second.
        from: DateTime<Utc>,
        /// Its last one.
        to: DateTime<Utc>,
    },
    /// The signature would end before it begins, or after its certificate.
    #[error("a signature must expire in the future, and not after its certificate, which ends at {0}")]
    Expiry(DateTime<Utc>),
    /// The archive cannot be signed.
    #[error("the archive cannot be signed: {0}")]
    Archive(ArchiveError),
    /// The machine did not do its part.
    #[error("no key or signature could be made: {0}")]
    Machine(String),
}

// Not as sources: the messages have them whole.
impl From<CertificateError> for SignError {
    fn from(error: CertificateError) -> Self {
        Self::Certificate(error)
    }
}

impl From<ArchiveError> for SignError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

/// A key and its certificate.
pub struct Signer {
    key: EcdsaKeyPair,
    certificate: Certificate,
}

/// What a signature says beside what it signs.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The version of the profile in whose name it is signed.
    pub profile: ProfileVersion,
    /// The signing job.
    pub job: JobId,
    /// Now.
    pub signed_at: DateTime<Utc>,
    /// When the signature expires.
    pub expires_at: DateTime<Utc>,
}

impl Signer {
    /// A key in PEM (PKCS #8 or SEC 1, not encrypted) and its certificate in PEM, the first of those that are there.
    pub fn from_pem(key: &[u8], certificate: &[u8]) -> Result<Self, SignError> {
        let encrypted = b"ENCRYPTED";
        if key.windows(encrypted.len()).any(|text| text == encrypted) {
            return Err(SignError::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| SignError::NoKey)?;
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(|_| SignError::NoCertificate)?;
        Self::from_der(key.secret_der(), &certificate)
    }

    /// A key in DER (PKCS #8 or SEC 1) and its certificate in DER.
    pub fn from_der(key: &[u8], certificate: &[u8]) -> Result<Self, SignError> {
        let key =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, key).map_err(|_| SignError::Curve)?;
        let certificate = Certificate::from_der(certificate)?;
        if key.public_key().as_ref() != certificate.key() {
            return Err(SignError::Strangers);
        }
        Ok(Self { key, certificate })
    }

    /// A new key with a certificate for `name` that it signs itself, and the key in PKCS #8. The certificate has no end of its own: what is
    /// signed with it has one.
    pub fn generate(name: &str) -> Result<(Self, Vec<u8>), SignError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(machine)?;
        let pkcs8 = key.to_pkcs8v1().map_err(machine)?.as_ref().to_vec();
        let pair = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pair, &rcgen::PKCS_ECDSA_P384_SHA384);
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        let certificate = parameters.self_signed(&pair.map_err(machine)?).map_err(machine)?;
        Ok((Self::from_der(&pkcs8, certificate.der())?, pkcs8))
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The signed archive. A signature that the archive has is replaced.
    pub fn sign(&self, zip: &[u8], terms: Terms) -> Result<Vec<u8>, SignError> {
        let (from, to) = (self.certificate.not_before(), self.certificate.not_after());
        if terms.signed_at < from || terms.signed_at > to {
            return Err(SignError::NotValid { from, to });
        }
        if terms.expires_at <= terms.signed_at || terms.expires_at > to {
            return Err(SignError::Expiry(to));
        }
        let archive = match Archive::read(zip)? {
            Some((archive, _)) => archive,
            None => Archive::parse(zip)?,
        };
        let statement = Statement {
            archive: archive.digest(),
            profile: terms.profile,
            job: terms.job,
            signed_at: terms.signed_at,
            expires_at: terms.expires_at,
        };
        let signature = seal(&statement, &self.certificate, &self.key).map_err(machine)?;
        Ok(archive.with(&signature)?)
    }
}

fn machine(error: impl std::fmt::Display) -> SignError {
    SignError::Machine(error.to_string())
}

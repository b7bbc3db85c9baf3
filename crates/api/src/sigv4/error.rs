//! Why a signature is refused.

/// Why a signature is refused. The text is AWS's; the code depends on the protocol of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request is not signed.
    #[error("Missing Authentication Token")]
    Missing,
    /// A part of the signature is missing or not what it must be.
    #[error("{0}")]
    Incomplete(String),
    /// No such access key, or a session token that does not belong to it.
    #[error("The security token included in the request is invalid.")]
    Unrecognized,
    /// The session has ended.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// It is too old, too new, or for something else.
    #[error("{0}")]
    OutOfScope(String),
    /// It is not the signature of this request by this key.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// AWS knows this way of signing, this server does not.
    #[error("{0}")]
    Unsupported(String),
}

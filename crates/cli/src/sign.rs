//! `hikigane sign`: a signature for a zip of code. Needs no server.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Days, Months, SecondsFormat, Utc};
use hikigane_api::signing::{self, Certificate, JobId, ProfileVersion, Signature, Signer, Terms};
use serde_json::json;

use crate::arguments::Sign;
use crate::{Failure, output};

/// Signs a zip, or says who signed it.
pub fn sign(arguments: &Sign) -> Result<(), Failure> {
    let file = arguments.file.as_path();
    let zip = read(file)?;
    let (Some(key), Some(certificate)) = (&arguments.key, &arguments.cert) else {
        let signature = signature(file, &zip)?;
        print(file, &signature, arguments.json)?;
        return valid(file, &signature).map_err(Failure::from);
    };
    let signer = Signer::from_pem(&read(key)?, &read(certificate)?)
        .with_context(|| format!("cannot sign with {} and {}", key.display(), certificate.display()))?;
    let now = Utc::now();
    let terms = Terms {
        profile: ProfileVersion::of_certificate(&signer.certificate().fingerprint()),
        job: JobId::random(),
        signed_at: now,
        expires_at: expiry(now, arguments.expires, signer.certificate()).context("--expires is out of range")?,
    };
    let signed = signer
        .sign(&zip, terms)
        .with_context(|| format!("cannot sign {}", file.display()))?;
    let output = arguments.output.as_deref().unwrap_or(file);
    write(output, &signed)?;
    print(output, &signature(output, &signed)?, arguments.json)
}

/// When a signature made now expires; `None` where the calendar ends.
fn expiry(now: DateTime<Utc>, days: Option<Days>, certificate: &Certificate) -> Option<DateTime<Utc>> {
    match days {
        Some(days) => now.checked_add_days(days),
        None => now
            .checked_add_months(Months::new(signing::VALIDITY_MONTHS))
            .map(|most| most.min(certificate.not_after())),
    }
}

fn signature(file: &Path, zip: &[u8]) -> anyhow::Result<Signature> {
    let signature = signing::read(zip).map_err(|why| anyhow!("{} must not be used: {why}", file.display()))?;
    signature.with_context(|| format!("{} is not signed: sign it with `hikigane sign`", file.display()))
}

fn valid(file: &Path, signature: &Signature) -> anyhow::Result<()> {
    if !signature.holds_at(Utc::now()) {
        bail!("{} is signed, but the signature expired: sign it again", file.display());
    }
    Ok(())
}

fn print(file: &Path, signature: &Signature, as_json: bool) -> Result<(), Failure> {
    let statement = &signature.statement;
    let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (publisher, job) = (statement.profile.to_string(), statement.job.arn());
    let (from, to) = (time(statement.signed_at), time(statement.expires_at));
    let subject = signature.certificate.subject();
    if as_json {
        let members = json!({
            "file": file,
            "profileVersionArn": publisher,
            "jobArn": job,
            "subject": subject,
            "signedAt": from,
            "expiresAt": to,
        });
        return output::line(format_args!("{members:#}"));
    }
    output::line(format_args!("{}: signed by {subject}", file.display()))?;
    for (name, value) in [
        ("publisher", publisher),
        ("job", job),
        ("signed at", from),
        ("expires at", to),
    ] {
        output::line(format_args!("  {name:<11} {value}"))?;
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Puts the file there as a whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut half = file.as_os_str().to_owned();
    half.push(".part");
    fs::write(&half, bytes)
        .and_then(|()| fs::rename(&half, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

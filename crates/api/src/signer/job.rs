//! Signing jobs: an object in, a signed object out.

use std::io::Read;
use std::sync::Arc;

use hikigane_model::{ACCOUNT_ID, limits};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::platform::{DISPLAY_NAME, PLATFORM};
use super::{invalid, page, profile, seconds, time};
use crate::catalog::{Place, SigningJob, State};
use crate::error::ApiError;
use crate::lambda::{Lambda, Object};
use crate::shapes::Input;
use crate::signing::{JobId, Signer, Terms};

/// What S3 calls the version of an object in a bucket without versions.
const NO_VERSION: &str = "null";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    source: Source,
    destination: Destination,
    profile_name: String,
    client_request_token: String,
}

#[derive(Debug, Deserialize)]
struct Source {
    s3: Option<S3Source>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Source {
    bucket_name: String,
    key: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Destination {
    s3: Option<S3Destination>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Destination {
    bucket_name: Option<String>,
    prefix: Option<String>,
}

impl Lambda {
    /// Signs an object of a bucket. The job has ended when it is answered: there is nothing to wait for.
    pub(super) async fn start_signing_job(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let start: Start = input.parse()?;
        let state = self.state();
        if let Some(answer) = served(&state, &start.client_request_token) {
            return Ok(answer);
        }
        let source = start.source.s3.ok_or_else(|| invalid("source.s3 is missing"))?;
        let destination = start
            .destination
            .s3
            .ok_or_else(|| invalid("destination.s3 is missing"))?;
        let bucket = destination.bucket_name.unwrap_or_else(|| source.bucket_name.clone());
        let (kept, key, version) = profile::signing(&state, &start.profile_name)?;
        let signer = key
            .signer()
            .map_err(|error| ApiError::new(500, "InternalServiceErrorException", error.to_string()))?;
        let now = self.now();
        let id = JobId::random();
        let expires_at = kept
            .validity
            .end(now)
            .ok_or_else(|| invalid("the signature would end after all time"))?;
        let terms = Terms {
            profile: version,
            job: id.clone(),
            signed_at: now,
            expires_at,
        };
        let mut job = SigningJob {
            profile: start.profile_name,
            version: terms.profile.version().to_owned(),
            source: Place {
                bucket: source.bucket_name,
                key: source.key,
            },
            source_version: source.version,
            signed: None,
            reason: String::new(),
            token: start.client_request_token,
            at: now,
            expires_at,
        };
        let target = Place {
            bucket,
            // AWS's name for it.
            key: format!("{}{}.zip", destination.prefix.unwrap_or_default(), id.as_str()),
        };
        let lambda = self.clone();
        let work = move || {
            match lambda.sign_object(&job, &signer, terms, &target)? {
                Ok(()) => {
                    job.signed = Some(target);
                    job.reason = "Signing Succeeded".to_owned();
                }
                Err(why) => job.reason = why,
            }
            Ok::<_, ApiError>(job)
        };
        let job = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| ApiError::new(500, "InternalServiceErrorException", error.to_string()))??;
        self.change(|state| {
            // The same request may have come twice at once.
            if let Some(answer) = served(state, &job.token) {
                return Ok(answer);
            }
            state.signing_jobs.insert(id.as_str(), job);
            Ok(started(id.as_str()))
        })
        .await
    }

    /// Signs what lies at the job's source. The inner error is that of an object that cannot be signed: the job failed. Blocks.
    fn sign_object(
        &self,
        job: &SigningJob,
        signer: &Signer,
        terms: Terms,
        target: &Place,
    ) -> Result<Result<(), String>, ApiError> {
        let object = Object {
            bucket: job.source.bucket.clone(),
            key: job.source.key.clone(),
            version: Some(job.source_version.clone()).filter(|version| version != NO_VERSION),
        };
        let mut zip = Vec::new();
        let most = limits::UNZIPPED + 1;
        self.buckets()
            .open(&object)?
            .take(most)
            .read_to_end(&mut zip)
            .map_err(|error| {
                ApiError::new(
                    500,
                    "InternalServiceErrorException",
                    format!("the source broke off: {error}"),
                )
            })?;
        if zip.len() as u64 == most {
            return Ok(Err(format!("the source is larger than {} bytes", limits::UNZIPPED)));
        }
        let signed = match signer.sign(&zip, terms) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(error.to_string())),
        };
        self.buckets().put(&target.bucket, &target.key, &signed)?;
        Ok(Ok(()))
    }

    pub(super) async fn describe_signing_job(&self, input: Input) -> Result<Value, ApiError> {
        let id = input.text("jobId");
        let state = self.state();
        let job = state.signing_jobs.get(id);
        let job = job.ok_or_else(|| ApiError::not_found(format!("Signing job {id} not found.")))?;
        let mut answer = listed(&state, id, job);
        answer.insert("platformDisplayName".into(), DISPLAY_NAME.into());
        answer.insert("completedAt".into(), seconds(job.at));
        answer.insert("requestedBy".into(), ACCOUNT_ID.into());
        answer.insert("statusReason".into(), job.reason.as_str().into());
        if let Some(revocation) = state.revocations.get(id) {
            answer.insert(
                "revocationRecord".into(),
                json!({"reason": revocation.reason, "revokedAt": seconds(revocation.at), "revokedBy": ACCOUNT_ID}),
            );
        }
        Ok(answer.into())
    }

    pub(super) async fn list_signing_jobs(&self, input: Input) -> Result<Value, ApiError> {
        let state = self.state();
        let text = |member: &str| Some(input.text(member)).filter(|text| !text.is_empty());
        let is_revoked = input.get("isRevoked").and_then(Value::as_bool);
        let moment = |member: &str| time(input.get(member));
        let (before, after) = (moment("signatureExpiresBefore"), moment("signatureExpiresAfter"));
        let wanted = |id: &str, job: &SigningJob| {
            text("status").is_none_or(|wanted| wanted == status(job))
                && text("platformId").is_none_or(|wanted| wanted == PLATFORM)
                && text("requestedBy").is_none_or(|wanted| wanted == ACCOUNT_ID)
                && text("jobInvoker").is_none_or(|wanted| wanted == ACCOUNT_ID)
                && is_revoked.is_none_or(|wanted| wanted == state.revocations.get(id).is_some())
                && before.is_none_or(|before| job.expires_at < before)
                && after.is_none_or(|after| job.expires_at > after)
        };
        let jobs = state.signing_jobs.iter().filter(|(id, job)| wanted(id, job));
        let shown = jobs.map(|(id, job)| (id.to_owned(), listed(&state, id, job).into()));
        Ok(page(&input, "jobs", shown))
    }
}

/// The answer that a request with this token got.
fn served(state: &State, token: &str) -> Option<Value> {
    let mut jobs = state.signing_jobs.iter();
    jobs.find(|(_, job)| job.token == token).map(|(id, _)| started(id))
}

fn started(id: &str) -> Value {
    json!({"jobId": id, "jobOwner": ACCOUNT_ID})
}

fn status(job: &SigningJob) -> &'static str {
    if job.signed.is_some() { "Succeeded" } else { "Failed" }
}

/// What a job's description and a list have in common.
fn listed(state: &State, id: &str, job: &SigningJob) -> Map<String, Value> {
    let mut answer = Map::new();
    let mut put = |member: &str, value: Value| answer.insert(member.to_owned(), value);
    let Place { bucket, key } = &job.source;
    put("jobId", id.into());
    put(
        "source",
        json!({"s3": {"bucketName": bucket, "key": key, "version": job.source_version}}),
    );
    if let Some(Place { bucket, key }) = &job.signed {
        put("signedObject", json!({"s3": {"bucketName": bucket, "key": key}}));
    }
    put("createdAt", seconds(job.at));
    put("status", status(job).into());
    put("isRevoked", state.revocations.get(id).is_some().into());
    put("profileName", job.profile.as_str().into());
    put("profileVersion", job.version.as_str().into());
    put("platformId", PLATFORM.into());
    put("signatureExpiresAt", seconds(job.expires_at));
    put("jobOwner", ACCOUNT_ID.into());
    put("jobInvoker", ACCOUNT_ID.into());
    answer
}

//! STS: who calls, and sessions.

use chrono::TimeDelta;
use hikigane_model::ACCOUNT_ID;
use serde_json::{Value, json};

use super::query::QueryError;
use super::{Call, Documents};
use crate::keys::{Caller, Session};

/// How long a session may be, seconds, and how long it is unless asked otherwise (STS API reference, `DurationSeconds`).
const DURATION: ((u32, u32), u32) = ((900, 43_200), 3_600);

pub(super) fn get_caller_identity(call: &Call<'_>, _: &mut Documents) -> Result<Value, QueryError> {
    let (arn, id) = call.caller.identity();
    Ok(json!({"Arn": arn, "UserId": id, "Account": ACCOUNT_ID}))
}

/// A session of any role, be it known here or not: roles decide nothing.
pub(super) fn assume_role(call: &Call<'_>, _: &mut Documents) -> Result<Value, QueryError> {
    let arn = call.parameters.required("RoleArn")?;
    let name = call.parameters.name("RoleSessionName", 64)?;
    let (range, unless_set) = DURATION;
    let seconds = call.parameters.number("DurationSeconds", range)?.unwrap_or(unless_set);
    let role = arn
        .strip_prefix("arn:aws:iam::")
        .and_then(|rest| rest.split_once(":role/"));
    let Some(role) = role
        .and_then(|(_, path)| path.rsplit('/').next())
        .filter(|role| !role.is_empty())
    else {
        return Err(QueryError::new(400, "ValidationError", format!("{arn} is invalid")));
    };
    let ends = call.now + TimeDelta::seconds(seconds.into());
    let session = Session::new(call.caller.is_function(), role, name, Some(ends));
    let key = call.keys.of_session(&session);
    let (arn, id) = Caller::Session(session).identity();
    Ok(json!({
        "Credentials": {
            "AccessKeyId": key.id,
            "SecretAccessKey": key.secret,
            "SessionToken": key.session_token,
            "Expiration": super::time(ends),
        },
        "AssumedRoleUser": {"AssumedRoleId": id, "Arn": arn},
    }))
}

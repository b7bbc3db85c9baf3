//! IAM and STS, as far as clients of Lambda call them on the way: the `aws` CLI, boto3, and Terraform around `aws_lambda_function`.
//!
//! Roles and policies are kept and shown as AWS shows them. They grant and refuse nothing: who may sign may do all.
//! Both services speak AWS's query protocol: a form in, XML out.

mod documents;
mod policies;
mod query;
mod roles;
mod sts;
mod tags;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::error::{ApiError, unknown_operation};
use crate::keys::{Caller, Keys};
use crate::{Endpoint, signed, sigv4};

pub(crate) use documents::Document;
use documents::Documents;
use query::Parameters;
pub(crate) use query::QueryError;

/// What an action does. Its result becomes the members of `<Action>Result`; null: there is none.
type Act = fn(&Call<'_>, &mut Documents<'_>) -> Result<Value, QueryError>;

/// Every action, by service and name.
const ACTIONS: &[(&str, &str, Act)] = &[
    ("sts", "GetCallerIdentity", sts::get_caller_identity),
    ("sts", "AssumeRole", sts::assume_role),
    ("iam", "CreateRole", roles::create),
    ("iam", "GetRole", roles::get),
    ("iam", "ListRoles", roles::list),
    ("iam", "UpdateRole", roles::update),
    ("iam", "UpdateRoleDescription", roles::update_description),
    ("iam", "UpdateAssumeRolePolicy", roles::update_trust),
    ("iam", "DeleteRole", roles::delete),
    ("iam", "TagRole", roles::tag),
    ("iam", "UntagRole", roles::untag),
    ("iam", "ListRoleTags", roles::list_tags),
    ("iam", "PutRolePolicy", roles::put_policy),
    ("iam", "GetRolePolicy", roles::get_policy),
    ("iam", "ListRolePolicies", roles::list_policies),
    ("iam", "DeleteRolePolicy", roles::delete_policy),
    ("iam", "AttachRolePolicy", roles::attach),
    ("iam", "DetachRolePolicy", roles::detach),
    ("iam", "ListAttachedRolePolicies", roles::list_attached),
    ("iam", "ListInstanceProfilesForRole", roles::list_instance_profiles),
    ("iam", "CreatePolicy", policies::create),
    ("iam", "GetPolicy", policies::get),
    ("iam", "ListPolicies", policies::list),
    ("iam", "DeletePolicy", policies::delete),
    ("iam", "CreatePolicyVersion", policies::create_version),
    ("iam", "GetPolicyVersion", policies::get_version),
    ("iam", "ListPolicyVersions", policies::list_versions),
    ("iam", "DeletePolicyVersion", policies::delete_version),
    ("iam", "TagPolicy", policies::tag),
    ("iam", "UntagPolicy", policies::untag),
    ("iam", "ListPolicyTags", policies::list_tags),
];

/// What an action is given.
struct Call<'a> {
    parameters: Parameters,
    keys: &'a Keys,
    caller: Caller,
    now: DateTime<Utc>,
}

/// `POST /` with a form, or `GET /` with a query (a presigned URL). What has no `Action` is for another service.
pub(crate) async fn serve(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, query::REQUEST).await else {
        return QueryError::too_large().response("iam");
    };
    let parameters = Parameters::read(head.uri.query().unwrap_or_default(), &body);
    let Some(action) = parameters.get("Action").map(str::to_owned) else {
        return unknown_operation().into_response();
    };
    let Some((service, name, act)) = ACTIONS.iter().find(|(_, name, _)| *name == action) else {
        let service = sigv4::service(signed::parts(&head));
        return QueryError::unknown_action(&parameters).response(service.as_deref().unwrap_or("iam"));
    };
    let call = Call {
        parameters,
        keys: &endpoint.keys,
        caller: head.extensions.get::<Caller>().cloned().unwrap_or(Caller::Anybody),
        now: endpoint.router.clock().now(),
    };
    let mut refusal = None;
    let done = endpoint.lambda.change(|state| {
        act(&call, &mut Documents(&mut state.identity)).map_err(|error| {
            refusal = Some(error);
            // Undoes what it began.
            ApiError::invalid("refused")
        })
    });
    match (done.await, refusal) {
        (Ok(result), _) => query::answer(service, name, &result),
        (Err(_), Some(refusal)) => refusal.response(service),
        (Err(error), None) => error.into_response(),
    }
}

/// A time as both services write it.
fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

//! Resource-based policies: who may do what with a function, a version or an alias.
//!
//! A policy is kept as the document that AWS shows. Its statements are made by AddPermission only, so that they allow, name one principal and
//! one action, and have few conditions (AWS documentation, "Working with resource-based IAM policies in Lambda").

use hikigane_model::ACCOUNT_ID;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::Row;

/// The policy of a function, a version or an alias: a policy document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: String,
    id: String,
    /// What it allows.
    pub statement: Vec<Statement>,
}

/// One thing that a policy allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name within the policy.
    pub sid: String,
    effect: String,
    principal: Principal,
    action: String,
    resource: String,
    /// Operators, and under each the keys of the context with the values that are wanted.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    condition: Map<String, Value>,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Principal {
    /// Somebody.
    Named(NamedPrincipal),
    /// Everybody: `*`.
    Anyone(String),
}

/// A principal that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamedPrincipal {
    /// An AWS service: `s3.amazonaws.com`.
    Service(String),
    /// The ARN of an identity. `arn:aws:iam::000000000000:root` is every identity of that account.
    #[serde(rename = "AWS")]
    Aws(String),
}

/// What somebody asks to do.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Who asks.
    pub caller: Caller<'a>,
    /// The action: `lambda:InvokeFunctionUrl`.
    pub action: &'a str,
    /// The keys of the request's context with their values: `("lambda:FunctionUrlAuthType", "NONE")`.
    pub context: &'a [(&'a str, &'a str)],
}

/// Who asks to do something.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// Somebody unknown.
    Anonymous,
    /// A service, by its name.
    Service(&'a str),
    /// An identity, by its ARN.
    Identity(&'a str),
}

impl Row for Policy {
    const KIND: &'static str = "policy";
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: "2012-10-17".to_owned(),
            id: "default".to_owned(),
            statement: Vec::new(),
        }
    }
}

impl Policy {
    /// Whether a statement allows it. What none allows is refused.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        self.statement.iter().any(|statement| statement.allows(access))
    }
}

impl Statement {
    /// A statement that allows `principal` to do `action` with `resource`.
    pub fn allow(sid: String, principal: Principal, action: String, resource: String) -> Self {
        Self {
            sid,
            effect: "Allow".to_owned(),
            principal,
            action,
            resource,
            condition: Map::new(),
        }
    }

    /// Adds the condition that `key` of the context must have `value`, by `operator`.
    pub fn when(&mut self, operator: &str, key: &str, value: impl Into<Value>) {
        let keys = self.condition.entry(operator).or_insert_with(|| Map::new().into());
        if let Value::Object(keys) = keys {
            keys.insert(key.to_owned(), value.into());
        }
    }

    fn allows(&self, access: &Access<'_>) -> bool {
        self.principal.is(access.caller)
            && covers(&self.action, access.action)
            && self.conditions().all(|(operator, key, wanted)| {
                let mut context = access.context.iter();
                let found = context.find(|(name, _)| name.eq_ignore_ascii_case(key));
                found.is_some_and(|(_, value)| holds(operator, wanted, value))
            })
    }

    /// Operator, key and wanted value of each condition. One that is not text is never met.
    fn conditions(&self) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
        self.condition.iter().flat_map(|(operator, keys)| {
            let keys = keys.as_object().into_iter().flatten();
            keys.map(move |(key, wanted)| (operator.as_str(), key.as_str(), wanted.as_str()))
        })
    }
}

impl Principal {
    /// Reads the member `Principal` of AddPermission: `*`, a service, an account's number or the ARN of an identity.
    pub fn parse(text: &str) -> Option<Self> {
        const SERVICES: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".amazon.com"];
        let named = match text {
            "*" => return Some(Self::Anyone(text.to_owned())),
            account if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) => {
                NamedPrincipal::Aws(format!("arn:aws:iam::{account}:root"))
            }
            arn if arn.starts_with("arn:") => {
                let service = arn.split(':').nth(2)?;
                ["iam", "sts"]
                    .contains(&service)
                    .then(|| NamedPrincipal::Aws(arn.to_owned()))?
            }
            service if SERVICES.iter().any(|suffix| service.ends_with(suffix)) => {
                NamedPrincipal::Service(service.to_owned())
            }
            _ => return None,
        };
        Some(Self::Named(named))
    }

    fn is(&self, caller: Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Anyone(_), _) => true,
            (Self::Named(NamedPrincipal::Service(service)), Caller::Service(name)) => service == name,
            (Self::Named(NamedPrincipal::Aws(arn)), Caller::Identity(identity)) => {
                arn == identity || (arn.ends_with(":root") && account(arn) == account(identity))
            }
            _ => false,
        }
    }
}

/// The account of an ARN.
fn account(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or(ACCOUNT_ID)
}

/// Whether an action, which may be `*` or `lambda:*`, is or includes another. Names of actions have no case (AWS documentation, "Action").
fn covers(action: &str, asked: &str) -> bool {
    action == "*" || action == "lambda:*" && asked.starts_with("lambda:") || action.eq_ignore_ascii_case(asked)
}

/// The operators that AddPermission writes (AWS documentation, "IAM JSON policy elements: Condition operators").
fn holds(operator: &str, wanted: Option<&str>, found: &str) -> bool {
    let Some(wanted) = wanted else { return false };
    match operator {
        "StringEquals" => wanted == found,
        "ArnLike" => is_arn_like(wanted, found),
        "Bool" => wanted.eq_ignore_ascii_case(found),
        _ => false,
    }
}

/// `ArnLike`: the six parts of an ARN are compared one by one.
fn is_arn_like(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (wanted.splitn(6, ':'), found.splitn(6, ':'));
    wanted.clone().count() == found.clone().count()
        && wanted
            .zip(found)
            .all(|(wanted, found)| is_like(wanted.as_bytes(), found.as_bytes()))
}

/// Whether `text` is like `pattern`, in which `*` stands for anything and `?` for any one character.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // The last `*`, and how much of the text it stands for so far.
    let mut star = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn statement(principal: &str, action: &str, conditions: &[(&str, &str, &str)]) -> Policy {
        let principal = Principal::parse(principal).expect("a principal");
        let mut statement = Statement::allow("s".into(), principal, action.into(), "arn:f".into());
        for (operator, key, value) in conditions {
            statement.when(operator, key, *value);
        }
        Policy {
            statement: vec![statement],
            ..Policy::default()
        }
    }

    #[test]
    fn a_policy_allows_what_a_statement_says_and_nothing_else() {
        let invoke = "lambda:InvokeFunction";
        let url = "lambda:InvokeFunctionUrl";
        let none = ("lambda:FunctionUrlAuthType", "NONE");
        let open = statement("*", url, &[("StringEquals", none.0, none.1)]);
        let via = statement("*", invoke, &[("Bool", "lambda:InvokedViaFunctionUrl", "true")]);
        let s3 = statement(
            "s3.amazonaws.com",
            invoke,
            &[
                ("StringEquals", "AWS:SourceAccount", "000000000000"),
                ("ArnLike", "AWS:SourceArn", "arn:aws:s3:::in*box"),
            ],
        );
        let account = statement("123456789012", "lambda:*", &[]);
        let role = statement("arn:aws:iam::123456789012:role/r", "*", &[]);
        let (service, user, other) = (
            Caller::Service("s3.amazonaws.com"),
            Caller::Identity("arn:aws:iam::123456789012:user/u"),
            Caller::Identity("arn:aws:iam::210987654321:role/r"),
        );
        let here = ("aws:sourceaccount", "000000000000");
        let bucket = ("aws:SourceArn", "arn:aws:s3:::in-the-box");
        for (policy, caller, action, context, expect) in [
            (&open, Caller::Anonymous, url, &[none][..], true),
            (&open, user, url, &[none], true),
            (&open, Caller::Anonymous, url, &[(none.0, "AWS_IAM")], false),
            (&open, Caller::Anonymous, url, &[], false),
            (&open, Caller::Anonymous, invoke, &[none], false),
            (
                &via,
                Caller::Anonymous,
                invoke,
                &[("lambda:InvokedViaFunctionUrl", "true")],
                true,
            ),
            (
                &via,
                Caller::Anonymous,
                invoke,
                &[("lambda:InvokedViaFunctionUrl", "false")],
                false,
            ),
            (&s3, service, invoke, &[here, bucket], true),
            (&s3, service, invoke, &[bucket], false),
            (
                &s3,
                service,
                invoke,
                &[here, ("aws:SourceArn", "arn:aws:s3:::outbox")],
                false,
            ),
            (
                &s3,
                Caller::Service("sns.amazonaws.com"),
                invoke,
                &[here, bucket],
                false,
            ),
            (&s3, Caller::Anonymous, invoke, &[here, bucket], false),
            (&account, user, invoke, &[], true),
            (&account, other, invoke, &[], false),
            (
                &role,
                Caller::Identity("arn:aws:iam::123456789012:role/r"),
                url,
                &[],
                true,
            ),
            (&role, user, url, &[], false),
            (&Policy::default(), user, invoke, &[], false),
        ] {
            let access = Access {
                caller,
                action,
                context,
            };
            assert_eq!(policy.allows(&access), expect, "{policy:?} {access:?}");
        }
    }

    #[test]
    fn wildcards_stay_within_the_parts_of_an_arn() {
        for (wanted, found, expect) in [
            ("arn:aws:s3:::b", "arn:aws:s3:::b", true),
            ("arn:aws:s3:::*", "arn:aws:s3:::a/b:c", true),
            ("arn:aws:sns:*:1:t?", "arn:aws:sns:us-east-1:1:t2", true),
            ("arn:aws:sns:*", "arn:aws:sns:us-east-1:1:t2", false),
            ("arn:*:1:t", "arn:aws:sns:us-east-1:1:t", false),
            (
                "arn:aws:events:us-east-1:1:rule/a*b*c",
                "arn:aws:events:us-east-1:1:rule/abxbxc",
                true,
            ),
            (
                "arn:aws:events:us-east-1:1:rule/a*b*c",
                "arn:aws:events:us-east-1:1:rule/abxbx",
                false,
            ),
            ("", "", true),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(is_arn_like(wanted, found), expect, "{wanted} {found}");
        }
    }

    #[test]
    fn principals_are_what_aws_takes() {
        for (text, expect) in [
            ("*", r#""*""#),
            ("s3.amazonaws.com", r#"{"Service":"s3.amazonaws.com"}"#),
            ("alexa-appkit.amazon.com", r#"{"Service":"alexa-appkit.amazon.com"}"#),
            ("123456789012", r#"{"AWS":"arn:aws:iam::123456789012:root"}"#),
            (
                "arn:aws:iam::123456789012:role/r",
                r#"{"AWS":"arn:aws:iam::123456789012:role/r"}"#,
            ),
            ("arn:aws:s3:::b", ""),
            ("arn:", ""),
            ("1234", ""),
            ("invalid.nonaws.com", ""),
            ("", ""),
        ] {
            let text_of = |principal| serde_json::to_string(&principal).unwrap();
            assert_eq!(
                Principal::parse(text).map(text_of).unwrap_or_default(),
                expect,
                "{text}"
            );
        }
    }
}

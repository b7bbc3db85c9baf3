//! The layers of functions.

use hikigane_model::{ACCOUNT_ID, REGION, limits};

use super::{State, rules};
use crate::catalog::{UsedLayer, version_key};
use crate::error::ApiError;

/// What the ARN of a layer, or of a version of one, says.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerArn<'a> {
    pub region: &'a str,
    pub account: &'a str,
    pub name: &'a str,
    pub version: Option<u64>,
}

impl<'a> LayerArn<'a> {
    /// Reads `arn:aws:lambda:region:account:layer:name[:version]`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (region, account, name, version) = match parts.as_slice() {
            ["arn", _, "lambda", region, account, "layer", name] => (region, account, name, None),
            ["arn", _, "lambda", region, account, "layer", name, version] => {
                (region, account, name, Some(version.parse().ok()?))
            }
            _ => return None,
        };
        Some(Self {
            region,
            account,
            name,
            version,
        })
    }

    /// Refuses what is another account's: nobody there has permitted anything (AWS's text).
    pub fn check_account(&self, arn: &str) -> Result<(), ApiError> {
        if self.account == ACCOUNT_ID {
            return Ok(());
        }
        Err(ApiError::new(
            403,
            "AccessDeniedException",
            format!(
                "User: arn:aws:iam::{ACCOUNT_ID}:root is not authorized to perform: lambda:GetLayerVersion on resource: {arn} because no resource-based policy allows the lambda:GetLayerVersion action"
            ),
        ))
    }
}

/// The ARN of a version of a layer.
pub fn version_arn(name: &str, number: u64) -> String {
    rules::arn(&format!("layer:{name}:{number}"))
}

/// The layer versions that a function is to have, when it may have them (texts recorded from AWS).
pub fn resolve(state: &State, arns: &[String]) -> Result<Vec<UsedLayer>, ApiError> {
    if arns.len() > limits::LAYERS {
        return Err(ApiError::invalid(format!(
            "Cannot reference more than {} layers.",
            limits::LAYERS
        )));
    }
    let mut used: Vec<UsedLayer> = Vec::new();
    for arn in arns {
        let missing = || ApiError::invalid(format!("Layer version {arn} does not exist."));
        let parsed = LayerArn::parse(arn).ok_or_else(missing)?;
        parsed.check_account(arn)?;
        if parsed.region != REGION {
            return Err(ApiError::invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {REGION}."
            )));
        }
        let number = parsed.version.ok_or_else(missing)?;
        let row = state.layer_versions.get(&version_key(parsed.name, number));
        let row = row.ok_or_else(missing)?;
        let same = |other: &&UsedLayer| LayerArn::parse(&other.arn).is_some_and(|other| other.name == parsed.name);
        if let Some(other) = used.iter().find(same) {
            return Err(ApiError::invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and {arn} are versions of the same layer.",
                other.arn
            )));
        }
        used.push(UsedLayer {
            arn: arn.clone(),
            code: row.code.clone(),
        });
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_layers_are_read() {
        let arn = |version| {
            Some(LayerArn {
                region: "us-east-1",
                account: "000000000000",
                name: "l-1_x",
                version,
            })
        };
        assert_eq!(
            LayerArn::parse("arn:aws:lambda:us-east-1:000000000000:layer:l-1_x"),
            arn(None)
        );
        assert_eq!(
            LayerArn::parse("arn:aws:lambda:us-east-1:000000000000:layer:l-1_x:7"),
            arn(Some(7))
        );
        for text in [
            "",
            "l",
            "arn:aws:lambda:::awslayer:Some",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:x",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:99999999999999999999999",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:1:2",
        ] {
            assert_eq!(LayerArn::parse(text), None, "{text}");
        }
    }
}

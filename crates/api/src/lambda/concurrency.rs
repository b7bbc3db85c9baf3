//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency: what is reserved for a function.

use hikigane_model::{Qualifier, limits};
use serde_json::{Value, json};

use super::rules::{self, Named};
use super::{Input, Lambda};
use crate::error::ApiError;

impl Lambda {
    pub(super) async fn put_function_concurrency(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::unqualified(&input)?;
        let reserved = number(&input, "ReservedConcurrentExecutions");
        self.change(|state| {
            if state.function(&name).is_none() {
                // AWS names `$LATEST` here (recorded).
                return Err(rules::no_function(&name, Some(&Qualifier::Latest)));
            }
            let provisioned = state.provisioned_total(&name);
            if provisioned > reserved {
                return Err(ApiError::concurrency(format!(
                    " ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency [{provisioned}]."
                )));
            }
            let left = state.left_without(&name, self.account_concurrency);
            if left < reserved.saturating_add(limits::UNRESERVED_CONCURRENCY) {
                return Err(ApiError::concurrency(format!(
                    "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{}].",
                    limits::UNRESERVED_CONCURRENCY
                )));
            }
            rules::modifiable(state, &name)?.reserved = Some(reserved);
            Ok(shown(Some(reserved)))
        })
        .await
    }

    pub(super) async fn get_function_concurrency(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::unqualified(&input)?;
        Ok(shown(self.existing(&name)?.reserved))
    }

    pub(super) async fn delete_function_concurrency(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::unqualified(&input)?;
        self.change_function(&name, |function| {
            function.reserved = None;
            Ok(Value::Null)
        })
        .await
    }
}

/// A member that its shape says is a whole number from 0. One beyond what can be asked for anyhow is as good as the largest.
pub(super) fn number(input: &Input, member: &str) -> u32 {
    let number = input.get(member).and_then(Value::as_u64).unwrap_or_default();
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn shown(reserved: Option<u32>) -> Value {
    match reserved {
        Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}),
        None => json!({}),
    }
}

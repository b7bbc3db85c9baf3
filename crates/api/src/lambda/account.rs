//! GetAccountSettings.

use hikigane_model::{FunctionName, limits};
use serde_json::{Value, json};

use super::Lambda;
use crate::error::ApiError;

impl Lambda {
    pub(super) async fn get_account_settings(&self) -> Result<Value, ApiError> {
        let state = self.catalog.state();
        // What is kept is counted where it is bounded; code of the manifest's functions lies where it is, and is shown with it.
        let (mut code, mut reserved) = (state.code_storage(), 0);
        for (key, function) in state.functions.iter() {
            let Ok(name) = FunctionName::new(key) else { continue };
            if function.from_manifest {
                code += self.with_code(&name, function.latest.clone()).await.code.size;
            }
            reserved += function.reserved.unwrap_or_default();
        }
        Ok(json!({
            "AccountLimit": {
                "TotalCodeSize": limits::CODE_STORAGE,
                "CodeSizeUnzipped": limits::UNZIPPED,
                "CodeSizeZipped": limits::ZIPPED,
                "ConcurrentExecutions": self.account_concurrency,
                "UnreservedConcurrentExecutions": self.account_concurrency.saturating_sub(reserved),
            },
            "AccountUsage": {
                "TotalCodeSize": code,
                "FunctionCount": state.functions.len(),
            },
        }))
    }
}

//! GetAccountSettings.

use hikigane_model::{FunctionName, limits};
use serde_json::{Value, json};

use super::Lambda;
use crate::error::ApiError;

impl Lambda {
    pub(super) async fn get_account_settings(&self) -> Result<Value, ApiError> {
        let state = self.catalog.state();
        let (mut code, mut reserved) = (0, 0);
        for (key, function) in state.functions.iter() {
            let Ok(name) = FunctionName::new(key) else { continue };
            code += self.with_code(&name, function.latest.clone()).await.code.size;
            reserved += function.reserved.unwrap_or_default();
        }
        code += state.versions.iter().map(|(_, version)| version.code.size).sum::<u64>();
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

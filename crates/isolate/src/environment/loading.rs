//! How an isolate becomes the environment of a function.

use deno_permissions::PermissionsContainer;
use hikigane_executor::WorkerInit;

use super::{Failure, JsEnvironment, error_json, text};
use crate::cage::Cage;
use crate::rehearsal::Rehearsal;
use crate::scope::Scope;
use crate::walls::Walls;
use crate::{code_cache, memory};

impl JsEnvironment {
    /// Becomes the environment of one function, but for its code: limits, files, permissions.
    pub fn enclose(&mut self, init: &mut WorkerInit, cage: Option<Cage>, walls: Option<Walls>) -> Result<(), Failure> {
        let closed = |error: &dyn std::fmt::Display| Failure {
            json: error_json("Runtime.InitError", &error.to_string()),
            reusable: false,
        };
        let limit = init.memory_mb as usize * 1024 * 1024;
        self.heap_limit.set(limit.max(memory::START));
        self.buffers.set_limit(limit);
        // Without it the limits of heap and buffers, and of the process's data, hold one by one.
        let _ = memory::watch(limit);
        let changing = Scope::changing(init);
        let caged = cage.is_some();
        let code_cache = match cage {
            Some(cage) => cage.furnish(init).map_err(|error| closed(&error))?,
            None => init.code_cache.take().and_then(|path| code_cache::directory(&path)),
        };
        if caged || init.write.is_empty() {
            crate::quota::bound(&init.tmp, u64::from(init.tmp_mb) * 1024 * 1024);
        }
        crate::cage::name_directories(init);
        crate::cage::set_variables(init).map_err(|error| closed(&error))?;
        let init = &*init;
        let permissions = crate::permissions::of(init).map_err(|message| Failure {
            json: error_json("Runtime.InvalidPermissions", &message),
            reusable: false,
        })?;
        self.loader.set_scope(init, &changing, permissions.clone());
        {
            let state = self.runtime.op_state();
            let mut state = state.borrow_mut();
            state.put::<PermissionsContainer>(permissions);
            state.put(self.loader.set_rules(init));
            // What a link leads to is looked up in the cage, where everything may be seen. Elsewhere, the written path is all that is checked.
            if caged {
                state.put(crate::links::within(&init.tmp));
            }
        }

        // Running a function in a cage that does not close would be worse than not running it.
        let Walls { rules, door } = match walls {
            Some(walls) => walls,
            None => Walls::prepare().map_err(|error| closed(&error))?,
        };
        rules
            .restrict(init, code_cache.as_ref())
            .map_err(|error| closed(&error))?;
        if let Some(directory) = code_cache {
            self.loader.code_cache().open(directory);
        }
        crate::net::confine(init);
        door.close(!init.net.is_empty()).map_err(|error| closed(&error))
    }

    /// Loads the function's code.
    pub async fn load(&mut self, init: &WorkerInit) -> Result<(), Failure> {
        let json = serde_json::to_string(init).map_err(|error| Failure {
            json: error_json("Runtime.Unknown", &error.to_string()),
            reusable: false,
        })?;
        let step = self.call(&self.entry.load.clone(), |scope, arguments| {
            arguments.push(text(scope, json.as_bytes()))
        });
        let loaded = self.finish(step).await;
        self.rest();
        loaded.map(drop)
    }

    /// Goes through everything up to the answer of a function, so that copies of this process need not compile it. Must be called inside a
    /// tokio runtime. Where no temporary file can be written, the code is left out of it.
    pub async fn rehearse(&mut self) -> Result<(), String> {
        match Rehearsal::new() {
            Ok(rehearsal) => self.go_through(&rehearsal.functions()).await,
            Err(_) => self.practise().await,
        }
    }

    /// Does so without code to load: in a copy, to have the pages that every function writes to.
    pub async fn practise(&mut self) -> Result<(), String> {
        self.go_through(&Rehearsal::without_code()).await
    }

    async fn go_through(&mut self, functions: &[WorkerInit]) -> Result<(), String> {
        let Some(first) = functions.first() else {
            return Ok(());
        };
        let permissions = crate::permissions::of(first)?;
        self.loader.set_scope(first, &[], permissions.clone());
        let state = self.runtime.op_state();
        state.borrow_mut().put::<PermissionsContainer>(permissions);
        let json = serde_json::to_string(functions).map_err(|error| error.to_string())?;
        let step = self.call(&self.entry.rehearse.clone(), |scope, arguments| {
            arguments.push(text(scope, json.as_bytes()))
        });
        let result = self.finish(step).await;
        state
            .borrow_mut()
            .put::<PermissionsContainer>(crate::permissions::none());
        self.loader.clear_scope();
        std::env::set_current_dir("/").map_err(|error| error.to_string())?;
        let failed = |failure: Failure| String::from_utf8_lossy(&failure.json).into_owned();
        result.map(drop).map_err(failed)
    }
}

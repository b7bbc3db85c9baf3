//! One isolate with one function.

mod loading;

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use deno_core::error::CoreErrorKind;
use deno_core::url::Url;
use deno_core::{JsRuntime, PollEventLoopOptions, RuntimeOptions, SourceCodeCacheInfo, v8};
use deno_error::JsErrorBox;
use deno_permissions::PermissionsContainer;
use hikigane_executor::frames::InvokeFrame;

use crate::authorities::Authorities;
use crate::code_cache::{CodeCache, Source};
use crate::extensions::{Answers, extensions, runtime};
use crate::link::Link;
use crate::memory::{self, Buffers};
use crate::modules::{self, Loader};
use crate::snapshot::{LAZY_ESM, LAZY_JS, SNAPSHOT};

/// An isolate, its realm, and the functions of `js/lambda.js` in it.
pub struct JsEnvironment {
    platform: v8::SharedRef<v8::Platform>,
    runtime: JsRuntime,
    loader: Rc<Loader>,
    buffers: Arc<Buffers>,
    heap_limit: Rc<std::cell::Cell<usize>>,
    entry: Entry,
}

struct Entry {
    rehearse: v8::Global<v8::Function>,
    load: v8::Global<v8::Function>,
    invoke: v8::Global<v8::Function>,
    drained: v8::Global<v8::Function>,
    run_ticks: v8::Global<v8::Function>,
    run_immediates: v8::Global<v8::Function>,
    rest: v8::Global<v8::Function>,
}

/// Lambda's error JSON, and whether the isolate can be used again.
#[derive(Debug)]
pub struct Failure {
    /// `{"errorType", "errorMessage", "trace"}`.
    pub json: Bytes,
    /// False when the environment cannot go on: the event loop itself has failed, or the process ends.
    pub reusable: bool,
}

type FindCode = Box<dyn Fn(&Url, &[u16]) -> Result<SourceCodeCacheInfo, JsErrorBox>>;
type PutCode = Box<dyn Fn(Url, u64, &[u8])>;

/// The code cache of scripts, CommonJS modules most of all.
fn code_cache_of_scripts(cache: &Rc<CodeCache>) -> (FindCode, PutCode) {
    let (find, put) = (cache.clone(), cache.clone());
    (
        Box::new(move |script, units| {
            // An error says that the script is not worth it.
            find.find(script.as_str(), Source::Units(units))
                .ok_or_else(|| JsErrorBox::generic("not cached"))
        }),
        Box::new(move |script, source, code| put.put(script.as_str(), source, code)),
    )
}

/// What a call into JavaScript gave so far.
pub enum Step {
    /// Its end.
    Ended(Result<Bytes, Failure>),
    /// Nothing yet: the event loop has to turn.
    Pending(v8::Global<v8::Promise>),
}

impl JsEnvironment {
    /// A generic environment: it knows no function and may touch nothing. `platform` is the one that V8 was started with.
    pub fn new(platform: v8::SharedRef<v8::Platform>) -> Result<Self, String> {
        let (loader, node) = modules::make();
        let buffers = Buffers::new(memory::START);
        let authorities = Arc::new(Authorities::default());
        let runtime = JsRuntime::new(RuntimeOptions {
            module_loader: Some(loader.clone()),
            startup_snapshot: Some(SNAPSHOT),
            residual_lazy_js_sources: LAZY_JS,
            residual_lazy_esm_sources: LAZY_ESM,
            // The operations are in the snapshot: registering them again costs 2.5 ms a start.
            skip_op_registration: true,
            create_params: Some(
                v8::CreateParams::default()
                    .heap_limits(0, memory::START)
                    .array_buffer_allocator(memory::allocator(buffers.clone()).make_shared()),
            ),
            extensions: extensions(),
            eval_context_code_cache_cbs: Some(code_cache_of_scripts(loader.code_cache())),
            // What debuggers are told of the realm: it is no worker's.
            is_main: true,
            ..Default::default()
        });
        runtime
            .lazy_init_extensions(vec![
                deno_telemetry::deno_telemetry::args(),
                deno_webidl::deno_webidl::args(),
                deno_web::deno_web::args(deno_web::BlobStore::default_arc(), None, false, Default::default()),
                deno_fetch::deno_fetch::args(deno_fetch::Options {
                    user_agent: "node".into(),
                    root_cert_store_provider: Some(authorities.clone()),
                    ..Default::default()
                }),
                deno_websocket::deno_websocket::args(),
                deno_crypto::deno_crypto::args(None),
                deno_net::deno_net::args(Some(authorities), None),
                deno_tls::deno_tls::args(),
                deno_http::deno_http::args(Default::default()),
                deno_io::deno_io::args(Some(Default::default())),
                deno_fs::deno_fs::args(Arc::new(deno_fs::RealFs)),
                deno_os::deno_os::args(Some(deno_os::ExitCode::default())),
                deno_process::deno_process::args(None),
                deno_node_crypto::deno_node_crypto::args(),
                deno_node::deno_node::args(Some(node), Arc::new(deno_fs::RealFs)),
                runtime::args(),
            ])
            .map_err(|error| error.to_string())?;
        {
            let state = runtime.op_state();
            let mut state = state.borrow_mut();
            state.put::<PermissionsContainer>(crate::permissions::none());
            state.put(Arc::new(deno_features::FeatureChecker::default()));
        }
        Self::enter(platform, runtime, loader, buffers)
    }

    /// Sends what the function logs, and the answers that it streams, over `link`.
    pub fn speak_through(&mut self, link: &Rc<Link>) {
        let state = self.runtime.op_state();
        let mut state = state.borrow_mut();
        state.put(link.printer());
        state.put(Answers(link.clone()));
    }

    /// Collects all garbage, but for code: what is left is what copies of this process share.
    pub fn settle(&mut self) {
        v8::V8::set_flags_from_string("--no-flush-bytecode");
        let isolate = self.runtime.v8_isolate();
        isolate.low_memory_notification();
        // V8 sweeps when it needs room. Who counts the code has it end before: else each copy would, in pages that are its own from then on.
        isolate.get_heap_code_and_metadata_statistics();
        v8::V8::set_flags_from_string("--flush-bytecode");
    }

    fn enter(
        platform: v8::SharedRef<v8::Platform>,
        mut runtime: JsRuntime,
        loader: Rc<Loader>,
        buffers: Arc<Buffers>,
    ) -> Result<Self, String> {
        let heap_limit = Rc::new(std::cell::Cell::new(memory::START));
        let limit = heap_limit.clone();
        runtime.add_near_heap_limit_callback(move |current, _| {
            if current < limit.get() {
                limit.get()
            } else {
                memory::die()
            }
        });
        runtime.v8_isolate().set_oom_error_handler(memory::on_v8_out_of_memory);

        let entry = {
            let object = runtime
                .execute_script("hikigane:entry", "globalThis.hikigane")
                .map_err(|error| error.to_string())?;
            deno_core::scope!(scope, runtime);
            let object: v8::Local<v8::Object> = v8::Local::new(scope, object)
                .try_into()
                .map_err(|_| "the snapshot has no entry".to_owned())?;
            let function = |name: &'static str| -> Result<v8::Global<v8::Function>, String> {
                let key =
                    v8::String::new_external_onebyte_static(scope, name.as_bytes()).ok_or("no memory for a name")?;
                let value = object
                    .get(scope, key.into())
                    .ok_or_else(|| format!("the snapshot has no {name}"))?;
                let value: v8::Local<v8::Function> = value.try_into().map_err(|_| format!("{name} is no function"))?;
                Ok(v8::Global::new(scope, value))
            };
            let start = function("start")?;
            let entry = Entry {
                rehearse: function("rehearse")?,
                load: function("load")?,
                invoke: function("invoke")?,
                drained: function("drained")?,
                run_ticks: function("runTicks")?,
                run_immediates: function("runImmediates")?,
                rest: function("rest")?,
            };
            let this = v8::undefined(scope).into();
            v8::tc_scope!(let scope, scope);
            if v8::Local::new(scope, start).call(scope, this, &[]).is_none() {
                let message = scope
                    .exception()
                    .map(|error| error.to_rust_string_lossy(scope))
                    .unwrap_or_default();
                return Err(format!("the realm does not start: {message}"));
            }
            entry
        };
        Ok(Self {
            platform,
            runtime,
            loader,
            buffers,
            heap_limit,
            entry,
        })
    }

    /// The runtime below, for its debuggers.
    pub fn runtime(&mut self) -> &mut JsRuntime {
        &mut self.runtime
    }

    /// Keeps what V8 has compiled since, for the next environment of the function. To be called when no one waits.
    pub fn save_code(&self) {
        self.loader.code_cache().save();
    }

    /// Begins to run the handler: as far as it comes without the event loop, which is mostly to its end. The result is JSON text, or the
    /// bytes that a streaming handler wrote and that have not left already.
    pub fn invoke(&mut self, frame: &InvokeFrame) -> Step {
        self.call(&self.entry.invoke.clone(), |scope, arguments| {
            arguments.push(text(scope, &frame.payload));
            arguments.push(text(scope, frame.request_id.as_bytes()));
            arguments.push(text(scope, frame.invoked_arn.as_bytes()));
            arguments.push(v8::Number::new(scope, frame.deadline_ms as f64).into());
            arguments.push(text(scope, frame.client_context.as_bytes()));
            arguments.push(text(scope, frame.trace.as_bytes()));
            if !frame.tenant_id.is_empty() {
                arguments.push(text(scope, frame.tenant_id.as_bytes()));
            }
        })
    }

    /// Calls a function of `lambda.js` and lets the microtasks run: a plain async handler is done then, without the event loop.
    fn call(
        &mut self,
        function: &v8::Global<v8::Function>,
        arguments: impl for<'s> FnOnce(&mut v8::PinScope<'s, '_>, &mut Vec<v8::Local<'s, v8::Value>>),
    ) -> Step {
        deno_core::scope!(scope, self.runtime);
        let mut values = Vec::with_capacity(7);
        arguments(scope, &mut values);
        let this = v8::undefined(scope).into();
        v8::tc_scope!(let scope, scope);
        let Some(result) = v8::Local::new(scope, function).call(scope, this, &values) else {
            let thrown = scope.exception();
            let json = thrown.map(|value| bytes(scope, value)).unwrap_or_default();
            return Step::Ended(Err(Failure { json, reusable: true }));
        };
        let Ok(promise) = v8::Local::<v8::Promise>::try_from(result) else {
            return Step::Ended(Ok(bytes(scope, result)));
        };
        scope.perform_microtask_checkpoint();
        if let Some(end) = settled(scope, promise) {
            return Step::Ended(end);
        }
        // Its rejection, should it come, is answered: it is not one that nobody handles.
        promise.mark_as_handled();
        Step::Pending(v8::Global::new(scope, promise))
    }

    /// Drives the event loop until the call is over. A handler that waits when nothing is left that it could wait for ends the process.
    pub async fn finish(&mut self, step: Step) -> Result<Bytes, Failure> {
        let promise = match step {
            Step::Ended(end) => return end,
            Step::Pending(promise) => promise,
        };
        // What Node.js runs before any timer, however late it is.
        self.call(&self.entry.run_ticks.clone(), |_, _| ());
        if let Some(end) = self.look(&promise) {
            return end;
        }
        self.call(&self.entry.run_immediates.clone(), |_, _| ());
        loop {
            if let Some(end) = self.look(&promise) {
                return end;
            }
            let mut waited = false;
            let turned = std::future::poll_fn(|cx| {
                self.run_tasks();
                let polled = self.runtime.poll_event_loop(cx, PollEventLoopOptions::default());
                waited |= polled.is_pending();
                match self.look(&promise) {
                    Some(end) => Poll::Ready(Ok(Some(end))),
                    None => polled.map_ok(|()| None),
                }
            })
            .await;
            match turned {
                Ok(Some(end)) => return end,
                Ok(None) if self.run_tasks() => {}
                Ok(None) => {
                    self.call(&self.entry.drained.clone(), |scope, arguments| {
                        arguments.push(v8::Boolean::new(scope, waited).into());
                    });
                }
                Err(error) => {
                    let json = match error.into_kind() {
                        CoreErrorKind::Js(error) => error_json(
                            error.name.as_deref().unwrap_or("Error"),
                            error.message.as_deref().unwrap_or(&error.exception_message),
                        ),
                        other => error_json("Error", &other.to_string()),
                    };
                    return Err(Failure { json, reusable: false });
                }
            }
        }
    }

    /// Runs what code that is through has left to be done at once: it belongs to its invocation.
    pub fn rest(&mut self) {
        self.call(&self.entry.rest.clone(), |_, _| ());
    }

    /// Runs what V8 has put off: compiled WebAssembly to be handed over, finalizers. True when there was something.
    pub fn run_tasks(&mut self) -> bool {
        let mut some = false;
        while v8::Platform::pump_message_loop(&self.platform, self.runtime.v8_isolate(), false) {
            some = true;
        }
        some
    }

    fn look(&mut self, promise: &v8::Global<v8::Promise>) -> Option<Result<Bytes, Failure>> {
        deno_core::scope!(scope, self.runtime);
        let promise = v8::Local::new(scope, promise);
        settled(scope, promise)
    }
}

/// The end of a promise, when it has one. A rejection is taken as handled, or the next turn would report it again.
fn settled(scope: &mut v8::PinScope<'_, '_>, promise: v8::Local<v8::Promise>) -> Option<Result<Bytes, Failure>> {
    match promise.state() {
        v8::PromiseState::Pending => None,
        v8::PromiseState::Fulfilled => {
            let value = promise.result(scope);
            Some(Ok(bytes(scope, value)))
        }
        v8::PromiseState::Rejected => {
            promise.mark_as_handled();
            let value = promise.result(scope);
            let json = bytes(scope, value);
            Some(Err(Failure { json, reusable: true }))
        }
    }
}

/// JSON text as a JavaScript string: one byte a character where it is ASCII.
fn text<'s>(scope: &mut v8::PinScope<'s, '_>, bytes: &[u8]) -> v8::Local<'s, v8::Value> {
    let string = if bytes.is_ascii() {
        v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal)
    } else {
        v8::String::new_from_utf8(scope, bytes, v8::NewStringType::Normal)
    };
    string.unwrap_or_else(|| v8::String::empty(scope)).into()
}

/// The bytes of a typed array, or of the text of anything else.
fn bytes(scope: &mut v8::PinScope<'_, '_>, value: v8::Local<v8::Value>) -> Bytes {
    match v8::Local::<v8::ArrayBufferView>::try_from(value) {
        Ok(view) => {
            let mut copy = vec![0; view.byte_length()];
            view.copy_contents(&mut copy);
            copy.into()
        }
        Err(_) => value.to_rust_string_lossy(scope).into(),
    }
}

fn error_json(error_type: &str, message: &str) -> Bytes {
    serde_json::json!({"errorType": error_type, "errorMessage": message, "trace": []})
        .to_string()
        .into()
}

//! The extensions of a function's realm: Deno's, and our own. The build script makes the snapshot from this list and the
//! worker starts from it, so both compile this file; order and operations must be the same on both sides.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use deno_core::futures::future::LocalBoxFuture;
use deno_core::{Extension, ExtensionFileSource, OpDecl, OpState, ToV8, extension, op2, v8};
use deno_error::JsErrorBox;
use deno_permissions::{OpenAccessKind, PermissionsContainer};
use deno_resolver::npm::{DenoInNpmPackageChecker, NpmResolver};

use crate::files::Files;

/// All extensions, in the order of the snapshot. None has its arguments yet.
///
/// Left out on purpose: foreign functions, native addons, key-value stores, worker hosts, permission prompts, terminals.
pub fn extensions() -> Vec<Extension> {
    let mut node = deno_node::deno_node::lazy_init::<DenoInNpmPackageChecker, NpmResolver<Files>, Files>();
    for op in node.ops.to_mut() {
        match op.name {
            "op_homedir" => *op = op.with_implementation_from(&op_sandbox_home()),
            "op_node_os_user_info" => *op = op.with_implementation_from(&op_sandbox_user()),
            _ => {}
        }
    }
    let mut fs = deno_fs::deno_fs::lazy_init();
    for op in fs.ops.to_mut() {
        match op.name {
            "op_fs_symlink_sync" => *op = op.with_implementation_from(&op_link_sync()),
            "op_fs_symlink_async" => *op = op.with_implementation_from(&op_link()),
            _ => {}
        }
    }
    vec![
        deno_telemetry::deno_telemetry::lazy_init(),
        deno_webidl::deno_webidl::lazy_init(),
        deno_web::deno_web::lazy_init(),
        deno_fetch::deno_fetch::lazy_init(),
        deno_websocket::deno_websocket::lazy_init(),
        deno_crypto::deno_crypto::lazy_init(),
        deno_net::deno_net::lazy_init(),
        deno_tls::deno_tls::lazy_init(),
        deno_http::deno_http::lazy_init(),
        deno_io::deno_io::lazy_init(),
        fs,
        deno_os::deno_os::lazy_init(),
        deno_process::deno_process::lazy_init(),
        deno_node_crypto::deno_node_crypto::lazy_init(),
        node,
        runtime::lazy_init(),
    ]
}

// It must be called `runtime`: `node:console` of deno_node imports `ext:runtime/98_global_scope_shared.js`.
extension!(
    runtime,
    deps = [deno_webidl, deno_web, deno_fetch, deno_websocket, deno_crypto, deno_node, deno_net, deno_http, deno_io, deno_fs],
    ops = [
        op_kind_of_file,
        op_print_line,
        op_print_bytes,
        op_answer_streams,
        op_answer_begin,
        op_answer_send,
        op_answer_room,
        op_processors,
        op_stop_at_handler,
        op_tell_end,
        op_tell_leave,
        op_on_listener_exception,
        op_bootstrap_color_depth,
        op_bootstrap_unstable_args,
        op_current_thread_cpu_usage,
        op_create_worker,
        op_host_get_worker_cpu_usage,
        op_host_post_message,
        op_host_post_message_raw,
        op_host_recv_ctrl,
        op_host_recv_message,
        op_host_recv_message_sync,
        op_host_terminate_worker,
        op_http_start,
        op_napi_open,
        op_node_database_backup,
        op_node_worker_thread_post_message,
        op_node_worker_thread_recv_message,
        op_node_worker_thread_register,
        op_node_worker_thread_set_listener_count,
        op_set_raw,
        op_test_snapshot_in_update_mode,
    ],
    esm_entry_point = "ext:runtime/main.js",
    esm = [
        dir "js", "namespace.js", "98_global_scope_shared.js", "environment.js", "foreign.js", "log.js", "report.js", "require.js",
        "handler.js", "navigator.js", "streaming.js", "ending.js", "lambda.js", "main.js",
    ],
    lazy_loaded_js = [dir "js", "errors.js"],
    middleware = |op: OpDecl| match op.name {
        "op_dispatch_exception" => op.with_implementation_from(&op_tell_exception()),
        _ => op,
    },
    customizer = |extension: &mut Extension| {
        extension.esm_files.to_mut().push(ExtensionFileSource::loaded_from_memory_during_snapshot(
            "ext:deno_features/flags.js",
            deno_features::JS_SOURCE,
        ));
    }
);

/// Makes a symbolic link: what it says, and where it is to lie.
pub struct Links(pub Rc<MakeLink>);

type MakeLink = dyn Fn(&str, &Path) -> std::io::Result<()>;

/// Takes what a function prints.
pub struct Printer(pub Rc<dyn Fn(&str)>);

/// Takes an answer that is streamed.
pub trait Outlet {
    /// Whether the answer of the invocation that runs is to be streamed.
    fn is_open(&self) -> bool;
    /// The answer begins.
    fn begin(&self, content_type: String);
    /// Takes as many bytes as there is room for, and says how many.
    fn send(&self, bytes: &[u8]) -> usize;
    /// Waits for room; false when the answer is over.
    fn room(self: Rc<Self>) -> LocalBoxFuture<'static, bool>;
    /// The process is about to end: what the invocation that runs has returned, or Lambda's error JSON.
    fn tell_end(&self, returned: bool, told: &[u8]);
    /// The process is about to end, and has nothing to say.
    fn tell_leave(&self);
}

/// Where answers go that do not wait for the end of the handler.
pub struct Answers(pub Rc<dyn Outlet>);

/// Has a debugger stop at the function that is called next.
pub struct Stop(pub Box<dyn FnOnce()>);

/// What is told of exceptions of listeners.
struct ListenerExceptions(v8::Global<v8::Function>);

/// What is at a path that the function may read: 1 for a file, 2 for a directory, 0 for anything else and for nothing. To look for a handler by
/// exceptions would take a tenth of a first invocation.
#[op2(fast)]
fn op_kind_of_file(state: &OpState, #[string] path: &str) -> u8 {
    let path = Path::new(path);
    let permissions = state.borrow::<PermissionsContainer>();
    let allowed = permissions.check_open(path.into(), OpenAccessKind::ReadNoFollow, Some("handler"));
    match allowed.ok().and_then(|_| path.metadata().ok()) {
        Some(found) if found.is_file() => 1,
        Some(found) if found.is_dir() => 2,
        _ => 0,
    }
}

#[op2(fast)]
fn op_print_line(state: &mut OpState, #[string] text: &str) {
    print(state, text);
}

/// Prints bytes that should be UTF-8; gives their number.
#[op2(fast)]
fn op_print_bytes(state: &mut OpState, #[buffer] bytes: &[u8]) -> u32 {
    print(state, &String::from_utf8_lossy(bytes));
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn print(state: &OpState, text: &str) {
    if let Some(printer) = state.try_borrow::<Printer>() {
        let print = printer.0.clone();
        print(text);
    }
}

fn outlet(state: &OpState) -> Option<Rc<dyn Outlet>> {
    state.try_borrow::<Answers>().map(|answers| answers.0.clone())
}

/// Whether the caller of this invocation takes its answer as it is written.
#[op2(fast)]
fn op_answer_streams(state: &mut OpState) -> bool {
    outlet(state).is_some_and(|outlet| outlet.is_open())
}

#[op2(fast)]
fn op_answer_begin(state: &mut OpState, #[string] content_type: String) {
    if let Some(outlet) = outlet(state) {
        outlet.begin(content_type);
    }
}

/// Sends bytes of the answer, as many as there is room for; gives their number.
#[op2(fast)]
fn op_answer_send(state: &mut OpState, #[buffer] bytes: &[u8]) -> u32 {
    let sent = outlet(state).map_or(bytes.len(), |outlet| outlet.send(bytes));
    u32::try_from(sent).unwrap_or(u32::MAX)
}

/// Resolves when there is room for more; to false when the answer is over.
#[op2]
async fn op_answer_room(state: Rc<RefCell<OpState>>) -> bool {
    let outlet = outlet(&state.borrow());
    match outlet {
        Some(outlet) => outlet.room().await,
        None => false,
    }
}

/// Processors that this process may use.
#[op2(fast)]
fn op_processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// The handler is called next: here a function stops, once, that has waited for a debugger. What the debugger does meanwhile can call any
/// operation.
#[op2(nofast, reentrant)]
fn op_stop_at_handler(state: Rc<RefCell<OpState>>) {
    let stop = state.borrow_mut().try_take::<Stop>();
    if let Some(Stop(stop)) = stop {
        stop();
    }
}

#[op2(fast)]
fn op_tell_end(state: &mut OpState, returned: bool, #[buffer] told: &[u8]) {
    if let Some(outlet) = outlet(state) {
        outlet.tell_end(returned, told);
    }
}

#[op2(fast)]
fn op_tell_leave(state: &mut OpState) {
    if let Some(outlet) = outlet(state) {
        outlet.tell_leave();
    }
}

/// Says who is told when a listener of an `EventTarget` throws.
#[op2]
fn op_on_listener_exception(state: &mut OpState, #[scoped] tell: v8::Global<v8::Function>) {
    state.put(ListenerExceptions(tell));
}

/// Deno ends the runtime here, in the middle of whatever runs.
#[op2(nofast, reentrant)]
fn op_tell_exception<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: Rc<RefCell<OpState>>,
    exception: v8::Local<'s, v8::Value>,
    _promise: bool,
) {
    let tell = state
        .borrow()
        .try_borrow::<ListenerExceptions>()
        .map(|told| told.0.clone());
    if let Some(tell) = tell {
        let this = v8::undefined(scope).into();
        v8::Local::new(scope, tell).call(scope, this, &[exception]);
    }
}

/// The user that AWS's sandboxes run functions as. The machine's own accounts are none of a function's business.
const USER: &str = "sbx_user1051";

/// The user's directory; like AWS's, it is not there. SDKs look for their configuration in it.
fn home() -> String {
    std::env::var("HOME").unwrap_or_else(|_| format!("/home/{USER}"))
}

#[op2]
#[string]
fn op_sandbox_home() -> String {
    home()
}

#[derive(ToV8)]
struct UserInfo {
    username: String,
    homedir: String,
    shell: Option<String>,
}

#[op2]
fn op_sandbox_user(#[smi] _uid: u32) -> UserInfo {
    UserInfo {
        username: USER.to_owned(),
        homedir: home(),
        shell: Some("/sbin/nologin".to_owned()),
    }
}

#[op2(nofast)]
fn op_link_sync(state: &OpState, #[string] target: &str, #[string] link: &str) -> Result<(), JsErrorBox> {
    link_to(state, target, link)
}

#[op2]
async fn op_link(
    state: Rc<RefCell<OpState>>,
    #[string] target: String,
    #[string] link: String,
) -> Result<(), JsErrorBox> {
    link_to(&state.borrow(), &target, &link)
}

/// Where links may lie is known, or they may lie nowhere.
fn link_to(state: &OpState, target: &str, link: &str) -> Result<(), JsErrorBox> {
    let path = std::path::absolute(link).map_err(JsErrorBox::from_err)?;
    let made = match state.try_borrow::<Links>() {
        Some(Links(make)) => make(target, &path),
        None => Err(std::io::ErrorKind::PermissionDenied.into()),
    };
    made.map_err(JsErrorBox::from_err)
}

/// One bit of color depth: a log is no terminal.
#[op2(fast)]
fn op_bootstrap_color_depth() -> i32 {
    1
}

#[op2(fast)]
fn op_bootstrap_unstable_args() -> Result<(), JsErrorBox> {
    Err(refused("child_process"))
}

fn refused(what: &str) -> JsErrorBox {
    JsErrorBox::new("NotSupported", format!("{what} is not available in a function"))
}

/// Operations that Deno's scripts name and that a function must not have.
macro_rules! refuse {
    ($($op:ident: $what:literal),* $(,)?) => {
        $(
            #[op2(fast)]
            fn $op() -> Result<(), JsErrorBox> {
                Err(refused($what))
            }
        )*
    };
}

refuse! {
    op_create_worker: "worker_threads",
    op_current_thread_cpu_usage: "process.threadCpuUsage",
    op_host_get_worker_cpu_usage: "worker_threads",
    op_host_post_message: "worker_threads",
    op_host_post_message_raw: "worker_threads",
    op_host_recv_ctrl: "worker_threads",
    op_host_recv_message: "worker_threads",
    op_host_recv_message_sync: "worker_threads",
    op_host_terminate_worker: "worker_threads",
    op_http_start: "Deno.serveHttp",
    op_napi_open: "native code",
    op_node_database_backup: "node:sqlite",
    op_node_worker_thread_post_message: "worker_threads",
    op_node_worker_thread_recv_message: "worker_threads",
    op_node_worker_thread_register: "worker_threads",
    op_node_worker_thread_set_listener_count: "worker_threads",
    op_set_raw: "a terminal",
    op_test_snapshot_in_update_mode: "node:test",
}

/// TypeScript to JavaScript, statement by statement, without looking at types. `mapped`: with its source map at its end, for debuggers.
pub fn strip_types(
    specifier: deno_core::url::Url,
    source: std::sync::Arc<str>,
    media_type: deno_ast::MediaType,
    mapped: bool,
) -> Result<String, JsErrorBox> {
    let source_map = if mapped {
        deno_ast::SourceMapOption::Inline
    } else {
        deno_ast::SourceMapOption::None
    };
    transpile(specifier, source, media_type, source_map).map(|emitted| emitted.text)
}

/// The source map of what [`strip_types`] makes, as JSON.
pub fn source_map_of_types(
    specifier: deno_core::url::Url,
    source: std::sync::Arc<str>,
    media_type: deno_ast::MediaType,
) -> Result<String, JsErrorBox> {
    transpile(specifier, source, media_type, deno_ast::SourceMapOption::Separate)
        .map(|emitted| emitted.source_map.unwrap_or_default())
}

fn transpile(
    specifier: deno_core::url::Url,
    source: std::sync::Arc<str>,
    media_type: deno_ast::MediaType,
    source_map: deno_ast::SourceMapOption,
) -> Result<deno_ast::EmittedSourceText, JsErrorBox> {
    let parsed = deno_ast::parse_module(deno_ast::ParseParams {
        specifier,
        text: source,
        media_type,
        capture_tokens: false,
        scope_analysis: false,
        maybe_syntax: None,
    })
    .map_err(|error| JsErrorBox::new("SyntaxError", error.to_string()))?;
    let emitted = parsed
        .transpile(
            &deno_ast::TranspileOptions {
                imports_not_used_as_values: deno_ast::ImportsNotUsedAsValues::Remove,
                ..Default::default()
            },
            &deno_ast::TranspileModuleOptions::default(),
            &deno_ast::EmitOptions {
                source_map,
                ..Default::default()
            },
        )
        .map_err(|error| JsErrorBox::generic(error.to_string()))?;
    Ok(emitted.into_source())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    /// What the realm's own scripts can call. Whoever breaks out of JavaScript's side of the cage has these, so a new one must be looked at:
    /// what it can do, and which permission it asks for. (Functions reach hardly any: the end-to-end tests say which.)
    #[test]
    fn the_operations_are_those_that_are_listed() {
        let listed = include_str!("../operations.txt");
        let mut found: Vec<&str> = extensions()
            .iter()
            .flat_map(|extension| extension.ops.iter().map(|op| op.name))
            .collect();
        found.sort_unstable();
        found.dedup();
        let listed: Vec<&str> = listed.lines().collect();
        let new: Vec<_> = found.iter().filter(|name| !listed.contains(name)).collect();
        let gone: Vec<_> = listed.iter().filter(|name| !found.contains(name)).collect();
        assert!(
            new.is_empty() && gone.is_empty(),
            "operations.txt lists others: new {new:#?}, gone {gone:#?}"
        );
    }
}

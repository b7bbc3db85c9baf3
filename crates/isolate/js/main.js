// Puts the realm together while the snapshot is made, and finishes it when a worker starts.

// `node:process` and `node:module` go into the snapshot: without them the first require() costs 40 ms. What they evaluate
// lazily while the snapshot is made must be imported here by name, or the snapshot stores its source empty.
import "node:process";
import "node:module";
import "node:buffer";
import "node:timers";
import { core, internals, primordials } from "ext:core/mod.js";
import { windowOrWorkerGlobalScope } from "ext:runtime/98_global_scope_shared.js";
import { installNamespace, namespace } from "ext:runtime/namespace.js";
import { op_on_listener_exception } from "ext:core/ops";
import { installEnd, onException, onRejection, throwLater } from "ext:runtime/ending.js";
import * as lambda from "ext:runtime/lambda.js";

const { ObjectDefineProperty, ObjectKeys, ObjectSetPrototypeOf } = primordials;

const event = core.loadExtScript("ext:deno_web/02_event.js");
const performance = core.loadExtScript("ext:deno_web/15_performance.js");
const { setNoColorFns } = core.loadExtScript("ext:deno_web/01_console.js");
const fetchModule = () => core.loadExtScript("ext:deno_fetch/26_fetch.js");

delete Intl.v8BreakIterator;
setNoColorFns(() => true, () => true);

class Window extends event.EventTarget {}
core.defineGlobalProperties(globalThis, windowOrWorkerGlobalScope);

core.setUnhandledPromiseRejectionHandler((promise, reason) => {
  onRejection(reason, promise);
  return true;
});
core.setHandledPromiseRejectionHandler((promise, reason) => {
  internals.nodeProcessRejectionHandledCallback?.({ __proto__: null, promise, reason });
});

/** Finishes the realm in a worker. Called once, before anything of a function is known. */
function start() {
  core.setWasmStreamingCallback((source, rid) => fetchModule().handleWasmStreaming(source, rid));
  core.setReportExceptionCallback((error) => onException(error));
  op_on_listener_exception(throwLater);
  installEnd();
  core.setBuildInfo("x86_64-unknown-linux-gnu");

  ObjectSetPrototypeOf(globalThis, Window.prototype);
  event.setEventTargetData(globalThis);
  event.saveGlobalThisReference(globalThis);
  // Deno would tell listeners of `process` of an exception of a listener before the others are called.
  globalThis.addEventListener("error", (error) => error.stopImmediatePropagation());
  installNamespace();
  globalThis.nodeBootstrap({
    usesLocalNodeModulesDir: true,
    runningOnMainThread: true,
    argv0: "/var/lang/bin/node",
    nodeDebug: "",
    denoArgs: namespace.args,
    denoVersion: namespace.version,
  });
  // Not `delete globalThis.nodeBootstrap`: it is a plain assignment of deno_node and nothing reads it later.
  delete globalThis.nodeBootstrap;
  for (const name of ObjectKeys(core.ops)) {
    delete core.ops[name];
  }
  delete globalThis.Deno;
  delete globalThis.__bootstrap;
  delete globalThis.bootstrap;
  delete globalThis.hikigane;
}

/** Loads a function. Its time begins now: the realm may be a copy of one that is older. */
function load(json) {
  performance.setTimeOrigin();
  return lambda.load(json);
}

ObjectDefineProperty(globalThis, "hikigane", {
  __proto__: null,
  configurable: true,
  enumerable: false,
  value: { __proto__: null, start, ...lambda, load },
});

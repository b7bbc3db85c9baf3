// How the process ends: by an error that no code of the function has handled, or because it wants to. What Node.js does, and what AWS's
// client adds to it.

import process from "node:process";
import { core, primordials } from "ext:core/mod.js";
import { environment, isModern } from "ext:runtime/environment.js";
import { isError } from "ext:runtime/foreign.js";
import { uncaughtException, unhandledRejection } from "ext:runtime/report.js";
import { op_exit, op_print_line, op_set_exit_code, op_tell_end, op_tell_leave } from "ext:core/ops";

const { Error, Number, ObjectDefineProperties, String } = primordials;

const loadUtil = core.createLazyLoader("node:util");

/** Stands for the invocation that runs. What an earlier one has left behind still holds that one's. */
let current;
/** What it has come to, or the loading, where it stands even if the function then ends the process: `{ returned, told }`. */
let outcome;

/** An invocation begins, or the loading. */
export function begin() {
  outcome = undefined;
  current = { __proto__: null };
  return current;
}

export const isCurrent = (invocation) => invocation === current;

/**
 * An invocation has come to this: JSON text, or the last bytes of a stream. The first counts. Version 3 of the client has told it by then;
 * version 4 tells it when ticks and immediates have run, so there it does not stand yet.
 */
export function comeTo(invocation, returned, told) {
  if (!isModern() && isCurrent(invocation) && outcome === undefined) {
    outcome = { __proto__: null, returned, told };
  }
}

/**
 * Up to Node.js 22, AWS's client reports errors that nobody handles in Lambda's JSON. Its listeners are there before the function's own, so
 * those are never told, unless the function removes the client's. Later clients leave such errors to Node.js (npm aws-lambda-ric 3.3.0 and
 * 4.0.2).
 */
export function installListeners() {
  if (!isModern()) {
    process.on("uncaughtException", onUncaughtException);
    process.on("unhandledRejection", onUnhandledRejection);
  }
}

export function removeListeners() {
  process.off("uncaughtException", onUncaughtException);
  process.off("unhandledRejection", onUnhandledRejection);
}

function onUncaughtException(error) {
  leave(129, uncaughtException(error));
}

function onUnhandledRejection(reason) {
  leave(128, unhandledRejection(reason));
}

/** A promise was rejected and nobody has handled it by the time its microtasks and ticks have run. */
export function onRejection(reason, promise) {
  let error = reason;
  try {
    if (process.emit("unhandledRejection", reason, promise)) {
      return;
    }
    if (!isError(reason)) {
      error = rejectionError(reason);
    }
  } catch (thrown) {
    error = thrown;
  }
  onException(error, true);
}

/** Whether one has come by since somebody asked. */
let caught = false;

/** Whether there was an exception since this was asked for the last time. */
export function takeCaught() {
  const was = caught;
  caught = false;
  return was;
}

/** An exception that was thrown where no code of the function is left to catch it. */
export function onException(error, isRejection = false) {
  caught = true;
  let last = error;
  // Node.js's codes: for no way to tell of it, and for a listener that throws.
  let code = 6;
  try {
    if (typeof process._fatalException === "function") {
      code = 7;
      if (process._fatalException(error, isRejection)) {
        return;
      }
      code = 1;
    }
  } catch (thrown) {
    last = thrown;
  }
  op_print_line(`${describe(last)}\n\nNode.js v${environment.version}\n`);
  leave(code);
}

/** A listener of an `EventTarget` has thrown. The others are called all the same, as are the lines behind `dispatchEvent`. */
export function throwLater(error) {
  const { nextTick } = core.loadExtScript("ext:deno_node/_next_tick.ts");
  nextTick(() => {
    throw error;
  });
}

/** What Node.js makes of a reason that is no error. */
function rejectionError(reason) {
  const error = new Error(
    "This error originated either by throwing inside of an async function without a catch block, or by rejecting a promise which was " +
      `not handled with .catch(). The promise rejected with the reason "${typeof reason === "object" ? loadUtil().inspect(reason) : String(reason)}".`,
  );
  const hidden = (value) => ({ __proto__: null, value, configurable: true, writable: true });
  return ObjectDefineProperties(error, {
    __proto__: null,
    name: hidden("UnhandledPromiseRejection"),
    stack: hidden(`UnhandledPromiseRejection: ${error.message}`),
    code: { __proto__: null, value: "ERR_UNHANDLED_REJECTION", enumerable: true },
  });
}

function describe(error) {
  try {
    const text = typeof error === "string" ? error : loadUtil().inspect(error);
    return isError(error) ? text : `${text}\n(Use \`node --trace-uncaught ...\` to show where the exception was thrown)`;
  } catch {
    // The function has its own ideas of how errors look.
  }
  try {
    return String(error?.stack ?? error);
  } catch {
    return typeof error;
  }
}

/** Ends the process, as `process.exit` does: listeners of `exit` are told. `failure`: Lambda's error JSON, if nothing has come of it before. */
export function leave(code, failure) {
  if (outcome === undefined && failure !== undefined) {
    outcome = { __proto__: null, returned: false, told: failure };
  }
  let last = code;
  try {
    process.exitCode = code;
    if (!process._exiting) {
      process._exiting = true;
      process.emit("exit", code);
    }
    last = Number(process.exitCode);
  } catch {
    // A listener has thrown.
  }
  end(last);
}

/** The event loop has drained: whoever listens may still find something to do. */
export function tellDrained() {
  try {
    process.emit("beforeExit", process.exitCode ?? 0);
  } catch (error) {
    onException(error);
  }
}

/** Nobody has: Node.js ends. */
export function leaveDrained() {
  let code = 0;
  try {
    code = Number(process.exitCode ?? 0);
  } catch {
    // It is no number.
  }
  leave(code);
}

/** Ends the process without a further word to the function. */
function end(code) {
  if (outcome === undefined) {
    op_tell_leave();
  } else {
    const { returned, told } = outcome;
    op_tell_end(returned, typeof told === "string" ? core.encode(told) : told);
  }
  op_set_exit_code(code | 0);
  op_exit();
}

/** What `process.exit` calls at last. */
export function installEnd() {
  process.reallyExit = (code) => end(Number(code ?? 0));
}

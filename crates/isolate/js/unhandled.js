// What becomes of an error that no code of the function has handled: what Node.js does, and what AWS's client adds to it.

import process from "node:process";
import { core, primordials } from "ext:core/mod.js";
import { isModern } from "ext:runtime/environment.js";
import { isError } from "ext:runtime/foreign.js";
import { uncaughtException, unhandledRejection } from "ext:runtime/report.js";
import { op_exit, op_fail, op_print_line, op_set_exit_code } from "ext:core/ops";

const { Error, ObjectDefineProperties, String } = primordials;

const loadUtil = core.createLazyLoader("node:util");

/**
 * Up to Node.js 22, AWS's client reports such errors in Lambda's JSON. Its listeners are there before the function's own, so those are
 * never told, unless the function removes the client's. Later clients leave such errors to Node.js (npm aws-lambda-ric 3.3.0 and 4.0.2).
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

/** An exception that was thrown where no code of the function is left to catch it. */
export function onException(error, isRejection = false) {
  let last = error;
  let code = 1;
  try {
    if (process._fatalException(error, isRejection)) {
      return;
    }
  } catch (thrown) {
    // Node.js's code for it.
    code = 7;
    last = thrown;
  }
  op_print_line(`${describe(last)}\n\nNode.js ${process.version}\n`);
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
    return typeof error;
  }
}

/** Ends the process, as `process.exit` does: listeners of `exit` are told. `failure`: Lambda's error JSON for what it was at. */
export function leave(code, failure) {
  let last = code;
  try {
    process.exitCode = code;
    if (!process._exiting) {
      process._exiting = true;
      process.emit("exit", code);
    }
  } catch {
    last = 7;
  }
  if (failure !== undefined) {
    op_fail(failure);
  }
  op_set_exit_code(last);
  op_exit();
}

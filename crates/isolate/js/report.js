// How an error is told: as Lambda's error JSON to the caller, and as a line of the log (npm aws-lambda-ric 3.3 and 4.0).
//
// What is told must not depend on what a function did to the prototypes of the realm: records have none, and lists neither.

import { primordials } from "ext:core/mod.js";
import { environment, isModern } from "ext:runtime/environment.js";
import { isError } from "ext:runtime/foreign.js";
import { logError } from "ext:runtime/log.js";

const {
  ArrayPrototypeJoin, ArrayPrototypeSlice, Error, JSONStringify, ObjectDefineProperty, ObjectSetPrototypeOf, String,
  StringPrototypeReplaceAll, StringPrototypeSplit, TypeError,
} = primordials;

/** An error of the runtime client itself: `Runtime.HandlerNotFound` and so on. */
export class RuntimeError extends Error {
  constructor(type, message, stack) {
    super(message);
    // A member of the log line from version 4 on.
    ObjectDefineProperty(this, "name", { __proto__: null, value: type, configurable: true, writable: true, enumerable: isModern() });
    if (stack !== undefined) {
      ObjectDefineProperty(this, "stack", { __proto__: null, value: stack, configurable: true, writable: true });
    }
  }
}

/** An array that no polluted prototype reaches. */
function list(array) {
  return ObjectSetPrototypeOf(array, null);
}

/** DEL is not allowed in the header that AWS's client sends. It takes texts only. */
function escape(text) {
  if (typeof text !== "string") {
    throw new TypeError("not a text");
  }
  return StringPrototypeReplaceAll(text, "\x7F", "%7F");
}

/** Version 3.3 takes anything with these three texts for an error. */
function looksLikeError(value) {
  return typeof value === "object" && value !== null && typeof value.name === "string" && value.name !== "" &&
    typeof value.message === "string" && value.message !== "" && typeof value.stack === "string" && value.stack !== "";
}

/** `errorType`, `errorMessage` and `trace` of anything that was thrown. */
export function errorRecord(error) {
  try {
    if (isError(error) || (!isModern() && looksLikeError(error))) {
      const { name, message, stack } = error;
      return {
        __proto__: null,
        errorType: escape(name ?? "Error"),
        errorMessage: escape(message ?? ""),
        trace: list(stack === undefined ? [] : StringPrototypeSplit(escape(stack), "\n")),
      };
    }
    // Up to version 3.3 the value's own method says its text, and null has none.
    const errorMessage = isModern() ? String(error) : error.toString();
    return { __proto__: null, errorType: typeof error, errorMessage: `${errorMessage}`, trace: list([]) };
  } catch {
    return {
      __proto__: null,
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack",
      trace: list([]),
    };
  }
}

/** Lambda's error JSON. */
export function errorJson(error) {
  return JSONStringify(errorRecord(error));
}

/** Logs an error of the handler, and gives its JSON. */
export function invokeError(error) {
  logError("Invoke Error", error);
  return errorJson(error);
}

/** Logs a promise rejection that nobody handled, and gives the JSON of the error that AWS's client wraps it in. */
export function unhandledRejection(reason) {
  const { errorMessage, trace } = errorRecord(reason);
  let message;
  try {
    message = reason === undefined ? "" : String(reason);
  } catch {
    message = errorMessage;
  }
  const frames = ArrayPrototypeJoin(ArrayPrototypeSlice(trace, 1), "\n");
  const title = message === "" ? "Runtime.UnhandledPromiseRejection" : `Runtime.UnhandledPromiseRejection: ${message}`;
  const error = new RuntimeError("Runtime.UnhandledPromiseRejection", message, frames === "" ? title : `${title}\n${frames}`);
  error.reason = reason;
  error.promise = { __proto__: null };
  logError("Unhandled Promise Rejection", error);
  return errorJson(error);
}

/** Logs an exception that no code of the function caught, and gives its JSON. */
export function uncaughtException(error) {
  logError("Uncaught Exception", error);
  return errorJson(error);
}

/** Logs and tells why the function could not be loaded. */
export function initError(error) {
  logError(environment.node < 24 ? "Uncaught Exception" : "Init Error", error);
  return errorJson(error);
}

// The log of a function: console, standard streams, and the lines of the runtime client itself (npm aws-lambda-ric 3.3 and 4.0).
//
// A line goes to the platform as one record, so a newline inside a message stays what it is; AWS's client writes a carriage return for it
// only where the log is a plain pipe.

import { core, primordials } from "ext:core/mod.js";
import { environment, isModern } from "ext:runtime/environment.js";
import { isError } from "ext:runtime/foreign.js";
import { op_print_bytes, op_print_line } from "ext:core/ops";

const {
  ArrayPrototypeSlice, Date, DatePrototypeToISOString, Error, JSONStringify, ObjectAssign, ObjectDefineProperty, ObjectSetPrototypeOf,
  SafeArrayIterator, String, StringPrototypeSplit, StringPrototypeToUpperCase,
} = primordials;

const loadStream = core.createLazyLoader("node:stream");
const loadUtil = () => core.loadExtScript("ext:deno_node/util.ts");
const format = (...values) => loadUtil().format(...new SafeArrayIterator(values));

const LEVELS = { __proto__: null, TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
/** The least level that is logged. */
let least = LEVELS.TRACE;

const isJson = () => environment.settings?.log_format === "JSON";

function print(level, message) {
  const time = DatePrototypeToISOString(new Date());
  op_print_line(`${time}\t${environment.requestId}\t${level}\t${message}\n`);
}

function printJson(level, record, replacer) {
  const time = DatePrototypeToISOString(new Date());
  const { requestId, tenantId } = environment;
  op_print_line(`${JSONStringify({ __proto__: null, timestamp: time, level, requestId, tenantId, ...record }, replacer)}\n`);
}

/** A list of the lines of a stack that no polluted prototype reaches. */
function lines(stack) {
  return typeof stack === "string" ? ObjectSetPrototypeOf(StringPrototypeSplit(stack, "\n"), null) : stack;
}

const constructorName = (error) => error?.constructor?.name ?? "UnknownError";

/** Errors anywhere in a logged value are told by type, message and stack, and their own members. */
function errorMembers(_key, value) {
  if (!isError(value)) {
    return value;
  }
  const { message, stack } = value;
  return ObjectAssign(
    { __proto__: null, errorType: constructorName(value), errorMessage: message, stackTrace: lines(stack) },
    value,
  );
}

function logJson(level, values) {
  if (values.length === 1) {
    try {
      printJson(level, { __proto__: null, message: values[0] }, errorMembers);
    } catch {
      printJson(level, { __proto__: null, message: format(values[0]) });
    }
    return;
  }
  const record = { __proto__: null, message: format(...new SafeArrayIterator(values)) };
  // Version 4 looks at the values behind the first only.
  for (const value of new SafeArrayIterator(isModern() ? ArrayPrototypeSlice(values, 1) : values)) {
    if (isError(value)) {
      record.errorType = constructorName(value);
      record.errorMessage = value.message;
      record.stackTrace = lines(value.stack ?? "");
      break;
    }
  }
  printJson(level, record);
}

function log(level, values) {
  if (LEVELS[level] < least) {
    return;
  }
  if (isJson()) {
    logJson(level, values);
  } else {
    print(level, values.length === 1 && typeof values[0] === "string" ? values[0] : format(...new SafeArrayIterator(values)));
  }
}

/** A line of the runtime client's own. */
export function warn(message) {
  log("WARN", [message]);
}

/** As [warn], for a misuse. */
export function complain(message) {
  log("ERROR", [message]);
}

/** An error and those in its members, as AWS's client writes them behind the title. */
function errorDetails(_key, value) {
  if (!isError(value)) {
    return value;
  }
  const { name, message, code, stack } = value;
  const record = ObjectAssign({ __proto__: null, errorType: name, errorMessage: message, code }, value);
  if (typeof stack === "string") {
    record.stack = lines(stack);
  }
  return record;
}

/** Logs an error that ends an invocation or the initialisation. */
export function logError(title, value) {
  let error = value;
  if (!isError(error)) {
    try {
      error = new Error(String(value));
    } catch {
      error = new Error("");
    }
  }
  if (isJson()) {
    log("ERROR", [error]);
    return;
  }
  let details;
  try {
    details = JSONStringify(error, errorDetails);
  } catch {
    // A member cannot be told.
    details = JSONStringify({ __proto__: null, errorType: error.name, errorMessage: error.message, trace: lines(error.stack) });
  }
  log("ERROR", [`${title} \t${details}`]);
}

/** Sets the level, and makes `console` write Lambda's lines. */
export function patchConsole(console, level) {
  least = LEVELS[StringPrototypeToUpperCase(level ?? "")] ?? LEVELS.TRACE;
  // AWS's methods have a first parameter: without arguments they log "undefined".
  const method = (level) => (message, ...more) => log(level, [message, ...new SafeArrayIterator(more)]);
  const info = method("INFO");
  ObjectAssign(console, {
    log: info,
    info,
    debug: method("DEBUG"),
    trace: method("TRACE"),
    warn: method("WARN"),
    error: method("ERROR"),
    fatal: method("FATAL"),
  });
}

/** process.stdout and process.stderr write into the log as they are told to. */
export function patchStreams(process) {
  for (const { 0: name, 1: fd } of new SafeArrayIterator([["stdout", 1], ["stderr", 2]])) {
    let stream;
    ObjectDefineProperty(process, name, {
      __proto__: null,
      configurable: true,
      enumerable: true,
      get() {
        return stream ??= ObjectAssign(
          new (loadStream().Writable)({
            decodeStrings: false,
            write(chunk, _encoding, done) {
              if (typeof chunk === "string") {
                op_print_line(chunk);
              } else {
                op_print_bytes(chunk);
              }
              done();
            },
          }),
          { fd, isTTY: false },
        );
      },
    });
  }
}

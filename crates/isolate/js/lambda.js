// The contract of AWS's Node.js runtime client (npm aws-lambda-ric 3.3 for Node.js <= 20, 4.0 for >= 22): which file and
// export a handler string means, what the handler is called with, how its end is told.

import { core, primordials } from "ext:core/mod.js";
import { namespace } from "ext:runtime/namespace.js";
import { op_print_line } from "ext:core/ops";

const {
  ArrayPrototypeJoin, Date, DateNow, DatePrototypeToISOString, Error, ErrorPrototype, JSONParse, JSONStringify, ObjectAssign,
  ObjectDefineProperty, ObjectPrototypeIsPrototypeOf, Promise, PromisePrototypeThen, PromiseResolve, ReflectApply, ReflectGet,
  StringPrototypeIncludes, StringPrototypeIndexOf, StringPrototypeLastIndexOf, StringPrototypeReplaceAll, StringPrototypeSlice,
  StringPrototypeSplit, StringPrototypeStartsWith,
} = primordials;
const { isNativeError } = core;

const loadModule = core.createLazyLoader("node:module");
const loadStream = core.createLazyLoader("node:stream");
const loadUtil = () => core.loadExtScript("ext:deno_node/util.ts");

/** The worker's WorkerInit. */
let settings;
/** The user's handler, and what it is called on. */
let handler;
let handlerThis;
/** The invocation that runs, for log lines; `undefined` during initialisation. */
let requestId;
/** The trace header that process.env shows: writing there is slow, and most invocations have none. */
let shownTrace = "";
/** Ends a callback-style invocation when the event loop has drained. */
let onDrained;

// --- Errors -----------------------------------------------------------------------------------------------------------

class RuntimeError extends Error {
  constructor(type, message, stack) {
    super(message);
    this.name = type;
    if (stack !== undefined) {
      this.stack = stack;
    }
  }
}

function isError(value) {
  try {
    return isNativeError(value) ||
      (typeof value === "object" && value !== null && ObjectPrototypeIsPrototypeOf(ErrorPrototype, value));
  } catch {
    // A proxy whose trap throws.
    return false;
  }
}

function read(object, key) {
  try {
    return ReflectGet(object, key);
  } catch {
    return undefined;
  }
}

function text(value) {
  try {
    return `${value}`;
  } catch {
    return "";
  }
}

/** Lambda's error JSON for anything that was thrown. */
function errorObject(error) {
  if (isError(error)) {
    const stack = read(error, "stack");
    return {
      errorType: StringPrototypeReplaceAll(text(read(error, "name") ?? "Error"), "\x7F", "%7F"),
      errorMessage: StringPrototypeReplaceAll(text(read(error, "message") ?? ""), "\x7F", "%7F"),
      trace: typeof stack === "string" ? StringPrototypeSplit(StringPrototypeReplaceAll(stack, "\x7F", "%7F"), "\n") : [],
    };
  }
  return { errorType: typeof error, errorMessage: text(error), trace: [] };
}

/** The line that Lambda logs for an error: the error's own members, and its stack as a list. */
function logError(title, error) {
  const { errorType, errorMessage, trace } = errorObject(error);
  let more;
  try {
    more = isError(error) ? { ...error } : undefined;
    delete more?.name;
    JSONStringify(more);
  } catch {
    more = undefined;
  }
  print("ERROR", `${title}\t${JSONStringify({ errorType, errorMessage, ...more, stack: trace })}`);
}

// --- Logs -------------------------------------------------------------------------------------------------------------

function print(level, message) {
  const time = DatePrototypeToISOString(new Date());
  if (settings?.log_format === "JSON") {
    op_print_line(`${JSONStringify({ timestamp: time, level, requestId, message })}\n`, 0);
    return;
  }
  op_print_line(`${time}\t${requestId ?? "undefined"}\t${level}\t${message}\n`, 0);
}

function consoleMethod(level) {
  return (...values) => {
    const { format } = loadUtil();
    if (settings?.log_format !== "JSON") {
      print(level, values.length === 1 && typeof values[0] === "string" ? values[0] : format(...values));
      return;
    }
    let message = values.length === 1 ? values[0] : format(...values);
    if (isError(message)) {
      const { errorType, errorMessage, trace } = errorObject(message);
      message = { errorType, errorMessage, stackTrace: trace };
    }
    try {
      JSONStringify(message);
    } catch {
      message = format(message);
    }
    print(level, message);
  };
}

function patchConsole() {
  const { console } = globalThis;
  const info = consoleMethod("INFO");
  ObjectAssign(console, {
    log: info,
    info,
    debug: consoleMethod("DEBUG"),
    trace: consoleMethod("TRACE"),
    warn: consoleMethod("WARN"),
    error: consoleMethod("ERROR"),
  });
}

/** process.stdout and process.stderr write plain lines to the same log. */
function patchStdio(process) {
  for (const name of ["stdout", "stderr"]) {
    let stream;
    ObjectDefineProperty(process, name, {
      __proto__: null,
      configurable: true,
      enumerable: true,
      get() {
        return stream ??= ObjectAssign(
          new (loadStream().Writable)({
            decodeStrings: false,
            write(chunk, encoding, done) {
              op_print_line(typeof chunk === "string" ? chunk : chunk.toString("utf8"), 0);
              done();
            },
          }),
          { fd: name === "stdout" ? 1 : 2, isTTY: false },
        );
      },
    });
  }
}

// --- Initialisation ---------------------------------------------------------------------------------------------------

const NODE_VERSIONS = { __proto__: null, 16: "16.20.2", 18: "18.20.8", 20: "20.19.5", 22: "22.20.0", 24: "24.9.0" };

/** Becomes the environment of one function. Returns a promise; rejects with Lambda's error JSON. */
async function load(json) {
  try {
    settings = JSONParse(json);
    becomeNode(globalThis.process);
    patchConsole();
    patchStdio(globalThis.process);
    await findHandler(settings.handler);
  } catch (error) {
    const known = initError(error);
    logError("Uncaught Exception ", known);
    throw JSONStringify(errorObject(known));
  }
}

/** Environment, version and working directory of the function's own Node.js. */
function becomeNode(process) {
  for (const name in settings.env) {
    process.env[name] = settings.env[name];
  }
  const version = NODE_VERSIONS[settings.node_major] ?? `${settings.node_major}.0.0`;
  ObjectDefineProperty(process, "version", { __proto__: null, value: `v${version}`, enumerable: true, configurable: true });
  ObjectDefineProperty(process.versions, "node", { __proto__: null, value: version, enumerable: true, configurable: true });
  delete process.versions.deno;
  process.argv.length = 0;
  process.argv.push("/var/lang/bin/node", "/var/runtime/index.mjs");
  process.chdir(settings.root);
}

/** What AWS's runtime client reports for an error while the code is loaded. */
function initError(error) {
  if (error instanceof RuntimeError || !isError(error)) {
    return error;
  }
  const name = read(error, "name");
  const message = text(read(error, "message"));
  const code = read(error, "code");
  // An error of TypeScript comes inside the error of its import.
  const inner = StringPrototypeStartsWith(message, "SyntaxError: ");
  if (name === "SyntaxError" || inner) {
    const whole = inner ? message : `SyntaxError: ${message}`;
    return new RuntimeError("Runtime.UserCodeSyntaxError", whole, text(read(error, "stack")));
  }
  // Deno's loader puts the code before the message, and URLs where Node.js has paths.
  const plain = StringPrototypeReplaceAll(
    StringPrototypeStartsWith(message, "[ERR_MODULE_NOT_FOUND] ") ? StringPrototypeSlice(message, 23) : message,
    "file://",
    "",
  );
  if (code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND" || StringPrototypeStartsWith(plain, "Cannot find module '") ||
    StringPrototypeStartsWith(plain, "Cannot find package '")) {
    return new RuntimeError("Runtime.ImportModuleError", `Error: ${plain}`, text(read(error, "stack")));
  }
  return error;
}

/** Splits `dir/mod.a.b` at the first dot of its base name: module `dir/mod`, export path `a.b`. */
function splitHandler(whole) {
  if (StringPrototypeIncludes(whole, "..")) {
    throw new RuntimeError(
      "Runtime.MalformedHandlerName",
      `'${whole}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const slash = StringPrototypeLastIndexOf(whole, "/") + 1;
  const base = StringPrototypeSlice(whole, slash);
  const dot = StringPrototypeIndexOf(base, ".");
  if (dot <= 0 || dot === base.length - 1) {
    throw new RuntimeError("Runtime.MalformedHandlerName", "Bad handler");
  }
  return {
    directory: StringPrototypeSlice(whole, 0, slash),
    module: StringPrototypeSlice(base, 0, dot),
    path: StringPrototypeSlice(base, dot + 1),
  };
}

async function findHandler(whole) {
  const { directory, module, path } = splitHandler(whole);
  const loaded = await loadUserModule(`${settings.root}/${directory}${module}`, `${directory}${module}`);
  for (const start of [loaded, read(loaded, "default")]) {
    let owner;
    let value = start;
    for (const part of StringPrototypeSplit(path, ".")) {
      owner = value;
      value = value === undefined || value === null ? undefined : read(value, part);
    }
    if (value !== undefined && value !== null) {
      if (typeof value !== "function") {
        throw new RuntimeError("Runtime.HandlerNotFound", `${whole} is not a function`);
      }
      handler = value;
      handlerThis = owner;
      checkHandler();
      return;
    }
  }
  throw new RuntimeError("Runtime.HandlerNotFound", `${whole} is undefined or not exported`);
}

function checkHandler() {
  if (settings.node_major >= 24 && handler.length >= 3) {
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this " +
        "function to use a supported handler signature to use Node.js 24 or later. For more information see " +
        "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
}

/** The first of the files that the name may mean, in AWS's order; `.ts` beside it. */
async function loadUserModule(path, name) {
  for (const extension of ["", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"]) {
    const file = `${path}${extension}`;
    if (isFile(file)) {
      return await (extension === ".mjs" || extension === ".ts" || extension === ".mts" ? importFile(file) : requireFile(file));
    }
  }
  throw new RuntimeError(
    "Runtime.ImportModuleError",
    `Error: Cannot find module '${name}'\nRequire stack:\n- /var/runtime/index.mjs`,
  );
}

/** Asked of what the snapshot holds already: `node:fs` would have to be compiled first. */
function isFile(path) {
  try {
    return namespace.statSync(path).isFile;
  } catch {
    return false;
  }
}

function importFile(file) {
  const { pathToFileURL } = core.loadExtScript("ext:deno_node/url.ts");
  return import(pathToFileURL(file).href);
}

/** CommonJS, or an ES module by its package.json or its syntax; with top-level await only import() can load it. */
function requireFile(file) {
  try {
    return loadModule().createRequire(file)(file);
  } catch (error) {
    const code = read(error, "code");
    if (code === "ERR_REQUIRE_ASYNC_MODULE" || code === "ERR_REQUIRE_ESM") {
      return importFile(file);
    }
    throw error;
  }
}

// --- Invocation -------------------------------------------------------------------------------------------------------

function makeContext(id, arn, deadline, clientContext) {
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: settings.version,
    functionName: settings.function,
    memoryLimitInMB: `${settings.memory_mb}`,
    logGroupName: settings.log_group,
    logStreamName: settings.log_stream,
    clientContext: clientContext === "" ? undefined : JSONParse(clientContext),
    identity: undefined,
    invokedFunctionArn: arn,
    awsRequestId: id,
    getRemainingTimeInMillis: () => deadline - DateNow(),
  };
}

function result(value) {
  try {
    return value === undefined ? "null" : JSONStringify(value) ?? "null";
  } catch (error) {
    throw new RuntimeError("Runtime.JSONStringifyError", "Unable to stringify response body", text(read(error, "stack")));
  }
}

function fail(error) {
  logError("Invoke Error ", error);
  throw JSONStringify(errorObject(error));
}

const finish = (value) => {
  try {
    return result(value);
  } catch (error) {
    return fail(error);
  }
};

/** Runs the handler. Returns the result as JSON text or a promise of it; throws or rejects with Lambda's error JSON. */
function invoke(payload, id, arn, deadline, clientContext, trace) {
  requestId = id;
  onDrained = undefined;
  if (trace !== shownTrace) {
    showTrace(trace);
  }
  let returned;
  try {
    const context = makeContext(id, arn, deadline, clientContext);
    if (settings.node_major < 24) {
      return withCallback(JSONParse(payload), context);
    }
    delete context.callbackWaitsForEmptyEventLoop;
    returned = ReflectApply(handler, handlerThis, [JSONParse(payload), context]);
    return isThenable(returned) ? settle(returned) : result(returned);
  } catch (error) {
    return fail(error);
  }
}

function showTrace(trace) {
  const { env } = globalThis.process;
  if (trace === "") {
    delete env._X_AMZN_TRACE_ID;
  } else {
    env._X_AMZN_TRACE_ID = trace;
  }
  shownTrace = trace;
}

function isThenable(value) {
  return typeof value === "object" && value !== null && typeof read(value, "then") === "function";
}

function settle(promise) {
  return PromisePrototypeThen(PromiseResolve(promise), finish, fail);
}

/** Node.js up to 22: the handler may answer through a callback, and the answer waits for the event loop to drain. */
function withCallback(event, context) {
  let resolve;
  let reject;
  const answer = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  let done = false;
  const callback = (error, value) => {
    if (done) {
      return;
    }
    done = true;
    const end = error === undefined || error === null ? () => resolve(value) : () => reject(error);
    if (context.callbackWaitsForEmptyEventLoop) {
      onDrained = end;
    } else {
      end();
    }
  };
  context.done = callback;
  context.succeed = (value) => callback(null, value);
  context.fail = (error) => callback(error ?? "handled");

  const returned = ReflectApply(handler, handlerThis, [event, context, callback]);
  if (isThenable(returned)) {
    return settle(returned);
  }
  // A handler that returns without a promise and never calls back has answered null when nothing is left to do.
  onDrained ??= () => resolve(null);
  return PromisePrototypeThen(answer, finish, fail);
}

/** The event loop is empty and the invocation is not over. Returns whether this ends it. */
function drained() {
  const end = onDrained;
  onDrained = undefined;
  end?.();
  return end !== undefined;
}

/** Lambda's error JSON for a promise rejection that nobody handled (the runtime client wraps it and exits). */
function unhandledRejection(reason) {
  const { errorMessage, errorType, trace } = errorObject(reason);
  const error = new RuntimeError(
    "Runtime.UnhandledPromiseRejection",
    isError(reason) ? `${errorType}: ${errorMessage}` : errorMessage,
    ArrayPrototypeJoin(
      ["Runtime.UnhandledPromiseRejection: " + (isError(reason) ? `${errorType}: ${errorMessage}` : errorMessage), ...trace.slice(1)],
      "\n",
    ),
  );
  logError("Unhandled Promise Rejection ", error);
  return JSONStringify(errorObject(error));
}

/** Lambda's error JSON for an exception outside the handler's own promise. */
function uncaughtException(error) {
  logError("Uncaught Exception ", error);
  return JSONStringify(errorObject(error));
}

export { drained, invoke, load, uncaughtException, unhandledRejection };

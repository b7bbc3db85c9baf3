// The contract of AWS's Node.js runtime client (npm aws-lambda-ric 3.3 up to Node.js 22, 4.0 from 24 on): what a handler is called with, and
// how its end is told.

import { core, primordials } from "ext:core/mod.js";
import { begin, comeTo, installListeners, isCurrent, leaveDrained, onException, removeListeners, takeCaught, tellDrained } from "ext:runtime/ending.js";
import { environment, isModern } from "ext:runtime/environment.js";
import { read } from "ext:runtime/foreign.js";
import { findHandler, forgetModules } from "ext:runtime/handler.js";
import { complain, patchConsole, patchStreams, warn } from "ext:runtime/log.js";
import { installNavigator } from "ext:runtime/navigator.js";
import { initError, invokeError, RuntimeError } from "ext:runtime/report.js";
import { answerStream, beginStore, installAwslambda } from "ext:runtime/streaming.js";
import { op_stop_at_handler } from "ext:core/ops";

const {
  DateNow, Error, JSONParse, JSONStringify, ObjectDefineProperty, Promise, PromisePrototypeThen, ReflectApply, SafeArrayIterator, SymbolFor,
} = primordials;

/** `{ handler, streaming, highWaterMark }` of the function. */
let target;
/** What handlers are called on: AWS's client calls them on an object of its own, never on their module. */
const receiver = {};
/** The trace header that process.env shows: writing there is slow, and most invocations have none. */
let shownTrace = "";
/** Ends an invocation that waits for the event loop to drain. */
let onDrained;
/** Whether its listeners know that it has drained. */
let beforeExit = false;
/** As many immediates of one invocation may throw, into a listener, without those behind them having to wait for its event loop. */
const MOST_ROUNDS = 100;
/** Whether a debugger has been waited for, which stops at the handler. */
let stops = false;

// --- Initialisation ---------------------------------------------------------------------------------------------------

const NODE_VERSIONS = { __proto__: null, 16: "16.20.2", 18: "18.20.8", 20: "20.19.5", 22: "22.20.0", 24: "24.9.0" };

/** Becomes the environment of one function. Returns a promise; rejects with Lambda's error JSON. */
async function load(json) {
  begin();
  try {
    const settings = JSONParse(json);
    environment.settings = settings;
    environment.node = settings.node_major;
    environment.requestId = isModern() ? "-" : undefined;
    becomeNode(globalThis.process, settings);
    const { env } = globalThis.process;
    patchConsole(globalThis.console, env.AWS_LAMBDA_LOG_LEVEL, settings.inspection !== null);
    stops = settings.inspection?.waits === true;
    patchStreams(globalThis.process);
    installAwslambda(globalThis, env);
    installListeners();
    target = settings.handler === "" ? { handler: practise } : await findHandler(settings.handler);
  } catch (error) {
    throw initError(error);
  }
}

/** What a rehearsal without code runs. */
async function practise(event) {
  return event;
}

/**
 * Goes through what every function goes through, with a function of our own, and leaves nothing of it behind. The process that workers are
 * copied from does it, so that they need not compile it.
 */
async function rehearse(json) {
  for (const settings of new SafeArrayIterator(JSONParse(json))) {
    await load(JSONStringify(settings));
    for (let n = 0; n < 3; n++) {
      await invoke(`{"n":${n}}`, "00000000-0000-0000-0000-000000000000", "arn", 0, "", "");
    }
    forgetModules();
    removeListeners();
  }
  for (const name of new SafeArrayIterator(["awslambda", "navigator", "Navigator", SymbolFor("aws.lambda.runtime.requestId")])) {
    delete globalThis[name];
  }
  target = undefined;
  environment.settings = undefined;
  environment.node = 0;
  environment.version = "";
  environment.requestId = undefined;
}

/** Time zone, version and working directory of the function's own Node.js. Its environment is the process's already. */
function becomeNode(process, settings) {
  // V8 must be told; to set it costs more than to look whether it is set.
  const { TZ } = settings.env;
  if (TZ !== undefined && TZ !== process.env.TZ) {
    process.env.TZ = TZ;
  }
  const version = NODE_VERSIONS[settings.node_major] ?? `${settings.node_major}.0.0`;
  environment.version = version;
  ObjectDefineProperty(process, "version", { __proto__: null, value: `v${version}`, enumerable: true, configurable: true });
  ObjectDefineProperty(process.versions, "node", { __proto__: null, value: version, enumerable: true, configurable: true });
  delete process.versions.deno;
  delete process.versions.typescript;
  process.features.require_module = settings.require_modules;
  process.argv.length = 0;
  process.argv.push("/var/lang/bin/node", "/var/runtime/index.mjs");
  process.chdir(settings.root);
  if (settings.node_major >= 21) {
    installNavigator(globalThis);
  }
  if (!isModern()) {
    // Where version 3 of the client keeps it, and where older libraries look for it.
    ObjectDefineProperty(globalThis, SymbolFor("aws.lambda.runtime.requestId"), {
      __proto__: null,
      configurable: true,
      get: () => environment.requestId,
    });
  }
}

// --- Invocation -------------------------------------------------------------------------------------------------------

/**
 * Runs the handler. Returns the result, or a promise of it: JSON text, or what has not left already of a streaming handler's bytes; throws
 * or rejects with Lambda's error JSON.
 */
function invoke(payload, id, arn, deadline, clientContext, trace, tenant) {
  environment.requestId = id;
  environment.tenantId = tenant;
  const invocation = begin();
  onDrained = undefined;
  beforeExit = false;
  if (trace !== shownTrace) {
    showTrace(trace);
  }
  const traceId = trace === "" ? undefined : trace;
  beginStore(id, traceId, tenant);
  try {
    const event = JSONParse(payload);
    /** Adds to a context what Lambda tells of function and invocation. */
    const describe = (context) => {
      const { settings } = environment;
      context.functionVersion = settings.version;
      context.functionName = settings.function;
      context.memoryLimitInMB = `${settings.memory_mb}`;
      context.logGroupName = settings.log_group;
      context.logStreamName = settings.log_stream;
      context.clientContext = clientContext === "" ? undefined : JSONParse(clientContext);
      // Told of callers with credentials of Cognito, which nobody has here.
      context.identity = undefined;
      context.invokedFunctionArn = arn;
      context.awsRequestId = id;
      context.tenantId = tenant;
      if (isModern()) {
        context.xRayTraceId = traceId;
      }
      context.getRemainingTimeInMillis = () => deadline - DateNow();
      return context;
    };
    if (target.streaming) {
      return stream(invocation, event, describe(isModern() ? {} : { callbackWaitsForEmptyEventLoop: true }));
    }
    if (!isModern()) {
      return withCallback(invocation, event, describe);
    }
    const context = describe({});
    stopAtHandler();
    return settle(ReflectApply(target.handler, receiver, [event, context]));
  } catch (error) {
    throw invokeError(error);
  }
}

/** Has a debugger that was waited for stop at what is called next, which must be the handler. */
function stopAtHandler() {
  if (stops) {
    op_stop_at_handler();
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
  return ((typeof value === "object" && value !== null) || typeof value === "function") && typeof read(value, "then") === "function";
}

/** The result as JSON text. */
function resultJson(value) {
  try {
    return (value === undefined ? undefined : JSONStringify(value)) ?? "null";
  } catch {
    throw isModern()
      ? new RuntimeError("Runtime.JSONStringifyError", "Unable to stringify response body")
      : new Error("Unable to stringify response body");
  }
}

/** Calls back when a promise, or what has a `then`, is settled; its own constructor has no say in it. */
function whenSettled(promise, fulfilled, rejected) {
  if (core.isPromise(promise)) {
    try {
      PromisePrototypeThen(promise, fulfilled, rejected);
    } catch {
      // The constructor that it inherits throws.
      ObjectDefineProperty(promise, "constructor", { __proto__: null, value: undefined, configurable: true });
      PromisePrototypeThen(promise, fulfilled, rejected);
    }
  } else {
    let called = false;
    const once = (call) => (value) => {
      if (!called) {
        called = true;
        call(value);
      }
    };
    promise.then(once(fulfilled), once(rejected));
  }
}

/** The answer to what a handler returned: JSON text, or a promise of it. */
function settle(returned) {
  if (!isThenable(returned)) {
    return resultJson(returned);
  }
  return new Promise((resolve, reject) => {
    const fail = (error) => reject(invokeError(error));
    whenSettled(
      returned,
      (value) => {
        if (isThenable(value)) {
          // A promise of a promise that no native one unwrapped.
          whenSettled(settle(value), resolve, reject);
          return;
        }
        let json;
        try {
          json = resultJson(value);
        } catch (error) {
          fail(error);
          return;
        }
        resolve(json);
      },
      fail,
    );
  });
}

// --- Callbacks (Node.js up to 22) -------------------------------------------------------------------------------------

/**
 * The handler may answer by a promise, through the callback, whose answer waits for the event loop to drain, or through the context, at
 * once. The first of these counts.
 */
function withCallback(invocation, event, describe) {
  return new Promise((resolve, reject) => {
    let finished = false;
    let answered = false;
    /** Nothing can be said of it any more. */
    const isOver = () => answered || !isCurrent(invocation);
    const fail = (error) => {
      if (isOver()) {
        return;
      }
      answered = true;
      const json = invokeError(error);
      comeTo(invocation, false, json);
      reject(json);
    };
    const succeed = (value) => {
      if (isOver()) {
        complain("Invocation has already been reported as done. Cannot call complete more than once per invocation.");
        return;
      }
      const json = resultJson(value);
      answered = true;
      comeTo(invocation, true, json);
      resolve(json);
    };
    /** Only the first of all these functions does anything. What throws has not been called. */
    const first = (call) => (error, value) => {
      if (!finished) {
        if (!isOver()) {
          onDrained = undefined;
        }
        call(error, value);
        finished = true;
      }
    };
    const done = first((error, value) => error === undefined || error === null ? succeed(value) : fail(error));
    const rejected = first(fail);
    const context = describe({
      callbackWaitsForEmptyEventLoop: true,
      succeed: (value) => done(null, value),
      fail: (error) => done(error ?? "handled"),
      done: (error, value) => done(error, value),
    });
    const callback = first((error, value) => {
      if (error !== undefined && error !== null) {
        fail(error);
      } else if (context.callbackWaitsForEmptyEventLoop && !isOver()) {
        onDrained = () => {
          try {
            succeed(value);
          } catch (error) {
            fail(error);
          }
        };
      } else {
        succeed(value);
      }
    });
    try {
      stopAtHandler();
      const returned = ReflectApply(target.handler, receiver, [event, context, callback]);
      if (isThenable(returned)) {
        const fulfilled = (value) => {
          try {
            done(null, value);
          } catch (error) {
            rejected(error);
          }
        };
        whenSettled(returned, fulfilled, (error) => rejected(error ?? "handled"));
      }
      // A handler that never answers has answered null when nothing is left to do. Of an async function, that is an error.
      if (!finished && onDrained === undefined) {
        onDrained = () => core.isAsyncFunction(target.handler) ? fail(neverSettled()) : succeed(null);
      }
    } catch (error) {
      callback(error);
    }
  });
}

// --- Streaming --------------------------------------------------------------------------------------------------------

/** Runs a streaming handler. Gives a promise of the bytes that it wrote and that have not left already. */
function stream(invocation, event, context) {
  const { stream: responseStream, ended, abandon } = answerStream(target.highWaterMark);
  return new Promise((resolve, reject) => {
    let over = false;
    const fail = (error) => {
      if (!over) {
        over = true;
        const json = invokeError(error);
        comeTo(invocation, false, json);
        abandon(() => reject(json));
      }
    };
    // Version 3 reports these two as plain text.
    const misuse = (message) => fail(isModern() ? new Error(message) : message);
    if (!isModern()) {
      onDrained = () => fail(neverSettled());
    }
    // The end of the stream is an answer only once the handler is through, but its failure is one at once.
    let written;
    let returned = false;
    const end = () => {
      if (returned && written !== undefined && !over) {
        over = true;
        comeTo(invocation, true, written);
        resolve(written);
      }
    };
    PromisePrototypeThen(ended, (bytes) => {
      written = bytes;
      end();
    }, fail);
    const fulfilled = (value) => {
      if (value !== undefined) {
        warn("Streaming handlers ignore return values.");
      }
      returned = true;
      onDrained = () => misuse("Response stream is not finished.");
      end();
    };
    try {
      stopAtHandler();
      const promise = ReflectApply(target.handler, receiver, [event, responseStream, context]);
      if (isThenable(promise)) {
        whenSettled(promise, fulfilled, fail);
      } else {
        misuse("Streaming does not support non-async handlers.");
      }
    } catch (error) {
      fail(error);
    }
  });
}

// --- The event loop ---------------------------------------------------------------------------------------------------

/** Runs ticks, and what hears of rejections that nobody has handled. An error that nobody handles ends the process here. */
function runTicks() {
  try {
    core.__drainNextTickAndMacrotasks();
  } catch (error) {
    onException(error);
  }
}

/** Runs immediates: the client calls handlers, and asks for the next event, in the phase before theirs. */
function runImmediates() {
  // Those behind one that has thrown wait for another call, in which they may make others that throw.
  for (let round = 0; round < MOST_ROUNDS; round++) {
    takeCaught();
    try {
      core.runImmediateCallbacks();
    } catch (error) {
      onException(error);
    }
    if (!takeCaught()) {
      break;
    }
  }
  runTicks();
}

/** Runs what code that is through has left to be done at once: it belongs to its invocation. */
function rest() {
  runTicks();
  runImmediates();
}

/**
 * Nothing is left that could settle what is waited for. Without `onDrained`, it has then ended, as its Node.js ends. `waited`: the event loop
 * has had something to wait for since this was called before.
 */
function drained(waited) {
  const end = onDrained;
  onDrained = undefined;
  if (end !== undefined) {
    end();
  } else if (beforeExit && !waited) {
    leaveDrained();
  }
  beforeExit = true;
  tellDrained();
}

/** What version 3 of the client says of an async handler that has not ended when the event loop has drained. */
function neverSettled() {
  return new RuntimeError(
    "Runtime.NodeJsExit",
    "The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. " +
      "For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes",
  );
}

export { drained, invoke, load, rehearse, rest, runImmediates, runTicks };

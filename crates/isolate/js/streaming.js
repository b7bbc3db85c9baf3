// Response streaming: the global `awslambda`, and the stream that a streaming handler writes to (npm aws-lambda-ric 3.3 and 4.0).

import { core, primordials } from "ext:core/mod.js";
import { isModern } from "ext:runtime/environment.js";
import { HIGH_WATER_MARK, STREAMING } from "ext:runtime/handler.js";
import { RuntimeError } from "ext:runtime/report.js";

const {
  ArrayPrototypeIncludes, ArrayPrototypePush, Error, JSONStringify, NumberParseInt, ObjectDefineProperty, ObjectValues, Promise,
  SafeArrayIterator, String, SymbolFor, TypedArrayPrototypeGetByteLength, TypedArrayPrototypeGetSymbolToStringTag,
  TypedArrayPrototypeSet, Uint8Array,
} = primordials;

const loadStream = core.createLazyLoader("node:stream");
const loadBuffer = core.createLazyLoader("node:buffer");

/** The content type that tells whoever speaks HTTP for the function that a prelude comes first. */
const HTTP_PRELUDE = "application/vnd.awslambda.http-integration-response";

/** The most bytes of a response that is handed back whole (recorded from AWS: 6 MiB and 100). */
const LIMIT = 6291556;

class HttpResponseStream {
  /** Puts status code, headers and cookies before the first byte: as JSON, ended by eight NUL bytes. */
  static from(underlyingStream, prelude) {
    underlyingStream.setContentType(HTTP_PRELUDE);
    const metadata = JSONStringify(prelude);
    underlyingStream._onBeforeFirstWrite = (write) => {
      write(metadata);
      write(new Uint8Array(8));
    };
    return underlyingStream;
  }
}

function streamifyResponse(handler, options) {
  handler[STREAMING] = "response";
  if (typeof options?.highWaterMark === "number") {
    handler[HIGH_WATER_MARK] = NumberParseInt(String(options.highWaterMark));
  }
  return handler;
}

const PROTECTED_KEYS = {
  REQUEST_ID: SymbolFor("_AWS_LAMBDA_REQUEST_ID"),
  X_RAY_TRACE_ID: SymbolFor("_AWS_LAMBDA_X_RAY_TRACE_ID"),
  TENANT_ID: SymbolFor("_AWS_LAMBDA_TENANT_ID"),
};

/** What the invocation that runs is about, for code without its context (the shape of npm @aws/lambda-invoke-store). */
class InvokeStoreSingle {
  static PROTECTED_KEYS = PROTECTED_KEYS;
  currentContext;

  isProtectedKey(key) {
    return ArrayPrototypeIncludes(ObjectValues(PROTECTED_KEYS), key);
  }
  getRequestId() {
    return this.get(PROTECTED_KEYS.REQUEST_ID) ?? "-";
  }
  getXRayTraceId() {
    return this.get(PROTECTED_KEYS.X_RAY_TRACE_ID);
  }
  getTenantId() {
    return this.get(PROTECTED_KEYS.TENANT_ID);
  }
  getContext() {
    return this.currentContext;
  }
  hasContext() {
    return this.currentContext !== undefined;
  }
  get(key) {
    return this.currentContext?.[key];
  }
  set(key, value) {
    if (this.isProtectedKey(key)) {
      throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    }
    this.currentContext ??= {};
    this.currentContext[key] = value;
  }
  run(context, call) {
    this.currentContext = context;
    return call();
  }
}

let store;

/** Defines the global `awslambda`, unless the function does without. */
export function installAwslambda(global, env) {
  const without = env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA;
  if (without === "1" || without === "true") {
    return;
  }
  global.awslambda = { streamifyResponse, HttpResponseStream };
  if (isModern()) {
    store = new InvokeStoreSingle();
    global.awslambda.InvokeStore = store;
  }
}

/** Begins the store's record of an invocation. */
export function beginStore(id, trace) {
  if (store !== undefined) {
    store.currentContext = {
      [PROTECTED_KEYS.REQUEST_ID]: id,
      [PROTECTED_KEYS.X_RAY_TRACE_ID]: trace,
    };
  }
}

/**
 * A stream that gives what is written to `send(bytes, done)`, and calls `close(error)` once: at its end, or when it failed.
 * The seam for responses that leave piece by piece.
 */
function responseStream(highWaterMark, send, close) {
  const { Writable } = loadStream();
  const { Buffer } = loadBuffer();
  let begun = false;
  let stream;

  /** Before the first byte comes what `HttpResponseStream` wants to come first. */
  function begin() {
    if (!begun) {
      begun = true;
      stream._onBeforeFirstWrite?.((chunk) => write(chunk));
    }
  }

  stream = new Writable({
    ...(highWaterMark === undefined ? null : { highWaterMark }),
    write: (chunk, _encoding, done) => send(chunk, done),
    final(done) {
      done();
      close();
    },
    destroy(error, done) {
      done(error);
      close(error ?? new Error("Response stream is not finished."));
    },
  });
  const write = stream.write.bind(stream);
  const end = stream.end.bind(stream);
  const isBytes = (chunk) => TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array";
  const asBytes = (chunk) => (typeof chunk === "string" || isBytes(chunk) ? chunk : Buffer.from(JSONStringify(chunk)));
  stream.write = (chunk, encoding, callback) => {
    begin();
    return write(asBytes(chunk), encoding, callback);
  };
  stream.end = (chunk, encoding, callback) => {
    begin();
    if (chunk === undefined || chunk === null || typeof chunk === "function") {
      return end(chunk, encoding, callback);
    }
    return end(asBytes(chunk), encoding, callback);
  };
  ObjectDefineProperty(stream, "setContentType", {
    __proto__: null,
    value() {
      if (begun) {
        throw new RuntimeError("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late.");
      }
    },
  });
  return stream;
}

/** A stream whose bytes are kept until it ends. Gives it and a promise of `{ whole }`. */
export function bufferedResponse(highWaterMark) {
  const chunks = [];
  let length = 0;
  let stream;
  const bytes = new Promise((resolve, reject) => {
    const send = (chunk, done) => {
      length += TypedArrayPrototypeGetByteLength(chunk);
      if (length > LIMIT) {
        done(
          new RuntimeError(
            "Function.ResponseSizeTooLarge",
            `Response payload size exceeded maximum allowed payload size (${LIMIT} bytes).`,
          ),
        );
        return;
      }
      // The writer may use its buffer again.
      const copy = new Uint8Array(TypedArrayPrototypeGetByteLength(chunk));
      TypedArrayPrototypeSet(copy, chunk);
      ArrayPrototypePush(chunks, copy);
      // Not at once: a writer that looks at what `write` returns must see the stream full, and then hear `drain`.
      const { nextTick } = core.loadExtScript("ext:deno_node/_next_tick.ts");
      nextTick(done);
    };
    const close = (error) => error === undefined ? resolve({ __proto__: null, whole: join() }) : reject(error);
    stream = responseStream(highWaterMark, send, close);
    // A failure is told by the promise; without a listener it would be an exception of nobody.
    stream.on("error", () => {});
  });
  function join() {
    const whole = new Uint8Array(length);
    // A promise is resolved with it, which looks for a `then`.
    ObjectDefineProperty(whole, "then", { __proto__: null, value: undefined });
    let at = 0;
    for (const chunk of new SafeArrayIterator(chunks)) {
      TypedArrayPrototypeSet(whole, chunk, at);
      at += TypedArrayPrototypeGetByteLength(chunk);
    }
    return whole;
  }
  return { __proto__: null, stream, bytes };
}

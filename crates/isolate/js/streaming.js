// Response streaming: the global `awslambda`, and the stream that a streaming handler writes to (npm aws-lambda-ric 3.3 and 4.0).

import { core, primordials } from "ext:core/mod.js";
import { isModern } from "ext:runtime/environment.js";
import { HIGH_WATER_MARK, STREAMING } from "ext:runtime/handler.js";
import { RuntimeError } from "ext:runtime/report.js";
import { op_answer_begin, op_answer_room, op_answer_send, op_answer_streams } from "ext:core/ops";

const {
  ArrayPrototypeIncludes, ArrayPrototypePush, Error, JSONStringify, NumberParseInt, ObjectDefineProperty, ObjectValues, Promise,
  PromisePrototypeThen, RegExpPrototypeTest, SafeArrayIterator, SafeRegExp, String, SymbolFor, TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetSymbolToStringTag, TypedArrayPrototypeSet, TypedArrayPrototypeSubarray, TypeError, Uint8Array,
} = primordials;

const loadStream = core.createLazyLoader("node:stream");
const loadBuffer = core.createLazyLoader("node:buffer");

/** The content type that tells whoever speaks HTTP for the function that a prelude comes first. */
const HTTP_PRELUDE = "application/vnd.awslambda.http-integration-response";

/** The content type of AWS's client where the handler sets none. */
const DEFAULT_TYPE = "application/octet-stream";
/** What may stand in a header, and how much of it. */
const HEADER_TEXT = new SafeRegExp(/^[\t\x20-\x7e]{0,1024}$/);

/** The most bytes of a response that is handed back whole (recorded from AWS: 6 MiB and 100), and of one that is streamed (200 MB). */
const WHOLE_LIMIT = 6291556;
const STREAMED_LIMIT = 209715200;

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
export function beginStore(id, trace, tenant) {
  if (store !== undefined) {
    store.currentContext = {
      [PROTECTED_KEYS.REQUEST_ID]: id,
      [PROTECTED_KEYS.X_RAY_TRACE_ID]: trace,
      [PROTECTED_KEYS.TENANT_ID]: tenant,
    };
  }
}

/**
 * The stream of a streaming handler: its bytes leave as they are written where the caller takes them so, else they are kept until it ends.
 *
 * Gives `{ stream, ended, abandon }`: `ended` is a promise of the bytes that have not left, `abandon(done)` ends a stream whose handler has failed.
 */
export function answerStream(highWaterMark) {
  return op_answer_streams() ? streamedAnswer(highWaterMark) : wholeAnswer(highWaterMark);
}

/**
 * A stream that tells `begin(contentType)`, gives what is written to `send(bytes, done)`, and calls `close(error)` once: at its end, or when
 * it failed. Gives the stream and its own `end`, which user code cannot change.
 */
function responseStream(highWaterMark, limit, { begin, send, close }) {
  const { Writable } = loadStream();
  const { Buffer } = loadBuffer();
  let contentType = DEFAULT_TYPE;
  let begun = false;
  let length = 0;
  let stream;

  /** Before the first byte comes what `HttpResponseStream` wants to come first. */
  function beginOnce() {
    if (!begun) {
      begun = true;
      begin(contentType);
      stream._onBeforeFirstWrite?.((chunk) => write(chunk));
    }
  }

  stream = new Writable({
    ...(highWaterMark === undefined ? null : { highWaterMark }),
    write(chunk, _encoding, done) {
      length += TypedArrayPrototypeGetByteLength(chunk);
      if (length <= limit) {
        send(chunk, done);
      } else {
        const message = `Response payload size exceeded maximum allowed payload size (${limit} bytes).`;
        done(new RuntimeError("Function.ResponseSizeTooLarge", message));
      }
    },
    final(done) {
      done();
      close();
    },
    destroy(error, done) {
      done(error);
      close(error ?? new Error("Response stream is not finished."));
    },
  });
  // A failure is told by `close`; without a listener it would be an exception of nobody.
  stream.on("error", () => {});
  const write = stream.write.bind(stream);
  const end = stream.end.bind(stream);
  const isBytes = (chunk) => TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array";
  const asBytes = (chunk) => (typeof chunk === "string" || isBytes(chunk) ? chunk : Buffer.from(JSONStringify(chunk)));
  stream.write = (chunk, encoding, callback) => {
    beginOnce();
    return write(asBytes(chunk), encoding, callback);
  };
  stream.end = (chunk, encoding, callback) => {
    beginOnce();
    if (chunk === undefined || chunk === null || typeof chunk === "function") {
      return end(chunk, encoding, callback);
    }
    return end(asBytes(chunk), encoding, callback);
  };
  ObjectDefineProperty(stream, "setContentType", {
    __proto__: null,
    value(type) {
      if (begun) {
        throw new RuntimeError("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late.");
      }
      const text = `${type}`;
      if (!RegExpPrototypeTest(HEADER_TEXT, text)) {
        throw new TypeError('Invalid character in header content ["Content-Type"]');
      }
      contentType = text;
    },
  });
  return { __proto__: null, stream, end };
}

/** Not at once: a writer that looks at what `write` returns must see the stream full, and then hear `drain`. */
function soon(done) {
  const { nextTick } = core.loadExtScript("ext:deno_node/_next_tick.ts");
  nextTick(done);
}

/** Bytes that a promise can be resolved with, which looks for a `then`. */
function newBytes(length) {
  return ObjectDefineProperty(new Uint8Array(length), "then", { __proto__: null, value: undefined });
}

/** A stream whose bytes leave at once, as far as the reader is ready for them. */
function streamedAnswer(highWaterMark) {
  let made;
  const ended = new Promise((resolve, reject) => {
    const send = (chunk, done) => {
      const sent = op_answer_send(chunk);
      if (sent === TypedArrayPrototypeGetByteLength(chunk)) {
        soon(done);
        return;
      }
      const rest = TypedArrayPrototypeSubarray(chunk, sent);
      PromisePrototypeThen(op_answer_room(), (open) => open ? send(rest, done) : done(new Error("The invocation is over.")), done);
    };
    const close = (error) => error === undefined ? resolve(newBytes(0)) : reject(error);
    made = responseStream(highWaterMark, STREAMED_LIMIT, { begin: op_answer_begin, send, close });
  });
  /** What was written before the failure still leaves, as it does with AWS's client. */
  const abandon = (done) => {
    PromisePrototypeThen(ended, done, done);
    made.end();
  };
  return { __proto__: null, stream: made.stream, ended, abandon };
}

/** A stream whose bytes are kept until it ends. */
function wholeAnswer(highWaterMark) {
  const chunks = [];
  let length = 0;
  let made;
  const ended = new Promise((resolve, reject) => {
    const send = (chunk, done) => {
      // The writer may use its buffer again.
      const copy = new Uint8Array(TypedArrayPrototypeGetByteLength(chunk));
      TypedArrayPrototypeSet(copy, chunk);
      ArrayPrototypePush(chunks, copy);
      length += TypedArrayPrototypeGetByteLength(copy);
      soon(done);
    };
    const close = (error) => error === undefined ? resolve(join()) : reject(error);
    made = responseStream(highWaterMark, WHOLE_LIMIT, { begin() {}, send, close });
  });
  function join() {
    const whole = newBytes(length);
    let at = 0;
    for (const chunk of new SafeArrayIterator(chunks)) {
      TypedArrayPrototypeSet(whole, chunk, at);
      at += TypedArrayPrototypeGetByteLength(chunk);
    }
    return whole;
  }
  const abandon = (done) => {
    made.stream.destroy();
    done();
  };
  return { __proto__: null, stream: made.stream, ended, abandon };
}

// The Web globals of a function, as Node.js has them. (`node:console` of deno_node imports this file by this name.)
// What is seldom used, or heavy, is loaded on its first use.

import { core, primordials } from "ext:core/mod.js";
import { op_print_line } from "ext:core/ops";

const { PromisePrototypeThen, RegExpPrototypeExec, SafeArrayIterator, SafeRegExp } = primordials;

const abortSignal = core.loadExtScript("ext:deno_web/03_abort_signal.js");
const console = core.loadExtScript("ext:deno_web/01_console.js");
core.loadExtScript("ext:deno_node/internal/crypto/constants.ts");
const crypto = core.loadExtScript("ext:deno_crypto/00_crypto.js");
core.loadExtScript("ext:deno_node/02_register_cloneable.js");
const event = core.loadExtScript("ext:deno_web/02_event.js");
const file = core.loadExtScript("ext:deno_web/09_file.js");
const messagePort = core.loadExtScript("ext:deno_web/13_message_port.js");
const performance = core.loadExtScript("ext:deno_web/15_performance.js");
const url = core.loadExtScript("ext:deno_web/00_url.js");
const webidl = core.loadExtScript("ext:deno_webidl/00_webidl.js");
const { DOMException, QuotaExceededError } = core.loadExtScript("ext:deno_web/01_dom_exception.js");

const script = (specifier) => {
  let module;
  return () => module ??= core.loadExtScript(specifier);
};
const base64 = script("ext:deno_web/05_base64.js");
const broadcastChannel = script("ext:deno_web/01_broadcast_channel.js");
const compression = script("ext:deno_web/14_compression.js");
const encoding = script("ext:deno_web/08_text_encoding.js");
const fetchModule = script("ext:deno_fetch/26_fetch.js");
const formData = script("ext:deno_fetch/21_formdata.js");
const headers = script("ext:deno_fetch/20_headers.js");
const request = script("ext:deno_fetch/23_request.js");
const response = script("ext:deno_fetch/23_response.js");
const streams = script("ext:deno_web/06_streams.js");
const urlPattern = script("ext:deno_web/01_urlpattern.js");
const buffer = core.createLazyLoader("node:buffer");
const nodeProcess = core.createLazyLoader("node:process");
const timers = core.createLazyLoader("node:timers");
const webSocket = core.createLazyLoader("ext:deno_websocket/01_websocket.js");

const OS_ERROR = new SafeRegExp("\\(os error ([0-9]+)\\)");
const OS_CODES = { __proto__: null, 101: "ENETUNREACH", 104: "ECONNRESET", 110: "ETIMEDOUT", 111: "ECONNREFUSED", 113: "EHOSTUNREACH" };
const DNS_ERROR = new SafeRegExp("dns error");

/** Rethrows an error of fetch; its cause gets the code that Node.js code looks for. */
function withCode(error) {
  const { cause } = error;
  if (core.isNativeError(cause) && cause.code === undefined) {
    const code = OS_CODES[RegExpPrototypeExec(OS_ERROR, cause.message)?.[1]] ??
      (RegExpPrototypeExec(DNS_ERROR, cause.message) === null ? undefined : "ENOTFOUND");
    if (code !== undefined) {
      cause.code = code;
    }
  }
  throw error;
}

const windowOrWorkerGlobalScope = {
  console: core.propNonEnumerable(new console.Console((text) => op_print_line(text))),
  crypto: core.propGetterOnly(() => crypto.crypto),
  // A data property, so that test doubles can replace it.
  fetch: core.propWritable(function fetch(...args) {
    return PromisePrototypeThen(fetchModule().fetch(...new SafeArrayIterator(args)), undefined, withCode);
  }),
  global: core.propWritable(globalThis),
  performance: core.propWritable(performance.performance),
  structuredClone: core.propWritable(messagePort.structuredClone),
  [webidl.brand]: core.propNonEnumerable(webidl.brand),
};

const now = {
  AbortController: abortSignal, AbortSignal: abortSignal, Blob: file, File: file, Crypto: crypto, CryptoKey: crypto, SubtleCrypto: crypto,
  CloseEvent: event, CustomEvent: event, Event: event, EventTarget: event, MessageEvent: event, MessageChannel: messagePort,
  MessagePort: messagePort, Performance: performance, PerformanceEntry: performance, PerformanceMark: performance,
  PerformanceMeasure: performance, PerformanceObserver: performance,
  PerformanceObserverEntryList: performance, URL: url, URLSearchParams: url, DOMException: { DOMException },
  QuotaExceededError: { QuotaExceededError },
};
for (const name in now) {
  windowOrWorkerGlobalScope[name] = core.propNonEnumerable(now[name][name]);
}

const later = {
  BroadcastChannel: broadcastChannel, CompressionStream: compression, DecompressionStream: compression, FormData: formData,
  Headers: headers, Request: request, Response: response, TextDecoder: encoding, TextEncoder: encoding,
  TextDecoderStream: encoding, TextEncoderStream: encoding, URLPattern: urlPattern, WebSocket: webSocket,
  ByteLengthQueuingStrategy: streams, CountQueuingStrategy: streams, ReadableStream: streams, ReadableStreamDefaultReader: streams,
  ReadableStreamBYOBReader: streams, ReadableStreamBYOBRequest: streams, ReadableStreamDefaultController: streams,
  ReadableByteStreamController: streams, TransformStream: streams, TransformStreamDefaultController: streams, WritableStream: streams,
  WritableStreamDefaultWriter: streams, WritableStreamDefaultController: streams,
};
for (const name in later) {
  windowOrWorkerGlobalScope[name] = core.propNonEnumerableLazyLoaded((module) => module[name], later[name]);
}

const writable = {
  atob: base64, btoa: base64, setTimeout: timers, setInterval: timers, setImmediate: timers,
  clearTimeout: timers, clearInterval: timers, clearImmediate: timers, Buffer: buffer,
};
for (const name in writable) {
  windowOrWorkerGlobalScope[name] = core.propWritableLazyLoaded((module) => module[name], writable[name]);
}
windowOrWorkerGlobalScope.process = core.propWritableLazyLoaded((module) => module.default, nodeProcess);

export { windowOrWorkerGlobalScope };

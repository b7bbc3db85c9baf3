// Which file and which export a handler string means (npm aws-lambda-ric 3.3 up to Node.js 22, 4.0 from 24 on).

import { core, primordials } from "ext:core/mod.js";
import { op_kind_of_file, op_require_is_maybe_cjs } from "ext:core/ops";
import { environment, isModern } from "ext:runtime/environment.js";
import { isError, read } from "ext:runtime/foreign.js";
import { warn } from "ext:runtime/log.js";
import { RuntimeError } from "ext:runtime/report.js";
import { wasRefused } from "ext:runtime/require.js";

const {
  Error, NumberIsNaN, NumberParseInt, ObjectAssign, ObjectKeys, SafeArrayIterator, SafeRegExp, String, StringPrototypeIncludes,
  StringPrototypeIndexOf, StringPrototypeLastIndexOf, StringPrototypeReplace, StringPrototypeReplaceAll, StringPrototypeSlice,
  StringPrototypeSplit, StringPrototypeStartsWith, SymbolFor,
} = primordials;

const loadModule = core.createLazyLoader("node:module");

/** What `op_kind_of_file` says of a path. */
const FILE = 1;
const DIRECTORY = 2;

/** The members of a function by which `awslambda.streamifyResponse` marks a streaming handler. */
export const STREAMING = SymbolFor("aws.lambda.runtime.handler.streaming");
export const HIGH_WATER_MARK = SymbolFor("aws.lambda.runtime.handler.streaming.highWaterMark");

/** Loads the function's code. Gives `{ handler, streaming, highWaterMark }`. */
export async function findHandler(whole) {
  const { directory, module, path } = split(whole);
  const loaded = await loadUserModule(directory, module);
  // Version 4 imports everything, and so sees the default export, too.
  const isModule = core.isModuleNamespaceObject(loaded);
  const handler = find(loaded, path) ?? (isModern() && isModule ? find(read(loaded, "default"), path) : undefined);
  if (!handler) {
    throw new RuntimeError("Runtime.HandlerNotFound", `${whole} is undefined or not exported`);
  }
  if (typeof handler !== "function") {
    throw new RuntimeError("Runtime.HandlerNotFound", `${whole} is not a function`);
  }
  const streaming = isStreaming(handler);
  checkParameters(handler, streaming);
  const mark = NumberParseInt(handler[HIGH_WATER_MARK]);
  return { __proto__: null, handler, streaming, highWaterMark: NumberIsNaN(mark) ? undefined : mark };
}

/** Splits `dir/mod.a.b` at the first dot of its base name: module `dir/mod`, export path `a.b`. */
function split(whole) {
  if (StringPrototypeIncludes(whole, "..")) {
    throw new RuntimeError(
      "Runtime.MalformedHandlerName",
      `'${whole}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const slash = StringPrototypeLastIndexOf(whole, "/") + 1;
  const base = StringPrototypeSlice(whole, slash);
  const dot = StringPrototypeIndexOf(base, ".");
  if (dot < 0) {
    throw new RuntimeError("Runtime.MalformedHandlerName", "Bad handler");
  }
  return {
    directory: StringPrototypeSlice(whole, 0, slash),
    module: StringPrototypeSlice(base, 0, dot),
    path: StringPrototypeSlice(base, dot + 1),
  };
}

function find(start, path) {
  let value = start;
  for (const part of new SafeArrayIterator(StringPrototypeSplit(path, "."))) {
    if (value === undefined || value === null) {
      return undefined;
    }
    value = value[part];
  }
  return value;
}

function isStreaming(handler) {
  const mark = handler[STREAMING];
  if (!mark) {
    return false;
  }
  if (mark !== "response") {
    throw new RuntimeError("Runtime.MalformedStreamingHandler", "Only response streaming is supported.");
  }
  return true;
}

function checkParameters(handler, streaming) {
  if (streaming || handler.length < 3) {
    return;
  }
  if (isModern()) {
    throw new RuntimeError(
      "Runtime.CallbackHandlerDeprecated",
      "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this " +
        "function to use a supported handler signature to use Node.js 24 or later. For more information see " +
        "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.",
    );
  }
  const { env } = globalThis.process;
  if (handler.length === 3 && !core.isAsyncFunction(handler) && env.AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING === undefined) {
    warn(
      "AWS Lambda plans to remove support for callback-based function handlers starting with Node.js 24. You will need to update this " +
        "function to use an async handler to use Node.js 24 or later. For more information and to provide feedback on this change, see " +
        "https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/137. To disable this warning, set the " +
        "AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING environment variable.",
    );
  }
}

/** The file that is the function, or the first of those that the name may mean, in AWS's order; TypeScript behind them. */
async function loadUserModule(directory, name) {
  const { root, file } = environment.settings;
  const start = StringPrototypeStartsWith(directory, "/") ? directory : `${root}/${directory}`;
  try {
    const path = `${start}${name}`;
    if (file !== null && (directory === "" || directory === "./") && StringPrototypeStartsWith(file, `${name}.`)) {
      if (op_kind_of_file(`${root}/${file}`) !== FILE) {
        throw missing(file);
      }
      return await loadFile(`${root}/${file}`, StringPrototypeSlice(file, StringPrototypeLastIndexOf(file, ".")));
    }
    if (!isModern() && op_kind_of_file(path) === DIRECTORY) {
      return requireFile(path);
    }
    for (const extension of new SafeArrayIterator(["", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"])) {
      if (op_kind_of_file(`${path}${extension}`) === FILE) {
        return await loadFile(`${path}${extension}`, extension);
      }
    }
    return requireFile(resolveAsNode(name, [root, start]));
  } catch (error) {
    throw loadError(error);
  }
}

function loadFile(file, extension) {
  return isModule(file, extension) ? importFile(file) : requireFile(file);
}

/** A name that is no file beside the function's own: a package. */
function resolveAsNode(name, paths) {
  try {
    return loadModule().createRequire(`${environment.settings.root}/index.mjs`).resolve(name, { paths });
  } catch {
    throw missing(name);
  }
}

function missing(name) {
  return new RuntimeError(
    "Runtime.ImportModuleError",
    `Error: Cannot find module '${name}'\nRequire stack:\n- /var/runtime/index.mjs`,
  );
}

/** Takes what was loaded out of the caches of `require()`. */
export function forgetModules() {
  const { Module } = loadModule();
  for (const cache of new SafeArrayIterator([Module._cache, Module._pathCache])) {
    for (const name of new SafeArrayIterator(ObjectKeys(cache))) {
      delete cache[name];
    }
  }
}

/** Whether a file is an ES module by its name or its package.json. */
function isModule(file, extension) {
  return extension === ".mjs" || extension === ".ts" || extension === ".mts" || (extension === ".js" && !op_require_is_maybe_cjs(file));
}

function importFile(file) {
  const { pathToFileURL } = core.loadExtScript("ext:deno_node/url.ts");
  return import(pathToFileURL(file).href);
}

/** CommonJS, or an ES module by its syntax, which only import() may be able to load. */
function requireFile(file) {
  try {
    return loadModule().createRequire(file)(file);
  } catch (error) {
    const code = read(error, "code");
    if (code === "ERR_REQUIRE_ASYNC_MODULE" || (code === "ERR_REQUIRE_ESM" && wasRefused(file))) {
      return importFile(file);
    }
    throw error;
  }
}

const QUOTED_REFERRER = new SafeRegExp(" imported from '(.*)'$");

/** What AWS's runtime client reports for an error while the code is loaded. */
function loadError(error) {
  if (error instanceof RuntimeError || !isError(error)) {
    return error;
  }
  const name = read(error, "name");
  const code = read(error, "code");
  const stack = read(error, "stack");
  const message = `${String(read(error, "message"))}`;
  // An error of TypeScript comes inside the error of its import.
  const inner = StringPrototypeStartsWith(message, "SyntaxError: ");
  if (name === "SyntaxError" || inner) {
    return new RuntimeError("Runtime.UserCodeSyntaxError", inner ? message : `SyntaxError: ${message}`, stack);
  }
  if (code === "MODULE_NOT_FOUND") {
    return new RuntimeError("Runtime.ImportModuleError", `Error: ${message}`);
  }
  // AWS's client tells of a missing ES module as Node.js does. Deno's loader puts the code before the message, and quoted URLs where
  // Node.js has paths.
  const plain = StringPrototypeReplaceAll(StringPrototypeReplaceAll(message, "[ERR_MODULE_NOT_FOUND] ", ""), "file://", "");
  const missing = StringPrototypeReplace(plain, QUOTED_REFERRER, " imported from $1");
  if (StringPrototypeStartsWith(missing, "Cannot find module '") || StringPrototypeStartsWith(missing, "Cannot find package '")) {
    return ObjectAssign(new Error(missing), { __proto__: null, code: "ERR_MODULE_NOT_FOUND" });
  }
  return error;
}

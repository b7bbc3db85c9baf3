// What `require()` does with ES modules: AWS switches it off before Node.js 24.

import { core, internals, primordials } from "ext:core/mod.js";
import { environment } from "ext:runtime/environment.js";
import { namespace } from "ext:runtime/namespace.js";

const { StringPrototypeEndsWith, StringPrototypeLastIndexOf, StringPrototypeSlice } = primordials;

/** The ES module that was refused last. */
let refused;

/** Called before `require()` loads an ES module; throws when it may not, in the words of Node.js 22 (lib/internal/errors.js, ERR_REQUIRE_ESM). */
internals.beforeRequiringModule = (filename, parent) => {
  if (environment.settings === undefined || environment.settings.require_modules) {
    return;
  }
  refused = filename;
  const from = parent === undefined ? "" : ` from ${parent}`;
  const base = (path) => StringPrototypeSlice(path, StringPrototypeLastIndexOf(path, "/") + 1);
  const shown = parent !== undefined && base(parent) === base(filename) ? filename : base(filename);
  const what = StringPrototypeEndsWith(filename, ".mjs") || parent === undefined ? filename : `${shown} in ${parent}`;
  const { NodeError } = core.loadExtScript("ext:deno_node/internal/errors.ts");
  throw new NodeError(
    "ERR_REQUIRE_ESM",
    `require() of ES Module ${filename}${from} not supported.\n` +
      `Instead change the require of ${what} to a dynamic import() which is available in all CommonJS modules.`,
  );
};

/** Whether it was this file that was refused, and not one that it requires. */
export const wasRefused = (file) => refused !== undefined && namespace.realPathSync(file) === refused;

// The global `navigator`, as Node.js has it from version 21 on.

import { primordials } from "ext:core/mod.js";
import { environment } from "ext:runtime/environment.js";
import { op_processors } from "ext:core/ops";

const { ObjectDefineProperty, ObjectFreeze, Symbol, SymbolToStringTag, TypeError } = primordials;

const key = Symbol("navigator");

class Navigator {
  constructor(secret) {
    if (secret !== key) {
      throw new TypeError("Illegal constructor");
    }
  }

  get hardwareConcurrency() {
    return op_processors();
  }

  get language() {
    return "en-US";
  }

  get languages() {
    return LANGUAGES;
  }

  get userAgent() {
    return `Node.js/${environment.node}`;
  }

  get platform() {
    return "linux";
  }

  get [SymbolToStringTag]() {
    return "Navigator";
  }
}

const LANGUAGES = ObjectFreeze(["en-US"]);

/** Defines `navigator` and `Navigator`. */
export function installNavigator(global) {
  ObjectDefineProperty(global, "Navigator", {
    __proto__: null,
    value: Navigator,
    writable: true,
    configurable: true,
  });
  ObjectDefineProperty(global, "navigator", {
    __proto__: null,
    value: new Navigator(key),
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

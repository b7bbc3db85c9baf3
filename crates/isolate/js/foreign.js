// Looking at values of user code without being thrown at.

import { core, primordials } from "ext:core/mod.js";

const { ErrorPrototype, ObjectPrototypeIsPrototypeOf, ReflectGet } = primordials;
const { isNativeError } = core;

export function isError(value) {
  try {
    return isNativeError(value) ||
      (typeof value === "object" && value !== null && ObjectPrototypeIsPrototypeOf(ErrorPrototype, value));
  } catch {
    // A proxy whose trap throws.
    return false;
  }
}

/** A member, or `undefined` where reading it throws. */
export function read(object, key) {
  try {
    return ReflectGet(object, key);
  } catch {
    return undefined;
  }
}

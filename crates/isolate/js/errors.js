// The error classes that Rust errors of Deno's extension crates become in JavaScript.

(function () {
const { core, primordials } = __bootstrap;
const { BadResource, Interrupted, NotCapable } = core;
const { Error, ObjectSetPrototypeOf, StringPrototypeIndexOf, StringPrototypeSlice } = primordials;

const names = [
  "NotFound", "PermissionDenied", "ConnectionRefused", "ConnectionReset", "ConnectionAborted", "NotConnected", "AddrInUse",
  "AddrNotAvailable", "BrokenPipe", "AlreadyExists", "InvalidData", "TimedOut", "WouldBlock", "WriteZero", "UnexpectedEof",
  "Http", "Busy", "NotSupported", "FilesystemLoop", "IsADirectory", "NetworkUnreachable", "NotADirectory",
];

const errors = { __proto__: null, BadResource, Interrupted, NotCapable };

// A refusal of the sandbox is what Node.js code knows as "permission denied", and has no advice about another program's flags.
class Refusal extends Error {
  constructor(message, options) {
    const end = StringPrototypeIndexOf(message ?? "", ", run again with");
    super(end < 0 ? message : `EACCES: permission denied: ${StringPrototypeSlice(message, 0, end)}`, options);
  }
}
ObjectSetPrototypeOf(NotCapable, Refusal);
NotCapable.prototype.code = "EACCES";
NotCapable.prototype.errno = -13;
for (const name of names) {
  errors[name] = ({ [name]: class extends Error {
    constructor(message, options) {
      super(message, options);
      this.name = name;
    }
  } })[name];
  core.registerErrorClass(name, errors[name]);
}

const { DOMException, QuotaExceededError } = core.loadExtScript("ext:deno_web/01_dom_exception.js");
for (const name of [
  "OperationError", "NotSupportedError", "NetworkError", "AbortError", "InvalidCharacterError", "DataError", "InvalidStateError",
  "SyntaxError", "IndexSizeError", "TypeMismatchError", "InvalidAccessError",
]) {
  core.registerErrorBuilder(`DOMException${name}`, (message) => new DOMException(message, name));
}
core.registerErrorBuilder("DOMExceptionQuotaExceededError", (message) => new QuotaExceededError(message));

return { errors };
})();

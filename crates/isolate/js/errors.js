// The error classes that Rust errors of Deno's extension crates become in JavaScript.

(function () {
const { core, primordials } = __bootstrap;
const { BadResource, Interrupted, NotCapable } = core;
const {
  Error, ObjectAssign, ObjectDefineProperty, ObjectSetPrototypeOf, RegExpPrototypeExec, SafeRegExp, StringPrototypeSplit,
} = primordials;

const names = [
  "NotFound", "PermissionDenied", "ConnectionRefused", "ConnectionReset", "ConnectionAborted", "NotConnected", "AddrInUse",
  "AddrNotAvailable", "BrokenPipe", "AlreadyExists", "InvalidData", "TimedOut", "WouldBlock", "WriteZero", "UnexpectedEof",
  "Http", "Busy", "NotSupported", "FilesystemLoop", "IsADirectory", "NetworkUnreachable", "NotADirectory",
];

const errors = { __proto__: null, BadResource, Interrupted, NotCapable };

// A refusal of the sandbox is what Node.js code knows as "permission denied", with the same members, and has no advice about another
// program's flags. Where deno_node knows the system call, it makes Node.js's own error of `os_errno`.
class Refusal extends Error {
  constructor(message, options) {
    const refused = describe(message ?? "");
    super(refused.message, options);
    ObjectAssign(this, { __proto__: null, errno: -13, code: "EACCES", ...refused.members });
  }
}

function describe(message) {
  const file = RegExpPrototypeExec(FILE, message);
  if (file !== null) {
    return { message: `EACCES: permission denied, access '${file[1]}'`, members: { syscall: "access", path: file[1] } };
  }
  const peer = RegExpPrototypeExec(PEER, message);
  if (peer !== null) {
    const { 1: whole, 2: address, 3: port } = peer;
    const members = { syscall: "connect", address, ...(port === undefined ? null : { port: +port }) };
    return { message: `connect EACCES ${whole}: the function may not connect there`, members };
  }
  const call = RegExpPrototypeExec(CALL, message);
  if (call !== null) {
    return { message: `EACCES: permission denied, ${call[1]}`, members: { syscall: call[1] } };
  }
  return { message: `EACCES: permission denied: ${StringPrototypeSplit(message, ", run again with")[0]}`, members: null };
}
const FILE = new SafeRegExp('^Requires (?:read|write) access to "(.*?)"');
const PEER = new SafeRegExp('^Requires net access to "((.*?)(?::([0-9]+))?)"');
const CALL = new SafeRegExp("^Deno\\.([a-zA-Z]+?)(?:Sync)?\\(\\)");

ObjectSetPrototypeOf(NotCapable, Refusal);
ObjectSetPrototypeOf(NotCapable.prototype, Refusal.prototype);
ObjectDefineProperty(NotCapable.prototype, "os_errno", { __proto__: null, value: 13 });
// deno_core's constructor sets a name that Node.js code has never heard of.
ObjectDefineProperty(NotCapable.prototype, "name", { __proto__: null, get: () => "Error", set() {} });
for (const name of names) {
  errors[name] = ({ [name]: class extends Error {
    constructor(message, options) {
      super(message, options);
      this.name = name;
    }
  } })[name];
  core.registerErrorClass(name, errors[name]);
}
errors.NotSupported.prototype.code = "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM";

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

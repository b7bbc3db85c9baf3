// Stands in for deno_node's `node:sqlite`, whose native part is not linked.

(function () {
const { primordials } = __bootstrap;
const { Error, ObjectAssign } = primordials;

function refuse() {
  throw ObjectAssign(new Error("node:sqlite is not available in a function"), { code: "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM" });
}

class DatabaseSync {
  constructor() {
    refuse();
  }
}

class StatementSync {
  constructor() {
    refuse();
  }
}

return { backup: refuse, constants: { __proto__: null }, DatabaseSync, StatementSync };
})();
